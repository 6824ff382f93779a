"""The graph of a step on GPUs, without any: what it sends between them, and that nothing of it would be computed
elsewhere."""

from dataclasses import dataclass, replace

import pytest

from tests.support.gpu_graph import has_gpu_kernel, needed_for, placed, training_graph
from webvision.compat import tf, tfv1
from webvision.devices import Devices
from webvision.errors import UsageError
from webvision.model.backbones import Network
from webvision.model.forward import choose_arithmetic
from webvision.model.misplaced import misplaced, refuse_misplaced
from webvision.training.graph import replicas
from webvision.training.recipes import WEB, Task

from tensorpack.models import BatchNorm, Conv2D, FullyConnected, GlobalAvgPooling, MaxPooling

FOUR = Devices(on_gpu=True, count=4)


@dataclass(frozen=True)
class Small:
    """Two convolutions with batch norm, a pool and a linear layer: 9 gradients, 7 kB."""

    num_classes: int = 10
    image_size: int = 16
    name: str = "small"

    def logits(self, image, *, data_format):
        image = tf.transpose(image, [0, 3, 1, 2]) if data_format == "NCHW" else image
        shared = {"data_format": "channels_first" if data_format == "NCHW" else "channels_last"}
        l = image
        for name in ("conv0", "conv1"):
            l = Conv2D(name, l, 12, 3, use_bias=name == "conv1", **shared)
            l = tf.nn.relu(BatchNorm(f"{name}/bn", l, **shared))
        l = MaxPooling("pool", l, 2, **shared)
        return FullyConnected("linear", GlobalAvgPooling("gap", l, **shared), self.num_classes)


