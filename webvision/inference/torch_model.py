"""A user's PyTorch class as a model: built and run in a process of its own, which alone imports torch.

The folder that describes it has the files of ObjectNet's PyTorch template:

    model_description.py            NAME: a class or function that makes a torch.nn.Module without arguments
    data_transform_description.py   how pictures are prepared: PRESET = "objectnet", a name of
                                    webvision.data.views.presets.PRESETS, or as in the template a class
                                    `data_transform` whose getTransform() takes a PIL picture to a tensor

With a PRESET our loader prepares the pictures; a transform of the user's gets them whole. Both files run with the
rights of whoever starts the command; the checkpoint, `torch.save(model.state_dict(), FILE)`, runs nothing.

Over two pipes go lines of JSON, each followed by the bytes that it announces; nothing is pickled.
"""

import ast
import json
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np

from webvision.data.views.presets import PRESETS
from webvision.environment import ROOT
from webvision.errors import CheckpointError, ResourceError, UsageError, WebvisionError, printable

MODEL_FILE, TRANSFORM_FILE = "model_description.py", "data_transform_description.py"
_CODE = """import sys; sys.path.insert(0, sys.argv.pop(1))
from webvision.environment import import_only_code; import_only_code()
from webvision.inference.torch_child import main; main()"""
_SECONDS_TO_END = 10
_ERRORS = {kind.exit_code: kind for kind in (UsageError, CheckpointError, ResourceError)}


def describes(folder, name):
    """Whether model_description.py in `folder` defines `name`, told from its text: reading it runs nothing."""
    return name in _names_in(os.path.join(folder, MODEL_FILE))


def _names_in(path):
    """{name: value or None} of what the Python file `path` defines at its top; values of plain literals only."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except FileNotFoundError:
        return {}
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{printable(path)}:{getattr(error, 'lineno', None) or 1}: {error}") from None
    names = {}
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            names[node.name] = None
        elif isinstance(node, ast.Assign):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            names |= {target.id: value for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name: None for alias in node.names}
    return names


@dataclass(frozen=True)
class TorchModel:
    """What NAME in `folder` means. `preset` is None where the pictures go whole to the user's own transform."""

    name: str
    folder: str
    preset: object

    def open(self, checkpoint, *, gpus=0, workers=1):
        """A context manager that yields predict(pictures) -> float32 logits, on that many GPUs or the CPU.

        Pictures are a uint8 BGR batch with a preset, else an iterable of uint8 RGB pictures of any size, of which one
        after the other is sent; `workers` threads then transform them.
        """
        return _Process(self, checkpoint, gpus, workers)


def find_torch_model(folder, name):
    """The TorchModel that `name` in model_description.py of `folder` means. Nothing is imported yet."""
    path = os.path.join(folder, TRANSFORM_FILE)
    names = _names_in(path)
    if "data_transform" in names:
        return TorchModel(name, folder, None)
    if names.get("PRESET") not in PRESETS:
        raise UsageError(
            f"{printable(path)}: neither a class data_transform nor PRESET = one of {', '.join(map(repr, PRESETS))}"
        )
    return TorchModel(name, folder, PRESETS[names["PRESET"]])


class _Process:
    """The process in which the model lives, as a context manager that yields `predict`."""

    def __init__(self, model, checkpoint, gpus, workers):
        self._model = model
        self._spec = {
            "name": model.name,
            "folder": os.path.abspath(model.folder),
            "checkpoint": os.path.abspath(checkpoint),
            "transform": model.preset is None,
            "gpus": gpus,
            "workers": workers,
        }

    def __enter__(self):
        if not os.path.isfile(self._spec["checkpoint"]):
            raise CheckpointError(f"{printable(self._spec['checkpoint'])}: no such checkpoint")
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        spec = {**self._spec, "input": theirs_in, "output": theirs_out}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE, ROOT, json.dumps(spec)],
                stdin=subprocess.DEVNULL,
                stdout=2,  # what the model prints is no product of the command
                pass_fds=(theirs_in, theirs_out),
            )
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._to, self._from = open(ours_out, "wb"), open(ours_in, "rb")
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self._predict_whole if self._model.preset is None else self._predict_prepared

    def __exit__(self, *_):
        for pipe in (self._to, self._from):
            try:
                pipe.close()  # the process ends when nothing more can come
            except BrokenPipeError:
                pass
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _predict_prepared(self, images):
        self._send(np.ascontiguousarray(self._model.preset.normalised(images)))
        return self._run()

    def _predict_whole(self, pictures):
        for picture in pictures:
            self._send(np.ascontiguousarray(picture))
        return self._run()

    def _run(self):
        self._write(json.dumps({"run": True}).encode() + b"\n")
        answer = self._answer()
        size = 4 * int(np.prod(answer["shape"]))
        data = self._from.read(size)
        if len(data) < size:
            raise self._ended()
        return np.frombuffer(data, np.float32).reshape(answer["shape"])

    def _send(self, array):
        self._write(json.dumps({"shape": array.shape}).encode() + b"\n")
        self._write(array.data)

    def _write(self, data):
        try:
            self._to.write(data)
            self._to.flush()
        except BrokenPipeError:
            self._answer()  # it said why, or its end says it
            raise

    def _answer(self):
        line = self._from.readline()
        if not line:
            raise self._ended()
        answer = json.loads(line)
        if "error" in answer:
            raise _ERRORS.get(answer["code"], WebvisionError)(answer["error"])
        return answer

    def _ended(self):
        code = self._process.wait()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return ResourceError(
            f"the process of the model {printable(self._model.name)} {how}; what it printed is above. Signal 9 is what "
            "the kernel sends where memory runs out: a smaller --batch_size needs less"
        )
