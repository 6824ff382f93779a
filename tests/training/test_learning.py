"""The parts of a recipe in whole trainings: killed anywhere, on several towers, on and off."""

import json
import os

import numpy as np
import pytest

from tests.support import tiny_run
from tests.support.training_fixtures import STEPS, at
from webvision.commands import label_errors
from webvision.compat import tfv1
from webvision.errors import CheckpointError, DataError, DivergedError, UsageError
from webvision.scoring.predictions.margins_file import Margins, read_margins
from webvision.training.parts import loss_scale

ROWS = 21
ALL = [
    *("--recipe", "web", "--balance", "sqrt"),
    *("--set", "mixup=0.4", "--set", "neighbours=0.5", "--set", "neighbours_queue=12", "--set", "neighbours_count=3"),
    *("--set", "early_learning=1", "--set", "sam=0.05", "--set", "label_smoothing=0.1", "--set", "clip=5"),
    *("--set", "accumulate=2", "--set", "neighbours_after=0"),
]


class Killed(Exception):
    """Stands for the end of the process."""


def die():
    raise Killed


def read(prefix):
    reader = tfv1.train.NewCheckpointReader(str(prefix))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.fixture(scope="module")
def everything(tiny_data, tmp_path_factory):
    """A finished training with every part on."""
    from tests.support.training_fixtures import Trainings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        done = Trainings(tiny_data, tmp_path_factory.mktemp("everything"), patch)
        done(*ALL)
    return done


def margins_file(run):
    return run.folder / f"model-{STEPS}.margins.npz"


def test_every_part_keeps_its_state_in_the_checkpoint(everything):
    found = read(everything.folder / f"model-{STEPS}")
    assert found["neighbours/features"].dtype == np.float16 and (found["neighbours/rows"] >= 0).all()
    assert np.abs(found["early_learning/targets"]).sum() > 1
    assert np.abs(found["average/linear/W"] - found["linear/W"]).max() > 0
    assert "average/conv/bn/mean/EMA" in found and "linear/W/Accumulated" in found
    margins = read_margins(margins_file(everything), ROWS)
    assert 0 < margins.counts.sum() < STEPS * 6, "pictures that were mixed do not count"
    stats = everything.stats()[-1]
    assert {"average-val-error-top1", "val-error-top1"} <= stats.keys()
    manifest = json.loads((everything.folder / f"model-{STEPS}.json").read_text())
    assert margins_file(everything).name in manifest["files"]


@pytest.mark.parametrize(
    "point, number",
    [("step", 1), ("step", 3), ("step", 7), ("save", 2), ("save-data", 1), ("save-manifest", 2), ("validate", 1)],
)
def test_killed_anywhere_and_continued_every_byte_is_the_same(train, everything, point, number):
    with pytest.raises(Killed):
        train(*ALL, "--save-every", "0.000001", fault=at(point, number, die))
    train(*ALL)
    assert train.weights() == everything.weights()
    assert margins_file(train).read_bytes() == margins_file(everything).read_bytes()


def test_two_and_three_towers_learn_the_same(train, tmp_path):
    # Without batch norm, whose statistics are a tower's own, and SAM, which is a tower's own by design.
    flags = [flag if flag != "sam=0.05" else "sam=0" for flag in ALL] + ["--mode", "preact", "--batch", "12"]
    found = []
    for towers in (1, 2, 3):
        train.folder = tmp_path / f"run{towers}"
        train(*flags, "--towers", towers, "--name", train.folder.name)
        found.append(
            (
                read(train.folder / f"model-{STEPS // 2}"),
                read_margins(train.folder / f"model-{STEPS // 2}.margins.npz", ROWS),
            )
        )
    one, first = found[0]
    for many, margins in found[1:]:
        assert one.keys() == many.keys() and (margins.counts == first.counts).all()
        np.testing.assert_allclose(margins.sums, first.sums, atol=1e-4)
        for name in one:
            if one[name].dtype.kind == "f":
                np.testing.assert_allclose(
                    many[name], one[name], atol=2e-3 if one[name].dtype == np.float16 else 1e-5, err_msg=name
                )
        assert (many["neighbours/rows"] == one["neighbours/rows"]).all()


