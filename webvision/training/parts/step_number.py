"""The number of the step, from 0, as a tensor: fed with each step.

tensorpack's global step is no such tensor: it is increased in the same run, before or after whatever reads it there.
"""

from webvision.compat import tf, tfv1

from tensorpack.callbacks import Callback

_KEY = "webvision_step_number"


def step_number():
    """The graph's one scalar int32 tensor, made when it is first asked for."""
    made = tfv1.get_collection_ref(_KEY)
    if not made:
        with tf.control_dependencies(None), tfv1.name_scope(None), tf.device("/cpu:0"):
            made.append(tfv1.placeholder(tf.int32, [], name="step-number"))
    return made[0]


class StepNumber(Callback):
    """Feeds it, where something in the graph asked for it."""

    def _setup_graph(self):
        self._tensors = tfv1.get_collection(_KEY)

    def _before_run(self, _):
        return tfv1.train.SessionRunArgs([], dict.fromkeys(self._tensors, self.global_step))
