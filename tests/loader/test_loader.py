"""The loader's promises: exactly once, the same bytes whoever builds them, resume anywhere."""

import os

import numpy as np
import pytest

from tests.support.loader_fixtures import make_tree, parts, take
from webvision.data.data_set import Split
from webvision.data.lists.index import open_index
from webvision.data.loader.batches import EvalBatches, TrainBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import REASONS, ImagePolicy
from webvision.data.views.augment import Augmentation
from webvision.data.views.presets import PRESETS
from webvision.errors import IncompleteError, UsageError

SMALL = Augmentation(image_size=32)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tree"))


def train(tree, balance="none", seed=7, view=SMALL, **options):
    spec = BatchSpec(view, options.pop("batch", 8), ("images", "labels", *options.pop("fed", ())))
    return TrainBatches(*parts(tree, balance, seed), spec, **options)


def rows_of(batches):
    return np.concatenate([batch.rows for batch in batches])


@pytest.mark.parametrize("balance", ["none", "upsample"])
@pytest.mark.parametrize("batch", [1, 8, 64])
def test_every_entry_once_an_epoch_with_no_remainder(tree, balance, batch):
    """A batch larger than the epoch spans several epochs, and each is still whole (W5)."""
    loader = train(tree, balance, batch=batch)
    rows = loader.rows(0, 3 * loader.samples)
    index = parts(tree, balance)[0].index
    for epoch in range(3):
        seen = np.bincount(rows[epoch * loader.samples : (epoch + 1) * loader.samples], minlength=len(index))
        assert seen.min() >= 1
        assert (np.bincount(index.labels, weights=seen) == np.full(5, seen.sum() / 5)).all() or balance == "none"
        if balance == "none":
            assert seen.max() == 1
    taken, _ = take(loader, 3)
    assert (rows_of(taken) == loader.rows(0, 3 * batch)).all()


@pytest.mark.parametrize("balance", ["none", "upsample"])
def test_same_bytes_from_any_number_of_workers(tree, balance):
    batches = 15  # over two epochs of the unbalanced list
    expected, reference = take(train(tree, balance), batches)
    if balance == "none":
        assert sorted(rows_of(expected)[:53]) == list(range(53))
    for options in ({"workers": 1}, {"workers": 3}, {"workers": 8}):
        loader = train(tree, balance, **options)
        taken, digest = take(loader, batches)
        loader.close()
        assert digest == reference, options
        assert (taken[3].labels == parts(tree)[0].index.labels[taken[3].rows]).all()


