"""The sotabench evaluator against the public package, the devkit's labels against scipy, and their bad inputs.

tests/data/sotabench_results.json holds what sotabencheval 0.0.38 with sotabenchapi 0.0.16 and NumPy 2.4.6 returned for
drawn logits, and its result file with the speed block emptied.
"""
import io
import json
import os
import random
import re
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import scipy.io

from webvision.errors import DataError, IncompleteError
from webvision.scoring import ilsvrc, matfile, result_cache, sotabench
from webvision.scoring.sotabench import ImageNetEvaluator, is_server

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
with open(os.path.join(ROOT, "tests", "data", "sotabench_results.json"), encoding="utf-8") as _file:
    GOLDEN = json.load(_file)


@pytest.fixture(autouse=True)
def no_server(monkeypatch, tmp_path):
    for name in ("SOTABENCH_SERVER", "SOTABENCH_CHECK", "SOTABENCH_STORE_FILENAME", "WEBVISION_RESULT_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def draw(seed, images, classes, dtype="float32"):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.standard_normal((images, classes)).astype(dtype)
    logits[np.arange(images), labels] += np.asarray(3., dtype)
    return labels, logits


def image_ids(count):
    return [f"ILSVRC2012_val_{number:08d}" for number in range(1, count + 1)]


def write_labels(folder, labels, name="val.txt"):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{image_id}.JPEG {label}\n" for image_id, label in zip(image_ids(len(labels)), labels))
    return path


def feed(evaluator, logits, batch, order=None):
    ids, order = image_ids(len(logits)), range(len(logits)) if order is None else order
    order = list(order)
    for at in range(0, len(order), batch):
        evaluator.add({ids[row]: logits[row] for row in order[at:at + batch]})
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
        logits = {"plain": logits, "rounded": np.round(logits), "constant": np.zeros_like(logits),
                  "clipped": np.clip(logits, -1, 1), "nan": np.where(rng.random(logits.shape) < .05, np.nan, logits),
                  "inf": np.where(rng.random(logits.shape) < .05, np.inf, logits),
                  "integers": logits.astype(np.int32)}[kind]
        hits = sotabench.in_top_k(logits, labels)
        assert hits[0].tolist() == by_sorting(logits, labels, 1)
        assert hits[1].tolist() == by_sorting(logits, labels, 5)


# ---- the weaknesses of the public package

def test_with_fewer_than_five_classes_top5_means_all_of_them(tmp_path):
    for classes in (1, 2, 3, 4):
        labels, logits = draw(3, 20, classes)
        write_labels(tmp_path, labels)
        assert feed(ImageNetEvaluator(str(tmp_path)), logits, 8).get_results()["Top 5 Accuracy"] == 1.


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
    assert held < 1 << 20           # the logits are 8 MB


@pytest.mark.parametrize("bad, words", [
    ({"ILSVRC2012_val_00000001": np.zeros((1, 10))}, "one row of numbers"),
    ({"ILSVRC2012_val_00000001": 3.}, "one row of numbers"),
    ({"ILSVRC2012_val_00000001": np.array(["a"] * 10)}, "one row of numbers"),
    ({"ILSVRC2012_val_00000001": np.zeros(10), "ILSVRC2012_val_00000002": np.zeros(11)}, "equally many"),
    ({"ILSVRC2012_val_00000001": np.zeros(3), "ILSVRC2012_val_00000002": np.zeros(3)}, "other classes"),
])
def test_logits_of_a_wrong_shape_are_refused_by_name(bad, words, tmp_path):
    write_labels(tmp_path, [9] * 12)
    with pytest.raises(DataError, match=words):
        ImageNetEvaluator(str(tmp_path)).add(bad)


def test_an_empty_batch_is_skipped(tmp_path):
    write_labels(tmp_path, [0] * 3)
    evaluator = ImageNetEvaluator(str(tmp_path))
    evaluator.add({})
    with pytest.raises(ValueError, match="No batches of data have been processed"):
        evaluator.cache_exists


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


@pytest.mark.parametrize("batch, noise, shuffled, found", [
    (16, 0, False, True), (1, 0, False, True), (50, 1e-5, False, True), (7, 1e-5, True, True), (16, .1, False, False)])
def test_cache_is_found_whatever_the_batch_size_the_order_and_the_last_bits(batch, noise, shuffled, found, tmp_path):
    labels, logits = draw(1, 50, 100)
    write_labels(tmp_path, labels)
    cache = str(tmp_path / "results")
    stored = feed(ImageNetEvaluator(str(tmp_path), "m", cache_dir=cache), logits, 16).save()
    again = ImageNetEvaluator(str(tmp_path), "m", cache_dir=cache)
    order = list(range(50))
    random.Random(3).shuffle(order) if shuffled else None
    noisy = (logits + noise * np.random.default_rng(2).standard_normal(logits.shape)).astype(np.float32)
    feed(again, noisy, batch, order)
    assert again.cache_exists is found
    if found:
        result = again.save()
        assert result.results == stored.results
        assert result.speed_mem_metrics == {"Tasks / Evaluation Time": None, "Tasks": None, "Evaluation Time": None}


def test_cache_breaks_the_loop_after_the_first_images_and_saves_without_the_rest(tmp_path, monkeypatch):
    labels, logits = draw(1, 50, 100)
    write_labels(tmp_path, labels)
    monkeypatch.setenv("SOTABENCH_SERVER", "true")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".data" / "vision").mkdir(parents=True)
    (tmp_path / ".data" / "vision" / "imagenet").symlink_to(tmp_path)
    expected = feed(ImageNetEvaluator(model_name="m"), logits, 10).save().results
    evaluator = feed(ImageNetEvaluator(model_name="m"), logits, 10, order=range(10))
    assert evaluator.cache_exists is True and evaluator.save().results == expected


