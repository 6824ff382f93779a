#!/usr/bin/env python3
"""What read_image costs beyond a bare decode: medians of interleaved calls, in microseconds a picture.

make bench-read        # 341 x 256 and 500 x 375 JPEGs like photographs, in memory, one core
"""

import os
import random
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from webvision.environment import use_project_environment

use_project_environment("numpy", "cv2")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from webvision.data.pictures import decode, images  # noqa: E402

ROUNDS, PICTURES = 60, 16


def pictures(width, height):
    """JPEGs of smooth shapes with grain, about as large as photographs of their size."""
    for seed in range(PICTURES):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
        image = np.clip(smooth + rng.integers(-12, 13, (height, width, 1)), 0, 255).astype(np.uint8)
        yield cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def rivals(files):
    """{name: function of a file's bytes}: decoding and nothing else."""
    headers = {data: images.inspect(data) for data in files}
    ways = {
        "a bare call of the same decoder": lambda data: decode.decode(data, headers[data]),
        "cv2.imdecode": lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR),
    }
    try:
        import simplejpeg

        ways["simplejpeg.decode_jpeg"] = lambda data: simplejpeg.decode_jpeg(data, "BGR")
    except ImportError:
        pass
    return ways


def measure(files, rival):
    """(microseconds a picture of read_image, of `rival`): medians, the two on one file after the other in random
    order."""
    taken = {images.read_image: [], rival: []}
    for _ in range(ROUNDS):
        for data in files:
            for way in random.sample(list(taken), 2):  # a fixed order favours whoever comes second, by 4 %
                began = time.perf_counter()
                way(data)
                taken[way].append((time.perf_counter() - began) * 1e6)
    return [statistics.median(values) for values in taken.values()]


def main():
    cv2.setNumThreads(1)
    print(decode.describe())
    for width, height in ((341, 256), (500, 375)):
        files = list(pictures(width, height))
        for name, rival in rivals(files).items():
            ours, theirs = measure(files, rival)
            print(
                f"{width} x {height}, {np.mean([len(data) for data in files]) / 1000:.0f} KB: read_image {ours:.0f} "
                f"us, {name} "
                f"{theirs:.0f} us: {100 * (ours / theirs - 1):+.1f} %"
            )


if __name__ == "__main__":
    main()
