"""Does an export answer as its original does? Both run on the same pictures; what differs is measured, not believed."""

from dataclasses import asdict, dataclass

import numpy as np

from webvision.errors import IncompleteError

BOUND = 1e-4  # of the range of the logits, for exports in float32


@dataclass(frozen=True)
class Parity:
    """How two sets of logits [pictures, classes] compare."""

    pictures: int
    largest_difference: float
    of_range: float  # the largest difference, in parts of the original's range
    same_top1: float  # share of pictures whose best class is the same

    def __str__(self):
        return (
            f"{self.pictures} pictures: largest difference {self.largest_difference:.2g} "
            f"({self.of_range:.1e} of the range), same best class {self.same_top1:.2%}"
        )

    def described(self):
        return asdict(self)


def compare(original, exported):
    """The Parity of two arrays of logits, a row for each picture."""
    original, exported = np.asarray(original, np.float64), np.asarray(exported, np.float64).reshape(len(original), -1)
    difference = np.abs(original - exported).max()
    difference = np.inf if np.isnan(difference) else float(difference)
    spread = float(original.max() - original.min())
    same = float(np.mean(original.argmax(axis=1) == exported.argmax(axis=1)))
    return Parity(len(original), difference, difference / spread if spread else np.inf, same)


def refuse_unequal(parity, what, bound=BOUND):
    """IncompleteError unless an export in float32 answers as the original does."""
    if parity.of_range > bound or parity.same_top1 < 1:
        raise IncompleteError(
            f"{what} does not answer as the checkpoint does: {parity}; allowed are {bound:g} of the range and no other "
            "best class. Nothing was written"
        )


class OnnxRunner:
    """An ONNX model as a function from normalised NHWC pictures (uint8 BGR ones, where it prepares them) to logits."""

    def __init__(self, model, *, threads=0):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        source = model if isinstance(model, str) else model.SerializeToString()
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0]

    def __call__(self, images):
        pixels = images.dtype == np.uint8
        planes = np.ascontiguousarray((images[..., ::-1] if pixels else images).transpose(0, 3, 1, 2))
        at_once = self._input.shape[0]
        step = at_once if isinstance(at_once, int) else len(planes)
        if len(planes) % step:
            raise ValueError(f"{len(planes)} pictures for a model that takes {step} at a time")
        answers = [
            self._session.run(None, {self._input.name: planes[start : start + step]})[0]
            for start in range(0, len(planes), step)
        ]
        return np.concatenate(answers).reshape(len(images), -1)
