"""Rates that differ by layer: what lies near the picture is general and changes little, the last layer is new.

The backbone is cut into quarters by the order of its layers; the rate falls by a factor from each to the one below
(Howard and Ruder 2018, sec. 3.2), and the last layer has a multiple of it.
"""

import re

from webvision.compat import tfv1

QUARTERS = 4
_HEAD = "linear"


def layer_scales(names, *, head_rate, depth_decay):
    """{variable's name: what its rate is multiplied by} of a network's variables, in the order of its layers."""
    layers = list(dict.fromkeys(_layer(name) for name in names))
    backbone = [layer for layer in layers if layer != _HEAD]
    below_top = {
        layer: QUARTERS - 1 - position * QUARTERS // max(1, len(backbone)) for position, layer in enumerate(backbone)
    }
    return {name: head_rate if _layer(name) == _HEAD else depth_decay ** -below_top[_layer(name)] for name in names}


def _layer(name):
    """'group2', 'block7', 'conv0', 'linear': the outermost scope, below a tower's own."""
    return re.sub(r"^tower\d+/", "", name).split("/")[0]


class LayerRates(tfv1.train.Optimizer):
    """One optimiser for each scale, every variable updated by its own; their slots have the names they always have."""

    def __init__(self, make, *, head_rate, depth_decay):
        """`make(scale)`: the optimiser with that multiple of the rate."""
        super().__init__(use_locking=False, name="LayerRates")
        self._make, self._head_rate, self._depth_decay = make, head_rate, depth_decay
        self._any = make(1.0)
        self._by_scale = {1.0: self._any}

    def compute_gradients(self, *args, **kwargs):
        return self._any.compute_gradients(*args, **kwargs)

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        pairs = list(grads_and_vars)
        scales = layer_scales(
            [variable.op.name for _, variable in pairs], head_rate=self._head_rate, depth_decay=self._depth_decay
        )
        updates = []
        for scale in sorted(set(scales.values())):
            if scale not in self._by_scale:
                self._by_scale[scale] = self._make(scale)
            own = [(gradient, variable) for gradient, variable in pairs if scales[variable.op.name] == scale]
            updates.append(self._by_scale[scale].apply_gradients(own))
        return tfv1.group(*updates, name=name or "apply_gradients")
