"""The commands as a user types them: help at once, mistakes in one line before TensorFlow starts, the card's four
lines."""

import json
import os
import re
import subprocess
import sys
import zipfile

import pytest

from tests.support.data_set import ROOT

SCRIPTS = ["imagenet-resnet.py"] + sorted(
    f"utils/{name}" for name in os.listdir(os.path.join(ROOT, "utils")) if name.endswith(".py")
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_answers_from_anywhere_without_tensorflow(run, tmp_path, script):
    # -X importtime lists every module that was loaded
    done = run("-X", "importtime", os.path.join(ROOT, script), "--help", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("usage:")
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert not loaded & {"tensorflow", "tensorpack", "cv2", "numpy", "sklearn"}, "slow to load before --help"


@pytest.mark.parametrize(
    "args, words",
    [
        (["--gpu", "0,1,2,3", "-d", "50"], "--gpu 0,1,2,3: no such GPU"),
        (["--towers", "3", "--batch", "100"], "--batch 100 does not divide over 3 towers; use 99 or 102"),
        (["--mode", "se"], "mode se has no depth 18; it exists with 50, 101, 152"),
        (["--eval"], "the weights to evaluate are needed: --load"),
        (["--crops", "5"], "--crops belongs to --eval"),
        (["--eval", "--load", "x", "--flip", "--logits", "l.npy"], "--scores all keeps the probabilities"),
        (["--balance", "more"], "--balance"),
        (["--lr", "0"], "not above 0"),
        (["--fp16", "--bf16"], "not allowed with"),
        (["--data", "/nowhere"], "--data /nowhere: no such folder"),
    ],
)
def test_a_mistake_is_one_line_before_tensorflow_starts(run, tiny_data, args, words):
    data = [] if "--data" in args else ["--data", tiny_data]
    done = run("-X", "importtime", "imagenet-resnet.py", *data, *args, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2
    assert words in done.stderr and "| tensorflow\n" not in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def trained(tiny_data, tmp_path_factory):
    """A folder in which the training command has been run with little to do."""
    folder = tmp_path_factory.mktemp("user")
    done = subprocess.run(
        [
            sys.executable,
            os.path.join(ROOT, "imagenet-resnet.py"),
            "--data",
            tiny_data,
            "-d",
            "50",
            "--mode",
            "resnet",
            "--image-size",
            "32",
            "--batch",
            "6",
            "--epochs",
            "1",
            "--epoch-size",
            "12",
        ],
        cwd=folder,
        text=True,
        capture_output=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_cards_road_from_training_to_submission(trained, tiny_data, run):
    evaluation = [
        os.path.join(ROOT, "imagenet-resnet.py"),
        "--data",
        tiny_data,
        "-d",
        "50",
        "--mode",
        "resnet",
        "--eval",
        "--load",
        "train_log/imagenet-resnet-d50/model-2",
    ]
    done = run(*evaluation, cwd=trained)
    assert done.returncode == 0, done.stderr
    assert "267 loaded, 0 missing, 0 unexpected, 0 mismatched" in done.stderr
    assert "9 pictures of 9 expected" in done.stdout
    printed = dict(re.findall(r"^(.*Error): ([\d.]+)$", done.stdout, re.MULTILINE))
    predictions = json.loads((trained / "train_log" / "predictions.json").read_text())
    wrong = [row["top"][0] != row["label"] for row in predictions["predictions"]]
    assert float(printed["Top1 Error"]) == sum(wrong) / 9 and float(printed["Top5 Error"]) == 0
    assert [row["name"] for row in predictions["predictions"]] == [f"val{i:06d}.jpg" for i in range(1, 10)]

    scored = run(os.path.join(ROOT, "utils/eval_score.py"), "--k", "1", cwd=trained)
    assert scored.returncode == 0 and "Balanced Top1" in scored.stdout, scored.stderr
    submitted = run(os.path.join(ROOT, "utils/json2sub.py"), cwd=trained)
    assert submitted.returncode == 0, submitted.stderr
    with zipfile.ZipFile(trained / "train_log" / "submission.zip") as archive:
        lines = archive.read("predictions.txt").decode().splitlines()
    ids = predictions["predictions"][0]["top"]
    assert lines[0].startswith("val000001.jpg " + "    ".join(map(str, ids)))


def test_the_prediction_file_does_not_depend_on_workers_and_its_ids_not_on_towers(trained, tiny_data, run):  # E2
    contents = {}
    for workers, towers in ((0, 1), (1, 1), (2, 1), (4, 1), (0, 3)):
        out = trained / f"{workers}-{towers}.json"
        done = run(
            os.path.join(ROOT, "imagenet-resnet.py"),
            "--data",
            tiny_data,
            "-d",
            "50",
            "--eval",
            "--load",
            "train_log/imagenet-resnet-d50",
            "--out",
            out,
            "--workers",
            workers,
            "--towers",
            towers,
            "--batch",
            "4",
            cwd=trained,
        )
        assert done.returncode == 0, done.stderr
        contents[workers, towers] = out.read_bytes()
    assert len({content for (_, towers), content in contents.items() if towers == 1}) == 1
    ids = [[(row["name"], row["top"]) for row in json.loads(content)["predictions"]] for content in contents.values()]
    assert all(rows == ids[0] for rows in ids)


def test_ten_views_are_averaged_and_a_name_twice_is_refused_at_once(trained, tiny_data, tmp_path, run):
    evaluation = [
        os.path.join(ROOT, "imagenet-resnet.py"),
        "-d",
        "50",
        "--eval",
        "--load",
        "train_log/imagenet-resnet-d50",
    ]
    done = run(
        *evaluation,
        "--data",
        tiny_data,
        "--out",
        "ten.json",
        "--crops",
        "10",
        "--scores",
        "all",
        "--batch",
        "20",
        "--towers",
        "2",
        cwd=trained,
    )
    assert done.returncode == 0 and "9 pictures of 9 expected" in done.stdout, done.stderr
    predictions = json.loads((trained / "ten.json").read_text())
    assert predictions["header"]["preprocessing"] == {
        "preset": "webvision",
        "image_size": 32,
        "short_side": 37,
        "crops": 5,
        "flip": True,
    }
    assert len(predictions["predictions"]) == 9

    for split in ("train", "val", "test"):
        (tmp_path / split).symlink_to(tiny_data / split)
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "synsets.txt").write_text((tiny_data / "meta" / "synsets.txt").read_text())
    rows = (tiny_data / "meta" / "val.txt").read_text()
    (tmp_path / "meta" / "val.txt").write_text(rows + rows.splitlines()[1] + "\n")
    done = run(*evaluation, "--data", tmp_path, cwd=trained)
    assert done.returncode == 3 and "val.txt: line 10: val000002.jpg stands in line 2 too" in done.stderr


def test_an_unlabelled_list_has_predictions_and_no_error(trained, tiny_data, run):
    done = run(
        os.path.join(ROOT, "imagenet-resnet.py"),
        "--data",
        tiny_data,
        "-d",
        "50",
        "--eval",
        "--split",
        "test",
        "--load",
        "train_log/imagenet-resnet-d50",
        "--out",
        "test.json",
        "--logits",
        "logits.npy",
        cwd=trained,
    )
    assert done.returncode == 0, done.stderr
    assert "4 pictures of 4 expected" in done.stdout and "Error" not in done.stdout
    rows = json.loads((trained / "test.json").read_text())["predictions"]
    assert all("label" not in row or row["label"] is None for row in rows)
    import numpy as np

    logits = np.load(trained / "logits.npy")
    assert logits.shape == (4, 3) and [int(row.argmax()) for row in logits] == [row["top"][0] for row in rows]


@pytest.mark.parametrize("tool", ["eval_score.py", "json2sub.py"])
def test_tools_for_predictions_load_no_tensorflow(tmp_path, run, tool):
    import numpy as np

    from webvision.scoring.predictions.file import PredictionWriter

    with PredictionWriter(tmp_path / "p.json", {"classes": {"count": 9}}) as writer:
        writer.write(["a.jpg"], [3], np.arange(5)[None], np.full((1, 5), 0.1, "f"))
    done = run("-X", "importtime", os.path.join(ROOT, "utils", tool), "p.json", cwd=tmp_path)
    loaded = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "numpy" in loaded and not loaded & {"tensorflow", "tensorpack", "cv2", "sklearn"}


CLOSED = [">&-", "2>&-", "<&-", "<&- >&- 2>&-"]


def run_closed(redirection, *args, cwd):
    """Exit code of `python ARGS REDIRECTION`."""
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirection}', "bash", sys.executable, *map(str, args)],
        cwd=cwd,
        capture_output=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        timeout=240,
    ).returncode


@pytest.mark.parametrize("redirection", CLOSED)
def test_tools_work_with_closed_standard_streams(tiny_data, tmp_path, redirection):  # G3
    import numpy as np

    from webvision.scoring.predictions.file import PredictionWriter

    with PredictionWriter(tmp_path / "p.json", {"classes": {"count": 9}}) as writer:
        writer.write(["a.jpg"], [3], np.arange(5)[None], np.full((1, 5), 0.1, "f"))
    tool = os.path.join(ROOT, "utils")
    assert run_closed(redirection, f"{tool}/json2sub.py", "p.json", cwd=tmp_path) == 0
    assert zipfile.is_zipfile(tmp_path / "submission.zip")
    assert run_closed(redirection, f"{tool}/check.py", "--data", tiny_data, "--out", "checked", cwd=tmp_path) == 0
    assert json.loads((tmp_path / "checked" / "report.json").read_text())["splits"]["train"]["rows"] == 21
    assert run_closed(redirection, f"{tool}/check.py", "--data", "nowhere", cwd=tmp_path) == 3


@pytest.mark.parametrize("redirection", CLOSED)
def test_a_training_ends_well_with_closed_standard_streams(tiny_data, tmp_path, redirection):
    from tests.support import tiny_run

    done = run_closed(
        redirection,
        tiny_run.__file__,
        "--data",
        tiny_data,
        *tiny_run.ARGS,
        "--workers",
        "1",
        "--out",
        tmp_path,
        cwd=tmp_path,
    )
    assert done == 0
    assert (
        "Trained 2 epochs" in (tmp_path / "run" / "log.log").read_text()
        and (tmp_path / "run" / "model-8.json").exists()
    )


def test_an_error_that_cannot_be_printed_has_its_exit_code(tmp_path):
    assert run_closed("2>/dev/full", os.path.join(ROOT, "utils/check.py"), "--data", "nowhere", cwd=tmp_path) == 3
