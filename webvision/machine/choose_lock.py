"""Which lock file `make setup` installs: the GPU's where an NVIDIA driver is, else the CPU's.

`main` prints 'gpu' or 'cpu', and remarks to stderr; its argument, 0 or 1, overrides.
Runs before anything is installed, so on the standard library alone.
"""

import glob
import os
import sys

from webvision.machine import nvml
from webvision.machine.why_no_gpu import old_driver

KERNEL_MODULE = "/proc/driver/nvidia/version"


def choose(override, driver):
    """('gpu' or 'cpu', what to remark or '') for GPU=`override` and a `driver`: nvml.Machine, a text why it does not
    answer, or None where there is none."""
    if override in ("0", "1"):
        return ("cpu", "gpu")[int(override)], ""
    if override:
        return "cpu", f"GPU={override} is neither 0 nor 1: the packages for the CPU"
    if driver is None:
        return "cpu", ""
    if isinstance(driver, str):
        return "gpu", f"an NVIDIA driver is here, and does not answer ({driver}); the packages for GPUs all the same"
    if reason := old_driver(driver):
        return "cpu", f"{reason}. Until then the packages for the CPU (GPU=1 insists on the others)"
    return ("gpu" if driver.gpus else "cpu"), ""


def find_driver():
    """The driver, as `choose` wants it."""
    try:
        return nvml.ask()
    except nvml.NvmlError as error:
        return str(error) if os.path.exists(KERNEL_MODULE) or glob.glob("/dev/nvidia[0-9]*") else None


def main(argv):
    kind, remark = choose(argv[0] if argv else "", find_driver())
    if remark:
        print(f"setup: {remark}", file=sys.stderr)
    print(kind)
