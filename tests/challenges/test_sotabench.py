"""The sotabench evaluator against the public package, and without the weaknesses of it.

tests/data/sotabench_results.json holds what sotabencheval 0.0.38 with sotabenchapi 0.0.16 and NumPy 2.4.6 returned for
drawn logits, and its result file with the speed block emptied.
"""

import json
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.support import sotabench_fixtures
from tests.support.data_set import ROOT
from tests.support.sotabench_fixtures import image_ids, write_labels
from webvision.challenges.sotabench import evaluator as sotabench
from webvision.challenges.sotabench import ilsvrc, result_cache
from webvision.challenges.sotabench.evaluator import ImageNetEvaluator, is_server
from webvision.data.pictures.images import ImageError
from webvision.errors import DataError, IncompleteError

with open(os.path.join(ROOT, "tests", "data", "sotabench_results.json"), encoding="utf-8") as _file:
    GOLDEN = json.load(_file)


@pytest.fixture(autouse=True)
def no_server(monkeypatch, tmp_path):
    sotabench_fixtures.leave_server(monkeypatch, tmp_path)


def draw(seed, images, classes, dtype="float32"):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.standard_normal((images, classes)).astype(dtype)
    logits[np.arange(images), labels] += np.asarray(3.0, dtype)
    return labels, logits


def feed(evaluator, logits, batch, order=None):
    ids, order = image_ids(len(logits)), range(len(logits)) if order is None else order
    order = list(order)
    for at in range(0, len(order), batch):
        evaluator.add({ids[row]: logits[row] for row in order[at : at + batch]})
    return evaluator


# ---- the public package's figures, hash and file


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["case"])
def test_results_hash_and_file_are_the_public_packages_to_the_byte(case, tmp_path, monkeypatch):
    labels, logits = draw(*case["draw"])
    if labels.max() >= ilsvrc.NUM_CLASSES:
        monkeypatch.setattr(ilsvrc, "NUM_CLASSES", case["draw"][2])
    write_labels(tmp_path, labels)
    monkeypatch.setenv("SOTABENCH_STORE_FILENAME", str(tmp_path / "sotabench_results.json"))
    evaluator = feed(ImageNetEvaluator(root=str(tmp_path), **case["kwargs"]), logits, case["batch"])
    assert evaluator.get_results() == case["results"]
    assert evaluator.save().run_hash == case["run_hash"]
    evaluator.save()
    text = (tmp_path / "sotabench_results.json").read_bytes().decode("utf-8")
    assert re.sub(r'"speed_mem_metrics": \{[^}]*\}', '"speed_mem_metrics": {}', text) == case["file"]


def test_speed_block_has_the_keys_of_the_public_package_and_measures(tmp_path):
    labels, logits = draw(1, 30, 10)
    write_labels(tmp_path, labels)
    speed = feed(ImageNetEvaluator(str(tmp_path), "m"), logits, 10).save().speed_mem_metrics
    assert list(speed) == ["Max Memory Allocated (Total)", "Tasks / Evaluation Time", "Tasks", "Evaluation Time"]
    assert speed["Tasks"] == 30 and speed["Max Memory Allocated (Total)"] > 1 << 20
    assert speed["Tasks / Evaluation Time"] == pytest.approx(30 / speed["Evaluation Time"])


class FakeTensorFlow:
    """TensorFlow's memory interface as it looks with two GPUs."""

    def __init__(self):
        self.config, self.experimental, self.reset = self, self, []

    def list_logical_devices(self, kind):
        return ["a", "b"] if kind == "GPU" else []

    def get_memory_info(self, name):
        return {"current": 1, "peak": {"GPU:0": 1000, "GPU:1": 234}[name]}

    def reset_memory_stats(self, name):
        self.reset.append(name)


def test_memory_is_tensorflows_peak_on_all_gpus(monkeypatch):
    tensorflow = FakeTensorFlow()
    monkeypatch.setitem(sys.modules, "tensorflow", tensorflow)
    assert sotabench.max_memory_allocated() == 1234 and tensorflow.reset == ["GPU:0", "GPU:1"]


def by_sorting(logits, labels, k):
    """The public package's rule, spelled out: NumPy's argsort of one row, the label among the last k."""
    return [label in np.argsort(row[None], axis=1)[0][-k:] for row, label in zip(logits, labels)]


