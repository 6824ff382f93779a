"""The public package's import name: a sotabench.py of its kind runs as it is, and the real package goes before ours."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support.data_set import ROOT
from tests.support.sotabench_fixtures import image_ids, write_labels

# As the public text has them: labels in the working folder, paper_model_name, a loop that breaks.
SCRIPT = """
import numpy as np
from sotabencheval.image_classification import ImageNetEvaluator
from sotabencheval.utils import is_server, set_env_on_server

set_env_on_server("ONLY", "there")
if is_server():
    DATA_ROOT = "./.data/vision/imagenet"
else:
    DATA_ROOT = "."

logits = np.load("logits.npy")
evaluator = ImageNetEvaluator(paper_model_name="ResNeXt-101-32x8d", paper_arxiv_id="1611.05431")
for start in range(0, len(logits), 4):
    names = [f"val/n0/ILSVRC2012_val_{number:08d}.JPEG" for number in range(start + 1, start + 5)]
    image_ids = [name.split("/")[-1].replace(".JPEG", "") for name in names]
    evaluator.add(dict(zip(image_ids, list(logits[start : start + 4]))))
    if evaluator.cache_exists:
        break
print(evaluator.get_results())
evaluator.save()
"""


@pytest.fixture
def folder(tmp_path):
    labels = np.arange(12) % 10
    logits = np.eye(10, dtype=np.float32)[labels]
    logits[:3] = -logits[:3]  # three are wrong, also among the best five
    np.save(tmp_path / "logits.npy", logits)
    write_labels(tmp_path, labels)
    (tmp_path / "sotabench.py").write_text(SCRIPT)
    return tmp_path


def start(folder, *path, **variables):
    env = {key: value for key, value in os.environ.items() if not key.startswith("SOTABENCH")}
    env |= {"PYTHONPATH": os.pathsep.join(map(str, path or (ROOT,))), **variables}
    return subprocess.run(
        [sys.executable, "sotabench.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=600
    )


def test_a_script_of_the_public_kind_runs_as_it_is_and_writes_the_result_file(folder):
    done = start(folder, SOTABENCH_STORE_FILENAME="results.json")
    assert done.returncode == 0, done.stderr
    assert "{'Top 1 Accuracy': 0.75, 'Top 5 Accuracy': 0.75}" in done.stdout
    (result,) = json.loads((folder / "results.json").read_text())
    assert result["model"] == "ResNeXt-101-32x8d" and result["arxiv_id"] == "1611.05431"
    os.rename(folder / "val.txt", folder / "elsewhere.txt")
    refused = start(folder)
    assert refused.returncode and "name such a file in SOTABENCH_LABELS" in refused.stderr
    assert start(folder, SOTABENCH_LABELS="elsewhere.txt").stdout == done.stdout


@pytest.mark.parametrize("first", ["ours", "real"])
def test_the_real_package_goes_before_ours_wherever_it_is_on_the_path(folder, first):
    real = folder / "site" / "sotabencheval"
    (real / "image_classification").mkdir(parents=True)
    (real / "__init__.py").write_text("from sotabencheval.version import __version__\n")
    (real / "version.py").write_text("__version__ = '0.0.38'\n")
    (real / "image_classification" / "__init__.py").write_text("ImageNetEvaluator = 'the real one'\n")
    (folder / "plain" / "sotabencheval").mkdir(parents=True)  # a folder of that name is no package
    (folder / "sotabench.py").write_text(
        "import sotabencheval\nfrom sotabencheval.image_classification import ImageNetEvaluator\n"
        "print(sotabencheval.__version__, ImageNetEvaluator)\n"
    )
    paths = [ROOT, folder / "plain", folder / "site"]
    done = start(folder, *(paths if first == "ours" else reversed(paths)))
    assert done.stdout == "0.0.38 the real one\n", done.stderr


def test_two_copies_of_ours_do_not_wait_for_each_other(folder):
    (folder / "copy").symlink_to(ROOT)
    os.makedirs(folder / "installed")
    (folder / "installed" / "sotabencheval").symlink_to(os.path.join(ROOT, "sotabencheval"))
    assert start(folder, folder / "installed", folder / "copy").returncode == 0


def test_the_utilities_count_and_hash_as_the_public_ones(monkeypatch):
    from sotabencheval.utils import AverageMeter, calculate_batch_hash
    from webvision.challenges.sotabench.evaluator import batch_hash

    meter = AverageMeter()
    meter.update(1.0)
    meter.update(0.25, n=3)
    assert (meter.val, meter.avg, meter.count) == (0.25, 0.4375, 4)
    batch = {name: np.zeros(3) for name in image_ids(2)}
    assert batch_hash(batch, (0.5, 1.0)) == calculate_batch_hash(
        {**batch, "Top 1 Accuracy": 0.5, "Top 5 Accuracy": 1.0}
    )
