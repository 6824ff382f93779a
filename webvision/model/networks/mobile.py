"""Networks of inverted residuals: MobileNetV2, EfficientNet as published and as Kneron's and the Lite ones simplify it,
and Kneron's classifier of persons (FP_classifier).

A block widens its input, filters every channel by itself, and narrows again; the narrow ends are what a shortcut joins.
Sandler et al. 2018 (MobileNetV2), Tan & Le 2019 (EfficientNet).
"""

import math
from dataclasses import dataclass

from webvision.compat import tf, tfv1
from webvision.model.networks.layers import (
    Conv,
    DepthwiseConv,
    DropPath,
    bn,
    bn_then,
    channels_of,
    head,
    squeeze_and_excite,
    to_layout,
)

# kernel, repeats, channels out, expansion, stride
EFFICIENTNET = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
MOBILENET_V2 = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (3, 3, 32, 6, 2),
    (3, 4, 64, 6, 2),
    (3, 3, 96, 6, 1),
    (3, 3, 160, 6, 2),
    (3, 1, 320, 6, 1),
)
# Kneron's published definition: the hidden widths before they are narrowed. Four differ from MobileNetV2's (the 128,
# 176, 368 and 560), so that they are a list, not a rule.
FP_HIDDEN = (32, 96, 128, 144, 176, 192, 192, 368, 384, 384, 384, 560, 576, 576, 960, 960, 960)

# Activations by the name that a row's settings give them.
ACTIVATIONS = {"relu": tf.nn.relu, "relu6": tf.nn.relu6, "swish": lambda l: l * tf.sigmoid(l)}


@dataclass(frozen=True)
class Block:
    """One inverted residual."""

    kernel: int
    stride: int
    hidden: int  # channels in its middle
    out: int
    squeeze: int | None = None  # width of its squeeze-and-excitation


def mobilenet_v2(image, *, num_classes, dropout=0.2):
    """MobileNetV2 at width 1."""
    blocks = [
        Block(kernel, stride, width_in * expansion, out)
        for kernel, stride, width_in, out, expansion in _unrolled(MOBILENET_V2, 32)
    ]
    return _network(image, 32, blocks, 1280, num_classes, activation="relu6", dropout=dropout)


def fp_classifier(image, *, num_classes, dropout=0.2):
    """MobileNetV2 with every width n narrowed to n // 4 * 3, the hidden ones from the list above."""
    blocks = [
        Block(kernel, stride, _narrowed(hidden), _narrowed(out))
        for (kernel, stride, _, out, _), hidden in zip(_unrolled(MOBILENET_V2, 32), FP_HIDDEN, strict=True)
    ]
    return _network(image, _narrowed(32), blocks, _narrowed(1280), num_classes, activation="relu6", dropout=dropout)


def efficientnet(
    image, *, num_classes, width, depth, dropout, squeeze=True, activation="swish", fixed_ends=False, drop_path=0.2
):
    """EfficientNet scaled by `width` and `depth`; with `fixed_ends` (Lite) stem, head, first and last stage are not."""
    stages = [
        (kernel, repeats, scaled(out, width), expansion, stride)
        for (kernel, _, out, expansion, stride), repeats in zip(EFFICIENTNET, _repeats(depth, fixed_ends), strict=True)
    ]
    stem, top = (32, 1280) if fixed_ends else (scaled(32, width), scaled(1280, width))
    blocks = [
        Block(kernel, stride, width_in * expansion, out, max(1, width_in // 4) if squeeze else None)
        for kernel, stride, width_in, out, expansion in _unrolled(stages, stem)
    ]
    return _network(image, stem, blocks, top, num_classes, activation=activation, dropout=dropout, drop_path=drop_path)


def _narrowed(count):
    return count // 4 * 3


def _repeats(depth, fixed_ends):
    ends = (0, len(EFFICIENTNET) - 1) if fixed_ends else ()
    return [
        repeats if number in ends else math.ceil(repeats * depth)
        for number, (_, repeats, *_) in enumerate(EFFICIENTNET)
    ]


def stages_of(settings):
    """How many blocks each stage has, in a network of these settings: others name blocks by stage."""
    if "depth" in settings:
        return _repeats(settings["depth"], settings.get("fixed_ends", False))
    return [repeats for _, repeats, *_ in MOBILENET_V2]


def scaled(count, width):
    """`count` times `width`, to the nearest multiple of 8 that is not below nine tenths of it."""
    wanted = count * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _unrolled(stages, width):
    """(kernel, stride, channels in, channels out, expansion) of every block, the first of which gets `width`."""
    rows = []
    for kernel, repeats, out, expansion, stride in stages:
        for repeat in range(repeats):
            rows.append((kernel, stride if repeat == 0 else 1, width, out, expansion))
            width = out
    return rows


def _network(image, stem, blocks, top, num_classes, *, activation, dropout, drop_path=0.0):
    activate = bn_then(ACTIVATIONS[activation])
    l = Conv("conv0", to_layout(image), stem, 3, strides=2, activation=activate)
    for number, block in enumerate(blocks):
        with tfv1.variable_scope(f"block{number}"):
            l = _inverted_residual(l, block, ACTIVATIONS[activation], drop_path * number / len(blocks))
    l = Conv("conv_last", l, top, 1, activation=activate)
    return head(l, num_classes, dropout=dropout)


def _inverted_residual(l, block, activation, drop_path):
    shortcut = l if block.stride == 1 and channels_of(l) == block.out else None
    activate = bn_then(activation)
    if block.hidden != channels_of(l):
        l = Conv("expand", l, block.hidden, 1, activation=activate)
    l = DepthwiseConv("dw", l, block.kernel, strides=block.stride, activation=activate)
    if block.squeeze:
        l = squeeze_and_excite(l, "se1", block.squeeze, "se2", activation)
    l = Conv("project", l, block.out, 1, activation=bn)
    return l if shortcut is None else DropPath("path", l, drop_path) + shortcut