@pytest.mark.parametrize("kind", ["plain", "rounded", "constant", "clipped", "nan", "inf", "integers"])
def test_ranks_follow_the_public_rule_with_ties_and_nan(kind):
    rng = np.random.default_rng(7)
    for classes in (5, 6, 17, 300):
        labels, logits = rng.integers(0, classes, 60), rng.standard_normal((60, classes)).astype(np.float32) * 2
        logits = {
            "plain": logits,
            "rounded": np.round(logits),
            "constant": np.zeros_like(logits),
            "clipped": np.clip(logits, -1, 1),
            "nan": np.where(rng.random(logits.shape) < 0.05, np.nan, logits),
            "inf": np.where(rng.random(logits.shape) < 0.05, np.inf, logits),
            "integers": logits.astype(np.int32),
        }[kind]
        hits = sotabench.in_top_k(logits, labels)
        assert hits[0].tolist() == by_sorting(logits, labels, 1)
        assert hits[1].tolist() == by_sorting(logits, labels, 5)


# ---- the weaknesses of the public package


def test_with_fewer_than_five_classes_top5_means_all_of_them(tmp_path):
    for classes in (1, 2, 3, 4):
        labels, logits = draw(3, 20, classes)
        write_labels(tmp_path, labels)
        assert feed(ImageNetEvaluator(str(tmp_path)), logits, 8).get_results()["Top 5 Accuracy"] == 1.0


def test_an_unknown_id_is_a_key_error_that_says_why_and_leaves_nothing_behind(tmp_path):
    labels, logits = draw(1, 12, 10)
    write_labels(tmp_path, labels)
    evaluator = feed(ImageNetEvaluator(str(tmp_path)), logits, 12)
    before = evaluator.get_results()
    with pytest.raises(KeyError, match="no extension: use 'ILSVRC2012_val_00000001'"):
        evaluator.add({"ILSVRC2012_val_00000002": logits[5], "ILSVRC2012_val_00000001.JPEG": logits[0]})
    with pytest.raises(DataError, match="2 unknown image ids"):
        evaluator.add({"x\x1b[2J": logits[0], "y": logits[0]})
    assert evaluator.get_results() == before


def test_missing_images_are_a_value_error_of_bounded_length(tmp_path):
    labels, logits = draw(1, 500, 10)
    write_labels(tmp_path, labels)
    evaluator = feed(ImageNetEvaluator(str(tmp_path)), logits, 50, order=range(100))
    with pytest.raises(ValueError, match="There are 400 missing image IDs") as caught:
        evaluator.save()
    assert isinstance(caught.value, IncompleteError) and len(str(caught.value)) < 400
    assert "ILSVRC2012_val_00000101" in str(caught.value)


def test_the_callers_dict_is_left_alone_and_a_later_value_replaces_an_earlier_one(tmp_path):
    labels, logits = draw(1, 12, 10)
    write_labels(tmp_path, labels)
    evaluator = ImageNetEvaluator(str(tmp_path))
    first = dict(zip(image_ids(12), -logits))
    evaluator.add(first)
    assert list(first) == image_ids(12)
    assert feed(evaluator, logits, 5).get_results() == feed(ImageNetEvaluator(str(tmp_path)), logits, 12).get_results()


def test_the_example_of_the_documentation_runs_as_it_stands(tmp_path):
    import doctest

    labels, logits = [0, 1, 2, 3], np.eye(4, 10, dtype=np.float32) * 9 + np.arange(10) / 10.0
    logits[2, 2], logits[3, 3] = 0.65, -1.0  # fourth best, and last
    write_labels(tmp_path, labels)
    runner = doctest.DocTestRunner()
    test = doctest.DocTestParser().get_doctest(
        sotabench.__doc__,
        {"root": str(tmp_path), "batches": [(image_ids(4)[:2], logits[:2]), (image_ids(4)[2:], logits[2:])]},
        "example",
        None,
        0,
    )
    assert runner.run(test) == (0, 5)


def test_no_model_name_still_saves(tmp_path, monkeypatch):
    labels, logits = draw(1, 12, 10)
    write_labels(tmp_path, labels)
    monkeypatch.setenv("SOTABENCH_STORE_FILENAME", str(tmp_path / "r.json"))
    feed(ImageNetEvaluator(str(tmp_path)), logits, 5).save()
    assert json.loads((tmp_path / "r.json").read_text())[0]["model"] is None


