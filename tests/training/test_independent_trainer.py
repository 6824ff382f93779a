"""The recipe's parts together, against a trainer of NumPy in float64 that shares no code with ours: 50 steps."""

from types import SimpleNamespace

import numpy as np
import pytest

from tests.training.test_trainer import CLASSES, SIZE, Linear
from webvision.compat import tf, tfv1
from webvision.data.views.presets import PRESETS
from webvision.devices import Devices
from webvision.model.forward import Arithmetic
from webvision.training.callbacks import LearningRate
from webvision.training.graph.input import TotalBatchInput, TrainingFlow
from webvision.training.graph.learning import Feed, Learning
from webvision.training.graph.objective import Classifier
from webvision.training.graph.trainer import ReplicatedTrainer, SessionCreator
from webvision.training.parts import mixing
from webvision.training.recipes import Recipe, Task

from tensorpack.callbacks import Callback
from tensorpack.tfutils.sessinit import JustCurrentSession

BATCH, STEPS, ROWS, QUEUE, NEAREST = 8, 50, 30, 32, 5
COUNTS, SEED, RATE, DECAY = (100, 40, 20, 10, 5), 3, 0.01, 1e-3
RECIPE = Recipe(
    epochs=1,
    epoch_size=BATCH * STEPS,
    batch=BATCH,
    lr=RATE,
    schedule="cosine",
    weight_decay=DECAY,
    logit_adjust=1.0,
    label_smoothing=0.1,
    mixup=0.4,
    neighbours=0.5,
    neighbours_count=NEAREST,
    neighbours_queue=QUEUE,
    neighbours_after=0.2,
    averages=0.5,
    margins=True,
)


class Batches:
    """The same pictures of 30 rows again and again, in an order of chance."""

    def __iter__(self):
        rng = np.random.default_rng(8)
        pictures = rng.integers(0, 256, (ROWS, SIZE, SIZE, 3), dtype=np.uint8)
        labels = rng.integers(0, CLASSES, ROWS).astype(np.int32)
        while True:
            rows = rng.permutation(ROWS)[:BATCH]
            yield SimpleNamespace(images=pictures[rows], labels=labels[rows], shown=rows)


@pytest.fixture(scope="module")
def ours():
    """(losses, first weights, last weights and averages, margins)"""
    seen, read = {"losses": []}, {}

    class Watch(Callback):
        def _setup_graph(self):
            tensor = self.trainer.tower_func.towers.training()[0].get_tensor("xentropy-loss")
            self._fetch = tfv1.train.SessionRunArgs(tensor)

        def _before_train(self):
            read["first"] = self.values()

        def _before_run(self, _):
            return self._fetch

        def _after_run(self, _, values):
            seen["losses"].append(float(values.results))

        def _trigger_epoch(self):
            read["last"] = self.values()

        def values(self):
            return self.trainer.sess.run({v.op.name: v for v in tfv1.global_variables()})

    devices = Devices()
    model = Classifier(Linear(), Arithmetic(), recipe=RECIPE, task=Task(COUNTS, ROWS), seed=1)
    with tf.Graph().as_default():
        trainer = ReplicatedTrainer(devices)
        flow = TrainingFlow(Batches(), Feed(model, seed=SEED))
        trainer.setup_graph(
            model.get_input_signature(), TotalBatchInput(flow, 1), model.build_graph, model.get_optimizer
        )
        learning = Learning(model, rows=ROWS)
        callbacks = learning.callbacks(tfv1.trainable_variables)
        trainer.train(
            [*callbacks, LearningRate(RECIPE), Watch()], [], SessionCreator(devices), JustCurrentSession(), STEPS, 1, 1
        )
    return seen["losses"], read["first"], read["last"], learning.margins


