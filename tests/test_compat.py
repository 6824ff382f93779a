"""The environment: versions, the quiet import, GPUs that are not there."""

import pytest

from webvision import devices
from webvision.errors import UsageError
from webvision.machine import versions

GOOD = {
    "tensorflow": "2.21.0",
    "tf_keras": "2.21.0",
    "tensorpack": "0.11",
    "numpy": "2.4.6",
    "opencv-python-headless": "5.0.0.93",
}


def test_the_pinned_versions_and_the_plain_opencv_wheel_are_accepted():
    versions.check_versions(GOOD.get)
    with_plain_opencv = {**GOOD, "opencv-python": GOOD["opencv-python-headless"]}
    del with_plain_opencv["opencv-python-headless"]
    versions.check_versions(with_plain_opencv.get)


@pytest.mark.parametrize(
    "name, version, words",
    [
        (
            "tensorflow",
            "2.15.1",
            "tensorflow 2.15.1 is installed; this project is tested with 2.21 or newer, below 2.22",
        ),
        ("numpy", "1.26.4", "numpy 1.26.4 is installed"),
        ("opencv-python-headless", "4.5.5.64", "opencv-python-headless 4.5.5.64 is installed"),
        ("opencv-python-headless", None, "opencv-python-headless is not installed"),
        ("tensorpack", None, "tensorpack is not installed"),
    ],
)
def test_an_unsupported_version_is_one_clear_line(name, version, words):  # G1
    with pytest.raises(UsageError) as refusal:
        versions.check_versions({**GOOD, name: version}.get)
    assert words in str(refusal.value) and "\n" not in str(refusal.value) and "make setup" in str(refusal.value)


def test_importing_says_nothing(run):
    done = run(
        "-c",
        "from webvision.compat import tf, tfv1; tfv1.Session().run(tfv1.constant(1)) if not tf.executing_eagerly() "
        "else 0",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_failing_import_is_not_silent(run, tmp_path):
    (tmp_path / "tensorflow.py").write_text(
        "import os; os.write(2, b'from the depths\\n'); raise ImportError('no AVX')"
    )
    done = run("-c", "import webvision.compat", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1 and "from the depths" in done.stderr and "no AVX" in done.stderr


@pytest.mark.parametrize(
    "flag, visible, chosen",
    [
        (None, None, ["0", "1", "2", "3"]),
        (None, "2,3", ["2", "3"]),
        (None, "-1", []),
        (None, "", []),
        ("0,1,2,3", None, ["0", "1", "2", "3"]),
        ("3", "0", ["3"]),
        ("-1", None, []),
        ("GPU-1a2b-3c", None, ["GPU-1a2b-3c"]),
    ],
)
def test_gpus_are_chosen_as_asked(monkeypatch, flag, visible, chosen):
    monkeypatch.setattr(devices, "installed_gpus", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.choose_gpus(flag) == chosen


@pytest.mark.parametrize(
    "flag, present, words",
    [
        ("4", 4, "this machine has 4 (0 to 3)"),
        ("0,1,2,3", 0, "this machine has none"),
        ("a", 4, "'a' is neither"),
        ("0,0", 4, "named twice"),
        ("GPU-1a2b", 0, "this machine has none"),
    ],
)
def test_a_gpu_that_is_not_there_is_refused(monkeypatch, flag, present, words):
    monkeypatch.setattr(devices, "installed_gpus", lambda: present)
    with pytest.raises(UsageError) as refusal:
        devices.choose_gpus(flag)
    assert words in str(refusal.value)