def test_memory_does_not_hold_the_logits(tmp_path):
    import tracemalloc

    labels, _ = draw(1, 2000, 10)
    write_labels(tmp_path, labels)
    evaluator, row = ImageNetEvaluator(str(tmp_path)), np.zeros(1000, np.float32)
    evaluator.add({image_ids(1)[0]: row})
    tracemalloc.start()
    for image_id in image_ids(2000):
        evaluator.add({image_id: row + 1})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1 << 20  # the logits are 8 MB


@pytest.mark.parametrize(
    "bad, words",
    [
        ({"ILSVRC2012_val_00000001": np.zeros((1, 10))}, "one row of numbers"),
        ({"ILSVRC2012_val_00000001": 3.0}, "one row of numbers"),
        ({"ILSVRC2012_val_00000001": np.array(["a"] * 10)}, "one row of numbers"),
        ({"ILSVRC2012_val_00000001": np.zeros(10), "ILSVRC2012_val_00000002": np.zeros(11)}, "equally many"),
        ({"ILSVRC2012_val_00000001": np.zeros(3), "ILSVRC2012_val_00000002": np.zeros(3)}, "other classes"),
    ],
)
def test_logits_of_a_wrong_shape_are_refused_by_name(bad, words, tmp_path):
    write_labels(tmp_path, [9] * 12)
    with pytest.raises(DataError, match=words):
        ImageNetEvaluator(str(tmp_path)).add(bad)


def test_an_empty_batch_is_skipped(tmp_path):
    write_labels(tmp_path, [0] * 3)
    evaluator = ImageNetEvaluator(str(tmp_path))
    evaluator.add({})
    with pytest.raises(ValueError, match="No batches of data have been processed"):
        assert evaluator.cache_exists


def test_a_result_file_of_something_else_is_not_overwritten(tmp_path, monkeypatch):
    labels, logits = draw(1, 12, 10)
    write_labels(tmp_path, labels)
    for content in ("{broken", '{"a": 1}'):
        (tmp_path / "r.json").write_text(content)
        monkeypatch.setenv("SOTABENCH_STORE_FILENAME", str(tmp_path / "r.json"))
        with pytest.raises(DataError, match="r.json"):
            feed(ImageNetEvaluator(str(tmp_path), "m"), logits, 12).save()
        assert (tmp_path / "r.json").read_text() == content


# ---- server and cache


def test_is_server_reads_the_environment_and_moves_the_root(tmp_path, monkeypatch):
    assert not is_server()
    monkeypatch.setenv("SOTABENCH_SERVER", "true")
    assert is_server()
    monkeypatch.chdir(tmp_path)
    os.makedirs(".data/vision/imagenet")
    write_labels(".data/vision/imagenet", [0] * 3)
    assert len(ImageNetEvaluator("/nowhere").targets) == 3
    monkeypatch.setenv("SOTABENCH_SERVER", "1")
    assert not is_server()


def test_off_the_server_the_loop_is_never_broken(tmp_path):
    labels, logits = draw(1, 12, 10)
    write_labels(tmp_path, labels)
    for _ in range(2):
        evaluator = feed(ImageNetEvaluator(str(tmp_path), "m"), logits, 12)
        assert evaluator.cache_exists is None
        evaluator.save()


def test_cache_is_found_by_identity_whatever_the_batch_and_never_by_logits_alone(tmp_path):
    labels, logits = draw(1, 50, 100)
    write_labels(tmp_path, labels)
    cache = str(tmp_path / "results")

    def fed(identity, batch=16, order=None):
        evaluator = ImageNetEvaluator(str(tmp_path), "m", cache_dir=cache, identity=identity)
        return feed(evaluator, logits, batch, order)

    stored = fed("weights 1").save()
    order = random.Random(3).sample(range(50), 50)
    again = fed("weights 1", 7, order)
    assert again.cache_exists is True
    result = again.save()
    assert result.results == stored.results
    assert result.speed_mem_metrics == {"Tasks / Evaluation Time": None, "Tasks": None, "Evaluation Time": None}
    assert fed("weights 2").cache_exists is False, "a late checkpoint whose first logits are the very same"
    unknown = fed(None)
    assert unknown.cache_exists is False and unknown.save() and len(os.listdir(cache)) == 1


