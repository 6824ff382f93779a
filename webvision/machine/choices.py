"""What follows from the GPUs at hand: precision, XLA, batch; for `auto` only, the card's defaults stay as they are."""

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
FIRST_BATCH = 32  # pictures a tower: what ResNet-152 trains with on 11 GB
MOST = 2048  # pictures a tower; nobody trains with more


def best_precision(capabilities):
    """The precision for GPUs of these compute capabilities; 'float32' for none, the CPU.

    bfloat16 where all multiply it (8.0, Ampere): it needs no loss scale; float16 where all have tensor cores (7.0).
    """
    if not capabilities:
        return "float32"
    weakest = min(capabilities)
    return "bfloat16" if weakest >= (8, 0) else "float16" if weakest >= (7, 0) else "float32"


def xla_pays(precision, *, on_gpu):
    """Whether to compile with XLA: 1.5 times the rate in float16 on V100 (tensorpack's benchmarks), 1.5 to 2 with other
    changes in NVIDIA's; 0.6 of it on the CPU, measured here, whose convolutions do not use oneDNN."""
    return on_gpu and precision in ("float16", "bfloat16")


def search_batch(fits, *, towers):
    """The largest total batch that `fits`, of 32, 48, 64, 96, 128, ... a tower; None if not even 32 does."""
    tower = FIRST_BATCH
    if not fits(tower * towers):
        return None
    while tower < MOST and fits(2 * tower * towers):
        tower *= 2
    between = tower * 3 // 2
    return (between if tower < MOST and fits(between * towers) else tower) * towers
