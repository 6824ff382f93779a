"""Memory that runs out within a step, said in one line with what is in the way."""

import contextlib
import os

from webvision.compat import tf
from webvision.errors import ResourceError
from webvision.machine import gpu_facts
from webvision.machine.why_no_gpu import others_on


@contextlib.contextmanager
def shortage_told(network, batch, devices):
    """Within the block, TensorFlow's exhausted memory is a ResourceError that names batch, size, and other holders."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise ResourceError(
            f"out of memory with --batch {batch} over {devices.count} tower(s) at {network.image_size} px "
            f"({str(error).splitlines()[0]}); a smaller --batch needs less{_held_by_others(devices)}"
        ) from None


def _held_by_others(devices):
    if not devices.on_gpu:
        return ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = gpu_facts.known_gpus([str(number) for number in range(devices.count)] if visible is None else [visible])
    return "".join(
        f". On GPU {gpu.index} there is also {others}" for gpu in gpus if (others := others_on(gpu, os.getpid()))
    )
