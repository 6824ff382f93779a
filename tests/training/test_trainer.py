"""The training step against NumPy, and against itself on other numbers of towers."""

from dataclasses import dataclass

import numpy as np
import pytest

from webvision.compat import tf, tfv1
from webvision.data.views.presets import PRESETS
from webvision.devices import Devices
from webvision.model.forward import Arithmetic, choose_arithmetic, recolour
from webvision.model.sync_batch_norm import synchronised_batch_norm
from webvision.training.callbacks import LearningRate
from webvision.training.fake import measure_step
from webvision.training.graph import replicas
from webvision.training.graph.input import TotalBatchInput, staged
from webvision.training.graph.objective import Classifier
from webvision.training.graph.trainer import ReplicatedTrainer, SessionCreator
from webvision.training.recipes import Recipe

from tensorpack.callbacks import RunUpdateOps
from tensorpack.dataflow import DataFromList
from tensorpack.models import BatchNorm, Conv2D, FullyConnected, GlobalAvgPooling
from tensorpack.tfutils.sessinit import JustCurrentSession

SIZE, CLASSES, BATCH, STEPS = 8, 5, 8, 3


@dataclass(frozen=True)
class Linear:
    """The smallest network: every weight of its update can be computed by hand."""

    num_classes: int = CLASSES
    image_size: int = SIZE
    name: str = "linear"

    def logits(self, image, *, data_format):
        return FullyConnected("linear", tf.reshape(image, [-1, SIZE * SIZE * 3]), CLASSES)


@dataclass(frozen=True)
class Normalised(Linear):
    def logits(self, image, *, data_format):
        image = tf.transpose(image, [0, 3, 1, 2]) if data_format == "NCHW" else image
        shared = {"data_format": "channels_first" if data_format == "NCHW" else "channels_last"}
        relu = lambda x: tf.nn.relu(BatchNorm("bn", x, **shared))  # noqa: E731
        l = Conv2D("conv", image, 6, 3, use_bias=False, activation=relu, **shared)
        return FullyConnected("linear", GlobalAvgPooling("gap", l, **shared), CLASSES)


def batches():
    rng = np.random.default_rng(3)
    return [
        [rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8), rng.integers(0, CLASSES, BATCH).astype(np.int32)]
        for _ in range(STEPS)
    ]


def train(
    network, *, towers=1, arithmetic=Arithmetic(), sync_bn=False, steps=STEPS, like_gpus=False, xla=False, colours=()
):
    """{variable: value} before and after `steps` steps with learning rate 0.5."""
    devices = Devices(count=towers, like_gpus=like_gpus, xla=xla)
    scope = (lambda: synchronised_batch_norm(devices)) if sync_bn else None
    model = Classifier(network, arithmetic, seed=1, batch_norm_scope=scope, colour_on_device=len(colours) > 0)
    fed = [[*batch, *colours] for batch in batches()]
    with tf.Graph().as_default():
        trainer = ReplicatedTrainer(devices)
        trainer.setup_graph(
            model.get_input_signature(),
            staged(TotalBatchInput(DataFromList(fed * 2, shuffle=False), towers), devices),
            model.build_graph,
            model.get_optimizer,
        )
        values = {}

        class Watch(RunUpdateOps):
            def _before_train(self):
                values["before"] = read(self.trainer.sess)

            def _trigger_epoch(self):
                values["after"] = read(self.trainer.sess)

        def read(session):
            variables = [v for v in tfv1.global_variables() if "EMA/" not in v.op.name and v.op.name != "global_step"]
            return dict(zip((v.op.name for v in variables), session.run(variables)))

        trainer.train(
            [LearningRate(Recipe(batch=BATCH, lr=0.05, epoch_size=BATCH * steps)), Watch()],
            [],
            SessionCreator(devices),
            JustCurrentSession(),
            steps,
            1,
            1,
        )
    return values["before"], values["after"]


