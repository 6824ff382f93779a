"""TensorFlow and tensorpack, imported the one way they work together here.

The only file that patches either of them or sets their environment; each measure says why, and when it can go.
Modules that need TensorFlow import it from here: `from webvision.compat import tf, tfv1`.
"""

import contextlib
import logging
import os
import sys
import tempfile

from webvision.devices import gpus_visible, installed_gpus
from webvision.machine import cuda_libraries
from webvision.machine.versions import check_versions


@contextlib.contextmanager
def native_stderr_held_back():
    """Hold back what C++ writes to stderr; let it through only if the block fails.

    TensorFlow 2.21 announces oneDNN, the missing CUDA driver and the CPU's instruction set before its own log level
    applies. Can go when TF_CPP_MIN_LOG_LEVEL governs those lines too.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(kept, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


check_versions()
# TensorFlow 2.21 does not look where cuSOLVER's wheel is, and offers no GPU without it. Can go when
# `make check-gpu-lock` says that TensorFlow finds them all by itself.
CUDA_LIBRARIES = cuda_libraries.open_libraries() if gpus_visible() else []
os.environ["TF_USE_LEGACY_KERAS"] = "1"  # tensorpack's layers are Keras 2 layers; can go with tensorpack
# Errors only; without a GPU not even those, since the missing driver is one (errors that matter arrive as exceptions).
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if installed_gpus() else "3")
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # --gpu 1 is what nvidia-smi calls 1
os.environ.setdefault("TF_GPU_THREAD_MODE", "gpu_private")  # kernels of one GPU are not delayed by the host's threads
os.environ.setdefault("TF_GPU_THREAD_COUNT", "2")  # both as NVIDIA's ResNet-50 runs set them

with native_stderr_held_back():
    import tensorflow as tf
tf.get_logger().setLevel(logging.ERROR)  # graph mode is "deprecated" since 2019: hundreds of lines
tfv1 = tf.compat.v1

from tensorpack.models import batch_norm as _batch_norm  # noqa: E402  (after the environment above)
from tensorpack.models.registry import disable_layer_logging  # noqa: E402

disable_layer_logging()  # one line per layer per tower; the run header names the network


@contextlib.contextmanager
def replaced_sync_statistics(statistics):
    """Within the block, tensorpack's synchronised batch norm takes its (mean, variance) from `statistics`.

    tensorpack computes them with NCCL ops that are wrong since TF 1.15 (tensorflow#41539) and do not exist on CPUs.
    Can go when tensorpack moves to collective ops.
    """
    kept = _batch_norm.get_sync_bn_mean_var
    _batch_norm.get_sync_bn_mean_var = statistics
    try:
        yield
    finally:
        _batch_norm.get_sync_bn_mean_var = kept
