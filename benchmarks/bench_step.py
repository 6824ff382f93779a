#!/usr/bin/env python3
"""CPU time of a ResNet-50 training step and of prediction, ours beside the alternatives, interleaved.

Each candidate runs in a process of its own, round after round, so that a machine that slows down slows all of them.
The figure to trust is CPU seconds a picture; ratios are to the first candidate of each table. ONNX Runtime joins in
where onnxruntime and tf2onnx are installed.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("tensorflow", "tensorpack")

CLASSES = 1000
WARMUP = 3


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="measured steps a round (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="pictures a step (default: %(default)s)")
    parser.add_argument(
        "--names", default="", metavar="TEXT,...", help="only candidates whose name contains one of these"
    )
    parser.add_argument("--only", help="run one candidate once and print its seconds a picture (used by the rounds)")
    args = parser.parse_args(argv)
    if args.only:
        print(f"seconds {CANDIDATES[args.only](args.batch, args.steps)}")
        return
    for title, names in TABLES.items():
        if names := [name for name in names if any(text in name for text in args.names.split(","))]:
            print_table(title, names, args)


def print_table(title, names, args):
    figures = {name: [] for name in names}
    for number in range(args.rounds):
        for name in names:
            print(f"round {number + 1}/{args.rounds}: {name}", file=sys.stderr)
            done = subprocess.run(
                [sys.executable, __file__, "--only", name, "--steps", str(args.steps), "--batch", str(args.batch)],
                capture_output=True,
                text=True,
            )
            last = done.stdout.strip().splitlines()[-1:] or [""]
            if last[0].startswith("seconds "):
                figures[name].append(float(last[0].split()[1]))
            else:
                reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
                print(f"  left out: {reason}", file=sys.stderr)
    first = statistics.median(figures[names[0]])
    print(
        f"\n{title}, batch {args.batch}, median of {args.rounds} "
        f"rounds\n{'candidate':<44}{'CPU ms/picture':>15}{'speed':>8}  all rounds"
    )
    for name, seconds in figures.items():
        if seconds:
            median = statistics.median(seconds)
            print(
                f"{name:<44}{median * 1e3:>15.1f}{first / median:>8.2f}  "
                + " ".join(f"{each * 1e3:.1f}" for each in seconds)
            )


def cpu_seconds_a_picture(run, batch, steps):
    """CPU time of all threads for each picture, over `steps` calls of `run` after a warm-up."""
    for _ in range(WARMUP):
        run()
    began = time.process_time()
    for _ in range(steps):
        run()
    return (time.process_time() - began) / steps / batch


def network_and(compute_type):
    from webvision.model.backbones import Network
    from webvision.model.forward import Arithmetic

    return Network("resnet50", CLASSES), Arithmetic("NHWC", compute_type)


def pictures(batch):
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8), rng.integers(0, CLASSES, batch).astype(np.int32)


def bare_session(compute_type):
    """The same graph and update, driven by nothing but Session.run."""

    def measure(batch, steps):
        from webvision.compat import tf, tfv1
        from webvision.devices import Devices
        from webvision.model.session import session_config
        from webvision.training.graph.objective import Classifier

        from tensorpack.tfutils.tower import TrainTowerContext

        model = Classifier(*network_and(compute_type))
        images, labels = pictures(batch)
        with tf.Graph().as_default(), TrainTowerContext(""):
            image = tfv1.get_variable("images", initializer=images, trainable=False)
            cost = model.build_graph(image, tf.constant(labels))
            optimizer = model.get_optimizer()
            update = tf.group(
                optimizer.apply_gradients(optimizer.compute_gradients(cost)),
                *tfv1.get_collection(tfv1.GraphKeys.UPDATE_OPS),
            )
            with tfv1.Session(config=session_config(Devices())) as session:
                session.run(tfv1.global_variables_initializer())
                return cpu_seconds_a_picture(lambda: session.run(update), batch, steps)

    return measure


def our_trainer(compute_type):
    """The product's trainer with its queue and the callbacks of a run."""

    def measure(batch, steps):
        from webvision.devices import Devices
        from webvision.training.fake import measure_step

        return (
            measure_step(
                *network_and(compute_type),
                batch=batch,
                devices=Devices(),
                steps=steps + WARMUP,
                clock=time.process_time,
                warmup=WARMUP,
            )
            / batch
        )

    return measure