def test_cache_of_another_label_set_or_damaged_is_ignored(tmp_path, capsys):
    labels, logits = draw(1, 50, 100)
    path, cache = write_labels(tmp_path, labels), str(tmp_path / "results")
    feed(ImageNetEvaluator(str(tmp_path), "m", cache_dir=cache), logits, 16).save()
    other = write_labels(tmp_path, (labels + 1) % 100, "other.txt")
    assert feed(ImageNetEvaluator(labels=other, cache_dir=cache), logits, 16).cache_exists is False
    entry, = os.listdir(cache)
    for damage in ("", "{", "[]", "null", '{"format": 1}', "[" * 100000,
                   '{"format": "webvision-result-cache", "version": 1, "targets": "%s", "results": {"x": 7}, "signature": 0}'
                   % sotabench._targets_hash(ilsvrc.read_targets(path))):
        with open(os.path.join(cache, entry), "w") as file:
            file.write(damage)
        assert feed(ImageNetEvaluator(labels=path, cache_dir=cache), logits, 16).cache_exists is False
        assert "ignored" in capsys.readouterr().err


def test_cache_that_cannot_be_written_is_a_remark(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    cache = result_cache.ResultCache(str(tmp_path / "file" / "below"), "0" * 64)
    cache.store(np.zeros((8, 10), np.float32), {"Top 1 Accuracy": 0.}, model=None)
    assert "not written" in capsys.readouterr().err


def test_O3_nothing_of_sotabench_and_no_tensorflow_is_imported(tmp_path):
    write_labels(tmp_path, [0, 1, 2])
    code = ("import sys; from webvision.scoring.sotabench import ImageNetEvaluator as E; import numpy as np\n"
            f"e = E({str(tmp_path)!r}, 'm'); e.add({{i: np.eye(6)[0] for i in e.targets}}); e.save()\n"
            "print([m for m in ('tensorflow', 'sotabencheval', 'sotabenchapi', 'pickle', 'scipy') if m in sys.modules])")
    env = {**os.environ, "PYTHONPATH": ROOT, "SOTABENCH_CHECK": "full", "SOTABENCH_STORE_FILENAME": str(tmp_path / "r")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60)
    assert set(json.loads(done.stdout.replace("'", '"'))) <= {"pickle"}, done.stderr     # NumPy itself imports pickle
    assert "service is gone" in done.stderr and not (tmp_path / "r").exists()


# ---- labels from the devkit

def synsets(leaves, inner=2, seed=0):
    """A `synsets` structure as in meta.mat: leaves first, in no order of WNIDs, then inner nodes with children."""
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]
    wnids = random.Random(seed).sample(range(10 ** 8), leaves + inner)
    table = np.empty((leaves + inner, 1), [(name, "O") for name in fields])
    for row, wnid in enumerate(wnids):
        leaf = row < leaves
        table[row, 0] = (float(row + 1), f"n{wnid:08d}", "tench, Tinca", "a föö", 0. if leaf else 2.,
                         np.zeros((0,)) if leaf else np.array([1., 2.]), 3., 1300.)
    return table