def test_margins_count_every_unmixed_visit_at_the_row_of_the_picture_shown(train):
    train("--recipe", "web")
    margins = read_margins(train.folder / f"model-{STEPS}.margins.npz", ROWS)
    assert margins.counts.sum() == STEPS * 6 and set(margins.counts.tolist()) <= {2, 3}, "48 visits to 21 rows"


def test_a_part_that_is_on_changes_the_weights_and_one_that_is_off_does_not(train, undisturbed, tmp_path):
    for name, value, differs in (
        ("mixup", 0.4, True),
        ("label_smoothing", 0.1, True),
        ("margins", "true", False),
        ("averages", 0.01, False),
    ):
        train.folder = tmp_path / name
        train("--set", f"{name}={value}", "--name", name)
        before, after = read(undisturbed.folder / f"model-{STEPS}"), read(train.folder / f"model-{STEPS}")
        assert (after["linear/W"] != before["linear/W"]).any() == differs, name
        assert before.keys() - after.keys() == set()


def test_web_harms_nothing_where_classes_are_equally_often_shown(train, undisturbed):
    train("--recipe", "web", "--balance", "upsample")
    card, web = read(undisturbed.folder / f"model-{STEPS}"), read(train.folder / f"model-{STEPS}")
    assert all((web[name] == value).all() for name, value in card.items() if name != "webvision/card")
    assert {name.removeprefix("average/") for name in web.keys() - card.keys()} <= card.keys()


def test_another_recipe_does_not_continue_a_run(train, undisturbed):
    train("--epochs", "1")
    with pytest.raises(CheckpointError, match="recipe.mixup: was 0.0, is 0.2"):
        train("--set", "mixup=0.2")
    with pytest.raises(CheckpointError, match="recipe.view.flip: was true, is false"):
        train("--set", "view.flip=false")
    train("--set", "milestones=50,60")
    assert "Changed since the run began: recipe.milestones" in train.log()


def test_pairs_that_would_be_torn_apart_are_refused(train):
    with pytest.raises(UsageError, match="gives each an odd number"):
        train("--set", "mixup=0.2", "--towers", "2")
    assert not os.path.exists(train.folder)


def test_evaluation_takes_the_averages_where_they_are_better(train, everything, tmp_path, capsys):
    def predict(*flags, run=everything):
        flags = ["--eval", "--load", str(run.folder), "--out", str(tmp_path / "p.json"), *flags]
        tiny_run.main([*flags, "--data", str(run.data), "--image-size", "32", "--workers", "0"])
        said = "averaged weights" in capsys.readouterr().err
        return said, (tmp_path / "p.json").read_text()

    averages, last = predict("--averaged", "yes"), predict("--averaged", "no")
    assert averages[0] and not last[0] and averages[1] != last[1]
    stats = everything.folder / "stats.json"
    kept, name = stats.read_text(), "val-balanced-error-top1"
    try:
        for errors, expected in (
            ({name: 0.5, f"average-{name}": 0.1}, averages),
            ({name: 0.1, f"average-{name}": 0.5}, last),
        ):
            stats.write_text(json.dumps([{"global_step": STEPS, **errors}]))
            assert predict() == expected
    finally:
        stats.write_text(kept)
    train()
    with pytest.raises(CheckpointError, match="kept no averages"):
        predict("--averaged", "yes", run=train)


def test_an_overflow_leaves_the_step_out_and_halves_the_scale(train, monkeypatch):
    seen, real = [], loss_scale.after_step
    # After the second step the scale becomes one that overflows float16, as if it had been doubled too often.
    monkeypatch.setattr(
        loss_scale, "after_step", lambda *state, **how: (2.0**40, 0) if len(seen) == 2 else real(*state, **how)
    )

    def look(here):
        if here == "step":
            session = tfv1.get_default_session()
            seen.append(session.run({v.op.name: v for v in tfv1.trainable_variables()}))

    train("--fp16", "--epochs", "1", fault=look)
    same = [all((a[name] == b[name]).all() for name in a) for a, b in zip(seen, seen[1:])]
    assert same == [False, True, True] and "Step 3 overflowed at a loss scale of 1.09951e+12: left out" in train.log()
    state = read(train.folder / "model-4")
    assert (state["loss_scale"], state["loss_scale_calm"]) == (2.0**38, 0)
    monkeypatch.undo()
    with pytest.raises(DivergedError, match="overflow at every loss scale"):
        monkeypatch.setattr(loss_scale, "after_step", lambda *_, **how: (0.5, 0))
        monkeypatch.setattr(loss_scale.LossScale, "_after_run", lambda self, *_: setattr(self, "_finite", False))
        train("--fp16", "--epochs", "2")


