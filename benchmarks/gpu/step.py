"""One training step through the product's own trainer, and what it did: logits, update, placement."""

import logging

import numpy as np

from webvision.compat import tf, tfv1
from webvision.model.sync_batch_norm import synchronised_batch_norm
from webvision.training.callbacks import LearningRate
from webvision.training.graph.input import TotalBatchInput, staged
from webvision.training.graph.objective import Classifier
from webvision.training.graph.trainer import ReplicatedTrainer, SessionCreator
from webvision.training.recipes import Recipe

from tensorpack.callbacks import RunUpdateOps
from tensorpack.dataflow import DataFromList, RepeatedData
from tensorpack.tfutils.sessinit import JustCurrentSession

RATE = 0.05


def batch_of(network, pictures, seed=3):
    """[images, labels] that look like nothing, always the same."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (pictures, network.image_size, network.image_size, 3), dtype=np.uint8)
    return [images, rng.integers(0, network.num_classes, pictures).astype(np.int32)]


def one_step(network, arithmetic, devices, batch, *, sync_bn=False):
    """{"logits": of the whole batch before the step, "update": {variable: change}, "graphs": as they were placed}."""
    logging.getLogger("tensorpack").setLevel(logging.WARNING)
    scope = (lambda: synchronised_batch_norm(devices)) if sync_bn else None
    with tf.Graph().as_default():
        model = Classifier(network, arithmetic, seed=1, batch_norm_scope=scope)
        trainer = ReplicatedTrainer(devices)
        flow = RepeatedData(DataFromList([batch], shuffle=False), -1)
        trainer.setup_graph(
            model.get_input_signature(),
            staged(TotalBatchInput(flow, devices.count), devices),
            model.build_graph,
            model.get_optimizer,
        )
        watch = _Watch(devices.count)
        trainer.train(
            [LearningRate(Recipe(batch=len(batch[1]), lr=RATE)), watch],
            [],
            SessionCreator(devices),
            JustCurrentSession(),
            1,
            1,
            1,
        )
    return {"logits": watch.logits, "update": watch.update, "graphs": watch.graphs}


class _Watch(RunUpdateOps):
    """The first step's logits, what it changed, and where it was computed."""

    def __init__(self, towers):
        super().__init__()
        self._towers = towers

    def _before_train(self):
        self._before = self._read()

    def _before_run(self, _):
        graph = self.trainer.sess.graph
        tensors = [graph.get_tensor_by_name(f"tower{tower}/logits:0") for tower in range(self._towers)]
        return tfv1.train.SessionRunArgs(tensors, options=tfv1.RunOptions(output_partition_graphs=True))

    def _after_run(self, _, values):
        self.logits = np.concatenate(values.results)
        self.graphs = list(values.run_metadata.partition_graphs)

    def _trigger_epoch(self):
        self.update = {name: value - self._before[name] for name, value in self._read().items()}

    def _read(self):
        variables = tfv1.trainable_variables()
        return dict(zip((variable.op.name for variable in variables), self.trainer.sess.run(variables)))


def differences(one, other):
    """How far two steps lie apart: of the logits, the largest difference over the largest value; of the update, over
    all variables together, the norm of the difference over the norm."""
    logits = np.abs(one["logits"] - other["logits"]).max() / np.abs(one["logits"]).max()
    apart = sum(float(np.square(one["update"][name] - other["update"][name]).sum()) for name in one["update"])
    whole = sum(float(np.square(value).sum()) for value in one["update"].values())
    return {"logits": float(logits), "update": float(np.sqrt(apart / whole))}