def test_ranks_share_the_run_without_overlap(tree):
    whole, _ = take(train(tree), 8)
    for ranks in (2, 4):
        for rank in range(ranks):
            part, _ = take(train(tree, rank=rank, ranks=ranks), 8 // ranks)
            for mine, theirs in zip(part, whole[rank::ranks], strict=True):
                assert (mine.images == theirs.images).all() and (mine.rows == theirs.rows).all()


def test_pictures_do_not_depend_on_the_batch_size(tree):
    small, _ = take(train(tree, batch=4), 6)
    large, _ = take(train(tree, batch=12), 2)
    assert (np.concatenate([b.images for b in small]) == np.concatenate([b.images for b in large])).all()


@pytest.mark.parametrize("stopped_after", [0, 3, 7, 14])
def test_resume_at_any_batch_gives_the_same_rest(tree, stopped_after):
    loader = train(tree, "upsample")
    whole, _ = take(loader, 17)
    rest, _ = take(train(tree, "upsample", start=stopped_after * 8, workers=1), 17 - stopped_after)
    for mine, theirs in zip(rest, whole[stopped_after:], strict=True):
        assert (mine.images == theirs.images).all() and (mine.rows == theirs.rows).all()


def test_a_root_in_bytes_and_numbers_of_numpy_are_taken(tree):
    expected = take(train(tree, start=8), 4)[1]
    eight, two = np.int64(8), np.int32(2)
    for workers in (0, two):
        split, order = parts(tree)
        split = Split(split.index, PictureFolder(os.fsencode(tree / "train")))
        loader = TrainBatches(
            split, order, BatchSpec(SMALL, eight), start=eight, rank=np.int64(0), ranks=np.int64(1), workers=workers
        )
        assert take(loader, 4)[1] == expected
        loader.close()


def test_seeds_and_epochs_differ(tree):
    one, _ = take(train(tree, seed=1), 7)
    two, _ = take(train(tree, seed=2), 7)
    assert not (rows_of(one) == rows_of(two)).all()
    assert not (one[0].images == one[-1].images).all()


def test_eval_keeps_list_order_and_the_short_last_batch(tree):
    preset = PRESETS["webvision"].scaled(32)
    index = parts(tree)[0].index
    expected = None
    for options in ({}, {"workers": 2}, {"workers": 3}):
        loader = EvalBatches(Split(index, PictureFolder(tree / "train")), BatchSpec(preset, 10), **options)
        assert len(loader) == 6 and loader.samples == 53
        for _ in range(2):  # a loader can be walked again
            taken, digest = take(loader, 100)
            assert [len(batch.images) for batch in taken] == [10] * 5 + [3]
            assert (rows_of(taken) == np.arange(53)).all()
            assert (np.concatenate([b.labels for b in taken]) == index.labels).all()
            expected = expected or digest
            assert digest == expected
        loader.close()
    some = EvalBatches(
        Split(index, PictureFolder(tree / "train")), BatchSpec(preset, 4), rows=np.array([50, 2, 2, 9, 17])
    )
    assert rows_of(take(some, 9)[0]).tolist() == [50, 2, 2, 9, 17]


def test_a_val_set_sorted_into_class_folders(tree):
    """dir_structure 'train': the index says where pictures lie, their names stay the list's."""
    index = parts(tree)[0].index
    index.class_folders = [f"c{label}" for label in range(5)]
    (tree / "meta" / "flat.txt").write_text(
        "".join(f"{name.split('/')[1]} {label}\n" for name, label in index.entries())
    )
    flat = open_index(tree / "meta" / "flat.txt", 5)
    flat.class_folders = index.class_folders
    loader = EvalBatches(Split(flat, PictureFolder(tree / "train")), BatchSpec(PRESETS["webvision"].scaled(32), 20))
    batches, _ = take(loader, 9)
    assert loader.bad.count == 0 and len(rows_of(batches)) == 53


def test_a_consumer_may_keep_every_batch(tree):
    """More batches than the ring has slots: they are copied for it, and none is written over."""
    loader = train(tree, workers=1)
    kept = [batch for batch, _ in zip(loader, range(12))]
    fresh, _ = take(train(tree), 12)
    loader.close()
    for mine, theirs in zip(kept, fresh, strict=True):
        assert (mine.images == theirs.images).all()


def test_an_iteration_left_early_does_not_disturb_the_next(tree):
    index = parts(tree)[0].index
    loader = EvalBatches(
        Split(index, PictureFolder(tree / "train")), BatchSpec(PRESETS["webvision"].scaled(32), 4), workers=2
    )
    whole, expected = take(loader, 99)
    for stop in (1, 3, 2):
        take(loader, stop)
    assert take(loader, 99)[1] == expected
    loader.close()


def test_an_iteration_begins_while_another_left_early_has_all_the_memory(tree):
    """It waits for the batches that nobody wants any more; once it took that for the end, and gave nothing."""
    loader = train(tree, batch=64, workers=1, view=Augmentation())
    held = next(iter(loader))
    assert take(loader, 3)[1] == take(train(tree, batch=64, view=Augmentation()), 3)[1]
    assert held.images.any()
    loader.close()


def test_damaged_pictures_are_replaced_in_training_and_filled_in_evaluation(tmp_path):
    """I1, I2, E1: the row stays, the status says why; a replacement brings its own label."""
    tree = make_tree(tmp_path, broken=(3, 20))
    (tree / "train" / "c1" / "picture 1.jpg").write_bytes(b"")
    (tree / "train" / "c1" / "picture 2.jpg").unlink()
    wrong = {3: "truncated", 20: "truncated", 1: "empty", 2: "missing"}
    index = parts(tree)[0].index
    reference = None
    for workers in (0, 2):
        loader = train(tree, workers=workers, batch=53)
        batches, digest = take(loader, 1)
        loader.close()
        reference = reference or digest
        assert digest == reference
        for row, status, label, image in zip(batches[0].rows, batches[0].status, batches[0].labels, batches[0].images):
            assert REASONS[status] == wrong.get(int(row), "ok")
            assert image.std() > 5  # a picture, not the fill
            assert row in wrong or label == index.labels[row]
        assert loader.bad.reasons == {"truncated": 2, "empty": 1, "missing": 1} and loader.bad.seen == 53
        assert loader.bad.names["c1/picture 1.jpg"] == "empty"
    loader = EvalBatches(Split(index, PictureFolder(tree / "train")), BatchSpec(PRESETS["webvision"].scaled(32), 53))
    (batch,) = take(loader, 9)[0]
    assert {int(row): REASONS[batch.status[row]] for row in np.flatnonzero(batch.status)} == wrong
    assert (batch.images[3] == batch.images[3][0, 0]).all() and (batch.labels == index.labels).all()


def test_a_folder_that_went_away_stops_training(tree, tmp_path):
    """I7: not a slow death."""
    split, order = parts(tree)
    loader = TrainBatches(Split(split.index, PictureFolder(tmp_path / "nothing")), order, BatchSpec(SMALL, 8))
    with pytest.raises(IncompleteError, match="missing.*c./picture"):
        take(loader, 100)


def test_more_bad_than_allowed_stops_training(tmp_path):
    tree = make_tree(tmp_path, count=20, broken=(4,))
    with pytest.raises(IncompleteError, match="webvision check"):
        take(train(tree, max_bad=0.0005), 60)
    take(train(tree, max_bad=0.01), 60)


def test_accept_truncated_lets_half_a_picture_in(tmp_path):
    tree = make_tree(tmp_path, count=20, broken=(4,))
    split, order = parts(tree)
    split = Split(split.index, PictureFolder(tree / "train", ImagePolicy(accept_truncated=True)))
    loader = TrainBatches(split, order, BatchSpec(SMALL, 8), workers=1)
    take(loader, 4)
    loader.close()
    assert loader.bad.count == 0


def test_fewer_pictures_than_workers_or_batch(tmp_path):
    """W5."""
    tree = make_tree(tmp_path, count=2)
    loader = train(tree, batch=16, workers=4)
    taken, digest = take(loader, 3)
    loader.close()
    assert digest == take(train(tree, batch=16), 3)[1]
    assert np.bincount(rows_of(taken)).tolist() == [24, 24]


def test_colours_on_the_device_give_the_same_picture(tree):
    """The worker's pixels are the shipped matrix applied to the shipped pixels."""
    (worker,), _ = take(train(tree), 1)
    (device,), _ = take(train(tree, fed=["matrices"]), 1)
    assert device.matrices.shape == (8, 3, 4)
    shown = np.einsum("nij,nhwj->nhwi", device.matrices[:, :, :3], device.images.astype(np.float64))
    shown = np.clip(np.rint(shown + device.matrices[:, None, None, :, 3]), 0, 255)
    assert np.abs(shown - worker.images).max() <= 1


def test_settings_that_cannot_be_are_refused(tree):
    for options in ({"batch": 0}, {"workers": -1}, {"workers": 10**6}, {"rank": 2, "ranks": 2}):
        with pytest.raises(UsageError):
            train(tree, **options)
    with pytest.raises(ValueError, match="moons"):
        train(tree, fed=["moons"])
    with pytest.raises(ValueError, match="contrast_mean"):
        Augmentation(contrast_mean="rgb")
