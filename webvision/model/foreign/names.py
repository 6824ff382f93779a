"""What others call our layers, and in which order they keep a layer's numbers.

A naming is a function from our layer ('block3/expand') to theirs: the module of its weights, and that of its batch
norm. The rest follows from the kind of file: PyTorch keeps a convolution as [out, in, h, w] and a linear layer as
[out, in], ours are [h, w, in, out] and [in, out]; Keras keeps both as we do.
"""

import re

import numpy as np

DEPTHWISE = {"dw", "start"}  # our layers that filter every channel by itself
_BATCH_NORM = {  # by kind of file, what parts of a batch norm are called, behind its module
    "torch": {"gamma": ".weight", "beta": ".bias", "mean/EMA": ".running_mean", "variance/EMA": ".running_var"},
    "keras": {"gamma": "/gamma", "beta": "/beta", "mean/EMA": "/moving_mean", "variance/EMA": "/moving_variance"},
    "caffe": {name: f"/{name}" for name in ("gamma", "beta", "mean/EMA", "variance/EMA")},
}


def foreign_name(variable, naming, kind):
    """(their name, how an array of theirs becomes ours) of our `variable` ('block3/expand/bn/gamma') in a file of
    `kind`: 'torch', 'keras' or 'caffe'."""
    if match := re.fullmatch(r"(.+)/bn/(gamma|beta|mean/EMA|variance/EMA)", variable):
        return naming(match[1])[1] + _BATCH_NORM[kind][match[2]], _as_is
    layer, _, part = variable.rpartition("/")
    module, norm = naming(layer)
    if part == "scale":  # of ConvNeXt's blocks: a parameter of the block itself
        return norm, np.ravel
    if part in ("gamma", "beta"):  # layer norm
        return module + _BATCH_NORM[kind][part], _as_is
    depthwise = layer.rsplit("/", 1)[-1] in DEPTHWISE
    if kind == "torch":
        return (f"{module}.weight", _depthwise if depthwise else _dense) if part == "W" else (f"{module}.bias", _as_is)
    if kind == "keras":
        return f"{module}/{'bias' if part == 'b' else 'depthwise_kernel' if depthwise else 'kernel'}", _as_is
    return f"{module}/{part}", _as_is


def _as_is(array):
    return array


def _depthwise(array):
    return array.transpose(2, 3, 0, 1)  # [channels, 1, h, w] -> [h, w, channels, 1]


def _dense(array):
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T  # [out, in, h, w] -> [h, w, in, out]


def fitted(array, shape):
    """`array` in our `shape`, where only sides of 1 differ: a 1x1 convolution is a linear layer."""
    squeezed = tuple(side for side in array.shape if side != 1)
    same = squeezed == tuple(side for side in shape if side != 1)
    return np.ascontiguousarray(array.reshape(shape) if same and array.size == np.prod(shape) else array)


# ---- namings: our layer -> (module of weights, module of batch norm)


def torch_resnet(layer):
    """torchvision's and timm's ResNets, timm's with deep stem too."""
    if layer == "linear":
        return "fc", None
    if layer == "conv0":
        return "conv1", "bn1"
    group, block, conv = re.fullmatch(r"group(\d)/block(\d+)/conv(\w+)", layer).groups()
    prefix = f"layer{int(group) + 1}.{block}"
    if conv == "shortcut":
        return f"{prefix}.downsample.0", f"{prefix}.downsample.1"
    return f"{prefix}.conv{conv}", f"{prefix}.bn{conv}"


def timm_resnet_d(layer):
    """timm's ResNet-D: three convolutions begin it, and the shortcut's follows a pooling."""
    begin = {"stem0": ("conv1.0", "conv1.1"), "stem1": ("conv1.3", "conv1.4"), "conv0": ("conv1.6", "bn1")}
    if layer in begin:
        return begin[layer]
    module, norm = torch_resnet(layer)
    if layer.endswith("convshortcut"):
        return module[:-1] + "1", norm[:-1] + "2"
    return module, norm


def keras_resnet(layer):
    """Keras's ResNet50 to 152, which are of version 1."""
    if layer == "linear":
        return "predictions", None
    if layer == "conv0":
        return "conv1_conv", "conv1_bn"
    group, block, conv = re.fullmatch(r"group(\d)/block(\d+)/conv(\w+)", layer).groups()
    prefix = f"conv{int(group) + 2}_block{int(block) + 1}_{0 if conv == 'shortcut' else conv}"
    return f"{prefix}_conv", f"{prefix}_bn"


