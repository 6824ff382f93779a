"""T1, C5: a loss that is no number ends the run or takes it back, and never reaches a checkpoint."""

import json

import numpy as np
import pytest

from tests.support.training_fixtures import STEPS, at
from webvision.compat import tf, tfv1
from webvision.errors import CheckpointError, DivergedError, Interrupted
from webvision.training.state.rollback import MOST, Rollbacks


def poison():
    """Put a NaN into a weight of the training that is under way."""
    variable = next(v for v in tfv1.trainable_variables() if v.op.name == "linear/W")
    variable.load(np.full(variable.shape, np.nan, "f"), tfv1.get_default_session())


def test_the_first_step_that_is_no_number_ends_the_run(train):
    with pytest.raises(DivergedError, match="step 7: the loss is nan") as end:
        train(fault=at("step", 6, poison))
    assert end.value.exit_code == 6 and end.value.step == 7
    assert train.steps() == [4], "the last finite checkpoint stays, and no other is written"


def test_weights_that_are_no_numbers_are_not_saved(train):
    with pytest.raises(DivergedError, match="step 4: a weight is NaN or infinite; not saved"):
        train(fault=at("step", 4, poison))
    assert train.steps() == []


def test_rollback_goes_back_with_a_tenth_of_the_rate_and_a_restart_keeps_it(train, tmp_path):
    train("--on-nan", "rollback", fault=at("step", 6, poison))
    assert "Going back" in train.log() and "Continuing after step 4 of 8" in train.log()
    assert json.loads((train.folder / "rollbacks.json").read_text()) == [[7, 4]]
    assert [entry["learning-rate"] for entry in json.loads((train.folder / "stats.json").read_text())] == pytest.approx(
        [0.005, 0.00005 * 0.1]
    )  # the rates of steps 4 and 8; the recipe itself falls at steps 2, 4 and 7
    went_back = train.weights()

    train.folder = tmp_path / "other"
    with pytest.raises(Interrupted):
        train("--name", "other", fault="step:4:term")
    (train.folder / "rollbacks.json").write_text("[[7, 4]]")
    train("--name", "other")
    assert train.weights() == went_back


def test_rollbacks_are_bounded_and_a_checkpoint_that_diverges_twice_is_dropped(train):
    def always_after_step_5(here):
        session = tfv1.get_default_session()
        if here == "step" and session.run(tfv1.train.get_global_step()) > 5:
            poison()

    with pytest.raises(DivergedError, match=f"went back {MOST} times already"):
        train("--on-nan", "rollback", "--save-every", "0.000001", fault=always_after_step_5)
    assert json.loads((train.folder / "rollbacks.json").read_text()) == [[6, 5], [6, 4], [6, 5]]
    assert (
        train.steps()[-1] == 5
        and "Checkpoint model-5 leads to a divergence at a lower rate too: dropped" in train.log()
    )


def test_a_damaged_record_of_rollbacks_is_no_permission_for_the_full_rate(tmp_path):
    (tmp_path / "rollbacks.json").write_text("[[7,")
    with pytest.raises(CheckpointError, match="rollbacks.json: damaged"):
        Rollbacks(tmp_path)


def test_out_of_memory_names_the_batch(train):  # T4
    def exhaust():
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[6,32,32,3]")

    from webvision.errors import ResourceError

    with pytest.raises(ResourceError, match=r"out of memory with --batch 6 over 1 tower\(s\) at 32 px \(OOM when"):
        train(fault=at("step", 2, exhaust))
    train()
    assert train.epochs() == [(1, 4), (2, STEPS)]
