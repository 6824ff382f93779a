"""From a folder of ObjectNet images to predictions.csv."""

import filecmp
import os
import sys
from collections import Counter
from typing import NamedTuple

from webvision.challenges.objectnet.predictions_csv import PredictionsCsv, prediction_rows
from webvision.challenges.objectnet.validate import LAST_ID
from webvision.challenges.objectnet.whole import WholePictures
from webvision.data.data_set import Split
from webvision.data.loader.batches import EvalBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import REASONS, ImagePolicy
from webvision.errors import DataError, IncompleteError, printable

SUFFIX = ".png"  # lower case only, as the challenge's own loader
SHOWN = 3
_POLICY = ImagePolicy(
    allow_outside=True
)  # a folder of links is a way to name images, as the challenge's own loader takes it


class Pictures:
    """The images below a folder, in byte order of their paths, as the loader's index: names, no labels."""

    labels = None

    def __init__(self, folder, paths):
        self.path, self._paths = folder, paths

    def __len__(self):
        return len(self._paths)

    def name(self, row):
        return self._paths[row]

    def names(self, rows):
        return [self._paths[row] for row in rows]

    paths = names


class Counts(NamedTuple):
    """What a run did."""

    images: int
    bad: int


def find_pictures(folder, *, remark=lambda text: None):
    """The Pictures in `folder` and all folders below it; a DataError says why there are none.

    The challenge tells images by base name only: two files of one name and equal content count once (with a remark),
    of different content they are a DataError.
    """
    if not os.path.isdir(folder):
        raise DataError(f"{printable(folder)}: no such folder of images")
    found, others = {}, Counter()
    for path in _walk(folder):
        name = os.path.basename(path)
        if not name.endswith(SUFFIX):
            others[os.path.splitext(name)[1]] += 1
        elif name not in found:
            found[name] = path
        elif filecmp.cmp(os.path.join(folder, found[name]), os.path.join(folder, path), shallow=False):
            remark(f"{printable(path)}: the same image as {printable(found[name])}, counted once")
        else:
            raise DataError(
                f"{printable(found[name])} and {printable(path)} in {printable(folder)} are different images of "
                "one name; the challenge tells images by base name, so one of them would be lost: rename one"
            )
    kinds = ", ".join(
        f"{count} {printable(suffix) or 'without a suffix'}" for suffix, count in others.most_common(SHOWN)
    )
    if not found:
        raise DataError(
            f"{printable(folder)}: no {SUFFIX} image in it or below" + (f", but {kinds} files" if kinds else "")
        )
    if others:
        remark(f"{printable(folder)}: {sum(others.values())} files are no {SUFFIX} and left out ({kinds})")
    return Pictures(folder, sorted(found.values(), key=os.fsencode))


def _walk(folder):
    """Paths of the files below `folder`, relative to it, without hidden ones; linked folders are entered once."""
    been = set()
    for base, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        stat = os.stat(base)
        if (stat.st_dev, stat.st_ino) in been:  # a link that leads back up
            folders[:] = []
            continue
        been.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield os.path.relpath(os.path.join(base, name), folder)


def _refuse(error):
    raise DataError(f"{printable(error.filename)}: {error.strerror}; its images would be missing")


def evaluate(pictures, output, predict, *, preset, mapping, softmax=True, batch=96, workers=0):
    """Write the predictions for `pictures` to `output`, batch by batch; returns Counts.

    `predict` is a function to logits from a uint8 BGR batch as `preset` has it, or, without a preset, from an
    iterator of whole RGB pictures. An image that cannot be read is named on stderr and gets a row without a prediction.
    """
    if preset:
        split = Split(pictures, PictureFolder(pictures.path, _POLICY))
        loader = EvalBatches(split, BatchSpec(preset, batch), workers=workers)
    else:
        loader = WholePictures(pictures, batch=batch, workers=workers, policy=_POLICY)
    bad = 0
    try:
        with PredictionsCsv(output) as file:
            for part in loader:
                logits = predict(part.images)
                problems = [REASONS[status] if status else None for status in part.status]
                names = pictures.names(part.rows)
                for name, problem in zip(names, problems, strict=True):
                    if problem:
                        bad += 1
                        print(f"{printable(name)}: not readable ({problem}); its row predicts nothing", file=sys.stderr)
                if not mapping and not file.names and logits.shape[-1] > LAST_ID + 1:
                    print(
                        f"the model has {logits.shape[-1]} classes and no mapping is used: the challenge's validator "
                        f"refuses ids above {LAST_ID} unless told --no-range-check",
                        file=sys.stderr,
                    )
                file.write(
                    prediction_rows(
                        [os.path.basename(name) for name in names],
                        logits,
                        mapping=mapping,
                        softmax=softmax,
                        problems=problems,
                    )
                )
            if len(file.names) != len(pictures):
                raise IncompleteError(
                    f"{len(file.names)} rows for {len(pictures)} images; this is a bug, please report it"
                )
    finally:
        loader.close()
    return Counts(len(pictures), bad)


def check_bad(counts, max_bad):
    """IncompleteError if more than the share `max_bad` of the images could not be read; the output is complete
    anyway."""
    if counts.bad > max_bad * counts.images:
        raise IncompleteError(
            f"{counts.bad} of {counts.images} images could not be read, more than --max-bad {max_bad:g} "
            "allows; the output has a row for each of them that predicts nothing"
        )