def caffe_resnet(layer, depth):
    """The npz archives that tensorpack distributes of Caffe's ResNets (upstream's load-resnet)."""
    if layer == "linear":
        return "fc1000", None
    if layer == "conv0":
        return "conv1", "bn_conv1"
    group, block, conv = re.fullmatch(r"group(\d)/block(\d+)/conv(\w+)", layer).groups()
    # a, b, c, ...; but a, b1, b2, ... in the two long groups of the deep ones
    counted = depth > 50 and group in "12" and block != "0"
    letter = f"b{block}" if counted else chr(ord("a") + int(block))
    branch = "1" if conv == "shortcut" else "2" + "abc"[int(conv) - 1]
    name = f"{int(group) + 2}{letter}_branch{branch}"
    return f"res{name}", f"bn{name}"


def torchvision_mobilenet(layer, stages):
    """torchvision's MobileNetV2."""
    if layer == "linear":
        return "classifier.1", None
    count = sum(stages)
    if layer in ("conv0", "conv_last"):
        prefix = f"features.{0 if layer == 'conv0' else count + 1}"
        return f"{prefix}.0", f"{prefix}.1"
    block, part = re.fullmatch(r"block(\d+)/(\w+)", layer).groups()
    prefix = f"features.{int(block) + 1}.conv"
    place = ["expand", "dw"].index(part) if part != "project" else 2
    place -= block == "0"  # which widens nothing
    return (f"{prefix}.{place}", f"{prefix}.{place + 1}") if part == "project" else (
        f"{prefix}.{place}.0", f"{prefix}.{place}.1"
    )  # fmt: skip