def devkit(path, table, ground_truth, compress=True, extra=()):
    mat = io.BytesIO()
    scipy.io.savemat(mat, {"synsets": table}, do_compression=compress)
    members = {"ILSVRC2012_devkit_t12/readme.txt": b"...", "ILSVRC2012_devkit_t12/data/meta.mat": mat.getvalue(),
               "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt":
                   ground_truth if isinstance(ground_truth, bytes) else
                   "".join(f"{number}\n" for number in ground_truth).encode()}
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


def test_devkit_ids_become_the_rank_of_the_wordnet_id(tmp_path):
    table = synsets(1000, inner=860)
    truth = [random.Random(5).randrange(1, 1001) for _ in range(500)]
    for compress in (True, False):
        targets = ilsvrc.read_targets(devkit(tmp_path / ilsvrc.DEVKIT, table, truth, compress))
        order = sorted(row["WNID"] for row in table[:1000, 0])
        assert list(targets) == image_ids(500)
        assert list(targets.values()) == [order.index(table[number - 1, 0]["WNID"]) for number in truth]
    assert ImageNetEvaluator(str(tmp_path)).targets == targets


def test_devkit_is_preferred_to_a_list_and_both_give_the_same_targets(tmp_path):
    targets = ilsvrc.read_targets(devkit(tmp_path / ilsvrc.DEVKIT, synsets(10), [3, 1, 10]))
    os.makedirs(tmp_path / "meta")
    with open(tmp_path / "meta" / "val.txt", "w") as file:
        file.writelines(f"val/{name}.JPEG {label}\n" for name, label in targets.items())
    assert ilsvrc.find_targets(tmp_path) == targets
    os.unlink(tmp_path / ilsvrc.DEVKIT)
    assert ilsvrc.find_targets(tmp_path) == targets


def test_no_labels_at_all_says_what_to_put_where(tmp_path):
    with pytest.raises(DataError, match="ILSVRC2012_devkit_t12.tar.gz"):
        ImageNetEvaluator(str(tmp_path))


@pytest.mark.parametrize("truth, words", [
    ([1, 2, 11], ":3: '11' is not the ILSVRC2012_ID of one of 10 classes"), ([0], ":1: '0'"), (b"", "is empty"),
    (b"1\n\n2\n", ":2: ''"), (b"1\nn0144\n", ":2: 'n0144'"), (b"-1\n", "'-1'"), (b"\xff\x1b[2J\n", ":1:")])
def test_a_bad_ground_truth_is_refused_with_its_line(truth, words, tmp_path):
    with pytest.raises(DataError, match=re.escape(words)) as caught:
        ilsvrc.read_targets(devkit(tmp_path / "d.tar.gz", synsets(10), truth))
    assert "\x1b" not in str(caught.value)


