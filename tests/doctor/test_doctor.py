"""Every line of the doctor's, on machines as they may be: each good, wrong with what to do, or a remark."""

import errno
import json
import os
import resource
from types import SimpleNamespace

import pytest

from tests.support.driver import nvml_library
from webvision import devices
from webvision.commands import doctor as command
from webvision.doctor import gpus, host, software, storage
from webvision.doctor.findings import BAD, GOOD, NOTE, Finding, as_json, table
from webvision.errors import IncompleteError
from webvision.machine import cuda_libraries, gpu_facts, limits, nvml


def by_name(findings):
    return {finding.name: finding for finding in findings}


@pytest.fixture
def four_gpus(monkeypatch, tmp_path):
    """A machine with four GPUs and all of their libraries; returns a function that changes what the driver answers."""
    monkeypatch.setattr(gpu_facts, "open_device_files", lambda: [])
    monkeypatch.setattr(cuda_libraries, "open_libraries", lambda: [])
    monkeypatch.setattr(cuda_libraries, "search_by_name", lambda: all_libraries())

    def answer(**answers):
        folder = tmp_path / "-".join(map(str, answers.values()))
        monkeypatch.setattr(nvml, "LIBRARY", str(nvml_library(folder, **answers)))
        return by_name(gpus.look())

    return answer


def all_libraries(**errors):
    return [
        cuda_libraries.Library(name, None, errors.get(folder), needed)
        for name, folder, needed in cuda_libraries.LIBRARIES
    ]


def test_gpus_that_are_well_are_told(four_gpus):
    found = four_gpus()
    assert found["driver"] == Finding("driver", GOOD, "550.54.15, runs CUDA up to 12.4")
    assert found["gpu 3"].found == "Tesla T4, 16.0 GiB, 0.5 taken, compute capability 7.5"
    assert all(found[f"gpu {number}"].state == GOOD for number in range(4))
    peers = found["peer access"]
    assert peers.state == NOTE and peers.found.startswith("0 reads 1; 1 reads 0; 2 reads 3")


@pytest.mark.parametrize(
    "answers, name, words",
    [
        ({"cuda": 11040, "driver": "470.82.01"}, "driver", "requirements-gpu.lock are CUDA 12; install driver"),
        ({"major": 3, "minor": 7}, "gpu 0", "TensorFlow is built for 6.0 and up"),
        ({"mode": 2}, "gpu 1", "`nvidia-smi -i 1 -c 0` opens it"),
        ({"used": 16000, "holder": 1}, "gpu 2", "are taken, by process 1 ("),
    ],
)
def test_what_is_wrong_with_a_gpu_is_said_with_what_to_do(four_gpus, answers, name, words):
    finding = four_gpus(**answers)[name]
    assert finding.state == BAD and words in finding.advice


def test_a_driver_that_does_not_answer_is_wrong_and_none_is_a_remark(monkeypatch, four_gpus):
    monkeypatch.setattr(devices, "device_files", lambda: ["/dev/nvidia0"])
    monkeypatch.setattr(gpu_facts, "open_device_files", lambda: [("/dev/nvidia0", errno.EACCES), ("/dev/nvidiactl", 0)])
    found = four_gpus(init=18)
    assert found["driver"].state == BAD and "version mismatch" in found["driver"].found
    assert found["device file"].found == "/dev/nvidia0: Permission denied"
    monkeypatch.setattr(devices, "device_files", lambda: [])
    assert four_gpus(init=18) == {"gpus": Finding("gpus", NOTE, "no NVIDIA driver: everything runs on the CPU")}


def test_missing_cuda_libraries_are_named(monkeypatch, four_gpus):
    monkeypatch.setattr(cuda_libraries, "search_by_name", lambda: all_libraries(cusolver="no such file", nccl="none"))
    found = four_gpus()
    assert found["cuda libraries"].state == BAD and "libcusolver.so.11" in found["cuda libraries"].found
    assert found["nccl"].state == BAD and "several GPUs need it" in found["nccl"].advice


