"""Does a GPU compute what the CPU computes, in every precision and layout, on one tower and on several?

Bounds: float32 by what sums in another order may differ; half precision by its 8 or 11 bits, and what the CPU's differ
by.
"""

import dataclasses

from benchmarks.gpu.step import batch_of, differences, one_step
from webvision.compat import tf
from webvision.devices import Devices
from webvision.model.backbones import Network
from webvision.model.forward import Arithmetic
from webvision.model.misplaced import misplaced
from webvision.model.session import require_gpus

from tensorpack.models import Conv2D, FullyConnected, GlobalAvgPooling

CLASSES = 100
# (largest difference of the logits over the largest logit, norm of the update's difference over its norm).
BOUNDS = {"float32": (1e-3, 1e-2), "tf32": (2e-2, 1e-1), "float16": (2e-2, 1e-1), "bfloat16": (1e-1, 4e-1)}
SAME = (1e-3, 1e-2)  # of two ways to compute the same in float32
SCALE = 128.0  # of float16's loss


@dataclasses.dataclass(frozen=True)
class Plain:
    """Three convolutions and a linear layer, without batch norm."""

    num_classes: int = CLASSES
    image_size: int = 64
    name: str = "plain"

    def logits(self, image, *, data_format):
        for number in range(3):
            image = Conv2D(f"conv{number}", image, 64, 3, strides=2, activation=tf.nn.relu)
        return FullyConnected("linear", GlobalAvgPooling("gap", image), self.num_classes)


def start(place):
    """TensorFlow starts, and offers what is there."""
    require_gpus(place.gpus)
    with tf.device("/gpu:0" if place.gpus else "/cpu:0"):
        product = float(tf.reduce_sum(tf.matmul(tf.ones([64, 64]), tf.ones([64, 64]))))
    build = tf.sysconfig.get_build_info()
    words = f"TensorFlow {tf.__version__} (CUDA {build['cuda_version']}), {place.gpus} GPUs"
    return {"held": product == 64.0**3, "words": words}


def precision(place, name):
    """One step in `name` on the GPU against one in float32 on the CPU; without a GPU, `name` on the CPU."""
    network, batch = _network(place)
    tf.config.experimental.enable_tensor_float_32_execution(name == "tf32")
    compute = "float32" if name == "tf32" else name
    arithmetic = Arithmetic("NHWC", compute, SCALE if name == "float16" else 1.0)
    expected = one_step(network, Arithmetic(), Devices(), batch)
    found = one_step(network, arithmetic, Devices(on_gpu=place.gpus > 0, like_gpus=place.gpus == 0), batch)
    return _compared(f"{network.name} in {name} against float32 on the CPU", expected, found, BOUNDS[name])


def layout(place):
    """NCHW against NHWC, both in float32 where the step runs."""
    network, batch = _network(place)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    devices = Devices(on_gpu=place.gpus > 0, like_gpus=place.gpus == 0)
    steps = [one_step(network, Arithmetic(layout), devices, batch) for layout in ("NHWC", "NCHW")]
    return _compared(f"{network.name}, NCHW against NHWC", *steps, SAME)


def towers(place):
    """All GPUs, or two CPU devices in their stead, against one: without batch norm, which sees its own tower's part."""
    return _towers(place, Plain(), sync_bn=False)


def synchronised_towers(place):
    """The same with batch norm over all towers."""
    return _towers(place, Network("resnet18", CLASSES, 64), sync_bn=True)


def _towers(place, network, *, sync_bn):
    tf.config.experimental.enable_tensor_float_32_execution(False)
    several = place.gpus > 1
    one = Devices(on_gpu=several)
    all_of_them = dataclasses.replace(one, count=place.gpus if several else 2, like_gpus=not several)
    batch = batch_of(network, 8 * all_of_them.count)
    steps = [one_step(network, Arithmetic(), devices, batch, sync_bn=sync_bn) for devices in (one, all_of_them)]
    carrier = "NCCL" if several else "TensorFlow's ring"
    told = _compared(f"{all_of_them.count} towers over {carrier} against one", *steps, SAME)
    return told if several else told | {"ran_on": "CPU devices"}


def placement(place):
    """Where each operation of a step on the GPUs was computed."""
    network, batch = _network(place)
    found = misplaced(one_step(network, Arithmetic("NCHW"), Devices(on_gpu=True), batch)["graphs"])
    words = f"{len(found)} operations elsewhere, the first {found[0][:2]}" if found else "every operation on the GPU"
    return {"held": not found, "words": words}


def _network(place):
    network = Network("resnet50", CLASSES, 224) if place.gpus else Network("resnet18", CLASSES, 64)
    return network, batch_of(network, 16)


def _compared(what, expected, found, bounds):
    apart = differences(expected, found)
    held = apart["logits"] <= bounds[0] and apart["update"] <= bounds[1]
    words = (
        f"{what}: logits differ by {apart['logits']:.1e} (bound {bounds[0]:g}), update by {apart['update']:.1e} "
        f"(bound {bounds[1]:g})"
    )
    return {"held": held, "words": words, **apart, "bounds": bounds}
