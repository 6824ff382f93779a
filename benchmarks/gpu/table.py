"""The checks, in the order of what they tell; each is a function in a module, run in a process of its own."""

from dataclasses import dataclass

PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
TENSORFLOW = ("tensorflow", "tensorpack")
PHOTOGRAPHS = ("sklearn",)  # they come with it


@dataclass(frozen=True)
class Check:
    """`function` of 'module:function' gets the Place and returns {"held": bool or None, "words": ..., figures}."""

    name: str
    function: str
    needs_gpus: int = 0  # 0: runs on CPU devices as well
    needs: tuple = TENSORFLOW  # modules
    limit: float = 120  # seconds
    arguments: tuple = ()


CHECKS = (
    Check("start", "numerics:start"),
    *(Check(f"precision {p}", "numerics:precision", int(p == "tf32"), arguments=(p,)) for p in PRECISIONS),
    Check("layout NCHW", "numerics:layout"),
    Check("towers as one", "numerics:towers"),
    Check("towers as one, synchronised batch norm", "numerics:synchronised_towers"),
    Check("no work on the CPU", "numerics:placement", 1),
    Check("nan guard", "commands:nan_guard", 0, (*TENSORFLOW, *PHOTOGRAPHS)),
    Check("kill and resume", "commands:kill_and_resume", 0, (*TENSORFLOW, *PHOTOGRAPHS), 240),
    Check("out of memory", "commands:out_of_memory", 1),
    Check("evaluation by frozen graph", "loading:evaluation"),
    Check("loader into the step", "loading:waiting", 0, (*TENSORFLOW, *PHOTOGRAPHS), 180),
    *(
        Check(f"rate {p}{' xla' * xla} batch {batch}", "rates:rate", 1, limit=150, arguments=(p, batch, xla))
        for xla in (False, True)
        for batch in (256, 128, 64)
        for p in reversed(PRECISIONS)
    ),
    # What a machine without TensorFlow can tell.
    *(Check(f"pytorch batch {batch}", "torch_step:rate", 1, ("torch",), 180, (batch,)) for batch in (256, 128, 64)),
    Check("loader into pytorch", "torch_step:loader", 1, ("torch", *PHOTOGRAPHS), 120),
)
