"""The failures measured of the upstream system (faults.md, part 1), and the test that shows each of them impossible
here.

A table of where to look, checked for being true; the cases that had no test of their own stand below.
"""

import ast
import os
import resource
import struct
import subprocess
import sys
import zlib

import pytest

from tests.support.data_set import ROOT
from tests.support.loader_fixtures import jpeg, make_tree, parts, picture, take
from webvision.data.data_set import Split
from webvision.data.lists.index import open_index
from webvision.data.loader.batches import EvalBatches, TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import REASONS
from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import PRESETS

# What happened upstream -> file::test of ours, several where the failure had several parts
SHOWN_BY = {
    "1 one zero-byte image in the --eval list: hang for ever": [
        "test_upstream_failures.py::test_1_an_empty_picture_keeps_its_row_and_evaluation_ends"
    ],
    "2 a loader process is killed: hang, or training on the rest": [
        "loader/test_ring.py::test_killed_workers_lose_and_repeat_nothing",
        "loader/test_ring.py::test_a_stopped_worker_is_noticed_within_ten_seconds",
    ],
    "3 the main process is killed: orphans": ["loader/test_ring.py::test_no_worker_outlives_a_killed_parent"],
    "4 a script that only reads data never exits": [
        "loader/test_ring.py::test_a_program_that_forgets_to_close_exits_at_once"
    ],
    "5 a byte that is no UTF-8 in a file name: segfault": [
        "test_upstream_failures.py::test_5_a_name_that_is_no_utf8_is_a_name",
        "pictures/test_images.py::test_files_that_are_none",
    ],
    "6 a JPEG cut in half is a picture, partly grey": [
        "pictures/test_bad_pictures.py::test_one_verdict_in_check_train_and_eval"
    ],
    "7 a 31 KB PNG of 16000 x 16000 takes 1.5 GB": [
        "test_upstream_failures.py::test_7_a_small_file_of_many_pixels_takes_no_memory",
        "pictures/test_images.py::test_bombs_are_refused_by_their_header",
    ],
    "8 killed in the first validation: no restart ever": [
        "training/test_training.py::test_a_run_killed_everywhere_ends_in_the_same_weights"
    ],
    "9 killed in a later validation: an epoch twice": [
        "training/test_training.py::test_a_run_killed_everywhere_ends_in_the_same_weights"
    ],
    "10 the loss becomes NaN: exit code 0": [
        "training/test_divergence.py::test_the_first_step_that_is_no_number_ends_the_run",
        "training/test_divergence.py::test_weights_that_are_no_numbers_are_not_saved",
    ],
    "11 the disk is full: exit code 0, no checkpoint": [
        "training/test_checkpoints.py::test_a_disk_that_stays_full_ends_the_run_and_the_same_command_continues"
    ],
    "12 SIGTERM or SIGINT: nothing is saved": [
        "training/test_stopping.py::test_a_signal_at_any_stage_leaves_what_the_same_command_continues"
    ],
    "13 --load of a file that fits nothing evaluates random weights": [
        "model/test_weights.py::test_what_does_not_fit_is_refused_and_counted"
    ],
    "14 another user's code runs through the loader's socket": [
        "loader/test_ring.py::test_no_socket_no_name_and_nothing_inherited",
        "test_upstream_failures.py::test_14_a_running_loader_listens_nowhere",
        "test_imports.py::test_nothing_unpickles_evaluates_or_starts_a_shell",
    ],
    "preprocess.py run twice: a list of 0 lines": ["prep/test_arrange.py::test_p1_run_twice_changes_nothing"],
    "equal short names of two sources: one overwrites the other": [
        "prep/test_arrange.py::test_p2_equal_base_names_all_survive"
    ],
    "a class folder is there already: the rest is dropped, rc 0": [
        "prep/test_arrange.py::test_p3_class_folders_exist_and_half_the_files_are_moved"
    ],
    "fewer than 200 rows: ZeroDivisionError": ["prep/test_arrange.py::test_p6_one_row_one_class"],
    "download.sh removes an archive that did not unpack": [
        "prep/test_download_command.py::test_one_bad_archive_does_not_stop_the_others",
        "prep/test_unpack.py::test_x1_good_members_are_kept_and_the_archive_stays",
    ],
    "503: no retry, an empty file": ["prep/test_fetch.py::test_d1_a_server_in_trouble_is_asked_again"],
    "cut without a length: rc 0": [
        "prep/test_fetch.py::test_d4_no_length_and_an_early_close_is_noticed_by_the_missing_end_mark"
    ],
    "200 with a web page: rc 0": ["prep/test_fetch.py::test_d5_a_web_page_is_refused"],
    "a longer local file: rc 0, wrong file kept": ["prep/test_fetch.py::test_d4_a_longer_local_file_is_not_kept"],
    "a wrong size is 'Succesfully downloaded'": ["prep/test_fetch.py::test_d4_wrong_length_and_a_cut_chunked_body"],
    "184 bytes a row, again in every worker": [
        "lists/test_index.py::test_processes_that_start_together_build_once_and_agree",
        "prep/test_arrange.py::test_memory_is_an_index_not_the_rows",
    ],
    "--eval keeps all logits as lists": ["scoring/test_predictions.py::test_memory_does_not_grow_with_the_rows"],
    "rows out of list order, paired by position": [
        "loader/test_loader.py::test_eval_keeps_list_order_and_the_short_last_batch",
        "test_commands.py::test_the_prediction_file_does_not_depend_on_workers_and_its_ids_not_on_towers",
    ],
}


