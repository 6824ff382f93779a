"""What this machine can compute on, told without loading TensorFlow, so that a wrong --gpu is one line, at once."""

import glob
import os
import re
from dataclasses import dataclass

from webvision.errors import UsageError


def device_files():
    """The driver's device file of each NVIDIA GPU."""
    return sorted(path for path in glob.glob("/dev/nvidia*") if re.fullmatch(r"/dev/nvidia\d+", path))


def installed_gpus():
    """How many NVIDIA GPUs the driver has opened device files for."""
    return len(device_files())


def gpus_visible():
    """Whether this process may use a GPU: there are some, and CUDA_VISIBLE_DEVICES does not hide them all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return installed_gpus() > 0 and (visible is None or bool(_split(visible)))


def choose_gpus(gpu_flag):
    """The GPUs to use as CUDA_VISIBLE_DEVICES entries: those of --gpu, else all visible ones, else [] (the CPU).

    UsageError if --gpu names one that is not there. '-1' or 'cpu' asks for the CPU on a machine with GPUs.
    """
    present = installed_gpus()
    if gpu_flag is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return [str(i) for i in range(present)] if visible is None else _split(visible) if present else []
    if gpu_flag.strip() in ("-1", "cpu", ""):
        return []
    wanted = _split(gpu_flag)
    if len(set(wanted)) != len(wanted):
        raise UsageError(f"--gpu {gpu_flag}: a GPU is named twice")
    for gpu in wanted:
        if re.fullmatch(r"(GPU|MIG)-[0-9a-fA-F-]+", gpu):  # a UUID: only the driver knows
            if not present:
                raise UsageError(_missing_gpu(gpu_flag, present))
        elif not gpu.isdigit():
            raise UsageError(f"--gpu {gpu_flag}: {gpu!r} is neither a number nor a GPU's UUID; write it as --gpu 0,1")
        elif int(gpu) >= present:
            raise UsageError(_missing_gpu(gpu_flag, present))
    return wanted


def _missing_gpu(gpu_flag, present):
    here = (
        f"this machine has {present} (0 to {present - 1})" if present else "this machine has none that the driver shows"
    )
    return (
        f"--gpu {gpu_flag}: no such GPU; {here}. Leave --gpu out to use what is there; "
        "without a GPU, --towers N trains N replicas on the CPU"
    )


def _split(text):
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return parts[: parts.index("-1")] if "-1" in parts else parts  # CUDA stops reading at the first invalid entry


def cpu_cores():
    """Cores this process may use: what a scheduler or container gave, not what the machine has."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Devices:
    """Where a network is computed: on `count` GPUs, or by `count` replicas on the CPU, in process `rank` of `ranks`."""

    on_gpu: bool = False
    count: int = 1
    xla: bool = False
    rank: int = 0
    ranks: int = 1
    like_gpus: bool = False  # on the CPU, but by the graph that GPUs get: batches staged, gradients by all-reduce

    @property
    def gpus(self):
        """How many GPUs TensorFlow must offer."""
        return self.count if self.on_gpu else 0

    @property
    def staged(self):
        """Whether the next batch is copied while a step computes; on the CPU there is nowhere to copy to."""
        return self.on_gpu or self.like_gpus

    @property
    def collective(self):
        """Whether gradients are averaged among the devices, by all-reduce; else on the CPU that replicas share."""
        return self.count > 1 and (self.on_gpu or self.like_gpus)

    @property
    def kind(self):
        """For people: 'GPU' or 'CPU'."""
        return "GPU" if self.on_gpu else "CPU"

    @property
    def names(self):
        """As TensorFlow calls them; replicas on the CPU have one each, which collective ops want."""
        return [f"/{self.kind.lower()}:{number}" for number in range(self.count)]
