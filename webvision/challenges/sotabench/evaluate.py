"""ILSVRC's validation images, from their archive or a folder, through a model into a sotabench evaluator."""

import os
import sys
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from webvision.data.archives import tarstream
from webvision.data.pictures import images, resample
from webvision.data.pictures.images import ImageError
from webvision.errors import DataError, IncompleteError, printable

ARCHIVE = "ILSVRC2012_img_val.tar"
FOLDER = "val"
SUFFIXES = (".jpeg", ".jpg", ".png")
_AHEAD = 2  # batches in the making while one is computed
SHOWN = 3


def open_images(root):
    """An iterator of (image id, a function that returns the file's bytes or raises ImageError) over `root`'s images.

    They come from ILSVRC2012_img_val.tar, in its order and read as a stream, or else from the folder val/, with or
    without class folders in it. An id is the base name without its extension.
    """
    archive, folder = os.path.join(root, ARCHIVE), os.path.join(root, FOLDER)
    if os.path.exists(archive):
        return _from_archive(archive)
    if os.path.isdir(folder):
        return _from_folder(folder)
    raise DataError(
        f"{printable(root)}: neither {ARCHIVE} nor a folder {FOLDER}/ is here; put ILSVRC 2012's validation "
        "images there"
    )


def _from_archive(path):
    try:
        with open(path, "rb") as file:
            reader = tarstream.Reader(file, seekable=True)
            for member in reader:
                name = os.fsdecode(member.name)
                if not member.odd and not member.folder and name.lower().endswith(SUFFIXES):
                    yield _image_id(name), _bytes_of(reader, member)
    except tarstream.NoEndError:
        return  # the evaluator counts what is missing
    except (tarstream.TarError, OSError) as error:
        raise DataError(f"{printable(path)}: not a whole tar archive ({printable(error)}); fetch it again") from None


def _bytes_of(reader, member):
    if member.size > images.DEFAULT_POLICY.max_bytes:

        def refuse():
            raise ImageError("file-too-large", f"{member.size} bytes")

        return refuse
    data = reader.read(member.size)  # now: the stream moves on
    return lambda: data


def _from_folder(folder):
    paths = sorted(
        os.path.join(base, name)
        for base, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(SUFFIXES)
    )
    for path in paths:
        yield _image_id(path), lambda path=path: images.read_bytes(path)


def _image_id(name):
    return os.path.splitext(os.path.basename(name))[0]


def prepare(read, preset):
    """The picture that `read()` gives as the uint8 BGR pixels of `preset`, or the ImageError that says why not."""
    try:
        data = read()
        header = images.inspect(data)
        x, y, width, height, *resized, left, top = preset.place(*header.shown_size)
        pixels = images.read_window(data, header, (x, y, width, height))
    except ImageError as error:
        return error
    return resample.resize_part(pixels, tuple(resized), (left, top), preset.image_size, preset.resampling)


def evaluate(evaluator, files, predict, *, preset, batch=128, workers=1):
    """Feed `evaluator` with predict(pixels) of `files` until they end or its cache knows the model; returns the bad
    ids.

    Ids that the evaluator does not know are left out, as the data set has more files than a subset's labels. An image
    that cannot be read counts as wrong and is returned as {id: reason}.
    """
    bad = {}
    for ids, prepared in _batches(evaluator.targets, files, preset, batch, workers):
        broken = [isinstance(pixels, ImageError) for pixels in prepared]
        grey = np.full((preset.image_size, preset.image_size, 3), 114, np.uint8)
        logits = np.array(
            predict(np.stack([grey if wrong else pixels for wrong, pixels in zip(broken, prepared, strict=True)]))
        )
        for row in np.flatnonzero(broken):
            bad[ids[row]] = prepared[row].reason
            logits[row] = 0
            logits[row, evaluator.targets[ids[row]]] = -1  # last of all classes: wrong at top-1 and top-5
        evaluator.add(dict(zip(ids, logits, strict=True)))
        if evaluator.cache_exists:
            break
    return bad


def _batches(known, files, preset, batch, workers):
    """(ids, prepared pictures) by `batch`; pictures are prepared ahead, in `workers` threads."""

    def pieces():
        piece = []
        for image_id, read in files:
            if image_id in known:
                piece.append((image_id, pool.submit(prepare, read, preset)))
            if len(piece) == batch:
                yield piece
                piece = []
        if piece:
            yield piece

    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="imagenet") as pool:
        waiting = deque()
        try:
            for piece in pieces():
                waiting.append(piece)
                if len(waiting) > _AHEAD:
                    yield _finished(waiting.popleft())
            while waiting:
                yield _finished(waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(piece):
    return [image_id for image_id, _ in piece], [future.result() for _, future in piece]


def check_bad(bad, total, max_bad):
    """Name the unreadable images on stderr; IncompleteError if they are more than the share `max_bad` of `total`."""
    if not bad:
        return
    first = ", ".join(f"{printable(image_id)} ({reason})" for image_id, reason in list(bad.items())[:SHOWN])
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(bad.values()).most_common())
    text = f"{len(bad)} of {total} images could not be read and count as wrong ({counts}); the first: {first}"
    if len(bad) > max_bad * total:
        raise IncompleteError(text)
    print(text, file=sys.stderr)
