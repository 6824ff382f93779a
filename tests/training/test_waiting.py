"""The share of time that training says it waited for data."""

import time

import numpy as np
import pytest

from tests.training.test_trainer import BATCH, SIZE, Linear
from webvision.compat import tf, tfv1
from webvision.data.loader import pool
from webvision.devices import Devices
from webvision.model.forward import Arithmetic
from webvision.model.session import session_config
from webvision.training import callbacks
from webvision.training.callbacks import LearningRate, StepWatch, waited
from webvision.training.graph.input import QUEUED_BATCHES, TotalBatchInput, staged
from webvision.training.graph.objective import Classifier
from webvision.training.graph.trainer import ReplicatedTrainer, SessionCreator
from webvision.training.job import Watching
from webvision.training.recipes import Recipe

from tensorpack.dataflow import DataFlow
from tensorpack.tfutils.sessinit import JustCurrentSession

STEPS = 30


def test_a_step_waits_from_its_start_for_its_own_batch():
    assert waited(10.0, 14.0, 20.0) == 4
    assert waited(10.0, 9.0, 20.0) == 0


def test_a_step_that_fetches_the_next_batch_waits_only_once_it_has_computed():
    assert waited(10.0, 14.0, 20.0, computed=19.0) == 0, "the batch came while the step computed"
    assert waited(10.0, 14.0, 14.5, computed=12.0) == 2
    assert waited(10.0, 9.0, 20.0, computed=19.0) == 0


def test_a_clock_that_is_set_makes_no_step_wait_longer_than_it_took():
    assert waited(10.0, 4000.0, 20.0) == 10
    assert waited(10.0, 14.0, 20.0, computed=-3000.0) == 4


class Noting(DataFlow):
    """Batches, and when each was handed over."""

    def __init__(self):
        self.handed = []

    def __iter__(self):
        while True:
            self.handed.append(time.time())
            yield [np.zeros((BATCH, SIZE, SIZE, 3), np.uint8), np.zeros(BATCH, np.int32)]


@pytest.mark.parametrize("towers, ahead", [(1, False), (2, False), (1, True), (2, True)])
def test_the_times_of_a_step_are_of_the_batch_that_it_takes_from_the_queue(monkeypatch, towers, ahead):
    """With staging, as GPUs have it, that is the next step's."""
    devices = Devices(count=towers, like_gpus=ahead)
    times = []
    monkeypatch.setattr(callbacks, "waited", lambda *args, **kwargs: times.append((*args, kwargs["computed"])) or 0.0)
    flow = Noting()
    with tf.Graph().as_default():
        model = Classifier(Linear(), Arithmetic())
        batches, trainer = TotalBatchInput(flow, towers), ReplicatedTrainer(devices)
        trainer.setup_graph(
            model.get_input_signature(), staged(batches, devices), model.build_graph, model.get_optimizer
        )
        watch = StepWatch(
            BATCH, batches.arrived_at, watching=Watching(log_every=STEPS + 1), events=None, staged=devices.staged
        )
        trainer.train(
            [watch, LearningRate(Recipe(batch=BATCH))],
            [],
            SessionCreator(devices, one_thread(devices)),
            JustCurrentSession(),
            STEPS,
            1,
            1,
        )
    assert len(times) == STEPS
    for step, (started, arrived, ended, computed) in enumerate(times):
        assert flow.handed[step + ahead] <= arrived <= ended + 1e-3
        if ahead:
            assert started <= computed <= ended + 1e-3
        else:
            assert computed is None and started <= arrived + 1e-3


def one_thread(devices):
    """A session that runs one operation at a time: one that waits for another waits for ever."""
    config = session_config(devices)
    config.inter_op_parallelism_threads, config.use_per_session_threads = 1, True
    return config


def test_a_gpus_step_has_been_computed_when_its_update_is_done():
    order = []
    with tf.Graph().as_default(), tfv1.Session() as session:
        update = tf.numpy_function(lambda: order.append(time.time()) or np.int64(0), [], tf.int64)
        computed, _ = session.run(callbacks._time_after(tf.group(update), [tf.constant(1.0)]))
    assert order[0] <= computed + 1e-3


def test_an_epoch_says_which_share_of_it_was_waiting(train, monkeypatch):
    monkeypatch.setattr(callbacks, "waited", lambda started, arrived, ended, **_: (ended - started) / 2)
    train()
    shares = [entry["data-wait-share"] for entry in train.stats()]
    assert len(shares) == 2 and all(0 < share < 0.5 for share in shares)


def test_no_batch_is_copied_for_want_of_room_while_the_queue_is_full():
    queued, wanting_in, staged_next, computed_on = QUEUED_BATCHES, 1, 1, 1
    assert pool.LEASES >= queued + wanting_in + staged_next + computed_on