def numpy_training(weights, bias):
    """Softmax regression with L2 on the weights and Nesterov momentum, as the papers have it."""
    preset = PRESETS["webvision"]
    velocity_w, velocity_b = np.zeros_like(weights), np.zeros_like(bias)
    for images, labels in batches():
        x = ((images.astype(np.float64) / 255 - preset.mean) / preset.std).reshape(BATCH, -1)
        logits = x @ weights + bias
        probabilities = np.exp(logits - logits.max(1, keepdims=True))
        probabilities /= probabilities.sum(1, keepdims=True)
        delta = (probabilities - np.eye(CLASSES)[labels]) / BATCH
        gradient_w, gradient_b = x.T @ delta + 1e-4 * weights, delta.sum(0)
        velocity_w, velocity_b = 0.9 * velocity_w + gradient_w, 0.9 * velocity_b + gradient_b
        weights = weights - 0.05 * (gradient_w + 0.9 * velocity_w)
        bias = bias - 0.05 * (gradient_b + 0.9 * velocity_b)
    return weights, bias


@pytest.fixture(scope="module")
def one_tower():
    return train(Linear())


def test_the_update_equals_numpys(one_tower):
    before, after = one_tower
    weights, bias = numpy_training(before["linear/W"].astype(np.float64), before["linear/b"].astype(np.float64))
    assert np.abs(after["linear/W"] - before["linear/W"]).max() > 0.1, "a step that moves nothing would prove nothing"
    np.testing.assert_allclose(after["linear/W"], weights, atol=1e-5)
    np.testing.assert_allclose(after["linear/b"], bias, atol=1e-5)


@pytest.mark.parametrize("towers", [2, 4])
def test_towers_average_to_the_update_of_one(one_tower, towers):
    before, after = train(Linear(), towers=towers)
    for name, value in one_tower[0].items():
        np.testing.assert_array_equal(before[name], value, err_msg=f"{name} starts elsewhere")
    for name, value in one_tower[1].items():
        np.testing.assert_allclose(after[name], value, rtol=0, atol=1e-6, err_msg=name)


def test_synchronised_batch_norm_makes_two_towers_one():
    before, one = train(Normalised())
    _, apart = train(Normalised(), towers=2)
    _, together = train(Normalised(), towers=2, sync_bn=True)
    assert np.abs(apart["conv/W"] - one["conv/W"]).max() > 1e-3, "batches this alike would prove nothing"
    for name in ("conv/W", "conv/bn/gamma", "conv/bn/beta", "linear/W"):
        np.testing.assert_allclose(together[name], one[name], atol=2e-5, err_msg=name)


@pytest.mark.parametrize("towers", [2, 4])
def test_all_reduce_among_devices_gives_what_adding_up_on_the_cpu_gives(towers, monkeypatch):
    """The graph that GPUs get, on CPU devices over TensorFlow's ring: staged input, several buckets."""
    monkeypatch.setattr(replicas, "BUCKET_BYTES", {"ring": 300})
    before, added = train(Normalised(), towers=towers)
    same, reduced = train(Normalised(), towers=towers, like_gpus=True)
    assert added.keys() == reduced.keys()
    for name in added:
        np.testing.assert_array_equal(before[name], same[name], err_msg=name)
        np.testing.assert_allclose(reduced[name], added[name], rtol=0, atol=2e-6, err_msg=name)
    assert np.abs(added["conv/W"] - before["conv/W"]).max() > 1e-3


IDENTITY = np.repeat(np.eye(3, 4, dtype=np.float32)[None], BATCH, axis=0)
DIMMED = 0.5 * IDENTITY


