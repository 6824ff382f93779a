"""An ONNX file as a function from pictures to probabilities, without TensorFlow: what it needs stands in its metadata.

`classes` (JSON list of names) and `preset` (JSON of data.views.presets.Preset) in `metadata_props`, as our export
writes them. The input is [n, 3, height, width] float, normalised here, or uint8 RGB where the file normalises itself;
NHWC files of other makers are taken too.
"""

import json
import os
from dataclasses import dataclass

import numpy as np

from webvision.data.views.presets import PRESETS, Preset
from webvision.environment import DOOR
from webvision.errors import DataError, ResourceError, UsageError, printable
from webvision.inference.predict import softmax


@dataclass(frozen=True)
class Metadata:
    """What an ONNX file says of itself."""

    preset: Preset
    names: list | None


def open_session(path):
    """An ONNX Runtime session of the file at `path`, on the CPU."""
    if not os.path.isfile(path):
        raise UsageError(f"{printable(path)}: no such file; `{DOOR} export SNAPSHOT NAME.onnx` writes one")
    try:
        import onnxruntime
    except ImportError:
        raise ResourceError(
            "onnxruntime is not installed, and it computes ONNX files: pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class that can be imported
        raise DataError(
            f"{printable(path)}: not an ONNX file that can be computed ({str(error).splitlines()[0]})"
        ) from None


def read_metadata(path):
    """The Metadata of an ONNX file; of one that says nothing, ImageNet's usual preparation for its input's size."""
    session = open_session(path)
    stored = session.get_modelmeta().custom_metadata_map
    try:
        names = json.loads(stored["classes"]) if "classes" in stored else None
        if "preset" in stored:
            fields = json.loads(stored["preset"])
            preset = Preset(**{name: tuple(v) if type(v) is list else v for name, v in fields.items()})
        else:
            preset = PRESETS["sotabench"].scaled(_side(session))
    except (ValueError, TypeError) as error:
        raise DataError(f"{printable(path)}: its metadata are damaged ({error}); export it again") from None
    return Metadata(preset, names)


def _side(session):
    sides = [side for side in session.get_inputs()[0].shape[1:] if type(side) is int and side > 4]
    if not sides:
        raise UsageError("the ONNX file does not say how large its pictures are; one with a fixed input size is needed")
    return sides[0]


class OnnxModel:
    """Probabilities of uint8 BGR batches."""

    def __init__(self, path, preset):
        self._session = open_session(path)
        self._preset = preset
        (self._input, *more) = self._session.get_inputs()
        if more:
            raise UsageError(f"{printable(path)} has {1 + len(more)} inputs; a classifier has one")
        self._channels_last = self._input.shape[-1] == 3
        self._raw = self._input.type == "tensor(uint8)"
        self._one = self._input.shape[0] == 1  # a fixed batch

    def probabilities(self, images):
        """float32 [n, classes] of uint8 BGR pictures [n, height, width, 3]."""
        prepared = images[..., ::-1] if self._raw else self._preset.normalised(images)
        prepared = np.ascontiguousarray(prepared if self._channels_last else prepared.transpose(0, 3, 1, 2))
        pieces = [prepared[i : i + 1] for i in range(len(prepared))] if self._one else [prepared]
        logits = np.concatenate([self._session.run(None, {self._input.name: piece})[0] for piece in pieces])
        logits = logits.reshape(len(images), -1)
        sums = logits.sum(axis=1)
        is_probability = (logits >= 0).all() and np.allclose(sums, 1, atol=1e-3)
        return logits if is_probability else softmax(logits)
