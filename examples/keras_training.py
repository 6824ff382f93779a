#!/usr/bin/env python3
"""Train a small convolutional network in Keras 3 from this project's loader.

    python3 examples/keras_training.py --data DIR --epochs 20 --out model.keras

DIR is in the ILSVRC layout (docs/reference/formats.md). Any Keras model takes the same batches.
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("keras", "numpy", "cv2")

import keras  # noqa: E402
from keras import layers  # noqa: E402

from webvision.data import DataSet, batches  # noqa: E402
from webvision.data.views.augment import Augmentation  # noqa: E402
from webvision.data.views.presets import PRESETS  # noqa: E402
from webvision.devices import cpu_cores  # noqa: E402
from webvision.errors import run_command  # noqa: E402


def network(size, num_classes):
    """Four stages of separable convolutions; pictures go in as the loader gives them, uint8 and BGR."""
    preset = PRESETS["webvision"]
    x = inputs = keras.Input((size, size, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Normalization(mean=preset.mean, variance=[value**2 for value in preset.std])(x)
    for width in (32, 64, 128, 256):
        x = layers.SeparableConv2D(width, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(num_classes)(layers.GlobalAveragePooling2D()(x)))


def pairs(loader):
    """The loader's batches as Keras takes them."""
    for batch in loader:
        yield batch.images, batch.labels


def train(args):
    """Train, validate after each epoch, save the model."""
    data = DataSet.open(args.data)
    train_split, val_split = data.split("train"), data.split("val")
    keras.utils.set_random_seed(args.seed)
    model = network(args.size, len(data.classes))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    steps = max(1, len(train_split.order(args.balance)) // args.batch)
    settings = {"balance": args.balance, "seed": args.seed, "workers": args.workers}
    with batches(train_split, args.batch, Augmentation(image_size=args.size), **settings) as loader:
        feed = pairs(loader)
        for epoch in range(args.epochs):
            model.fit(feed, steps_per_epoch=steps, epochs=epoch + 1, initial_epoch=epoch, verbose=2)
            with batches(val_split, args.batch, PRESETS["webvision"].scaled(args.size)) as validation:
                loss, accuracy = model.evaluate(pairs(validation), verbose=0)
            print(f"epoch {epoch + 1}/{args.epochs}: val loss {loss:.4f}, val error {1 - accuracy:.4f}")
    model.save(args.out)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--epochs", type=int, default=20, metavar="N")
    parser.add_argument("--batch", type=int, default=64, metavar="N")
    parser.add_argument("--size", type=int, default=128, metavar="PX", help="side of the pictures")
    parser.add_argument("--balance", default="upsample", metavar="HOW", help="upsample, sqrt, cap:N or none")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--workers", type=int, default=cpu_cores(), metavar="N", help="loader processes")
    parser.add_argument("--out", default="model.keras", metavar="FILE")
    train(parser.parse_args(argv))


if __name__ == "__main__":
    run_command(main)