@pytest.fixture(scope="module")
def four_gpus():
    """(graph, training op) of the small network on four GPUs, in buckets of 2 kB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replicas, "BUCKET_BYTES", {"nccl": 2000})
        return training_graph(Small(), choose_arithmetic(on_gpu=True), FOUR, sync_bn=False, colour=True)


def gpu_of(operation):
    """The number of the GPU that an operation is asked to run on, or None."""
    spec = tfv1.DeviceSpec.from_string(operation.device)
    return spec.device_index if spec.device_type == "GPU" else None


def test_gradients_go_in_buckets_one_all_reduce_each_and_tower(four_gpus):
    graph, step = four_gpus
    reduces = [op for op in needed_for(step) if op.type == "CollectiveReduce"]
    variables = [v for v in graph.get_collection("trainable_variables") if not v.name.startswith("tower")]
    sizes = [variable.shape.num_elements() * 4 for variable in variables]
    instances = {}
    for op in reduces:
        assert op.get_attr("communication_hint") == b"nccl" and op.get_attr("group_size") == 4
        instances.setdefault(op.get_attr("instance_key"), []).append(op)
    assert len(instances) == len(replicas.buckets(sizes, 2000)) == 3 and len(reduces) == 4 * len(instances)
    for ops in instances.values():
        assert sorted(map(gpu_of, ops)) == [0, 1, 2, 3], "each tower sends each bucket once"
    sent = sum(op.inputs[0].shape.num_elements() for op in reduces if gpu_of(op) == 0)
    assert 4 * sent == sum(sizes), "every gradient goes once, in some bucket"


def test_nothing_but_all_reduce_goes_from_gpu_to_gpu_in_a_step(four_gpus):
    """No weight is copied: that is done once, before the first step."""
    _, step = four_gpus
    crossing = [
        (tensor.name, op.name)
        for op in needed_for(step)
        for tensor in op.inputs
        if None not in (gpu_of(tensor.op), gpu_of(op)) and gpu_of(tensor.op) != gpu_of(op)
    ]
    assert not crossing
    updates = [op for op in needed_for(step) if op.type == "ResourceApplyMomentum"]
    assert sorted(map(gpu_of, updates)) == sorted([0, 1, 2, 3] * 9)


def test_a_batch_is_cut_once_on_the_cpu_and_each_gpu_gets_its_part(four_gpus):
    graph, _ = four_gpus
    stages = [op for op in graph.get_operations() if op.type == "Stage"]
    assert sorted(map(gpu_of, stages)) == [0, 1, 2, 3]
    before = set().union(*map(needed_for, stages))
    assert [op.type for op in before].count("QueueDequeueV2") == 1
    cuts = [op for op in before if op.type == "Split"]
    assert len(cuts) == 3, "pictures, labels, colours"
    assert all("CPU" in op.device.upper() for op in cuts)


def test_batch_norm_over_all_gpus_is_one_all_reduce_a_layer_and_way(four_gpus):
    _, step = training_graph(Small(), choose_arithmetic(on_gpu=True), replace(FOUR, count=2), sync_bn=True)
    statistics = [
        op for op in needed_for(step) if op.type == "CollectiveReduce" and op.get_attr("group_key") != replicas.GROUP
    ]
    assert len(statistics) == 2 * 2 * 2, "forward and backward, two layers, two GPUs"
    assert sorted(map(gpu_of, statistics)) == [0] * 4 + [1] * 4


@pytest.mark.parametrize("half", [{}, {"fp16": True}, {"bf16": True}], ids=["float32", "float16", "bfloat16"])
def test_every_operation_of_a_resnets_step_has_a_kernel_for_gpus(half):
    graph, step = training_graph(
        Network("resnet18", 10, 64), choose_arithmetic(on_gpu=True, **half), Devices(on_gpu=True), colour=True
    )
    wanted = [op for op in needed_for(step) if gpu_of(op) == 0]
    assert len(wanted) > 500
    assert not [(op.name, op.type) for op in wanted if not has_gpu_kernel(op.node_def)]
    assert misplaced([placed(graph)]) == []


def test_a_step_with_every_part_of_a_recipe_on_has_its_kernels_too():
    parts = {"mixup": 0.4, "neighbours": 0.5, "neighbours_queue": 12, "neighbours_count": 3, "neighbours_after": 0}
    parts |= {"early_learning": 1.0, "sam": 0.05, "label_smoothing": 0.1, "accumulate": 2, "clip": 5.0}
    recipe = replace(WEB, batch=2, **parts)
    graph, step = training_graph(
        Small(),
        choose_arithmetic(on_gpu=True, fp16=True),
        replace(FOUR, count=2),
        recipe=recipe,
        task=Task(counts=(5,) * 10, rows=50),
    )
    without = [op.name for op in needed_for(step) if gpu_of(op) is not None and not has_gpu_kernel(op.node_def)]
    assert without == ["neighbours/classes"], "small numbers of a queue, which may be the host's"
    assert misplaced([placed(graph)]) == []


def test_the_whole_graph_of_four_gpus_is_placed_right(four_gpus):
    assert misplaced([placed(four_gpus[0])]) == []


@pytest.mark.parametrize(
    "kind, wrong",
    [
        ("ResourceApplyMomentum", "CPU:0"),
        ("Conv2DBackpropFilter", "CPU:0"),
        ("FusedBatchNormV3", "CPU:0"),
        ("CollectiveReduce", "CPU:0"),
        ("MatMul", "CPU:0"),
        ("Mul", "CPU:0"),  # of a gradient
        ("QueueDequeueV2", "GPU:1"),
    ],
)
def test_one_operation_in_the_wrong_place_is_found(four_gpus, kind, wrong):
    definition = placed(four_gpus[0])
    node = next(n for n in definition.node if n.op == kind and (kind != "Mul" or "/gradients/" in n.name))
    node.device = node.device[: node.device.index("device:")] + f"device:{wrong}"
    assert [found[:2] for found in misplaced([definition])] == [(node.name, kind)]
    with pytest.raises(UsageError) as refusal:
        refuse_misplaced([definition])
    assert f"the first: {kind} {node.name} on " in str(refusal.value) and "\n" not in str(refusal.value)


def test_what_lives_on_the_host_in_a_healthy_run_is_no_fault(four_gpus):
    definition = placed(four_gpus[0])
    for node in definition.node:
        if node.op in ("Shape", "Const", "Reshape", "NoOp", "Fill", "BroadcastGradientArgs", "Prod", "DynamicStitch"):
            node.device = "/job:localhost/replica:0/task:0/device:CPU:0"
    assert misplaced([definition]) == []


def test_an_operation_without_a_kernel_for_gpus_is_seen_to_move():
    """The control of the test above: a product of int64, which only CPUs have."""
    with tf.Graph().as_default() as graph, tf.device("/gpu:0"):
        whole = tf.matmul(tf.ones([2, 2], tf.int64), tf.ones([2, 2], tf.int64))
        half = tf.matmul(tf.ones([2, 2], tf.float16), tf.ones([2, 2], tf.float16))
    assert [name for name, *_ in misplaced([placed(graph)])] == [whole.op.name]
    assert has_gpu_kernel(half.op.node_def)


def test_buckets_follow_the_way_back_and_stay_below_their_limit():
    assert replicas.buckets([1, 2, 3, 4], 5) == [[3], [2, 1], [0]]
    assert replicas.buckets([9, 1, 1], 5) == [[2, 1], [0]] and replicas.buckets([], 5) == []
    sizes = [(index * 37) % 11 + 1 for index in range(100)]
    found = replicas.buckets(sizes, 25)
    assert [index for bucket in found for index in bucket] == list(reversed(range(100)))
    assert all(sum(sizes[index] for index in bucket) <= 25 for bucket in found)


def test_one_gpu_needs_no_all_reduce():
    _, step = training_graph(Small(), choose_arithmetic(on_gpu=True), replace(FOUR, count=1))
    assert not [op for op in needed_for(step) if op.type == "CollectiveReduce"]
