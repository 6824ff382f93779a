#!/usr/bin/env python3
"""How long a training step waits for its data, for loaders faster and slower than the step.

The road is the product's: loader processes over a folder of pictures, queue, staging, trainer, callbacks. Only the
network is a stand-in for an accelerator: its step sleeps for a set time and computes nothing, so that it can be made as
fast as the loader, measured just before, asks for.

reported       the share of an epoch that training itself prints as waiting for data
by the clock   the time of the same steps beyond what they take on a batch that is always there. An upper bound: on few
               cores it holds, too, what the loader's and other programs' work takes from a step

With a loader a quarter faster than the step both have to be below 2 %. At 0.8 they have to be 20 %: the figures can
fail.
"""

import argparse
import contextlib
import itertools
import json
import logging
import math
import mmap
import os
import statistics
import sys
import tempfile
import time
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import ROOT, use_project_environment

use_project_environment("tensorflow", "tensorpack", "cv2")

import numpy as np  # noqa: E402

from benchmarks.pictures import make_set  # noqa: E402
from webvision.compat import tf, tfv1  # noqa: E402
from webvision.data.data_set import DataSet  # noqa: E402
from webvision.data.loader.batches import Bad, Batch, TrainBatches  # noqa: E402
from webvision.data.loader.spec import BatchSpec  # noqa: E402
from webvision.data.views.augment import Augmentation  # noqa: E402
from webvision.data.views.presets import PRESETS  # noqa: E402
from webvision.devices import Devices  # noqa: E402
from webvision.model.backbones import Network  # noqa: E402
from webvision.model.card import card_of  # noqa: E402
from webvision.model.forward import Arithmetic, Forward  # noqa: E402
from webvision.training import attempt, job  # noqa: E402
from webvision.training.fit import fit  # noqa: E402
from webvision.training.graph import objective  # noqa: E402
from webvision.training.recipes import Recipe  # noqa: E402
from webvision.training.state.run_folder import describe_run  # noqa: E402

from tensorflow.python.data.experimental.ops.testing import sleep  # noqa: E402
from tensorpack.callbacks import Callback  # noqa: E402

IMAGE_SIZE = 224
ALONE_STEPS = 60  # enough to time a step that only sleeps; the first third is to warm up


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", help="an ILSVRC-layout folder instead of pictures made here")
    parser.add_argument(
        "--work",
        metavar="DIR",
        default=os.path.join(ROOT, "build", "bench"),
        help="where those are made, once (%(default)s)",
    )
    parser.add_argument(
        "--ratios",
        type=_numbers,
        default=[2.0, 1.5, 1.25, 1.1, 0.8],
        metavar="R,...",
        help="the loader's rate over the step's (2,1.5,1.25,1.1,0.8)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="measured, after as many to warm up (%(default)s)")
    parser.add_argument("--batch", type=int, default=128, help="pictures a step (%(default)s)")
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, os.cpu_count() - 1),
        help="loader processes (%(default)s: the training process has a core to itself)",
    )
    parser.add_argument(
        "--unstaged",
        action="store_true",
        help="without the copy of the next batch to the device: as training on the CPU",
    )
    return parser.parse_args(argv)


def _numbers(text):
    return [float(part) for part in text.split(",")]


class Stamps(Callback):
    """The clock at the end of each step."""

    def __init__(self):
        self.ends = []

    def _trigger_step(self):
        self.ends.append(time.perf_counter())

    def seconds_a_step(self, first, last):
        """Mean from the end of step `first` to that of step `last`."""
        return (self.ends[last] - self.ends[first]) / (last - first)


def stand_in(seconds):
    """A Forward whose step takes `seconds` from when its batch is there; it looks at one pixel, and runs no
    Python."""

    class StandIn(Forward):
        def logits(self, image, colour=None):
            with tf.control_dependencies([image[0, 0, 0, 0]]):
                slept = asleep(seconds)
            with tf.control_dependencies([slept]):
                weights = tfv1.get_variable("linear/W", [1, self.network.num_classes])
                return tf.matmul(tf.ones([tf.shape(image)[0], 1]), weights, name="logits")

    return StandIn


def asleep(seconds):
    """An operation that takes `seconds` and no core: the next element of a tf.data source that sleeps before each."""
    source = tf.data.Dataset.from_tensors(0).repeat().apply(sleep(int(seconds * 1e6)))
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False  # they would sleep ahead
    with tf.control_dependencies(None):
        iterator = tfv1.data.make_one_shot_iterator(source.with_options(options))
    return iterator.get_next()


class AlwaysThere:
    """A loader that has one batch, at no cost."""

    def __init__(self, spec):
        shape = spec.size, IMAGE_SIZE, IMAGE_SIZE, 3
        pages = mmap.mmap(-1, math.prod(shape))  # as the loader's: what is aligned TensorFlow takes without a copy
        images, rows = np.frombuffer(pages, np.uint8).reshape(shape), np.zeros(spec.size, np.int64)
        self._batch = Batch(images, np.zeros(spec.size, np.int32), rows, np.zeros(spec.size, np.uint8))
        self.spec, self.bad = spec, Bad()

    def __iter__(self):
        return itertools.repeat(self._batch)

    def close(self):
        """Nothing to end."""