def test_tensorflow_is_asked_for_the_gpus_and_says_why_there_are_none(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    finding = software.tensorflow_start(64)  # more than any machine has
    assert finding.state == BAD and "of the 64 GPUs asked for" in finding.advice


def test_a_quota_below_the_cores_is_wrong(monkeypatch):
    monkeypatch.setattr(host, "cpu_cores", lambda: 64)
    monkeypatch.setattr(limits, "cpu_quota", lambda: 2.5)
    finding = by_name(host.look())["cores"]
    assert finding.state == BAD and "2.5 cores' worth" in finding.found and finding.advice.startswith("--workers 2")
    monkeypatch.setattr(limits, "cpu_quota", lambda: 64.0)
    assert by_name(host.look())["cores"].state == GOOD


@pytest.mark.parametrize("gpus_here, state", [(0, NOTE), (1, NOTE), (4, BAD)])
def test_little_shared_memory_is_wrong_where_nccl_needs_it(monkeypatch, gpus_here, state):
    small = SimpleNamespace(f_bavail=16384, f_frsize=4096, f_blocks=16384)
    monkeypatch.setattr(os, "statvfs", lambda path: small)
    finding = by_name(host.look(gpus=gpus_here))["/dev/shm"]
    assert finding.state == state and "--shm-size=8g" in finding.advice and "0.06 GiB free" in finding.found


def test_little_memory_few_files_and_a_clock_of_1970_are_wrong(monkeypatch):
    monkeypatch.setattr(limits, "memory_limit", lambda: 1 << 30)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 4096))
    monkeypatch.setattr(host.time, "time", lambda: 1000.0)
    found = by_name(host.look())
    assert found["memory"].state == BAD and "limit 1.0 GiB" in found["memory"].found
    assert found["open files"] == Finding("open files", BAD, "256 allowed", "ulimit -n 4096")
    assert found["clock"].state == BAD and found["clock"].found.startswith("1970-01-01")


def test_a_full_disk_and_one_of_another_time_are_wrong(monkeypatch, tmp_path):
    full = SimpleNamespace(f_bavail=1 << 10, f_frsize=4096, f_favail=5, f_files=10)
    monkeypatch.setattr(storage, "PROBE", 1 << 20)
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    now = storage.time.time() + 3600
    monkeypatch.setattr(storage.time, "time", lambda: now)
    found = by_name(storage.look(tmp_path / "not" / "yet" / "there"))
    assert found["disk room"].state == BAD and str(tmp_path) in found["disk room"].found
    assert found["disk speed"].found.startswith("writes ")
    assert found["disk clock"].state == BAD and "behind this machine's" in found["disk clock"].found
    full.f_favail = 0
    assert "no file more (inodes)" in by_name(storage.look(tmp_path))["disk room"].found


def test_a_folder_that_takes_no_file_is_wrong(monkeypatch, tmp_path):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(storage.tempfile, "TemporaryFile", refuse)
    finding = by_name(storage.look(tmp_path))["disk speed"]
    assert finding.state == BAD and "cannot be written to: Read-only file system" in finding.found


def test_control_groups_of_both_versions_are_read(tmp_path):
    assert limits.cpu_quota(tmp_path) is None and limits.memory_limit(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("150000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert limits.cpu_quota(tmp_path) == 1.5 and limits.memory_limit(tmp_path) is None
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    (tmp_path / "memory.max").write_text("1048576\n")
    assert limits.cpu_quota(tmp_path) == 2 and limits.memory_limit(tmp_path) == 1 << 20
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert limits.cpu_quota(tmp_path) is None


def test_the_table_and_the_json_say_the_same(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    findings = [Finding("a", GOOD, "fine"), Finding("disk", BAD, "/home/somebody/x is\x1b full", "free some")]
    assert table(findings).splitlines() == [
        "ok    a     fine",
        r"WRONG disk  /home/somebody/x is\x1b full",
        "            -> free some",
        "1 of 2 are wrong",
    ]
    told = json.loads(as_json(findings))["findings"]
    assert told[1] == {"name": "disk", "state": "bad", "found": "~/x is\x1b full", "advice": "free some"}


def test_the_command_ends_with_4_if_anything_is_wrong(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(storage, "PROBE", 1 << 20)
    monkeypatch.setattr(limits, "memory_limit", lambda: 1 << 20)
    with pytest.raises(IncompleteError, match="wrong here: .*memory") as ended:
        command.main(["--out", str(tmp_path), "--json", "--no-tensorflow"])
    names = [finding["name"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert ended.value.exit_code == 4
    assert {"python", "packages", "decoder", "cores", "/dev/shm", "open files", "clock", "disk speed"} <= set(names)


def test_the_script_runs_from_anywhere(run, tmp_path):
    done = run(
        os.path.join(os.path.dirname(command.__file__), "..", "..", "utils", "doctor.py"),
        "--no-tensorflow",
        cwd=tmp_path,
    )
    assert done.returncode in (0, 4) and "python" in done.stdout and "Traceback" not in done.stderr
