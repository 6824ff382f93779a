"""Checkpoints as named arrays: what is in a file, whether it fits a network, and nothing loaded that does not.

Two formats are read: TensorFlow checkpoints (`model-STEP`, with its .index and .data files) and NumPy .npz archives
as tensorpack distributes them. Neither can carry code; pickles, Keras files and saved graphs are refused by content.
"""

import math
import os
import re
import zipfile
from dataclasses import dataclass, field

import numpy as np

from webvision import zips
from webvision.errors import CheckpointError, printable
from webvision.files import atomic_write
from webvision.npy import read_npy, read_npy_header
from webvision.zips import ZipError, open_zip

# What a training run keeps besides the network: optimiser slots, counters, running means for the display.
_BOOKKEEPING = re.compile(
    r"(^|/)(global_step|learning_rate|EMA|.*-summary|apply_gradients)(/|$)|/Momentum$|^EMA/|/EMA(_\d+)?$|"
    r"^webvision/card$|"  # what the weights mean: model/card.py
    r"/(Adam_mean|Adam_square|ASGD_average|Accumulated)$"  # training/parts/optimisers.py
)
# The state of a recipe's parts, which may have names of the network's after their own: training/parts.
_PARTS = re.compile(r"^(average|neighbours|early_learning)/|^loss_scale")
_NETWORK_EMA = re.compile(r"/(mean|variance)/EMA$")
AVERAGE = "average/"  # before the name of a weight: the run's average of it
HEAD = re.compile(r"^linear/(W|b)$")


class Weights:
    """The variables of one checkpoint file: names, shapes, and values on demand."""

    def __init__(self, path, shapes, read):
        self.path = path
        self.shapes = shapes  # {name: tuple}
        self._read = read

    def __getitem__(self, name):
        try:
            return self._read(name)
        except (ValueError, OSError, ZipError) as error:
            raise CheckpointError(
                f"{printable(self.path)}: variable {printable(name)} cannot be read: {error}"
            ) from None
        except Exception as error:  # TensorFlow's DataLossError and its kin share no importable base without TF
            raise CheckpointError(
                f"{printable(self.path)}: variable {printable(name)} is damaged "
                f"({type(error).__name__}); use another checkpoint of the run"
            ) from None


