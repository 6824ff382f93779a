"""GPUs that were asked for are there, or the command ends: TensorFlow itself goes on on the CPU without a word."""

from webvision import compat
from webvision.compat import tf, tfv1
from webvision.machine import gpu_facts, why_no_gpu


def require_gpus(count):
    """UsageError or ResourceError, in one line that says why, unless TensorFlow offers `count` GPUs."""
    if count:
        offered = len(tf.config.list_physical_devices("GPU"))
        if offered < count:
            raise _explanation(count, offered)


def open_session(graph=None, *, config, gpus=0):
    """A session that has `gpus` GPUs; the error of `require_gpus` where it has fewer.

    Some are refused only here: one that is too old for this build, or whose memory is full.
    """
    try:
        session = tfv1.Session(graph=graph, config=config)
    except tf.errors.OpError as error:
        if not gpus:
            raise
        raise _explanation(gpus, 0, str(error).splitlines()[0]) from None
    offered = sum(device.device_type == "GPU" for device in session.list_devices()) if gpus else 0
    if offered < gpus:
        session.close()
        raise _explanation(gpus, offered)
    return session


def _explanation(asked, offered, session_error=""):
    return why_no_gpu.explain(
        gpu_facts.gather(
            asked, offered, libraries=compat.CUDA_LIBRARIES, built_for=oldest_capability(), session_error=session_error
        )
    )


def oldest_capability():
    """The oldest compute capability that this TensorFlow has code for, as (6, 0); None if it is built without CUDA."""
    build = tf.sysconfig.get_build_info()
    names = [name.rsplit("_", 1)[-1] for name in build.get("cuda_compute_capabilities", ())]
    if not build.get("is_cuda_build") or not names:
        return None
    return min((int(name[:-1]), int(name[-1])) for name in names)
