"""A frozen graph as ONNX: NCHW without a transpose, batch norm folded into the convolution before it, our names kept.

The graph is walked back from the logits. What a convolution's output goes through, a bias and batch norm, is folded
into its weights in float64, so that the file holds what runs: convolutions, activations, sums, pools, one linear layer.
An operation that is not in the table is an error by name, never a guess.
"""

import json
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from webvision.errors import UsageError
from webvision.export.folding import ancestors, batch_norm, constant_of, folded, is_global, padded_image, pads, source

OPSETS = range(11, 19)
IR_VERSION = 8  # what ONNX 1.11 to 1.14 read; newer runtimes read it too
_CHANNELS_LAST = {0: 0, 1: 2, 2: 3, 3: 1, -1: 1}  # an axis of NHWC, in NCHW


@dataclass(frozen=True)
class Options:
    """How a file is written."""

    opset: int = 13
    batch: int | None = 1  # None: any
    four_d: bool = False  # logits as [batch, classes, 1, 1], by a 1x1 convolution: chips without matrices

    def __post_init__(self):
        if self.opset not in OPSETS:
            raise UsageError(f"--opset {self.opset} is outside {OPSETS[0]}..{OPSETS[-1]}, which are written")


@dataclass
class _Writer:
    options: Options
    nodes: list = field(default_factory=list)
    constants: list = field(default_factory=list)
    done: dict = field(default_factory=dict)  # name of a tensor: name in the file

    def node(self, kind, inputs, name, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def number(self, name, value):
        return self.constant(name, np.array(value, np.float32))

    # ---- values

    def value(self, tensor):
        """The name in the file of a tensor's value; what it needs is written first."""
        if tensor.name not in self.done:
            self.done[tensor.name] = self.write(tensor)
        return self.done[tensor.name]

    def write(self, tensor):
        operation = source(tensor)
        if operation.outputs[0].name != tensor.name:
            return self.value(operation.outputs[0])
        if affine := folded(tensor):
            return self.affine(affine, operation.name)
        writer = _WRITERS.get(operation.type)
        if writer is None:
            raise UsageError(f"no ONNX is written for the operation {operation.type} ({operation.name})")
        return writer(self, operation)

    def affine(self, affine, name):
        operation = affine.operation
        image, around = padded_image(operation)
        weights = constant_of(operation.inputs[1]).astype(np.float64)
        if operation.type == "MatMul":
            return self.linear(image, weights * affine.scale, affine.shift, name)
        if operation.type == "DepthwiseConv2dNative":
            weights = (weights[..., 0] * affine.scale).transpose(2, 0, 1)[:, None]
        else:
            weights = (weights * affine.scale).transpose(3, 2, 0, 1)
        channels = operation.inputs[0].shape[3]
        window, strides = weights.shape[2:], list(operation.get_attr("strides"))[1:3]
        inputs = [
            self.value(image),
            self.constant(f"{name}/W", weights.astype(np.float32)),
            self.constant(f"{name}/b", affine.shift.astype(np.float32)),
        ]
        return self.node(
            "Conv", inputs, name, kernel_shape=list(window), strides=strides,
            pads=[a + b for a, b in zip(pads(operation, window, strides), around)], group=channels // weights.shape[1],
        )  # fmt: skip

    def one_place(self, row):
        """The map [batch, channels, 1, 1] that `row` [batch, channels] was flattened from."""
        operation = source(row)
        while operation.type in ("Reshape", "Squeeze") and operation.inputs[0].shape.rank == 2:
            operation = source(operation.inputs[0])
        if operation.type == "Mean" and is_global(operation):
            return self.pooled(operation)
        if operation.type in ("Reshape", "Squeeze") and operation.inputs[0].shape[1:3].as_list() == [1, 1]:
            return self.value(operation.inputs[0])
        raise UsageError(f"four dimensions to the end are not written where a layer follows {operation.type}")

    def pooled(self, operation):
        """The mean of a map over all places, as a map of one place."""
        name = f"{operation.name}/pool"
        if name not in self.done:
            self.done[name] = self.node("GlobalAveragePool", [self.value(operation.inputs[0])], name)
        return self.done[name]

    def linear(self, image, weights, shift, name):
        weights, shift = weights.astype(np.float32), shift.astype(np.float32)
        if self.options.four_d:  # the layer as a convolution of one place
            inputs = [self.one_place(image), self.constant(f"{name}/W", weights.T[:, :, None, None])]
            return self.node("Conv", [*inputs, self.constant(f"{name}/b", shift)], name, kernel_shape=[1, 1])
        inputs = [self.value(image), self.constant(f"{name}/W", weights), self.constant(f"{name}/b", shift)]
        return self.node("Gemm", inputs, name)


# ---- one function for each kind of operation


def _elementwise(kind):
    def write(writer, operation):
        return writer.node(kind, [_operand(writer, tensor, operation) for tensor in operation.inputs], operation.name)

    return write


def _operand(writer, tensor, operation):
    """An operand's name; a constant along the channels is turned as the maps are."""
    array = constant_of(tensor)
    if array is None:
        return writer.value(tensor)
    if operation.outputs[0].shape.rank == 4 and array.ndim:
        array = np.reshape(array, (1,) * (4 - array.ndim) + array.shape).transpose(0, 3, 1, 2)
    name = f"{operation.name}/{tensor.op.name.rsplit('/', 1)[-1]}"
    return writer.constant(name, array)


def _relu6(writer, operation):
    low, high = writer.number(f"{operation.name}/low", 0.0), writer.number(f"{operation.name}/high", 6.0)
    return writer.node("Clip", [writer.value(operation.inputs[0]), low, high], operation.name)


def _batch_norm_alone(writer, operation):
    """A batch norm that no convolution stands before (pre-activation networks)."""
    scale, shift = (array.astype(np.float32)[None, :, None, None] for array in batch_norm(operation))
    name = operation.name
    scaled = writer.node(
        "Mul", [writer.value(operation.inputs[0]), writer.constant(f"{name}/scale", scale)], f"{name}/scaled"
    )
    return writer.node("Add", [scaled, writer.constant(f"{name}/shift", shift)], name)


def _max_pool(writer, operation):
    window, strides = (list(operation.get_attr(name))[1:3] for name in ("ksize", "strides"))
    image, around = padded_image(operation)
    around = [a + b for a, b in zip(pads(operation, window, strides), around)]
    return writer.node(
        "MaxPool", [writer.value(image)], operation.name, kernel_shape=window, strides=strides, pads=around
    )


def _average_pool(writer, operation):
    window, strides = (list(operation.get_attr(name))[1:3] for name in ("ksize", "strides"))
    attributes = {"kernel_shape": window, "strides": strides, "pads": pads(operation, window, strides)}
    return writer.node("AveragePool", [writer.value(operation.inputs[0])], operation.name, **attributes)


def _mean(writer, operation):
    if is_global(operation):
        pooled = writer.pooled(operation)
        return pooled if operation.get_attr("keep_dims") else writer.node("Flatten", [pooled], operation.name, axis=1)
    image = writer.value(operation.inputs[0])
    axes, four = np.ravel(constant_of(operation.inputs[1])).tolist(), operation.inputs[0].shape.rank == 4
    axes = [_CHANNELS_LAST[axis] if four else axis % operation.inputs[0].shape.rank for axis in axes]
    if not operation.get_attr("keep_dims"):
        raise UsageError(f"no ONNX is written for the mean {operation.name} over {axes}")
    if writer.options.opset >= 18:
        inputs = [image, writer.constant(f"{operation.name}/axes", np.array(axes, np.int64))]
        return writer.node("ReduceMean", inputs, operation.name, keepdims=1)
    return writer.node("ReduceMean", [image], operation.name, axes=axes, keepdims=1)


def _reshape(writer, operation):
    """Between a row of channels and a map of one place, the only reshapes in our networks; or of constants."""
    image, after = operation.inputs[0], operation.outputs[0].shape.as_list()
    if image.shape.rank == 2 and len(after) == 4 and after[1:3] == [1, 1]:
        if source(image).type == "Mean" and is_global(source(image)):
            return writer.pooled(source(image))
        shape = writer.constant(f"{operation.name}/shape", np.array([-1, after[3], 1, 1], np.int64))
        return writer.node("Reshape", [writer.value(image), shape], operation.name)
    if image.shape.rank == 4 and len(after) == 2 and image.shape[1:3].as_list() == [1, 1]:
        return writer.node("Flatten", [writer.value(image)], operation.name, axis=1)
    if image.shape.rank == len(after):
        return writer.value(image)
    raise UsageError(f"no ONNX is written for the reshape {operation.name} from {image.shape} to {after}")


def _rsqrt(writer, operation):
    root = writer.node("Sqrt", [writer.value(operation.inputs[0])], f"{operation.name}/root")
    return writer.node("Reciprocal", [root], operation.name)


def _square(writer, operation):
    image = writer.value(operation.inputs[0])
    return writer.node("Mul", [image, image], operation.name)


def _same(writer, operation):
    return writer.value(operation.inputs[0])


_WRITERS = {
    "Relu": _elementwise("Relu"),
    "Sigmoid": _elementwise("Sigmoid"),
    "Add": _elementwise("Add"),
    "AddV2": _elementwise("Add"),
    "Sub": _elementwise("Sub"),
    "Mul": _elementwise("Mul"),
    "RealDiv": _elementwise("Div"),
    "Erf": _elementwise("Erf"),
    "Relu6": _relu6,
    "FusedBatchNormV3": _batch_norm_alone,
    "MaxPool": _max_pool,
    "AvgPool": _average_pool,
    "Mean": _mean,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Rsqrt": _rsqrt,
    "Square": _square,
    "Identity": _same,
}


def onnx_model(frozen, options=Options(), *, metadata=None):
    """An onnx.ModelProto: float32 `input` [batch, 3, height, width], normalised, to `logits` [batch, classes].

    `metadata`: {name: text or a JSON value} for the file's metadata_props.
    """
    writer = _Writer(options)
    height, width = frozen.network.height, frozen.network.width
    writer.done[frozen.input.name] = frozen.input.op.name
    needed = ancestors(frozen.logits)
    for operation in frozen.graph.get_operations():  # sum by sum: 150 layers are more than Python's stack has frames
        if operation.type in ("Add", "AddV2") and operation.name in needed:
            writer.value(operation.outputs[0])
    last = writer.value(frozen.logits)
    writer.nodes[-1].output[0] = frozen.logits.op.name  # the last layer ends in `logits` itself: no Identity
    assert writer.nodes[-1].name == last
    batch = options.batch or "batch"
    classes = [batch, frozen.network.num_classes] + [1, 1] * options.four_d
    graph = helper.make_graph(
        writer.nodes,
        frozen.network.name,
        [helper.make_tensor_value_info(frozen.input.op.name, TensorProto.FLOAT, [batch, 3, height, width])],
        [helper.make_tensor_value_info(frozen.logits.op.name, TensorProto.FLOAT, classes)],
        writer.constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", options.opset)], ir_version=IR_VERSION, producer_name="webvision"
    )
    set_metadata(model, metadata or {})
    onnx.checker.check_model(model, full_check=True)
    return model


def set_metadata(model, values):
    """Add {name: text or a JSON value} to what the file says of itself."""
    for name, value in values.items():
        model.metadata_props.add(key=name, value=value if isinstance(value, str) else json.dumps(value))


def with_pixels(model, preset):
    """The same model for uint8 RGB pictures [batch, 3, height, width]: what `preset` does with pixels is in front."""
    pixels = onnx.ModelProto()
    pixels.CopyFrom(model)
    graph, image = pixels.graph, model.graph.input[0]
    order = [0, 1, 2] if preset.colour_order == "rgb" else [2, 1, 0]
    scale = 1 / (np.array(preset.std, np.float64) * preset.scale)
    shift = -np.array(preset.mean, np.float64) / np.array(preset.std, np.float64)
    constants = {"pixels/scale": scale, "pixels/shift": shift}
    graph.initializer.extend(
        numpy_helper.from_array(array.astype(np.float32).reshape(1, 3, 1, 1), name) for name, array in constants.items()
    )
    nodes = [helper.make_node("Cast", ["pixels"], ["pixels/float"], to=TensorProto.FLOAT)]
    if order != [0, 1, 2]:
        graph.initializer.append(numpy_helper.from_array(np.array(order, np.int64), "pixels/order"))
        nodes.append(helper.make_node("Gather", ["pixels/float", "pixels/order"], ["pixels/ordered"], axis=1))
    nodes.append(helper.make_node("Mul", [nodes[-1].output[0], "pixels/scale"], ["pixels/scaled"]))
    nodes.append(helper.make_node("Add", ["pixels/scaled", "pixels/shift"], [image.name]))
    nodes += list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    sides = [side.dim_value or side.dim_param for side in image.type.tensor_type.shape.dim]
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, sides))
    onnx.checker.check_model(pixels, full_check=True)
    return pixels
