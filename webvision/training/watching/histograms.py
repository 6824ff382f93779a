"""TensorBoard histograms of weights and gradients, once an epoch; the run's numbers and checkpoints do not change by
them."""

from webvision.compat import tfv1

from tensorpack.tfutils.optimizer import ProxyOptimizer


class WithHistograms(ProxyOptimizer):
    """An optimiser that summarises what it applies: each averaged gradient and the variable it is for, of one tower."""

    _done = False

    def apply_gradients(self, grads_and_vars, *args, **kwargs):
        grads_and_vars = list(grads_and_vars)
        if not self._done:  # called once for each tower; all hold the same
            self._done = True
            with tfv1.name_scope(None):
                for gradient, variable in grads_and_vars:
                    tfv1.summary.histogram(f"weights/{variable.op.name}", variable)
                    tfv1.summary.histogram(f"gradients/{variable.op.name}", gradient)
        return self._opt.apply_gradients(grads_and_vars, *args, **kwargs)
