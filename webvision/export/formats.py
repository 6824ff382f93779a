"""One export from beginning to end: written beside its place, run against the original, and only then put there."""

import os
import shutil
from dataclasses import asdict, dataclass

import numpy as np

from webvision.errors import IncompleteError, UsageError, printable
from webvision.export.parity import OnnxRunner, compare, refuse_unequal
from webvision.files import atomic_write

CALIBRATION = 128  # pictures that ranges are measured on


@dataclass(frozen=True)
class Product:
    """What was written, and how it compares with the original."""

    path: str
    bytes: int
    parity: object  # parity.Parity
    accuracy: tuple | None = None  # of the original, of the export; where pictures have labels

    def __str__(self):
        words = f"{printable(self.path)}: {self.bytes / 1e6:.1f} MB; {self.parity}"
        if self.accuracy:
            words += f"; accuracy {self.accuracy[0]:.2%} before, {self.accuracy[1]:.2%} after"
        return words


def metadata_of(original, *, names=None, weights=None):
    """What an ONNX file says of itself: all that is needed to use it."""
    found = {"preset": asdict(original.frozen.preset), "network": original.frozen.network.described()}
    if names:
        found["classes"] = list(names)
    return {**found, **({"weights": weights} if weights else {})}


def export_onnx(original, path, options, *, metadata=None, preprocess=False):
    """Write the float ONNX file `path`; with `preprocess` it takes uint8 RGB pixels, of any number of pictures."""
    from webvision.export.onnx_writer import onnx_model, with_pixels

    model = onnx_model(original.frozen, options, metadata=metadata)
    if preprocess:
        model = with_pixels(model, original.frozen.preset)
    parity = original.parity(OnnxRunner(model), pixels=preprocess)
    refuse_unequal(parity, printable(path))
    return _save_onnx(model, path, parity)


def export_onnx_int8(original, path, options, *, metadata=None, max_loss=0.01):
    """Write `path` in int8; IncompleteError if more than `max_loss` of the accuracy is lost, and nothing is written."""
    from webvision.export.onnx_writer import onnx_model
    from webvision.export.quantise import int8_model

    model = int8_model(onnx_model(original.frozen, options, metadata=metadata), original.sample(CALIBRATION))
    return _save_int8(original, OnnxRunner(model), path, max_loss, lambda parity: _save_onnx(model, path, parity))


def export_tflite(original, path, *, int8=False, max_loss=0.01):
    """Write a TFLite file; the same promises."""
    from webvision.export.tensorflow_formats import tflite_model, tflite_runner

    data = tflite_model(original.frozen, pictures=original.sample(CALIBRATION) if int8 else None)

    def save(parity):
        with atomic_write(path, "wb") as file:
            file.write(data)
        return Product(path, len(data), parity)

    runner = tflite_runner(data)
    if int8:
        return _save_int8(original, runner, path, max_loss, save)
    parity = original.parity(runner)
    refuse_unequal(parity, printable(path))
    return save(parity)


def export_savedmodel(original, folder):
    """Write a SavedModel into the new `folder`; the same promise."""
    from webvision.export.tensorflow_formats import savedmodel_runner, write_savedmodel

    if os.path.exists(folder):
        raise UsageError(f"{printable(folder)} exists already; a SavedModel goes into a new folder")
    beside = f"{folder.rstrip('/')}.unfinished"
    shutil.rmtree(beside, ignore_errors=True)
    write_savedmodel(original.frozen, beside)
    try:
        parity = original.parity(savedmodel_runner(beside))
        refuse_unequal(parity, printable(folder))
        os.rename(beside, folder)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    size = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    return Product(folder, size, parity)


def _save_onnx(model, path, parity):
    from webvision.export.onnx_writer import set_metadata

    set_metadata(model, {"parity": parity.described()})
    data = model.SerializeToString(deterministic=True)
    with atomic_write(path, "wb") as file:
        file.write(data)
    return Product(path, len(data), parity)


def _save_int8(original, runner, path, max_loss, save):
    answers = np.concatenate([runner(original.normalised(images)) for images in original.batches()])
    parity = compare(original.logits, answers)
    lost, accuracy = 1 - parity.same_top1, None
    if original.labels is not None:
        accuracy = original.accuracy(), float(np.mean(answers.argmax(axis=1) == np.asarray(original.labels)))
        lost = accuracy[0] - accuracy[1]
    if lost > max_loss:
        told = f"accuracy {accuracy[0]:.2%} becomes {accuracy[1]:.2%}" if accuracy else str(parity)
        raise IncompleteError(
            f"{printable(path)}: int8 costs {lost:.2%}, over --max-loss {max_loss:.2%} ({told}). Nothing was written"
        )
    product = save(parity)
    return Product(product.path, product.bytes, parity, accuracy)
