"""A small run to report on: drawn pictures on disk, predictions of a network that errs in known ways, a training
history."""

import json
import os

import cv2
import numpy as np

from webvision.scoring.predictions.file import PredictionWriter

CLASSES = [
    "apple",
    "banana",
    "cherry",
    "dandelion",
    "elder",
    "fig",
    "grape",
    "hazel",
    "iris",
    "juniper",
    "kiwi",
    "lemon",
]
COLOURS = [
    (60, 60, 200),
    (70, 210, 230),
    (40, 20, 150),
    (40, 220, 220),
    (120, 60, 60),
    (110, 50, 110),
    (140, 40, 110),
    (60, 110, 150),
    (200, 90, 140),
    (70, 120, 40),
    (60, 160, 110),
    (90, 235, 250),
]


def draw(label, rng):
    """A picture of a class: its colour and shape, on a ground that varies."""
    image = np.full((int(rng.integers(90, 180)), int(rng.integers(120, 220)), 3), rng.integers(150, 255, 3), np.uint8)
    height, width = image.shape[:2]
    centre, size = (
        (int(width * rng.uniform(0.4, 0.6)), int(height * rng.uniform(0.4, 0.6))),
        int(height * rng.uniform(0.2, 0.38)),
    )
    if label % 3 == 0:
        cv2.circle(image, centre, size, COLOURS[label], -1, cv2.LINE_AA)
    else:
        corners = 3 + label % 5
        turn = rng.uniform(0, 6)
        points = [
            (
                centre[0] + size * np.cos(turn + 6.2832 * i / corners),
                centre[1] + size * np.sin(turn + 6.2832 * i / corners),
            )
            for i in range(corners)
        ]
        cv2.fillPoly(image, [np.array(points, np.int32)], COLOURS[label], cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), 1.2) if label % 2 else image


def scores_for(labels, rng, train_counts, strength=4.0):
    """Probabilities of a network that knows frequent classes well, and takes a class for its neighbour."""
    classes = len(train_counts)
    skill = strength * (np.asarray(train_counts) / max(train_counts)) ** 0.3
    logits = rng.standard_normal((len(labels), classes)) + np.eye(classes)[labels] * skill[labels, None]
    logits += 1.2 * np.eye(classes)[(labels + 1) % classes]
    odds = np.exp(1.4 * logits)
    return (odds / odds.sum(1, keepdims=True)).astype(np.float32)


def write_predictions(path, names, labels, scores, *, header=None, problems=None, k=5):
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    with PredictionWriter(path, header or {}) as writer:
        writer.write(names, labels, top, np.take_along_axis(scores, top, 1), problems)


def make_run(folder, *, val_images=360, train_images=900, names=None, seed=0):
    """Write DATA/{train,val,meta}, run/{stats.json,predictions.json,b.json,train.json}; returns the rows of wrong
    labels in train."""
    rng = np.random.default_rng(seed)
    classes = len(CLASSES)
    share = 20.0 ** -(np.arange(classes) / (classes - 1))
    true = np.concatenate([np.arange(classes), rng.choice(classes, train_images - classes, p=share / share.sum())])
    flipped = rng.choice(train_images, train_images // 20, replace=False)
    labels = true.copy()
    labels[flipped] = (true[flipped] + rng.integers(2, classes, len(flipped))) % classes
    val_labels = np.concatenate([np.arange(classes), rng.integers(0, classes, val_images - classes)])
    train_names = [f"{CLASSES[label]}/{i:05d}.jpg" for i, label in enumerate(labels)]
    val_names = [f"val{i:06d}.jpg" for i in range(val_images)]
    for position, name in (names or {}).items():
        val_names[position] = name
    data, run = os.path.join(folder, "DATA"), os.path.join(folder, "run")
    _draw_all(os.path.join(data, "train"), train_names, true, rng)
    _draw_all(os.path.join(data, "val"), val_names, val_labels, rng)
    os.makedirs(os.path.join(data, "meta"))
    os.makedirs(run)
    lists = {"train": (train_names, labels), "val": (val_names, val_labels)}
    for split, (listed, of) in lists.items():
        with open(os.path.join(data, "meta", f"{split}.txt"), "w", encoding="utf-8") as file:
            file.writelines(f"{name} {label}\n" for name, label in zip(listed, of))
    with open(os.path.join(data, "meta", "synsets.txt"), "w", encoding="utf-8") as file:
        file.writelines(f"{name}\n" for name in CLASSES)
    counts = np.bincount(labels, minlength=classes).tolist()

    def header(split):
        return {
            "list": {"path": os.path.join(data, "meta", f"{split}.txt"), "rows": len(lists[split][0])},
            "k": 5,
            "classes": {"count": classes, "names": CLASSES, "train_counts": counts},
            "model": {"name": "resnet", "mode": "se", "depth": 50},
            "checkpoint": {"path": os.path.join(run, "model-5000"), "step": 5000},
        }

    problems = [None] * (val_images - 1) + ["truncated"]
    write_predictions(
        os.path.join(run, "predictions.json"),
        val_names,
        val_labels,
        scores_for(val_labels, rng, counts),
        header=header("val"),
        problems=problems,
    )
    write_predictions(
        os.path.join(run, "b.json"),
        val_names,
        val_labels,
        scores_for(val_labels, rng, counts, strength=5.5),
        header=header("val"),
        problems=problems,
    )
    write_predictions(
        os.path.join(run, "train.json"),
        train_names,
        labels,
        scores_for(true, rng, counts, strength=5),
        header=header("train"),
    )
    write_history(os.path.join(run, "stats.json"), rng)
    return flipped


def _draw_all(root, names, labels, rng):
    for name, label in zip(names, labels):
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(cv2.imencode(".jpg", draw(int(label), rng))[1].tobytes())


def write_history(path, rng, epochs=40):
    history = []
    for epoch in range(1, epochs + 1):
        fall = 0.25 + 0.7 * np.exp(-epoch / 9) - (0.06 if epoch > 30 else 0)
        noise = rng.normal(0, 0.008, 4)
        history.append(
            {
                "epoch_num": epoch,
                "global_step": epoch * 125,
                "learning_rate": 0.1 if epoch <= 30 else 0.01,
                "train-loss": 5 * fall + noise[0],
                "train-error-top1": fall + noise[1],
                "val-error-top1": fall + 0.04 + noise[2],
                "val-error-top5": fall / 3 + noise[3],
                "val-balanced-error-top1": fall + 0.09 + noise[2],
            }
        )
    with open(path, "w", encoding="utf-8") as file:
        json.dump(history, file)
