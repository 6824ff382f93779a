"""Pictures for the input benchmarks, in the two sizes that matter, from the two photographs that scikit-learn brings
along.

What a JPEG decoder's time depends on is the size of the file for its pixels and how the bytes are spread, so each file
is a part of a real photograph, compressed at the quality that gives the sets' usual bytes: 27 KB at short side 256
(WebVision as distributed), 110 KB at 500 x 375 (ImageNet).
"""

import functools
import os

import cv2
import numpy as np

SETS = {"resized": ((341, 256), 27_000), "imagenet": ((500, 375), 110_000)}
CLASSES = 50


@functools.cache
def _photographs():
    from sklearn.datasets import load_sample_images

    return [np.ascontiguousarray(image[..., ::-1]) for image in load_sample_images().images]  # 640 x 427, BGR


def scene(number, width, height):
    """Picture `number`: uint8 BGR, a part of a photograph, from 88% of its height up, half of them mirrored, all
    relit."""
    draw = np.random.Generator(np.random.Philox(key=number))
    photograph = _photographs()[number % 2]
    high = int(photograph.shape[0] * draw.uniform(0.88, 1))
    wide = high * width // height
    y, x = draw.integers(0, photograph.shape[0] - high + 1), draw.integers(0, photograph.shape[1] - wide + 1)
    part = cv2.resize(photograph[y : y + high, x : x + wide], (width, height), interpolation=cv2.INTER_AREA)
    lit = cv2.convertScaleAbs(part, alpha=draw.uniform(0.8, 1.2))
    return lit[:, ::-1] if draw.random() < 0.5 else lit


def make_set(folder, name, count):
    """`count` JPEGs (4:2:0, baseline) of the set `name` as an ILSVRC-layout folder; returns it. Made once."""
    root = os.path.join(folder, f"{name}-photographs-{count}")
    done = os.path.join(root, "meta", "train.txt")
    if os.path.exists(done):
        return root
    (width, height), wanted = SETS[name]
    first = [scene(number, width, height) for number in range(16)]
    quality = min(range(40, 100), key=lambda q: abs(_mean_size(first, q) - wanted))
    os.makedirs(os.path.join(root, "meta"), exist_ok=True)
    lines = []
    for number in range(count):
        name_in_list = f"c{number % CLASSES:02d}/{number:06d}.jpg"
        path = os.path.join(root, "train", name_in_list)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(_encode(scene(number, width, height), quality))
        lines.append(f"{name_in_list} {number % CLASSES}\n")
    with open(os.path.join(root, "meta", "synsets.txt"), "w", encoding="ascii") as file:
        file.writelines(f"c{label:02d}\n" for label in range(CLASSES))
    with open(done, "w", encoding="ascii") as file:
        file.writelines(lines)
    return root


def _encode(image, quality):
    return cv2.imencode(".jpg", np.ascontiguousarray(image), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _mean_size(images, quality):
    return np.mean([len(_encode(image, quality)) for image in images])