def test_the_loss_scale_doubles_after_a_calm_and_halves_with_an_overflow():
    state = (128.0, 0)
    for _ in range(loss_scale.CALM - 1):
        state = loss_scale.after_step(*state, overflowed=False)
    assert state == (128.0, loss_scale.CALM - 1)
    assert loss_scale.after_step(*state, overflowed=False) == (256.0, 0)
    assert loss_scale.after_step(*state, overflowed=True) == (64.0, 0)
    assert loss_scale.after_step(loss_scale.LARGEST, loss_scale.CALM, overflowed=False) == (loss_scale.LARGEST, 0)


def test_margins_become_a_list_and_weights_and_those_another_training(train, tmp_path, capsys):
    train("--recipe", "web")
    csv, cleaned, weights = tmp_path / "s.csv", tmp_path / "cleaned.txt", tmp_path / "weights.npy"
    path = train.folder / f"model-{STEPS}.margins.npz"
    margins = Margins(ROWS)
    margins.counts[:], margins.sums[:] = 2, np.where(np.arange(ROWS) % 5 == 0, -4, 4) - np.arange(ROWS) / 10
    margins.save(path)
    label_errors.main(
        [str(train.folder), "--data", str(train.data), "--out", str(csv), "--write-list", str(cleaned)]
        + ["--write-weights", str(weights)]
    )
    assert "5 of 21 labels are probably wrong" in capsys.readouterr().out
    lines = csv.read_text().splitlines()
    assert lines[0] == "rank,line,name,label,class,margin,visits" and len(lines) == 6
    assert lines[1].startswith("1,21,n03790512/2.jpg,2,n03790512,-3.0,2") and lines[5].startswith("5,1,n01440764/0.jpg")
    original = (train.data / "meta" / "train.txt").read_text().splitlines()
    assert cleaned.read_text().splitlines() == [line for row, line in enumerate(original) if row % 5]
    assert np.load(weights).tolist() == [float(row % 5 > 0) for row in range(ROWS)]
    train("--recipe", "web", "--weights", weights, "--name", "second")
    second = read(tmp_path / "second" / f"model-{STEPS}")
    assert (second["linear/W"] != read(train.folder / f"model-{STEPS}")["linear/W"]).any()
    with pytest.raises(CheckpointError, match="weights_sha256: was"):
        train("--recipe", "web", "--name", "second")
    np.save(weights, np.ones(ROWS, np.float32))
    train("--recipe", "web", "--weights", weights, "--name", "ones")
    ones, plain = (read(tmp_path / name / f"model-{STEPS}") for name in ("ones", "run"))
    assert (ones["linear/W"] == plain["linear/W"]).all(), "equal weights are none"
    np.save(weights, np.ones(ROWS + 1))
    with pytest.raises(DataError, match="the list has 21 rows"):
        train("--recipe", "web", "--weights", weights, "--name", "other")


def test_a_run_without_margins_or_of_another_list_names_no_label_errors(train, undisturbed, tmp_path):
    with pytest.raises(DataError, match="no margins here; train with --recipe web"):
        label_errors.main([str(undisturbed.folder), "--data", str(undisturbed.data)])
    train("--set", "margins=true")
    description = json.loads((train.folder / "run.json").read_text())
    (train.folder / "run.json").write_text(json.dumps(description | {"list_sha256": "of another"}))
    with pytest.raises(DataError, match="trained on another list"):
        label_errors.main([str(train.folder / f"model-{STEPS}"), "--data", str(train.data)])
