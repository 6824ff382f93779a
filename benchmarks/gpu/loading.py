"""Pictures into the step, and predictions out of it, at the rates that this machine has."""

import os
import re
import time

import numpy as np

from benchmarks.gpu.commands import divided, run_training
from benchmarks.gpu.step import batch_of
from benchmarks.pictures import make_set
from webvision.compat import tf, tfv1
from webvision.data.views.presets import PRESETS
from webvision.devices import Devices, cpu_cores
from webvision.inference.predictor import Predictor
from webvision.model.backbones import Network
from webvision.model.forward import Arithmetic, Forward
from webvision.model.session import session_config
from webvision.model.towers import PredictionTowers

BOUND = 1e-3  # of the frozen graph's logits: batch norm is folded into the convolutions
RUNS = 20


def waiting(place):
    """The share of an epoch that training waits for JPEGs; ResNet-50 in half precision on a GPU."""
    steps, batch = (60, divided(256, place)) if place.gpus else (8, 32)
    data = make_set(place.folder, "resized", 2048 if place.gpus else 256)
    flags = ["--data", data, "--out", os.path.join(place.folder, "runs"), "--name", "waiting", "--fresh", "--lr", 0.01]
    flags += ["--batch", batch, "--epochs", 2, "--epoch-size", steps * batch, "--workers", cpu_cores()]
    done = run_training(place, *flags, *(["--fp16"] if place.gpus else []))
    found = re.findall(r"(\d+) images/s, waiting for data ([\d.]+)%", done.stdout)
    if done.returncode or not found:
        return {"held": False, "words": f"exit {done.returncode}: {done.stderr.strip()[-200:]}"}
    rate, share = float(found[-1][0]), float(found[-1][1]) / 100  # of the second epoch: the first starts cold
    words = f"{rate:.0f} pictures/s, waiting for data {share:.1%} of the time, {cpu_cores()} workers"
    return {"held": None, "words": words, "pictures_per_second": rate, "waiting": share}


def evaluation(place):
    """Predictions by the frozen graph equal those by the variables; and how many a second."""
    network = Network("resnet50", 1000, 224) if place.gpus else Network("resnet18", 100, 64)
    devices = Devices(on_gpu=place.gpus > 0, count=max(1, place.gpus))
    images, _ = batch_of(network, 64 * devices.count)
    weights = os.path.join(place.folder, "random.npz")
    expected = _save_random_weights(network, devices, images, weights)
    with Predictor(network, Arithmetic(), weights, preset=PRESETS["webvision"], devices=devices) as predictor:
        found = predictor(images, ("logits",))[0]
        began = time.perf_counter()
        for _ in range(RUNS):
            predictor(images)
        rate = RUNS * len(images) / (time.perf_counter() - began)
    apart = float(np.abs(found - expected).max() / np.abs(expected).max())
    words = f"{network.name}: frozen logits differ by {apart:.1e} (bound {BOUND:g}), {rate:.0f} pictures/s"
    return {"held": apart <= BOUND, "words": words, "difference": apart, "pictures_per_second": rate}


def _save_random_weights(network, devices, images, path):
    """Write first weights to `path`; returns the logits that they give, by the variables."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with tf.Graph().as_default():
        towers = PredictionTowers(Forward(network, Arithmetic(), PRESETS["webvision"]), devices.names)
        with tfv1.Session(config=session_config(devices)) as session:
            session.run(tfv1.global_variables_initializer())
            draw, variables = np.random.default_rng(7), tfv1.global_variables()
            for variable in variables:
                if variable.op.name.endswith("/variance/EMA"):  # first ones are all 1: folding would have nothing to do
                    variable.load(draw.uniform(0.5, 2, variable.shape.as_list()), session)
            np.savez(path, **dict(zip((variable.op.name for variable in variables), session.run(variables))))
            return towers.run(session, images, ("logits",))[0]
