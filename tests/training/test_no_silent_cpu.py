"""Who asked for a GPU computes on it, or is told at once why not: nothing goes on on the CPU without a word."""

import os

import numpy as np
import pytest

from tests.support.driver import nvml_library
from webvision import devices
from webvision.commands import evaluate, step
from webvision.compat import tf, tfv1
from webvision.devices import Devices
from webvision.errors import ResourceError, UsageError, WebvisionError
from webvision.machine import nvml
from webvision.model import session
from webvision.model.backbones import Network
from webvision.model.forward import Arithmetic, Forward
from webvision.model.session import open_session, require_gpus
from webvision.model.towers import PredictionTowers
from webvision.training import attempt
from webvision.training.graph.memory import shortage_told
from webvision.training.graph.placed import PlacementCheck

ON_GPU = Devices(on_gpu=True)


@pytest.fixture
def device_file(monkeypatch):
    """A machine where a driver made a device file, and no CUDA works."""
    monkeypatch.setattr(devices, "installed_gpus", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # restored, whatever the command sets


def refused(command):
    with pytest.raises(WebvisionError) as refusal:
        command()
    text = str(refusal.value)
    assert refusal.value.exit_code in (2, 7) and "\n" not in text
    assert "TensorFlow does not offer the GPU asked for: " in text and text.endswith("--gpu -1 computes on the CPU")


def test_training_measuring_and_evaluating_end_where_tensorflow_has_no_gpu(device_file, train):
    refused(lambda: train("--gpu", "0"))
    refused(lambda: train())  # all that are there are asked for
    refused(lambda: step.main(["--gpu", "0"]))
    assert not train.folder.exists(), "nothing was begun"
    train("--gpu", "-1", "--epochs", "1")
    assert train.steps() == [4], "the CPU is there for whom asks for it"
    out = str(train.out / "predictions.json")
    flags = ["--data", str(train.data), "--load", str(train.folder), "--out", out, "--workers", "0"]
    refused(lambda: evaluate.main([*flags, "--gpu", "0"]))
    assert not os.path.exists(out)
    assert train.steps() == [4]


def test_a_session_without_its_gpus_is_refused():
    refused(lambda: open_session(ON_GPU))
    refused(lambda: require_gpus(1))
    require_gpus(0)
    open_session(Devices()).close()


def test_what_tensorflow_says_when_it_cannot_start_a_gpu_is_told(monkeypatch):
    def full(**_):
        raise tf.errors.InternalError(
            None, None, "CUDA runtime implicit initialization failed. Status: out of memory\nx"
        )

    monkeypatch.setattr(session.tfv1, "Session", full)
    monkeypatch.setattr(session.gpu_facts, "gather", lambda asked, offered, **told: told)
    monkeypatch.setattr(session.why_no_gpu, "explain", lambda told: UsageError(told["session_error"]))
    with pytest.raises(UsageError, match="^CUDA runtime implicit initialization failed. Status: out of memory$"):
        open_session(ON_GPU)
    with pytest.raises(tf.errors.InternalError):
        open_session(Devices())


def test_a_step_that_soft_placement_moved_ends_the_run_before_anything_is_saved(train, monkeypatch):
    monkeypatch.setattr(attempt, "PlacementCheck", lambda devices: PlacementCheck(ON_GPU))
    with pytest.raises(
        UsageError, match=r"\d+ operations of this run for GPUs are computed elsewhere, the first: \w+ "
    ):
        train()
    assert train.steps() == []


def test_predictions_that_soft_placement_moved_are_refused_at_the_first_batch():
    network = Network("resnet18", 3, 32)
    with tf.Graph().as_default():
        towers = PredictionTowers(Forward(network, Arithmetic()), ["/gpu:0"])
        images = np.zeros([2, 32, 32, 3], np.uint8)
        with tfv1.Session(config=session.session_config(Devices())) as here:
            here.run(tfv1.global_variables_initializer())
            frozen = towers.frozen(here)
            with tfv1.Session(graph=frozen.graph, config=session.session_config(Devices())) as there:
                for which, where in ((towers, here), (frozen, there)):
                    with pytest.raises(UsageError, match="of this run for GPUs are computed elsewhere"):
                        which.run(where, images, ("top",))


def test_memory_that_runs_out_is_told_with_who_else_holds_it(monkeypatch, tmp_path):
    monkeypatch.setattr(nvml, "LIBRARY", str(nvml_library(tmp_path, count=2, holder=os.getppid())))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")

    def exhaust():
        with shortage_told(Network("resnet18", 3, 32), 4096, ON_GPU):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor\nhint")

    with pytest.raises(ResourceError) as shortage:
        exhaust()
    told = str(shortage.value)
    assert "out of memory with --batch 4096 over 1 tower(s) at 32 px (OOM when allocating tensor)" in told
    assert f"On GPU 1 there is also process {os.getppid()} (" in told and "GPU 0" not in told
    assert "5.0 GiB" in told and shortage.value.exit_code == 7
