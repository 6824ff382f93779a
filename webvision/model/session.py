"""How TensorFlow runs a graph here, in training and in prediction.

GPUs that were asked for are there, or the command ends: TensorFlow itself goes on on the CPU without a word.
"""

from webvision import compat
from webvision.compat import tf, tfv1
from webvision.devices import cpu_cores
from webvision.machine import gpu_facts, why_no_gpu


def session_config(devices):
    """The configuration of a session for replicas on `devices`.

    On the CPU every core works on one operation at a time, the fastest of the settings measured; XLA is left out
    there unless asked for, since its convolutions do not use oneDNN (0.63 of the speed).
    """
    config = tfv1.ConfigProto(allow_soft_placement=True)
    if devices.on_gpu:
        config.gpu_options.allow_growth = True
        config.experimental.collective_nccl = True
    else:
        config.intra_op_parallelism_threads = cpu_cores()
        config.inter_op_parallelism_threads = 1
        config.device_count["CPU"] = devices.count  # collective ops want a device for each tower
        config.device_count["GPU"] = 0  # or what names no device would be computed there
    if devices.xla:
        config.graph_options.optimizer_options.global_jit_level = tfv1.OptimizerOptions.ON_1
    return config


def require_gpus(count):
    """UsageError or ResourceError, in one line that says why, unless TensorFlow offers `count` GPUs."""
    if count:
        offered = len(tf.config.list_physical_devices("GPU"))
        if offered < count:
            raise _explanation(count, offered)


def open_session(devices, graph=None, *, config=None):
    """A session on `devices`, with `config` or else `session_config`; the error of `require_gpus` where GPUs are fewer.

    Some are refused only here: one that is too old for this build, or whose memory is full.
    """
    try:
        session = tfv1.Session(graph=graph, config=config or session_config(devices))
    except tf.errors.OpError as error:
        if not devices.gpus:
            raise
        raise _explanation(devices.gpus, 0, str(error).splitlines()[0]) from None
    offered = sum(device.device_type == "GPU" for device in session.list_devices()) if devices.gpus else 0
    if offered < devices.gpus:
        session.close()
        raise _explanation(devices.gpus, offered)
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
