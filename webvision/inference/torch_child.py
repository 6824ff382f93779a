"""The process of a user's PyTorch model; torch_model.py beside it starts it and says what goes over the pipes."""

import importlib
import json
import os
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

from webvision.errors import CheckpointError, ResourceError, UsageError, WebvisionError, printable

_WRAPPED = ("state_dict", "model")  # keys under which training scripts keep the weights, besides optimiser and epoch
_COUNTERS = "num_batches_tracked"  # of batch norm: older checkpoints lack it, and evaluation reads it nowhere
_SHOWN = 3


def main():
    """Build the model that the specification in sys.argv names, and answer batches until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which then closes the pipe
    spec = json.loads(sys.argv[1])
    with open(spec["input"], "rb") as source, open(spec["output"], "wb") as sink:
        try:
            answer = _open_model(spec)
            _reply(sink, {"ready": True})
            _serve(spec, source, sink, answer)
        except WebvisionError as error:
            _reply(sink, {"error": str(error), "code": error.exit_code})
        except MemoryError:
            _reply(sink, {"error": "out of memory; a smaller --batch_size needs less", "code": ResourceError.exit_code})
        except BrokenPipeError:
            pass  # the parent is gone
        except Exception as error:  # the user's code: its author wants the traceback, and the command a line
            traceback.print_exc()
            text = f"the model {spec['name']} failed: {type(error).__name__}: {error}"
            _reply(sink, {"error": printable(text), "code": UsageError.exit_code})


def _reply(sink, answer, data=b""):
    sink.write(json.dumps(answer).encode() + b"\n")
    sink.write(data)
    sink.flush()


def _serve(spec, source, sink, answer):
    """Collect pictures until a `run`, then answer with their logits; again, until the pipe is closed."""
    transform = _transform(spec["folder"]) if spec["transform"] else None
    with ThreadPoolExecutor(max(1, spec["workers"])) as pool:
        waiting = []
        while line := source.readline():
            order = json.loads(line)
            if "run" in order:
                logits = answer([part.result() for part in waiting] if transform else waiting)
                waiting = []
                _reply(sink, {"shape": logits.shape}, logits.tobytes())
                continue
            shape = order["shape"]
            data = source.read(shape[0] * shape[1] * shape[2] * (1 if transform else 4 * shape[3]))
            waiting.append(pool.submit(_transformed, transform, data, shape) if transform else (data, shape))


def _transformed(transform, data, shape):
    from PIL import Image

    return transform(Image.frombytes("RGB", (shape[1], shape[0]), data))


def _open_model(spec):
    """A function from a batch, as `_serve` collects it, to logits (float32 NumPy)."""
    torch = _import_torch(spec)
    sys.path.append(spec["folder"])  # last: the files there may import each other, and nothing of ours is hidden
    try:
        factory = getattr(importlib.import_module("model_description"), spec["name"])
    except ModuleNotFoundError as error:
        raise UsageError(
            f"model_description.py needs {error.name}, which is not installed for {sys.executable}; "
            f"install it there: {sys.executable} -m pip install {error.name}"
        ) from None
    model = factory()
    if not isinstance(model, torch.nn.Module):
        raise UsageError(
            f"{spec['name']} in model_description.py makes a {type(model).__name__}, not a torch.nn.Module; a model of "
            "another kind is a file of its own with logits(images) and PRESET: name that file instead"
        )
    _load(torch, model, spec["checkpoint"])
    device = torch.device("cuda:0" if spec["gpus"] else "cpu")
    model.to(device).eval()
    if spec["gpus"] > 1:
        model = torch.nn.DataParallel(model, device_ids=list(range(spec["gpus"])))

    def answer(parts):
        with torch.inference_mode():
            output = model(_batch(torch, parts).to(device))
        if not isinstance(output, torch.Tensor) or output.ndim != 2:
            raise UsageError(f"{spec['name']} returns {_kind(output)}; logits [images, classes] are needed")
        return output.float().cpu().contiguous().numpy()

    return answer


def _import_torch(spec):
    try:
        import torch
    except ModuleNotFoundError:
        raise UsageError(
            f"{spec['name']} is a PyTorch model, and {sys.executable} has no torch: install it there "
            f"({sys.executable} -m pip install torch torchvision; versions that were tested: the extra `torch` in "
            "pyproject.toml), or start this command with a Python that has it"
        ) from None
    return torch


def _load(torch, model, path):
    """Fill `model` from a state dict in the file `path`; a CheckpointError says what does not fit."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # never code: checkpoints come from strangers
    except Exception as error:  # torch has no class for it: pickle's, zipfile's, its own
        raise CheckpointError(
            f"{printable(path)}: no state dict of PyTorch ({printable(str(error).splitlines()[0])}); "
            "save one with torch.save(model.state_dict(), FILE)"
        ) from None
    for key in _WRAPPED:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{printable(path)}: holds {_kind(state)}, no state dict of tensors")
    state = {name.removeprefix("module."): value for name, value in state.items()}  # as DataParallel names them
    own = model.state_dict()
    wrong = [name for name in own if name in state and state[name].shape != own[name].shape]
    missing = [name for name in own if name not in state and not name.endswith(_COUNTERS)]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected or wrong:
        first = ", ".join(printable(name) for name in [*missing, *unexpected, *wrong][:_SHOWN])
        raise CheckpointError(
            f"{printable(path)}: {len(missing)} missing, {len(unexpected)} unexpected, {len(wrong)} of another shape; "
            f"the first: {first}. Is it a checkpoint of another model?"
        )
    model.load_state_dict(state, strict=False)


def _transform(folder):
    try:
        factory = importlib.import_module("data_transform_description").data_transform
    except ModuleNotFoundError as error:
        raise UsageError(
            f"data_transform_description.py needs {error.name}, which is not installed for {sys.executable}; install "
            f'it there, or have our loader do the work: PRESET = "objectnet" in {os.path.basename(folder)}/'
        ) from None
    return factory().getTransform()


def _batch(torch, parts):
    if parts and isinstance(parts[0], tuple):  # prepared by our loader: one float32 array, NHWC
        ((data, shape),) = parts
        return torch.frombuffer(bytearray(data), dtype=torch.float32).reshape(shape).permute(0, 3, 1, 2).contiguous()
    return torch.stack(list(parts))


def _kind(value):
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + (f" of shape {tuple(shape)}" if shape is not None else "")