def open_weights(path):
    """Open the checkpoint at `path`: a TensorFlow prefix (or its .index or .data file, or a run folder) or a .npz."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return _open_tensorflow(_latest_in(path))
    prefix = re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", path)
    if os.path.exists(prefix + ".index"):
        return _open_tensorflow(prefix)
    if not os.path.exists(path):
        raise CheckpointError(
            f"{printable(path)}: no such checkpoint: neither this file nor "
            f"{printable(prefix)}.index exists. {_nearby(path)}"
        )
    if not os.path.isfile(path):
        raise CheckpointError(f"{printable(path)}: a device or a pipe, where a file of weights is needed")
    with open(path, "rb") as file:
        magic = file.read(64)
    if magic.startswith(b"PK\x03\x04"):
        return _open_npz(path)
    raise CheckpointError(
        f"{printable(path)}: {_foreign_format(magic)}; a TensorFlow checkpoint (model-STEP) or a NumPy "
        ".npz of named arrays is needed"
    )


def averaged(weights):
    """`weights` with the averages that a run kept of them in their place; None if it kept none."""
    averages = {name.removeprefix(AVERAGE): name for name in weights.shapes if name.startswith(AVERAGE)}
    if not averages:
        return None
    shapes = {name: weights.shapes[averages.get(name, name)] for name in weights.shapes}
    return Weights(weights.path, shapes, lambda name: weights._read(averages.get(name, name)))


def files_of(path):
    """The files that the checkpoint at `path` consists of, whatever its format; CheckpointError if there are none."""
    path = os.fspath(path)
    if os.path.isdir(path):
        if not any(name.endswith(".index") for name in os.listdir(path)):  # a model's own format
            found = sorted(os.path.join(base, name) for base, _, names in os.walk(path) for name in names)
            return [file for file in found if os.path.isfile(file)]
        path = _latest_in(path)
    prefix = re.sub(r"\.(index|data-\d{5}-of-\d{5})$", "", path)
    if os.path.exists(prefix + ".index"):
        folder, name = os.path.split(prefix)
        wanted = re.compile(re.escape(name) + r"\.(index|data-\d{5}-of-\d{5})")
        return sorted(os.path.join(folder, other) for other in os.listdir(folder or ".") if wanted.fullmatch(other))
    if not os.path.isfile(path):
        raise CheckpointError(f"{printable(path)}: no such checkpoint. {_nearby(path)}")
    return [path]


def _latest_in(folder):
    pointer = os.path.join(folder, "checkpoint")
    if os.path.isfile(pointer):
        with open(pointer, encoding="utf-8", errors="replace") as file:
            match = re.search(r'^model_checkpoint_path: "(.+)"$', file.read(), re.MULTILINE)
        if match:
            return os.path.join(folder, os.path.basename(match.group(1)))
    steps = sorted(int(m.group(1)) for m in (re.fullmatch(r"model-(\d+)\.index", n) for n in os.listdir(folder)) if m)
    if not steps:
        raise CheckpointError(
            f"{printable(folder)}: no checkpoint (model-STEP.index) in this folder; name a run's, as train_log/NAME or "
            "snapshots/DATE"
        )
    return os.path.join(folder, f"model-{steps[-1]}")


def _nearby(path):
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return f"The folder {printable(folder)} does not exist either."
    found = sorted(name[:-6] for name in os.listdir(folder) if name.endswith(".index"))
    return (
        f"In {printable(folder)} there are: {', '.join(map(printable, found[-5:]))}."
        if found
        else f"{printable(folder)} holds no checkpoint."
    )


def _foreign_format(magic):
    for start, meaning in (
        (b"\x80", "this is a Python pickle (PyTorch's old format?), which can run code and is never loaded"),
        (b"\x89HDF\r\n", "this is an HDF5 file (Keras weights?)"),
        (b"\x93NUMPY", "this is a single NumPy array, not named variables"),
        (b"\x08", "this looks like a saved graph (.meta or .pb), which holds a graph and not trusted weights"),
        (b"\n", "this looks like a saved graph (.meta or .pb), which holds a graph and not trusted weights"),
        (b"", "the format is not known"),
    ):
        if magic.startswith(start):
            return "the file is empty" if not magic else meaning


def _open_tensorflow(prefix):
    from webvision.compat import tf, tfv1

    if odd := [path for path in files_of(prefix) if not os.path.isfile(path)]:
        raise CheckpointError(f"{printable(odd[0])}: a folder, pipe or device, where a file of weights is needed")
    try:
        reader = tfv1.train.NewCheckpointReader(prefix)
        shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise CheckpointError(
            f"{printable(prefix)}: not a readable TensorFlow checkpoint ({str(error).splitlines()[0]}); "
            "use another checkpoint of the run"
        ) from None
    return Weights(prefix, {_plain(name): shape for name, shape in shapes.items()}, reader.get_tensor)


def _open_npz(path):
    try:
        archive = open_zip(path)
        with zips.reading():
            members = _npz_members(archive, path)
    except ZipError as error:
        raise CheckpointError(f"{printable(path)}: the archive is damaged ({printable(error)})") from None
    shapes = {name: header[0] for name, (_, header) in members.items()}

    def read(name):
        info, (shape, dtype, _) = members[name]
        with zips.reading(), archive.open(info) as file:
            return read_npy(file, most_bytes=math.prod(shape) * dtype.itemsize)

    return Weights(path, shapes, read)


def _npz_members(archive, path):
    """{variable: (its ZipInfo, what `read_npy_header` says)}; nothing but headers is read."""
    members = {}
    for info in archive.infolist():
        if info.is_dir():
            continue
        if not info.filename.endswith(".npy"):
            raise CheckpointError(
                f"{printable(path)}: this zip holds {printable(info.filename)}, not only .npy arrays "
                "(PyTorch's and Keras's own formats can carry code and are never loaded)"
            )
        name = _plain(info.filename[: -len(".npy")])
        if name in members:
            raise CheckpointError(f"{printable(path)}: variable {printable(name)} is in the archive twice")
        try:
            with archive.open(info) as file:
                header = read_npy_header(file)
        except ValueError as error:
            raise CheckpointError(f"{printable(path)}: variable {printable(name)}: {error}") from None
        if math.prod(header[0]) * header[1].itemsize > info.file_size:
            raise CheckpointError(
                f"{printable(path)}: variable {printable(name)} claims shape {header[0]}, more than its bytes hold"
            )
        members[name] = info, header
    return members


def write_npz(path, arrays):
    """Write {name: array} as an .npz that `open_weights` reads, whole or not at all; equal arrays give equal bytes."""
    with atomic_write(path, "wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name in sorted(arrays):
            # NumPy's own savez puts the time of day into each member.
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(member, "w", force_zip64=True) as part:
                np.lib.format.write_array(part, np.ascontiguousarray(arrays[name]), allow_pickle=False)


def _plain(name):
    return re.sub(r":0$", "", name)


@dataclass(frozen=True)
class Match:
    """How a checkpoint's variables and a network's compare."""

    loaded: list = field(default_factory=list)
    missing: list = field(default_factory=list)  # the network's, not in the file
    unexpected: list = field(default_factory=list)  # the file's, not the network's, nor a run's bookkeeping
    mismatched: list = field(default_factory=list)  # (name, shape in the file, shape in the network)

    def counts(self):
        return (
            f"{len(self.loaded)} loaded, {len(self.missing)} missing, {len(self.unexpected)} unexpected, "
            f"{len(self.mismatched)} mismatched"
        )

    def examples(self, limit=3):
        """The first few differences, for a person."""
        return (
            [f"missing {name}" for name in self.missing[:limit]]
            + [f"unexpected {name}" for name in self.unexpected[:limit]]
            + [
                f"{name} is {found} in the file and {wanted} in the network"
                for name, found, wanted in self.mismatched[:limit]
            ]
        )


def compare(wanted, weights):
    """The Match of `weights` to the shapes `wanted` ({name: tuple})."""
    both = [name for name in wanted if name in weights.shapes]
    mismatched = [(name, weights.shapes[name], wanted[name]) for name in both if weights.shapes[name] != wanted[name]]
    differing = {name for name, _, _ in mismatched}
    return Match(
        loaded=[name for name in both if name not in differing],
        missing=[name for name in wanted if name not in weights.shapes],
        unexpected=[name for name in weights.shapes if name not in wanted and not _is_bookkeeping(name)],
        mismatched=mismatched,
    )


def _is_bookkeeping(name):
    return bool(_PARTS.search(name)) or bool(_BOOKKEEPING.search(name)) and not is_batch_norm_moment(name)


def is_batch_norm_moment(name):
    """Whether a variable is a running mean or variance of the network's batch norm."""
    return bool(_NETWORK_EMA.search(name)) and not _PARTS.search(name)


