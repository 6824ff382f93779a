"""The training step alone on made-up pictures, as `imagenet-resnet.py --fake` measures it."""

from benchmarks.gpu.peak import told
from webvision.compat import tf
from webvision.devices import Devices
from webvision.errors import ResourceError
from webvision.model.backbones import Network
from webvision.model.forward import Arithmetic
from webvision.training.fake import measure_step

STEPS = 60
NETWORK = Network("resnet50", 1000, 224)


def rate(place, precision, batch, xla):
    """Pictures a second of ResNet-50 on one GPU, and the share of the card's peak."""
    tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
    compute = "float32" if precision == "tf32" else precision
    layout = "NCHW" if compute == "float32" and not xla else "NHWC"
    arithmetic = Arithmetic(layout, compute, 128.0 if compute == "float16" else 1.0)
    try:
        seconds = measure_step(NETWORK, arithmetic, batch=batch, devices=Devices(True, 1, xla), steps=STEPS)
    except (ResourceError, tf.errors.ResourceExhaustedError):
        return {"held": None, "words": "does not fit the GPU's memory"}
    return told(place.card, precision, batch / seconds)
