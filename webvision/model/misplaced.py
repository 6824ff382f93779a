"""What a run for GPUs computes on the CPU: soft placement moves an operation there without a word.

Read from the graphs as TensorFlow cut them for its devices, once, with the first step.
"""

import re

from webvision.compat import tf, tfv1
from webvision.environment import DOOR
from webvision.errors import UsageError

# The work of a step, which is what a GPU is there for, as part of an operation's name: TensorFlow's own, those that its
# optimiser of graphs fuses (_FusedConv2D), oneDNN's (_MklNativeConv2D), XLA's.
_WORK = re.compile(
    r"Conv2[dD]|BatchNorm|MatMul|Pool|Relu|BiasAdd|SoftmaxCrossEntropy|L2Loss|Backprop|CollectiveReduce|"
    r"(^|Resource|Sparse)Apply|_?XlaRun|XlaLaunch"
)
# Arithmetic on gradients. Shapes, constants and the like live on the host in a healthy run, too.
_GRADIENT = re.compile(r"(^|/)gradients(_\d+)?/")
_ARITHMETIC = re.compile(r"^(AddN|AddV2|Mul|Sub|RealDiv|Sum|Select|SelectV2|Tile|Transpose)$")
_FLOATS = {tf.float32.as_datatype_enum, tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum}
# What brings the pictures: it waits for the host, and on a GPU would hold up the stream.
_INPUT = re.compile(r"^(Queue|FIFOQueue|PaddingFIFOQueue|Iterator|PyFunc|EagerPyFunc)")


def misplaced(graphs):
    """[(name, operation, device)] of GraphDefs `graphs`: work on a CPU, and input on a GPU."""
    found = []
    for node in (node for graph in graphs for node in graph.node):
        on_cpu, on_gpu = (f"device:{kind}:" in node.device for kind in ("CPU", "GPU"))
        if on_cpu and _is_work(node) or on_gpu and _INPUT.search(node.op):
            found.append((node.name, node.op, node.device))
    return found


def _is_work(node):
    if _WORK.search(node.op):
        return True
    floats = "T" in node.attr and node.attr["T"].type in _FLOATS
    return floats and bool(_ARITHMETIC.match(node.op) and _GRADIENT.search(node.name))


def refuse_misplaced(graphs):
    """UsageError, in one line, if anything is computed where it should not be."""
    found = misplaced(graphs)
    if found:
        name, operation, device = found[0]
        raise UsageError(
            f"{len(found)} operations of this run for GPUs are computed elsewhere, the first: {operation} {name} on "
            f"{device}; another --data_format or precision may have them on the GPU, --gpu -1 computes on the CPU. "
            f"This is worth a report, with `{DOOR} doctor --json`"
        )


class PlacementOnce:
    """Options for the first run of a session that show where everything was placed, and the check of what they show."""

    def __init__(self, on_gpu):
        self._due = on_gpu

    def options(self):
        """RunOptions for the next run, or None once it has been looked at."""
        return tfv1.RunOptions(output_partition_graphs=True) if self._due else None

    def look(self, metadata):
        """Check the RunMetadata of a run that had `options`."""
        if self._due:
            self._due = False
            refuse_misplaced(metadata.partition_graphs)
