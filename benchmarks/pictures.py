"""Photograph-like pictures for the input benchmarks, in the two sizes that matter.

No photograph ships with the project. What a JPEG decoder's time depends on is the size of the file for its pixels, so
the pictures are noise with the spectrum of natural scenes (1/f) and some shapes, compressed at the quality that gives
the sets' usual bytes: 27 KB at short side 256 (WebVision as distributed), 110 KB at 500 x 375 (ImageNet).
"""
import os

import cv2
import numpy as np

SETS = {"resized": ((341, 256), 27_000), "imagenet": ((500, 375), 110_000)}
CLASSES = 50
_BASES = 64                 # distinct scenes; each file is a shifted, mirrored, relit one


def scene(number, width, height):
    """One colour picture, uint8 BGR, of smooth areas, edges and grain."""
    draw = np.random.Generator(np.random.Philox(key=number))
    y, x = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
    amplitude = 1 / np.maximum(np.hypot(x, y), 1 / max(width, height))
    planes = []
    for strength in (1., 0.4, 0.4):             # brightness, and two weaker colour planes
        plane = np.fft.ifft2(np.fft.fft2(draw.standard_normal((height, width))) * amplitude).real
        planes.append(plane / plane.std() * 45 * strength)
    image = np.stack([planes[0] + planes[1], planes[0] - planes[1] / 2, planes[0] + planes[2]], axis=2) + 120
    image = np.clip(image, 0, 255).astype(np.uint8)
    for _ in range(6):
        centre = (int(draw.integers(0, width)), int(draw.integers(0, height)))
        axes = (int(draw.integers(8, width // 4)), int(draw.integers(8, height // 4)))
        mask = cv2.ellipse(np.zeros((height, width), np.uint8), centre, axes, float(draw.integers(0, 180)), 0, 360, 255, -1)
        image = np.where(mask[..., None] > 0, image // 2 + draw.integers(0, 128, 3).astype(np.uint8), image)
    return image


def make_set(folder, name, count):
    """`count` JPEGs (4:2:0, baseline) of the set `name` as an ILSVRC-layout folder; returns it. Made once."""
    root = os.path.join(folder, f"{name}-{count}")
    done = os.path.join(root, "meta", "train.txt")
    if os.path.exists(done):
        return root
    (width, height), wanted = SETS[name]
    scenes = [scene(number, width, height) for number in range(min(_BASES, count))]
    quality = min(range(40, 99, 2), key=lambda q: abs(_mean_size(scenes[:8], q) - wanted))
    os.makedirs(os.path.join(root, "meta"), exist_ok=True)
    lines = []
    for number in range(count):
        image = np.roll(scenes[number % len(scenes)], number // len(scenes) * 7, axis=1)
        image = image[:, ::-1] if number & 1 else image
        name_in_list = f"c{number % CLASSES:02d}/{number:06d}.jpg"
        path = os.path.join(root, "train", name_in_list)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(_encode(np.ascontiguousarray(image), quality))
        lines.append(f"{name_in_list} {number % CLASSES}\n")
    with open(os.path.join(root, "meta", "synsets.txt"), "w", encoding="ascii") as file:
        file.writelines(f"c{label:02d}\n" for label in range(CLASSES))
    with open(done, "w", encoding="ascii") as file:
        file.writelines(lines)
    return root


def _encode(image, quality):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _mean_size(images, quality):
    return np.mean([len(_encode(image, quality)) for image in images])