def keras(policy):
    """tf_keras' ResNet50 in a tf.function."""

    def measure(batch, steps):
        from webvision.compat import tf
        from webvision.devices import cpu_cores

        tf.config.threading.set_intra_op_parallelism_threads(cpu_cores())
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.keras.mixed_precision.set_global_policy(policy)
        model = tf.keras.applications.ResNet50(weights=None, classes=CLASSES, classifier_activation=None)
        optimizer = tf.keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
        images, labels = map(tf.constant, pictures(batch))

        @tf.function
        def step():
            with tf.GradientTape() as tape:
                logits = tf.cast(model(tf.cast(images, tf.float32) / 255, training=True), tf.float32)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
            optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))

        return cpu_seconds_a_picture(step, batch, steps)

    return measure


def prediction(compute_type, *, frozen):
    """The network's top 5, through variables or through the frozen graph that --eval uses."""

    def measure(batch, steps):
        from webvision.compat import tf, tfv1
        from webvision.devices import Devices
        from webvision.model.forward import Forward
        from webvision.model.session import session_config
        from webvision.model.towers import PredictionTowers

        images, _ = pictures(batch)
        config = session_config(Devices())
        with tf.Graph().as_default():
            towers = PredictionTowers(Forward(*network_and(compute_type)), ["/cpu:0"])
            with tfv1.Session(config=config) as session:
                session.run(tfv1.global_variables_initializer())
                if not frozen:
                    return cpu_seconds_a_picture(lambda: towers.run(session, images, ["top"]), batch, steps)
                towers = towers.frozen(session)
        with tfv1.Session(graph=towers.graph, config=config) as session:
            return cpu_seconds_a_picture(lambda: towers.run(session, images, ["top"]), batch, steps)

    return measure


def onnx_runtime(batch, steps):
    """ONNX Runtime on the frozen float32 graph, converted by tf2onnx."""
    import onnxruntime
    import tf2onnx

    from webvision.compat import tf, tfv1
    from webvision.devices import cpu_cores
    from webvision.model.forward import Forward
    from webvision.model.towers import PredictionTowers

    with tf.Graph().as_default():
        towers = PredictionTowers(Forward(*network_and("float32")), ["/cpu:0"])
        with tfv1.Session() as session:
            session.run(tfv1.global_variables_initializer())
            towers = towers.frozen(session)
    model, _ = tf2onnx.convert.from_graph_def(
        towers.graph.as_graph_def(),
        input_names=["prediction-input:0"],
        output_names=[towers.tensor("top").name],
        opset=17,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or waiting would count as CPU time
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    images, _ = pictures(batch)
    return cpu_seconds_a_picture(lambda: session.run(None, {"prediction-input:0": images}), batch, steps)


CANDIDATES = {
    "bare session, float32": bare_session("float32"),
    "our trainer, float32": our_trainer("float32"),
    "tf_keras in a tf.function, float32": keras("float32"),
    "bare session, bfloat16": bare_session("bfloat16"),
    "our trainer, bfloat16": our_trainer("bfloat16"),
    "tf_keras in a tf.function, mixed_bfloat16": keras("mixed_bfloat16"),
    "ONNX Runtime, float32": onnx_runtime,
    "our prediction (frozen), float32": prediction("float32", frozen=True),
    "our prediction (frozen), bfloat16": prediction("bfloat16", frozen=True),
    "through variables, float32": prediction("float32", frozen=False),
    "through variables, bfloat16": prediction("bfloat16", frozen=False),
}
_NAMES = list(CANDIDATES)
TABLES = {
    "Training step": _NAMES[:6],
    "Prediction": [
        "our prediction (frozen), float32",
        "our prediction (frozen), bfloat16",
        "through variables, float32",
        "through variables, bfloat16",
        "ONNX Runtime, float32",
    ],
}


if __name__ == "__main__":
    main()
