"""Exports of a trained model: opened as prediction opens it, tried on its own val list, written, told."""

import importlib.util
import os
from dataclasses import dataclass

from webvision.data.data_set import DataSet
from webvision.data.loader.batches import EvalBatches
from webvision.data.loader.spec import BatchSpec
from webvision.errors import ResourceError, UsageError, printable
from webvision.inference.snapshot import open_snapshot

SUFFIXES = {".onnx": "onnx", ".tflite": "tflite"}  # any other path is a SavedModel's folder


@dataclass(frozen=True)
class Wanted:
    """What is asked of an export."""

    snapshot: str  # a run's folder, a checkpoint, an .npz, or another maker's weights
    out: str  # NAME.onnx, NAME.tflite, or a folder for a SavedModel
    backbone: str | None = None  # needed for another maker's weights; compared with a snapshot's otherwise
    data: str | None = None  # a set whose val list it is tried on; None: the run's own
    num_classes: int | None = None  # compared with the model's
    classes: list | None = None  # names, where the snapshot has none
    opset: int = 13
    batch: int | None = 1  # None: any
    four_d: bool = False
    preprocess: bool = False
    int8: bool = False
    max_loss: float = 0.01
    chips: tuple = ()
    workers: int = 0


def export(wanted, *, say=print):
    """Write `wanted.out` once it answers as the model does; returns the Product. IncompleteError if it does not."""
    _need_libraries(wanted.out)
    from webvision.export.formats import export_onnx, export_onnx_int8, export_savedmodel, export_tflite, metadata_of
    from webvision.export.graph import freeze
    from webvision.export.onnx_writer import Options
    from webvision.export.original import Original, drawn_batches

    kind = SUFFIXES.get(os.path.splitext(wanted.out)[1].lower(), "savedmodel")
    _refuse_senseless(wanted, kind)
    network, weights, preset, names = _model(wanted, say)
    if wanted.num_classes not in (None, network.num_classes):
        raise UsageError(f"--num_classes {wanted.num_classes}: the model has {network.num_classes}; leave it out")
    batches, labels = _val(wanted, network, preset, say)
    if batches is None:
        say("no val list at hand (--data DIR gives one): compared on 16 drawn pictures, which say less")
        batches = drawn_batches(network)
    original = Original(freeze(network, weights, preset), batches, labels=labels)
    options = Options(wanted.opset, None if wanted.preprocess else wanted.batch, wanted.four_d)
    metadata = metadata_of(original, names=names, weights=os.path.basename(weights.path))
    if kind == "savedmodel":
        product = export_savedmodel(original, wanted.out)
    elif kind == "tflite":
        product = export_tflite(original, wanted.out, int8=wanted.int8, max_loss=wanted.max_loss)
    elif wanted.int8:
        product = export_onnx_int8(original, wanted.out, options, metadata=metadata, max_loss=wanted.max_loss)
    else:
        product = export_onnx(original, wanted.out, options, metadata=metadata, preprocess=wanted.preprocess)
    say(str(product))
    for chip in wanted.chips:
        _tell_chip(product.path, chip, say)
    return product


def _need_libraries(out):
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ResourceError(f"{printable(out)}: {' and '.join(missing)} is not installed: pip install '.[export]'")


def _refuse_senseless(wanted, kind):
    only_onnx = {"--preprocess": wanted.preprocess, "--four-d": wanted.four_d, "--check": wanted.chips}
    for flag, given in only_onnx.items():
        if given and kind != "onnx":
            raise UsageError(f"{flag} is for ONNX: name the file something.onnx, not {printable(wanted.out)}")
    if wanted.int8 and (kind == "savedmodel" or wanted.preprocess):
        raise UsageError("--int8 is for plain .onnx and .tflite files")


def _model(wanted, say):
    """(Network, Weights, Preset, class names or None) of the snapshot, or of another maker's file."""
    from webvision.inference.snapshot import best_weights
    from webvision.model.foreign.pretrained import is_foreign
    from webvision.model.weights import open_weights

    path = best_weights(wanted.snapshot)
    if path.lower().endswith((".onnx", ".tflite")):
        raise UsageError(f"{printable(path)} is an export already; name the run or the checkpoint")
    if not wanted.backbone and is_foreign(path):
        raise UsageError(
            f"{printable(path)}: another maker's weights do not say what they are of; give --backbone NAME"
        )
    if wanted.backbone and os.path.isfile(path):
        from webvision.model.backbones import named_backbone
        from webvision.model.foreign.pretrained import open_pretrained

        try:
            name = named_backbone(wanted.backbone)
        except ValueError as error:
            raise UsageError(f"--backbone: {printable(error)}") from None
        if found := open_pretrained(path, name):
            say(str(found))
            network = found.network()
            return network, found.weights(network), found.preset, wanted.classes
    snapshot = open_snapshot(wanted.snapshot, backbone=wanted.backbone, names_otherwise=wanted.classes)
    return snapshot.network, open_weights(snapshot.weights), snapshot.preset, snapshot.names


def _val(wanted, network, preset, say):
    """(function that gives uint8 batches, labels) of the val list, or (None, None) where there is none."""
    run = wanted.snapshot if os.path.isdir(wanted.snapshot) else os.path.dirname(wanted.snapshot)
    root = wanted.data or os.path.join(run, "data")
    if not wanted.data and not os.path.isdir(os.path.join(root, "meta")):
        return None, None
    data = DataSet.open(root)
    if len(data.classes) != network.num_classes:
        raise UsageError(f"{printable(root)} has {len(data.classes)} classes, the model {network.num_classes}")
    split = data.split("val")
    if not len(split.index):
        return None, None

    def batches():
        loader = EvalBatches(split, BatchSpec(preset, min(64, len(split.index))), workers=wanted.workers)
        try:
            for shown in loader:
                yield shown.images
        finally:
            loader.close()

    labels = split.index.labels[:] if split.index.labelled else None
    say(f"compared on the {len(split.index)} pictures of {printable(split.index.path)}")
    return batches, labels


def _tell_chip(path, chip, say):
    import onnx

    from webvision.export.operators import unsupported

    lines = unsupported(onnx.load(path), chip)
    say(f"{chip}: every operator runs" if not lines else f"{chip} does not run it as it is:")
    for line in lines:
        say(f"  {line}")