class Data:
    """An ILSVRC-layout folder and its training loader."""

    def __init__(self, folder, *, batch, workers):
        data = DataSet.open(folder)
        self.classes, self.split = data.classes, data.split("train")
        self.order = self.split.order("upsample")
        self.spec = BatchSpec(Augmentation(image_size=IMAGE_SIZE), batch)
        self.batch, self._workers = batch, workers

    def loader(self, start):
        return TrainBatches(self.split, self.order, self.spec, workers=self._workers, start=start)

    def rate(self, batches):
        """Pictures a second of the loader alone, over `batches`, once what it built ahead is taken."""
        with contextlib.closing(self.loader(0)) as loader:
            flow = iter(loader)
            for _ in range(4 + 3 * self._workers):
                next(flow)
            began = time.perf_counter()
            for _ in range(batches):
                next(flow)
            return batches * self.batch / (time.perf_counter() - began)


def train(data, train_loader, *, step_seconds, steps, epochs, staged):
    """Train the stand-in; returns its Stamps and training's figures of the last epoch."""
    stamps = Stamps()
    recipe = Recipe(epochs=epochs, epoch_size=steps * data.batch, batch=data.batch)
    network, arithmetic = Network("resnet18", len(data.classes), IMAGE_SIZE), Arithmetic()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(objective, "Forward", stand_in(step_seconds)),
        mock.patch.object(attempt, "ProgressBar", lambda: stamps),
    ):
        fit(
            job.Job(
                folder=folder,
                description=describe_run(
                    command="bench-wait",
                    index=data.split.index,
                    classes=data.classes,
                    network=network,
                    recipe=recipe,
                    arithmetic=arithmetic,
                    balance="upsample",
                    seed=0,
                    towers=1,
                    device="stand-in",
                    entries=len(data.order),
                    workers=None,
                    decoder=None,
                ),
                network=network,
                card=card_of(network, PRESETS["webvision"]),
                recipe=recipe,
                pictures=job.Pictures(data.split.index.hash, len(data.order), data.spec, train_loader),
                computing=job.Computing(arithmetic, Devices(like_gpus=staged)),
            )
        )
        with open(os.path.join(folder, "stats.json"), encoding="utf-8") as file:
            return stamps, json.load(file)[-1]


def step_alone(data, seconds, staged):
    """Seconds a step of the stand-in takes on a batch that is always there: its sleep and what the trainer adds."""
    stamps, _ = train(
        data, lambda start: AlwaysThere(data.spec), step_seconds=seconds, steps=ALONE_STEPS, epochs=1, staged=staged
    )
    return stamps.seconds_a_step(ALONE_STEPS // 3, ALONE_STEPS - 1)


def measure(data, ratio, *, steps, overhead, staged):
    """(realised ratio, seconds of a step alone, share waited as reported, by the clock)."""
    rate = data.rate(steps)
    sleep = max(0.0, ratio * data.batch / rate - overhead)
    before = step_alone(data, sleep, staged)
    stamps, figures = train(data, data.loader, step_seconds=sleep, steps=steps, epochs=2, staged=staged)
    alone = (before + step_alone(data, sleep, staged)) / 2  # the machine's load changes
    return (
        rate * alone / data.batch,
        alone,
        figures["data-wait-share"],
        1 - alone / stamps.seconds_a_step(steps, 2 * steps - 1),
    )


def main(argv=None):
    args = parse_args(argv)
    logging.getLogger("tensorpack").setLevel(logging.WARNING)  # training's log is not the question here
    data = Data(args.data or make_set(args.work, "resized", 2048), batch=args.batch, workers=args.workers)
    staged = not args.unstaged
    overhead = step_alone(data, 0.02, staged) - 0.02
    rows = {ratio: [] for ratio in args.ratios}
    for number in range(args.rounds):
        for ratio in args.ratios:
            rows[ratio].append(measure(data, ratio, steps=args.steps, overhead=overhead, staged=staged))
            print(f"round {number + 1}/{args.rounds}, {ratio:g}: " + describe(*rows[ratio][-1]), file=sys.stderr)
    print(
        f"{args.workers} worker(s), batch {args.batch}, {args.steps} steps, medians of {args.rounds} rounds (each: "
        "reported/by the clock)\n"
        f"{'loader/step':>11}{'step ms':>9}{'reported':>10}{'by the clock':>14}"
    )
    for ratio, found in rows.items():
        _, alone, reported, waited = (statistics.median(column) for column in zip(*found))
        print(
            f"{ratio:>11g}{alone * 1e3:>9.1f}{reported:>10.1%}{waited:>14.1%}   "
            + " ".join(f"{each[2]:.1%}/{each[3]:.1%}" for each in found)
        )


def describe(realised, alone, reported, waited):
    return f"loader/step {realised:.2f}, step {alone * 1e3:.1f} ms, reported {reported:.1%}, by the clock {waited:.1%}"


if __name__ == "__main__":
    main()