def load_into(session, variables, weights, *, new_head=False):
    """Assign every one of `variables` from `weights`, all or nothing; returns the Match.

    With `new_head`, the last layer may have another number of classes and then keeps its initial weights; everything
    else must match by name and shape. CheckpointError says what differs.
    """
    by_name = {variable.op.name: variable for variable in variables}
    wanted = {name: tuple(variable.shape.as_list()) for name, variable in by_name.items()}
    match = compare(wanted, weights)
    forgiven = {name for name, _, _ in match.mismatched if new_head and HEAD.match(name)}
    if match.missing or match.unexpected or len(match.mismatched) > len(forgiven):
        advice = "is --mode, --depth or the class list another one?"
        if (
            not new_head
            and match.mismatched
            and all(HEAD.match(name) for name, _, _ in match.mismatched)
            and not match.missing
        ):
            advice = "only the number of classes differs: --finetune starts the last layer anew"
        raise CheckpointError(
            f"{printable(weights.path)} does not fit the network: {match.counts()}; {advice}\n  "
            + "\n  ".join(map(printable, match.examples()))
        )
    values = {name: weights[name] for name in match.loaded}
    for name, value in values.items():
        if value.dtype.kind != "f" and by_name[name].dtype.is_floating:
            raise CheckpointError(
                f"{printable(weights.path)}: {printable(name)} holds {value.dtype}, where a network has real numbers; "
                "is this a checkpoint of quantised weights?"
            )
    damaged = [name for name, value in values.items() if not np.all(np.isfinite(value))]
    if damaged:
        raise CheckpointError(
            f"{printable(weights.path)}: {len(damaged)} variables hold NaN or infinity, "
            f"{printable(damaged[0])} first; use a checkpoint from before the run diverged"
        )
    assign(session, {by_name[name]: value for name, value in values.items()})
    return match


def assign(session, values):
    """Set variables to arrays, all in one call: 0.1 s for a ResNet-50, where one call each takes seconds."""
    session.run(
        [variable.initializer for variable in values],
        {variable.initializer.inputs[1]: value for variable, value in values.items()},
    )