def test_identity_is_of_the_weights_their_preparation_and_every_picture(tmp_path):
    def damaged():
        raise ImageError("truncated", "")

    files = [("a", lambda: b"1"), ("b", lambda: b"2"), ("c", damaged)]
    one = result_cache.identity_of("w", "preset", files)
    assert one == result_cache.identity_of("w", "preset", files[::-1])
    others = {
        result_cache.identity_of("x", "preset", files),
        result_cache.identity_of("w", "other", files),
        result_cache.identity_of("w", "preset", files[:2]),
        result_cache.identity_of("w", "preset", [*files[:2], ("c", lambda: b"3")]),
        result_cache.identity_of("w", "preset", [("a", lambda: b"2"), ("b", lambda: b"1"), files[2]]),
    }
    assert len(others) == 5 and one not in others


def test_cache_breaks_the_loop_after_the_first_images_and_saves_without_the_rest(tmp_path, monkeypatch):
    labels, logits = draw(1, 50, 100)
    write_labels(tmp_path, labels)
    monkeypatch.setenv("SOTABENCH_SERVER", "true")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".data" / "vision").mkdir(parents=True)
    (tmp_path / ".data" / "vision" / "imagenet").symlink_to(tmp_path)
    expected = feed(ImageNetEvaluator(model_name="m", identity="i"), logits, 10).save().results
    evaluator = feed(ImageNetEvaluator(model_name="m", identity="i"), logits, 10, order=range(10))
    assert evaluator.cache_exists is True and evaluator.save().results == expected


def test_cache_of_another_label_set_or_damaged_is_ignored(tmp_path, capsys):
    labels, logits = draw(1, 50, 100)
    path, cache = write_labels(tmp_path, labels), str(tmp_path / "results")
    feed(ImageNetEvaluator(str(tmp_path), "m", cache_dir=cache, identity="i"), logits, 16).save()
    other = write_labels(tmp_path, (labels + 1) % 100, "other.txt")
    assert feed(ImageNetEvaluator(labels=other, cache_dir=cache, identity="i"), logits, 16).cache_exists is False
    (entry,) = os.listdir(cache)
    targets = sotabench._targets_hash(ilsvrc.read_targets(path))
    whole = {"format": "webvision-result-cache", "version": 2, "targets": targets, "identity": "i"}
    for damage in (
        "",
        "{",
        "[]",
        "null",
        '{"format": 1}',
        "[" * 100000,
        json.dumps({**whole, "results": {"x": 7}}),
        json.dumps({**whole, "identity": "j", "results": {"x": 0.5}}),
    ):
        with open(os.path.join(cache, entry), "w") as file:
            file.write(damage)
        assert feed(ImageNetEvaluator(labels=path, cache_dir=cache, identity="i"), logits, 16).cache_exists is False
        assert "ignored" in capsys.readouterr().err


def test_cache_that_cannot_be_written_is_a_remark(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    cache = result_cache.ResultCache(str(tmp_path / "file" / "below"), "0" * 64)
    cache.store("ab" * 32, {"Top 1 Accuracy": 0.0}, model=None)
    assert "not written" in capsys.readouterr().err


def test_O3_nothing_of_sotabench_and_no_tensorflow_is_imported(tmp_path):
    write_labels(tmp_path, [0, 1, 2])
    code = (
        "import sys; from webvision.challenges.sotabench.evaluator import ImageNetEvaluator as E; import numpy as np\n"
        f"e = E({str(tmp_path)!r}, 'm'); e.add({{i: np.eye(6)[0] for i in e.targets}}); e.save()\n"
        "print([m for m in ('tensorflow', 'sotabencheval', 'sotabenchapi', 'pickle', 'scipy') if m in sys.modules])"
    )
    env = {**os.environ, "PYTHONPATH": ROOT, "SOTABENCH_CHECK": "full", "SOTABENCH_STORE_FILENAME": str(tmp_path / "r")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {"pickle"}, done.stderr  # NumPy itself imports pickle
    assert "service is gone" in done.stderr and not (tmp_path / "r").exists()