def test_archives_that_are_cut_foreign_or_hostile_are_refused_and_nothing_is_unpacked(tmp_path):
    good = devkit(tmp_path / "good.tar.gz", synsets(10), [1, 2]).read_bytes()
    link = tarfile.TarInfo("meta.mat")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    escape = tarfile.TarInfo("../../escaped.txt")
    assert len(ilsvrc.read_targets(devkit(tmp_path / "odd.tar.gz", synsets(10), [1, 2], extra=[link, escape]))) == 2
    assert sorted(os.listdir(tmp_path)) == ["good.tar.gz", "odd.tar.gz"]
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    bad = {"cut": good[:len(good) // 2], "flipped": good[:60] + bytes([good[60] ^ 255]) + good[61:], "zip": b"PK\3\4" * 30,
           "gzip of nothing": b"\x1f\x8b\x08", "empty": (tmp_path / "empty.tar.gz").read_bytes()}
    for name, data in bad.items():
        (tmp_path / "bad.tar.gz").write_bytes(data)
        with pytest.raises(DataError, match="bad.tar.gz"):
            ilsvrc.read_targets(tmp_path / "bad.tar.gz")


def test_a_member_of_gigabytes_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ilsvrc, "MAX_MEMBER_BYTES", 10_000)
    huge = synsets(500)
    with pytest.raises(DataError, match="this is not the devkit"):
        ilsvrc.read_targets(devkit(tmp_path / "d.tar.gz", huge, [1], compress=False))


@pytest.mark.parametrize("change, words", [
    (lambda table: table["WNID"].__setitem__((1, 0), table["WNID"][0, 0]), "WNID twice"),
    (lambda table: table["ILSVRC2012_ID"].__setitem__((1, 0), 1.), "occurs twice"),
    (lambda table: table["ILSVRC2012_ID"].__setitem__((1, 0), 1.5), "whole number"),
    (lambda table: table["ILSVRC2012_ID"].__setitem__((1, 0), np.nan), "whole number"),
    (lambda table: table["WNID"].__setitem__((0, 0), 7.), "no text"),
    (lambda table: [table["num_children"].__setitem__((row, 0), 1.) for row in range(12)], "no class"),
])
def test_a_bad_meta_mat_is_refused(change, words, tmp_path):
    table = synsets(10)
    change(table)
    with pytest.raises(DataError, match=words):
        ilsvrc.read_targets(devkit(tmp_path / "d.tar.gz", table, [1]))


@pytest.mark.parametrize("text, words", [
    ("ILSVRC2012_val_00000001.JPEG 1000\n", ":1: label '1000'"), ("a.JPEG 1\na.JPEG 2\n", ":2: a has a label already"),
    ("a.JPEG\n", ":1: no label"), ("", "is empty"), ("a.JPEG 1\n\n", ":2: blank line")])
def test_a_bad_label_list_is_refused_with_its_line(text, words, tmp_path):
    (tmp_path / "val.txt").write_text(text)
    with pytest.raises(DataError, match=re.escape(words)):
        ilsvrc.find_targets(tmp_path)


# ---- the MAT-file reader against scipy's

def same(ours, theirs):
    if isinstance(ours, list) and ours and isinstance(ours[0], dict):
        theirs = theirs.ravel(order="F")
        return len(ours) == len(theirs) and all(same(a[name], b[name]) for a, b in zip(ours, theirs) for name in a)
    if isinstance(ours, list):
        return all(map(same, ours, theirs.ravel(order="F")))
    if isinstance(ours, str):
        return ours == "".join(theirs.ravel().tolist())
    return ours.dtype == theirs.dtype and np.array_equal(ours, theirs, equal_nan=True)


@pytest.mark.parametrize("compress", [True, False])
def test_mat_variables_equal_scipys(compress):
    cell = np.empty((2, 3), object)
    cell[:] = [[1., "two", np.arange(6, dtype=np.int16).reshape(2, 3)], [np.zeros((0, 0)), "", 6.5]]
    values = {"x": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "i": np.array([[-3, 2 ** 40]], np.int64),
              "u": np.arange(5, dtype=np.uint8)[None], "text": "schöne Grüße ☃", "cell": cell, "d": np.array([[np.nan]]),
              "big": np.arange(70000.)[None], "synsets": synsets(20), "nested": {"a": {"b": "deep"}, "c": 1.}}
    file = io.BytesIO()
    scipy.io.savemat(file, values, do_compression=compress, oned_as="row")
    ours, theirs = matfile.read_mat(file.getvalue()), scipy.io.loadmat(io.BytesIO(file.getvalue()))
    assert set(ours) == set(values)
    for name, variable in ours.items():
        assert same(variable.value, theirs[name]), name


