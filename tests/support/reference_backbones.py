"""Makes tests/data/backbones.json: what PyTorch's definitions of the networks count and answer, on seeded weights.

Not run by any test. In an environment of its own, from the project's root:

    python -m venv /tmp/reference && /tmp/reference/bin/pip install torch==2.13.0 timm==1.0.31 torchvision==0.28.0 \
        efficientnet-lite-pytorch==0.1.0
    /tmp/reference/bin/python tests/support/reference_backbones.py

A row of the file: backbone, source (as webvision/model/foreign/sources.py names it), parameters and millions of
multiplications with 1000 classes at the backbone's size (null where the source is counted elsewhere), and the logits of
11 classes for two pictures of an even side, where padding shows.
"""

import functools
import json
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, ROOT)

import timm  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402

from tests.support.seeded import seeded_images, seeded_tensor  # noqa: E402

SIDE, CLASSES = 96, 11
SIZES = {"lite0": 224, "lite1": 240, "lite2": 260, "lite3": 280, "lite4": 300}
SE_SIZES = (224, 240, 260, 300, 380, 456, 528, 600)
FP_HIDDEN = (32, 96, 128, 144, 176, 192, 192, 368, 384, 384, 384, 560, 576, 576, 960, 960, 960)


def kneron_efficientnet(name, **settings):
    """Nothing squeezed, ReLU for swish, all else as it was."""
    model = timm.create_model(name, **settings)
    for stage in model.blocks:
        for block in stage:
            block.se = torch.nn.Identity()
    for module in model.modules():
        if hasattr(module, "act") and isinstance(module.act, torch.nn.SiLU):
            module.act = torch.nn.ReLU()
    return model


def fp_classifier(num_classes):
    """Kneron's definition, written out with torchvision's layers: widths n // 4 * 3, four hidden widths of its own."""
    narrow = lambda width: width // 4 * 3  # noqa: E731
    layer = functools.partial(torchvision.ops.Conv2dNormActivation, activation_layer=torch.nn.ReLU6)
    blocks = [
        (out, stride if repeat == 0 else 1)
        for _, out, repeats, stride in torchvision_settings()
        for repeat in range(repeats)
    ]
    features, width = [layer(3, narrow(32), stride=2)], narrow(32)
    for number, ((out, stride), hidden) in enumerate(zip(blocks, FP_HIDDEN, strict=True)):
        block = torchvision.models.mobilenetv2.InvertedResidual(width, narrow(out), stride, 1)
        parts = [] if number == 0 else [layer(width, narrow(hidden), kernel_size=1)]
        parts.append(layer(narrow(hidden), narrow(hidden), stride=stride, groups=narrow(hidden)))
        parts += [torch.nn.Conv2d(narrow(hidden), narrow(out), 1, bias=False), torch.nn.BatchNorm2d(narrow(out))]
        block.conv = torch.nn.Sequential(*parts)
        features.append(block)
        width = narrow(out)
    features.append(layer(width, narrow(1280), kernel_size=1))
    model = torchvision.models.MobileNetV2(num_classes=num_classes)
    model.features = torch.nn.Sequential(*features)
    model.classifier[1] = torch.nn.Linear(narrow(1280), num_classes)
    return model


def torchvision_settings():
    return [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 3, 2], [6, 64, 4, 2], [6, 96, 3, 1], [6, 160, 3, 2], [6, 320, 1, 1]]


def lite_package(number, num_classes):
    # Its SAME padding is reckoned once, for the image size that it is built with.
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name(f"efficientnet-lite{number}", num_classes=num_classes, image_size=SIDE)


def references():
    """(backbone, source, size at which it is counted or None, function of the number of classes)."""

    def of_timm(name):
        return lambda classes: timm.create_model(name, num_classes=classes)

    def of_vision(name):
        return lambda classes: getattr(torchvision.models, name)(weights=None, num_classes=classes)

    for depth in (18, 34, 50, 101, 152):
        yield f"resnet{depth}", "torchvision or timm", 224, of_vision(f"resnet{depth}")
    for depth in (18, 50):
        yield f"resnet{depth}d", "timm", 224, of_timm(f"resnet{depth}d")
    yield "mobilenetv2", "timm", None, of_timm("mobilenetv2_100")
    yield "mobilenetv2", "torchvision", 224, of_vision("mobilenet_v2")
    yield "FP_classifier", "kneron", (56, 32), fp_classifier
    for number in range(5):
        name = f"efficientnet-lite{number}"
        yield name, "timm", SIZES[f"lite{number}"], of_timm(f"efficientnet_lite{number}")
        yield name, "timm tf_", None, of_timm(f"tf_efficientnet_lite{number}")
    for number in range(3):
        package = functools.partial(lite_package, number)
        yield f"efficientnet-lite{number}", "efficientnet-lite package", None, package
    for number in range(8):
        name = f"efficientnet_b{number}"
        yield f"efficientnet-b{number}-se", "timm", SE_SIZES[number], of_timm(name)
        yield f"efficientnet-b{number}-se", "timm tf_", None, of_timm(f"tf_{name}")
        yield f"efficientnet-b{number}-se", "torchvision", None, of_vision(name)
        kneron = functools.partial(kneron_efficientnet, name)
        yield f"efficientnet-b{number}", "timm", 224, lambda classes, kneron=kneron: kneron(num_classes=classes)
    yield "mobilenetv4-conv-small", "timm", 224, of_timm("mobilenetv4_conv_small")
    yield "mobilenetv4-conv-medium", "timm", 224, of_timm("mobilenetv4_conv_medium")
    yield "regnetx-400mf", "timm", 224, of_timm("regnetx_004")
    yield "convnext-tiny", "timm", 224, of_timm("convnext_tiny")
    yield "convnext-tiny", "torchvision", None, of_vision("convnext_tiny")


def count(model, height, width):
    """(trainable parameters, millions of multiplications of convolutions and linear layers) for one picture."""
    total = 0

    def add(module, inputs, output):
        nonlocal total
        total += output.numel() // output.shape[0] * (module.weight.numel() // module.weight.shape[0])

    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(add)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, height, width))
    return sum(parameter.numel() for parameter in model.parameters()), round(total / 1e6, 2)


def logits(model, height, width):
    state = {
        name: torch.from_numpy(seeded_tensor(name, tuple(value.shape))) if value.is_floating_point() else value
        for name, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    with torch.no_grad():
        answer = model.eval()(torch.from_numpy(seeded_images(height, width)).permute(0, 3, 1, 2))
    return [[float(f"{value:.8g}") for value in row] for row in answer.tolist()]


def main():
    torch.manual_seed(0)
    rows = []
    for backbone, source, size, build in references():
        parameters = mmac = None
        fp = backbone == "FP_classifier"
        if size:
            height, width = size if fp else (size, size)
            with torch.device("meta"):  # shapes alone
                parameters, mmac = count(build(2 if fp else 1000), height, width)
        height, width = (56, 32) if fp else (SIDE, SIDE)
        answer = logits(build(CLASSES), height, width)
        rows.append({"backbone": backbone, "source": source, "parameters": parameters, "mmac": mmac, "logits": answer})
        print(backbone, source, parameters, mmac, flush=True)
    with open(os.path.join(ROOT, "tests", "data", "backbones.json"), "w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if __name__ == "__main__":
    main()