@pytest.mark.parametrize("failure", SHOWN_BY)
def test_each_failure_has_its_test(failure):
    for place in SHOWN_BY[failure]:
        name, function = place.split("::")
        with open(os.path.join(ROOT, "tests", name), encoding="utf-8") as file:
            assert function in {
                node.name for node in ast.parse(file.read()).body if isinstance(node, ast.FunctionDef)
            }, place


def test_the_fourteen_are_all_in_the_table():
    assert [failure.split()[0] for failure in list(SHOWN_BY)[:14]] == [str(number) for number in range(1, 15)]


SCRIPT = """
import sys
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.folder import PictureFolder
from webvision.data.data_set import Split
from webvision.data.loader.batches import EvalBatches
from webvision.data.pictures.images import REASONS
from webvision.data.data_set import Split
from webvision.data.lists.index import open_index
from webvision.data.views.presets import PRESETS
index = open_index(sys.argv[1] + "/list.txt", 3)
split, spec = Split(index, PictureFolder(sys.argv[1])), BatchSpec(PRESETS["webvision"].scaled(32), 2)
for batch in EvalBatches(split, spec, workers=int(sys.argv[2])):
    for row, status in zip(batch.rows, batch.status):
        print(ascii(index.name(row)), REASONS[status])
"""


def evaluate(folder, workers):
    """Lines of a script of its own: a crash or a hang there is seen here."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(workers)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("workers", [0, 2])
def test_1_an_empty_picture_keeps_its_row_and_evaluation_ends(tmp_path, workers):
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(b"" if number == 2 else jpeg(picture(number)))
    (tmp_path / "list.txt").write_text("".join(f"{number}.jpg 1\n" for number in range(5)))
    assert evaluate(tmp_path, workers) == [f"'{number}.jpg' {'empty' if number == 2 else 'ok'}" for number in range(5)]


@pytest.mark.parametrize("workers", [0, 2])
def test_5_a_name_that_is_no_utf8_is_a_name(tmp_path, workers):
    names = [b"caf\xe9.jpg", b"\xff\xfe.jpg", b"[a]*?.jpg", "\u4e2d.jpg".encode()]
    for number, name in enumerate(names):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(jpeg(picture(number)))
    (tmp_path / "list.txt").write_bytes(b"".join(name + b" 1\n" for name in names))
    assert evaluate(tmp_path, workers) == [f"{ascii(os.fsdecode(name))} ok" for name in names]


def test_7_a_small_file_of_many_pixels_takes_no_memory(tmp_path):
    side, compress = 16000, zlib.compressobj(9)
    body = b"".join(compress.compress(bytes(1 + side // 8)) for _ in range(side)) + compress.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", body), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    assert len(bomb) < 40_000
    (tmp_path / "0.jpg").write_bytes(bomb)
    (tmp_path / "list.txt").write_text("0.jpg 1\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (batch,) = EvalBatches(
        Split(open_index(tmp_path / "list.txt", 3), PictureFolder(tmp_path)),
        BatchSpec(PRESETS["webvision"].scaled(32), 2),
    )
    assert REASONS[batch.status[0]] == "too-many-pixels"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes; decoded it takes 768 MB"


def sockets(pid):
    """Inodes of the sockets that a process holds."""
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
        except FileNotFoundError:
            pass
    return {name for name in found if name.startswith("socket:")}


def test_14_a_running_loader_listens_nowhere(tmp_path):
    tree = make_tree(tmp_path)
    before = sockets("self")
    loader = TrainBatches(*parts(tree), BatchSpec(Augmentation(image_size=32), 8), workers=2)
    try:
        batches, _ = take(loader, 2)
        assert len(batches) == 2
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
            listening = {f"socket:[{line.split()[6]}]" for line in file.readlines()[1:]}
        pids = loader._source.pids
        assert len(pids) == 2 and not any(sockets(pid) for pid in pids)
        assert not (sockets("self") - before) & listening
    finally:
        loader.close()