def test_mat_damage_is_always_a_data_error():
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": synsets(6), "x": np.arange(9.)})
    good, draw_ = file.getvalue(), random.Random(1)
    for cut in range(0, len(good), 41):
        check_mat(good[:cut])
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(draw_.randrange(1, 4)):
            damaged[draw_.randrange(124, len(good))] = draw_.choice((0, 1, 2, 14, 15, 127, 255, draw_.randrange(256)))
        check_mat(bytes(damaged))


def check_mat(data):
    try:
        ilsvrc.classes_by_id(matfile.read_mat(data))
    except DataError:
        pass


def test_mat_bombs_are_refused_without_the_memory(monkeypatch):
    monkeypatch.setattr(matfile, "MAX_BYTES", 1 << 20)
    file = io.BytesIO()
    scipy.io.savemat(file, {"x": np.zeros(1 << 20)}, do_compression=True)
    with pytest.raises(DataError, match="larger than"):
        matfile.read_mat(file.getvalue())
    nest = 1.
    for _ in range(30):
        nest = {"a": nest}
    file = io.BytesIO()
    scipy.io.savemat(file, {"x": nest})
    with pytest.raises(DataError, match="deep"):
        matfile.read_mat(file.getvalue())


# ---- sotabench.py on a miniature ImageNet

MODEL = '''
import numpy as np
PRESET = "sotabench"
def load(checkpoint):
    global weights
    weights = np.load(checkpoint, allow_pickle=False)["w"]
def logits(images):
    return images.mean(axis=(1, 2)) @ weights
'''


@pytest.fixture
def imagenet(tmp_path):
    """ILSVRC2012_img_val.tar with 30 JPEGs, the devkit for them, and a model; labels are what the model says, or not."""
    from PIL import Image
    rng = np.random.default_rng(3)
    table = synsets(12)
    order = sorted(row["WNID"] for row in table[:12, 0])
    number_of = {order.index(row["WNID"]): int(row["ILSVRC2012_ID"]) for row in table[:12, 0]}
    weights = rng.standard_normal((3, 12)).astype(np.float32)
    truth = []
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(1, 31):
            margin = 0
            while margin < .3:          # JPEG changes the colour a little
                colour = rng.integers(0, 256, 3)
                logits = (colour / 255. - (.485, .456, .406)) / (.229, .224, .225) @ weights
                margin = -np.subtract(*np.sort(logits)[-2:])
            data = io.BytesIO()
            Image.new("RGB", (300 + number, 260), tuple(map(int, colour))).save(data, "JPEG", quality=95)
            info = tarfile.TarInfo(f"ILSVRC2012_val_{number:08d}.JPEG")
            info.size = data.tell()
            archive.addfile(info, io.BytesIO(data.getvalue()))
            best = int(np.argmax(logits))
            truth.append(number_of[best if number % 3 else (best + 1) % 12])
    devkit(tmp_path / ilsvrc.DEVKIT, table, truth)
    (tmp_path / "model.py").write_text(MODEL)
    np.savez(tmp_path / "weights.npz", w=weights)
    return tmp_path


def sotabench_command(folder, *args, **env):
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("SOTABENCH")}, **env}
    return subprocess.run([sys.executable, os.path.join(ROOT, "sotabench.py"), "--model", str(folder / "model.py"),
                           "--checkpoint", str(folder / "weights.npz"), "--gpus", "0", "--workers", "2", *map(str, args)],
                          cwd=folder, env=env, capture_output=True, text=True, timeout=100)


def test_root_script_evaluates_the_archive_and_writes_the_result_file(imagenet):
    done = sotabench_command(imagenet, "--data", imagenet, "--batch", 7, SOTABENCH_STORE_FILENAME="sotabench_results.json")
    assert done.returncode == 0, done.stderr
    result, = json.loads((imagenet / "sotabench_results.json").read_text(encoding="utf-8"))
    assert result == json.loads(done.stdout) and result["model"] == "ResNet-50"
    assert result["results"]["Top 1 Accuracy"] == 20 / 30 and result["speed_mem_metrics"]["Tasks"] == 30