@pytest.mark.parametrize(
    "how, apart",
    [
        ({"sync_bn": True}, None),
        ({"colours": [IDENTITY]}, 1e-6),
        ({"colours": [DIMMED]}, None),
        ({"arithmetic": Arithmetic("NCHW")}, 1e-5),
        ({"arithmetic": choose_arithmetic(on_gpu=True, fp16=True)}, 1e-2),
        ({"arithmetic": choose_arithmetic(on_gpu=True, bf16=True)}, 3e-2),
    ],
    ids=["sync-bn", "colours", "other colours", "nchw", "float16", "bfloat16"],
)
def test_every_way_that_gpus_take_trains_on_cpu_devices(plain_of_two, how, apart):
    """`apart`: how far the weights may be from those of the plain graph; None: they must differ."""
    before, after = train(Normalised(), towers=2, like_gpus=True, **how)
    difference = max(np.abs(after[name] - plain_of_two[name]).max() for name in plain_of_two)
    assert all(np.isfinite(value).all() for value in after.values())
    assert np.abs(after["conv/W"] - before["conv/W"]).max() > 1e-3
    assert difference > 1e-3 if apart is None else difference <= apart


def test_float16_that_overflows_on_the_devices_changes_no_weight():
    """The loss scale is dynamic: what is inf on one device is inf in the average, and no device takes the step."""
    before, after = train(Normalised(), towers=2, like_gpus=True, arithmetic=Arithmetic("NHWC", "float16", 2.0**60))
    for name in ("conv/W", "conv/bn/gamma", "linear/W", "linear/b"):
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


COMPILED = """
import numpy as np
from tests.training.test_trainer import Normalised, train
plain, compiled = (train(Normalised(), towers=2, like_gpus=True, xla=xla)[1] for xla in (False, True))
print("apart", max(float(np.abs(plain[name] - compiled[name]).max()) for name in plain))
"""


def test_xla_compiles_the_step_that_gpus_get_and_changes_nothing(run, tmp_path):
    """In a process of its own: XLA leaves CPUs alone unless told so before TensorFlow starts."""
    compiler = {"TF_XLA_FLAGS": "--tf_xla_cpu_global_jit", "XLA_FLAGS": f"--xla_dump_to={tmp_path}"}
    done = run("-c", COMPILED, env=compiler)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("apart ")[-1]) < 1e-5
    assert any("cluster" in path.name for path in tmp_path.iterdir()), "XLA compiled nothing"


@pytest.fixture(scope="module")
def plain_of_two():
    return train(Normalised(), towers=2)[1]


@pytest.mark.parametrize("half", ["bf16", "fp16"])
def test_half_precision_keeps_float32_weights_and_follows_the_full_update(one_tower, half):
    arithmetic = choose_arithmetic(on_gpu=False, **{half: True})
    before, after = train(Linear(), arithmetic=arithmetic)
    assert after["linear/W"].dtype == np.float32
    moved = one_tower[1]["linear/W"] - before["linear/W"]
    error = np.abs(after["linear/W"] - one_tower[1]["linear/W"]).max()
    assert 0 < error < 0.02 * np.abs(moved).max()


def test_the_layout_chooses_itself():
    assert choose_arithmetic(on_gpu=False).data_format == "NHWC"
    assert choose_arithmetic(on_gpu=True).data_format == "NCHW"
    assert choose_arithmetic(on_gpu=True, fp16=True) == Arithmetic("NHWC", "float16", 128.0)
    assert choose_arithmetic(on_gpu=True, fp16=True, data_format="NCHW").data_format == "NCHW"


def test_the_step_is_measured_on_made_up_pictures(capsys):
    seconds = measure_step(Linear(), Arithmetic(), batch=4, devices=Devices(count=2), steps=8)
    assert 0 < seconds < 10
    assert "batch 4 over 2 CPU tower(s), float32 NHWC" in capsys.readouterr().out


def test_colours_in_the_graph_equal_colours_by_hand():
    rng = np.random.default_rng(5)
    pictures = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    matrices = rng.normal(1, 0.3, (2, 3, 4)).astype("f")
    expected = np.einsum("nij,nhwj->nhwi", matrices[:, :, :3], pictures) + matrices[:, None, None, :, 3]
    with tf.Graph().as_default(), tfv1.Session() as session:
        np.testing.assert_allclose(
            session.run(recolour(tf.constant(pictures), tf.constant(matrices))), expected, atol=1e-3
        )