def log_softmax(z):
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def theirs(w, b):
    """What `ours` gives, from the first weights `w` and `b`."""
    preset, losses = PRESETS["webvision"], []
    velocity = [np.zeros_like(w), np.zeros_like(b)]
    queue, averages = [], [w, b]
    sums, visits = np.zeros(ROWS), np.zeros(ROWS, int)
    adjustment = np.log(np.array(COUNTS) / max(COUNTS))
    for step, batch in zip(range(STEPS), Batches()):
        pair = np.arange(BATCH) ^ 1
        share = mixing.own_shares(SEED, step, BATCH, 0.4).astype(np.float64)[:, None]
        pixels = batch.images.reshape(BATCH, -1).astype(np.float64)
        pixels = (share * pixels + (1 - share) * pixels[pair]).reshape(batch.images.shape)
        x = ((pixels / preset.scale - preset.mean) / preset.std).reshape(BATCH, -1)
        z = x @ w + b
        hard = np.eye(CLASSES)[batch.labels] * 0.9 + 0.1 / CLASSES
        target = share * hard + (1 - share) * hard[pair]
        adjusted = log_softmax(z + adjustment)
        loss, delta = -(target * adjusted).sum(axis=1), np.exp(adjusted) - target
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        soft = np.exp(log_softmax(z / 2))
        for row in range(BATCH):
            others = [(float(unit[row] @ f.astype(np.float64)), p) for r, f, p in queue if r != batch.shown[row]]
            best = sorted(others, key=lambda other: -other[0])[:NEAREST]
            weight = np.maximum([cosine for cosine, _ in best], 0)
            if step < 10 or not weight.sum():
                continue
            said = sum(a * p.astype(np.float64) for a, (_, p) in zip(weight / weight.sum(), best))
            apart = 4 * (said * (np.log(said) - np.log(soft[row]))).sum()
            loss[row] = 0.5 * loss[row] + 0.5 * apart
            delta[row] = 0.5 * delta[row] + 0.5 * 2 * (soft[row] * said.sum() - said)
        entries = [(r, f.astype(np.float16), p.astype(np.float16)) for r, f, p in zip(batch.shown, unit, soft)]
        queue = [*queue, *entries][-QUEUE:]
        own = z[np.arange(BATCH), batch.labels]
        margin = own - np.where(np.eye(CLASSES, dtype=bool)[batch.labels], -np.inf, z).max(axis=1)
        whole = share[:, 0] >= 0.9
        sums[batch.shown[whole]] += margin[whole]
        visits[batch.shown[whole]] += 1
        losses.append(loss.mean())
        rate = RATE / 2 * (1 + np.cos(np.pi * step / STEPS))
        for i, gradient in enumerate([x.T @ delta / BATCH + DECAY * w, delta.mean(axis=0)]):
            velocity[i] = 0.9 * velocity[i] + gradient
            moved = rate * (gradient + 0.9 * velocity[i])
            w, b = (w - moved, b) if i == 0 else (w, b - moved)
        if (step + 1) % 8 == 0:
            kept = min(2 ** (-1 / 100), (2 + step) / (11 + step)) ** 8
            averages = [kept * average + (1 - kept) * value for average, value in zip(averages, (w, b))]
    return losses, (w, b), averages, (sums, visits)


def test_losses_weights_averages_and_margins_of_50_steps_are_those_of_numpy(ours):
    found, first, last, margins = ours
    losses, (w, b), averages, (sums, visits) = theirs(
        first["linear/W"].astype(np.float64), first["linear/b"].astype(np.float64)
    )
    assert losses[-1] < 0.7 * losses[0], "it learns"
    np.testing.assert_allclose(found, losses, rtol=1e-3)
    np.testing.assert_allclose(last["linear/W"], w, atol=1e-3 * np.abs(w).max())
    np.testing.assert_allclose(last["linear/b"], b, atol=1e-3 * np.abs(w).max())
    np.testing.assert_allclose(last["average/linear/W"], averages[0], atol=1e-3 * np.abs(w).max())
    assert (margins.counts == visits).all() and 0 < visits.sum() < STEPS * BATCH
    np.testing.assert_allclose(margins.sums, sums, atol=1e-2)