def test_root_script_on_the_server_uses_its_data_and_the_cache(imagenet):
    server = imagenet / ".data" / "vision" / "imagenet"
    server.mkdir(parents=True)
    for name in (ilsvrc.DEVKIT, "ILSVRC2012_img_val.tar"):
        os.rename(imagenet / name, server / name)
    first = sotabench_command(imagenet, "--batch", 8, SOTABENCH_SERVER="true")
    again = sotabench_command(imagenet, "--batch", 10, SOTABENCH_SERVER="true")
    assert first.returncode == again.returncode == 0, first.stderr + again.stderr
    first, second = json.loads(first.stdout), json.loads(again.stdout)
    assert "cached" in again.stderr and second["results"] == first["results"]
    assert second["speed_mem_metrics"]["Tasks"] is None


def test_a_folder_of_images_gives_the_same_and_unreadable_ones_count_as_wrong(imagenet):
    plain = json.loads(sotabench_command(imagenet, "--data", imagenet).stdout)
    with tarfile.open(imagenet / "ILSVRC2012_img_val.tar") as archive:
        archive.extractall(imagenet / "val" / "n00000000", filter="data")
    os.unlink(imagenet / "ILSVRC2012_img_val.tar")
    folder = json.loads(sotabench_command(imagenet, "--data", imagenet).stdout)
    assert folder["results"] == plain["results"] and folder["run_hash"] == plain["run_hash"]
    bad = imagenet / "val" / "n00000000" / "ILSVRC2012_val_00000001.JPEG"       # its label is right otherwise
    bad.write_bytes(bad.read_bytes()[:300])
    done = sotabench_command(imagenet, "--data", imagenet)
    assert done.returncode == 4 and "ILSVRC2012_val_00000001 (truncated)" in done.stderr
    assert json.loads(done.stdout)["results"]["Top 1 Accuracy"] == 19 / 30
    assert sotabench_command(imagenet, "--data", imagenet, "--max-bad", "0.1").returncode == 0


def test_a_short_archive_a_damaged_one_and_none_are_told(imagenet):
    path = imagenet / "ILSVRC2012_img_val.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        inside, between = archive.getmembers()[20].offset_data + 100, archive.getmembers()[20].offset
    for data, code, words in ((whole[:inside], 3, "not a whole tar archive"), (b"<html>", 3, "not a whole tar archive"),
                              (whole[:between], 4, "There are 10 missing image IDs")):
        path.write_bytes(data)
        done = sotabench_command(imagenet, "--data", imagenet)
        assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr, done.stderr
    with tarfile.open(path, "w"):
        pass
    done = sotabench_command(imagenet, "--data", imagenet)
    assert done.returncode == 4 and "There are 30 missing image IDs" in done.stderr
    os.unlink(path)
    done = sotabench_command(imagenet, "--data", imagenet)
    assert done.returncode == 3 and "neither ILSVRC2012_img_val.tar nor" in done.stderr


def test_requirements_are_the_pins_of_the_project_and_setup_installs_them(tmp_path):
    import tomllib
    with open(os.path.join(ROOT, "pyproject.toml"), "rb") as file:
        pins = tomllib.load(file)["project"]["dependencies"]
    with open(os.path.join(ROOT, "requirements.txt"), encoding="utf-8") as file:
        listed = [line.strip() for line in file if not line.startswith("#")]
    assert listed == pins
    recorder = tmp_path / "python"
    recorder.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    recorder.chmod(0o755)
    done = subprocess.run(["bash", os.path.join(ROOT, "sotabench_setup.sh")], cwd="/", capture_output=True, text=True,
                          env={**os.environ, "PYTHON": str(recorder)}, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text() == ("-m pip install --disable-pip-version-check --quiet -r requirements.txt\n"
                                                "sotabench.py --help\n")