def timm_mobile(layer, stages):
    """timm's MobileNetV2 and EfficientNets: blocks by stage."""
    plain = {"linear": ("classifier", None), "conv0": ("conv_stem", "bn1"), "conv_last": ("conv_head", "bn2")}
    if layer in plain:
        return plain[layer]
    block, part = re.fullmatch(r"block(\d+)/(\w+)", layer).groups()
    stage, number = place_of(int(block), stages)
    prefix = f"blocks.{stage}.{number}"
    if part in ("se1", "se2"):
        return f"{prefix}.se.conv_{'reduce' if part == 'se1' else 'expand'}", None
    first = {"dw": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
    other = {"expand": ("conv_pw", "bn1"), "dw": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
    module, norm = (first if block == "0" else other)[part]
    return f"{prefix}.{module}", f"{prefix}.{norm}"


def lukemelas(layer, stages):
    """The EfficientNets of efficientnet-pytorch, and the Lite packages."""
    plain = {"linear": ("_fc", None), "conv0": ("_conv_stem", "_bn0"), "conv_last": ("_conv_head", "_bn1")}
    if layer in plain:
        return plain[layer]
    block, part = re.fullmatch(r"block(\d+)/(\w+)", layer).groups()
    module, norm = {
        "expand": ("_expand_conv", "_bn0"),
        "dw": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
        "se1": ("_se_reduce", None),
        "se2": ("_se_expand", None),
    }[part]
    return f"_blocks.{block}.{module}", f"_blocks.{block}.{norm}"


def keras_mobilenet(layer, stages):
    """Keras's MobileNetV2."""
    plain = {
        "linear": ("predictions", None), "conv0": ("Conv1", "bn_Conv1"), "conv_last": ("Conv_1", "Conv_1_bn")
    }  # fmt: skip
    if layer in plain:
        return plain[layer]
    block, part = re.fullmatch(r"block(\d+)/(\w+)", layer).groups()
    prefix = "expanded_conv" if block == "0" else f"block_{block}"
    name = f"{prefix}_{'depthwise' if part == 'dw' else part}"
    return name, f"{name}_BN"


def keras_efficientnet(layer, stages):
    """Keras's EfficientNets: blocks by stage and letter."""
    plain = {
        "linear": ("predictions", None), "conv0": ("stem_conv", "stem_bn"), "conv_last": ("top_conv", "top_bn")
    }  # fmt: skip
    if layer in plain:
        return plain[layer]
    block, part = re.fullmatch(r"block(\d+)/(\w+)", layer).groups()
    stage, number = place_of(int(block), stages)
    prefix = f"block{stage + 1}{chr(ord('a') + number)}_"
    module, norm = {
        "expand": ("expand_conv", "expand_bn"),
        "dw": ("dwconv", "bn"),
        "project": ("project_conv", "project_bn"),
        "se1": ("se_reduce", None),
        "se2": ("se_expand", None),
    }[part]
    return prefix + module, f"{prefix}{norm}"


def torchvision_efficientnet(layer, stages):
    """torchvision's EfficientNets."""
    if layer == "linear":
        return "classifier.1", None
    if layer in ("conv0", "conv_last"):
        prefix = f"features.{0 if layer == 'conv0' else len(stages) + 1}"
        return f"{prefix}.0", f"{prefix}.1"
    block, part = re.fullmatch(r"block(\d+)/(\w+)", layer).groups()
    stage, number = place_of(int(block), stages)
    prefix = f"features.{stage + 1}.{number}.block"
    parts = ["dw", "se", "project"] if block == "0" else ["expand", "dw", "se", "project"]
    place = f"{prefix}.{parts.index(part[:2] if part.startswith('se') else part)}"
    if part.startswith("se"):
        return f"{place}.fc{part[2]}", None
    return f"{place}.0", f"{place}.1"


def timm_mobilenet_v4(layer):
    """timm's MobileNetV4-Conv."""
    plain = {"linear": ("classifier", None), "conv0": ("conv_stem", "bn1"), "conv_last": ("conv_head", "norm_head")}
    if layer in plain:
        return plain[layer]
    stage, block, part = re.fullmatch(r"group(\d)/block(\d+)/(\w+)", layer).groups()
    prefix = f"blocks.{stage}.{block}"
    if part == "conv":
        return f"{prefix}.conv", f"{prefix}.bn1"
    universal = {"start": "dw_start", "expand": "pw_exp", "dw": "dw_mid", "project": "pw_proj"}[part]
    return f"{prefix}.{universal}.conv", f"{prefix}.{universal}.bn"


def timm_mobilenet_v4_medium(layer):
    """timm's MobileNetV4-Conv-Medium, whose first block is a fused one."""
    fused = {"expand": ("conv_exp", "bn1"), "project": ("conv_pwl", "bn2")}
    if match := re.fullmatch(r"group0/block0/(\w+)", layer):
        module, norm = fused[match[1]]
        return f"blocks.0.0.{module}", f"blocks.0.0.{norm}"
    return timm_mobilenet_v4(layer)


def timm_regnet(layer):
    """timm's RegNets."""
    if layer == "linear":
        return "head.fc", None
    if layer == "conv0":
        return "stem.conv", "stem.bn"
    stage, block, conv = re.fullmatch(r"group(\d)/block(\d+)/conv(\w+)", layer).groups()
    prefix = f"s{int(stage) + 1}.b{int(block) + 1}.{'downsample' if conv == 'shortcut' else 'conv' + conv}"
    return f"{prefix}.conv", f"{prefix}.bn"


def timm_convnext(layer):
    """timm's ConvNeXts; for a block itself, its scale."""
    plain = {"linear": "head.fc", "norm": "head.norm", "conv0": "stem.0", "norm0": "stem.1"}
    parts = {"dw": "conv_dw", "norm": "norm", "expand": "mlp.fc1", "project": "mlp.fc2", None: "gamma"}
    return _convnext(
        layer,
        plain=plain,
        down=lambda stage: f"stages.{stage}.downsample",
        block=lambda stage: f"stages.{stage}.blocks",
        parts=parts,
    )


def torchvision_convnext(layer):
    """torchvision's ConvNeXts; for a block itself, its scale."""
    plain = {"linear": "classifier.2", "norm": "classifier.0", "conv0": "features.0.0", "norm0": "features.0.1"}
    parts = {"dw": "block.0", "norm": "block.2", "expand": "block.3", "project": "block.5", None: "layer_scale"}
    return _convnext(
        layer,
        plain=plain,
        down=lambda stage: f"features.{2 * stage}",
        block=lambda stage: f"features.{2 * stage + 1}",
        parts=parts,
    )


def _convnext(layer, *, plain, down, block, parts):
    """The names in a maker's ConvNeXt, where `down` and `block` say where its stages lie."""
    if layer in plain:
        return plain[layer], None
    if match := re.fullmatch(r"group(\d)/(down|down_norm)", layer):
        return f"{down(int(match[1]))}.{0 if match[2] == 'down_norm' else 1}", None
    stage, number, _, part = re.fullmatch(r"group(\d)/block(\d+)(/(\w+))?", layer).groups()
    name = f"{block(int(stage))}.{number}.{parts[part]}"
    return (None, name) if part is None else (name, None)


def place_of(block, stages):
    """(stage, number in it) of the flat `block`, where `stages` are the numbers of blocks."""
    for stage, count in enumerate(stages):
        if block < count:
            return stage, block
        block -= count
    raise ValueError(f"no block {block}")
