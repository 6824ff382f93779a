"""How TensorFlow runs a graph here, in training and in prediction."""

from webvision.compat import tfv1
from webvision.devices import cpu_cores


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
    if devices.xla:
        config.graph_options.optimizer_options.global_jit_level = tfv1.OptimizerOptions.ON_1
    return config
