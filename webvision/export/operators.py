"""Which operators of an ONNX file a chip does not run: Kneron's published limits, as a table.

A row says what must hold of a node; what is not in the table does not run. The converter of the chip has the last word:
this tells before anything is uploaded or bought.
"""

import math

from webvision.errors import UsageError


def _kernel_to(largest, stride):
    def holds(node, shapes):
        window, strides = _attribute(node, "kernel_shape", [1, 1]), _attribute(node, "strides", [1, 1])
        if max(window) > largest:
            return f"kernel {window} over {largest}"
        return f"stride {strides[0]} over {stride}" if strides[0] > stride else None

    return holds


def _clip_from_zero(node, shapes):
    low = shapes.constants.get(node.input[1]) if len(node.input) > 1 else None
    return None if low is not None and float(low) == 0 else "its lower end is not 0"


def _window(*allowed):
    def holds(node, shapes):
        window = _attribute(node, "kernel_shape", [1, 1])
        return None if set(window) <= set(allowed) else f"window {window}; it is one of {allowed}"

    return holds


def _places_to(most):
    def holds(node, shapes):
        sides = shapes.of(node.input[0])[2:]
        return f"a map of {sides}, over {most} places" if math.prod(sides) > most else None

    return holds


_ANY = lambda node, shapes: None  # noqa: E731
_KL520 = {
    "Conv": _kernel_to(12, 4),
    "Gemm": _ANY,
    "Add": _ANY,
    "Relu": _ANY,
    "Clip": _clip_from_zero,
    "MaxPool": _window(2, 3),
    "AveragePool": _window(2, 3),
    "GlobalAveragePool": _places_to(256),
}
CHIPS = {
    # The document lists Flatten as missing on the 520; behind the global pool its tool takes it as a no-op.
    "kl520": {**_KL520, "Flatten": _ANY},
    "kl720": {**_KL520, **dict.fromkeys(("Mul", "Sigmoid", "Flatten", "Reshape", "MatMul"), _ANY)},
}
MEGABYTES = {"kl520": 35, "kl720": 75}  # of the weights in int8


def unsupported(model, chip):
    """['Mul 3 times (block0/mul, ...)', ...] of what `chip` does not run of an onnx.ModelProto; [] if all runs."""
    if chip not in CHIPS:
        raise UsageError(f"--check {chip}: the chips in the table are {', '.join(CHIPS)}")
    table, shapes, found = CHIPS[chip], _Shapes(model), {}
    for node in model.graph.node:
        rule = table.get(node.op_type)
        reason = "not on this chip" if rule is None else rule(node, shapes)
        if reason:
            found.setdefault((node.op_type, reason), []).append(node.name)
    lines = [
        f"{kind}: {reason}; {len(names)} times ({', '.join(names[:2])}{', ...' if len(names) > 2 else ''})"
        for (kind, reason), names in found.items()
    ]
    size = sum(math.prod(constant.dims) for constant in model.graph.initializer) / 1e6
    if size > MEGABYTES[chip]:
        lines.append(f"{size:.1f} MB of weights in int8, over the {MEGABYTES[chip]} MB of this chip")
    return lines


class _Shapes:
    """Shapes of values and values of constants."""

    def __init__(self, model):
        import onnx
        from onnx import numpy_helper

        known = onnx.shape_inference.infer_shapes(model).graph
        self._shapes = {
            value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
            for value in (*known.value_info, *known.input, *known.output)
        }
        self.constants = {
            constant.name: numpy_helper.to_array(constant)
            for constant in model.graph.initializer
            if math.prod(constant.dims) == 1
        }

    def of(self, name):
        return self._shapes[name]


def _attribute(node, name, default):
    return next((list(attribute.ints) for attribute in node.attribute if attribute.name == name), default)
