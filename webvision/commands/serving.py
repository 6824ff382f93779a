"""A page on this machine that says what is on a picture."""

import base64
import contextlib
import os
import tempfile

import cv2
import numpy as np

from webvision.data.data_set import Split
from webvision.data.loader.batches import EvalBatches
from webvision.data.loader.spec import BatchSpec
from webvision.data.pictures.folder import PictureFolder
from webvision.data.pictures.images import REASONS
from webvision.devices import Devices
from webvision.errors import DataError, printable
from webvision.inference.predict import Paths
from webvision.inference.serving.regions import covered, importance
from webvision.inference.serving.server import make_server
from webvision.inference.snapshot import open_snapshot
from webvision.prep.own_folder.gather import gathered

IN_WORDS = {
    "empty": "the file is empty",
    "format": "this is no picture, or of a kind that is not read here",
    "truncated": "the file was cut short",
    "corrupt": "the file is damaged",
    "too-many-pixels": "the picture is too large",
}


class PictureAnswers:
    """What the page's addresses answer, by one model."""

    def __init__(self, snapshot, model, top):
        self._snapshot, self._model, self._top = snapshot, model, top

    def predict(self, data):
        """The best classes of the picture in `data`, and what the network saw of it."""
        view = network_view(data, self._snapshot.preset)
        scores = np.asarray(self._model(view[None]))[0]
        order = np.argsort(-scores, kind="stable")[: self._top]
        jpeg = cv2.imencode(".jpg", view, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        return {
            "best": [[self._snapshot.names[i], round(float(scores[i]), 4)] for i in order],
            "view": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii"),
        }

    def regions(self, data):
        """How much each region of what the network saw mattered for its first answer."""
        probabilities = np.asarray(self._model(covered(network_view(data, self._snapshot.preset))))
        return {"regions": np.round(importance(probabilities), 3).tolist()}


def network_view(data, preset):
    """What a network sees of the picture in `data`, uint8 BGR; DataError in words if it is none.

    Taken the way of every prediction: converted if need be, then through the loader.
    """
    with tempfile.NamedTemporaryFile(prefix="webvision-", suffix=".picture") as file:
        file.write(data)
        file.flush()
        with gathered(file.name) as found:
            loader = EvalBatches(Split(Paths(found.paths), PictureFolder("/")), BatchSpec(preset, 1))
            with contextlib.closing(loader):
                batch = next(iter(loader))
    if status := int(batch.status[0]):
        reason = REASONS[status]
        raise DataError(IN_WORDS.get(reason, f"the picture cannot be read ({reason})"))
    return batch.images[0]


@contextlib.contextmanager
def page_server(path, *, host="127.0.0.1", port=8000, top=5, gpus=()):
    """A server of the page for the snapshot at `path`; within the block it listens, and serve_forever() answers."""
    snapshot = open_snapshot(path)
    with snapshot.open(Devices(bool(gpus), max(1, len(gpus)))) as model:
        answers = PictureAnswers(snapshot, model, top)
        line = f"{printable(os.path.basename(os.path.normpath(path)))} tells {len(snapshot.names)} classes apart"
        server = make_server(host, port, model_line=line, predict=answers.predict, regions=answers.regions)
        with contextlib.closing(_Closing(server)):
            yield server


class _Closing:
    def __init__(self, server):
        self.close = server.server_close
