"""Twelve things that can be drawn with a few polygons, and the mess they are photographed in.

Every picture is a pure function of (class, generator): place, size, turn, colours, background, clutter, light and
noise are drawn at random, so that a network has to learn the thing and not a pixel, but a small one can.
"""

import math

import cv2
import numpy as np

TAU = 2 * math.pi


class Pose:
    """Where a thing lies in a picture: unit coordinates (x right, y down, the thing about 2 wide) to pixels."""

    def __init__(self, centre, radius, angle):
        self.centre, self.radius = np.asarray(centre, float), radius
        cos, sin = math.cos(angle) * radius, math.sin(angle) * radius
        self.matrix = np.array([[cos, sin], [-sin, cos]])

    def points(self, unit_points):
        """float [n,2] -> int32 pixels [n,2]."""
        return np.rint(np.asarray(unit_points, float) @ self.matrix + self.centre).astype(np.int32)

    def length(self, unit_length):
        """A length in pixels, at least 1: what cv2 wants as a thickness or radius."""
        return max(1, round(unit_length * self.radius))


def polygon(image, pose, unit_points, colour):
    cv2.fillPoly(image, [pose.points(unit_points)], colour, cv2.LINE_AA)


def stroke(image, pose, unit_points, colour, *, width=0.06, closed=False):
    cv2.polylines(image, [pose.points(unit_points)], closed, colour, pose.length(width), cv2.LINE_AA)


def disc(image, pose, centre, radius, colour):
    polygon(image, pose, arc(centre, radius), colour)


def arc(centre, radius, start=0.0, end=TAU, *, aspect=1.0, n=28):
    """Points on an ellipse `radius` wide and `radius * aspect` high: float [n,2]."""
    t = np.linspace(start, end, n)
    return np.stack([centre[0] + radius * np.cos(t), centre[1] + radius * aspect * np.sin(t)], 1)


def hsv(rng, hue, saturation=(150, 255), value=(140, 255)):
    """A BGR colour: hue in degrees, a number or a range; saturation and value ranges of 0..255."""
    h = rng.uniform(*hue) if isinstance(hue, tuple) else hue + rng.uniform(-8, 8)
    pixel = np.array([[[h % 360 / 2, rng.uniform(*saturation), rng.uniform(*value)]]]).astype(np.uint8)
    return tuple(int(c) for c in cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0])


def shade(colour, factor):
    return tuple(int(min(255, c * factor)) for c in colour)


# ---- the things: (image, pose, rng), drawn over whatever is there ------------------------------------------------


def goldfish(image, pose, rng):
    body = hsv(rng, (12, 38), (190, 255), (190, 255))
    flip = rng.choice((-1.0, 1.0))

    def turned(points):
        return np.asarray(points, float) * (flip, 1)

    fin = shade(body, 1.15)
    polygon(image, pose, turned([(-0.55, 0), (-1.05, -0.5), (-0.85, 0), (-1.05, 0.5)]), fin)
    polygon(image, pose, turned([(-0.2, -0.35), (0.15, -0.7), (0.35, -0.3)]), fin)
    polygon(image, pose, turned(arc((0.12, 0), 0.78, aspect=0.58)), body)
    for x in (-0.25, 0.02, 0.29):
        stroke(image, pose, turned(arc((x, 0), 0.2, -1.2, 1.2)), shade(body, 0.72), width=0.05)
    disc(image, pose, turned([(0.6, -0.1)])[0], 0.11, (250, 250, 250))
    disc(image, pose, turned([(0.62, -0.1)])[0], 0.06, (15, 15, 15))


def ladybug(image, pose, rng):
    shell = hsv(rng, (-8, 8), (200, 255), (150, 235))
    black = (18, 18, 22)
    for y in (-0.4, 0, 0.4):
        stroke(image, pose, [(-0.95, y), (0.95, y)], black, width=0.06)
    disc(image, pose, (0, -0.72), 0.36, black)
    polygon(image, pose, arc((0, 0.08), 0.74, aspect=1.1), shell)
    stroke(image, pose, [(0, -0.7), (0, 0.88)], black, width=0.06)
    for x, y in ((0.36, -0.3), (0.42, 0.2), (0.25, 0.58)):
        size = rng.uniform(0.11, 0.17)
        disc(image, pose, (x, y), size, black)
        disc(image, pose, (-x, y), size, black)


def starfish(image, pose, rng):
    colour = hsv(rng, (270, 345), (110, 220), (150, 240))
    inner = rng.uniform(0.32, 0.42)
    t = np.arange(10) * TAU / 10
    radius = np.where(np.arange(10) % 2 == 0, 1.0, inner)
    polygon(image, pose, np.stack([np.sin(t) * radius, -np.cos(t) * radius], 1), colour)
    for i in range(0, 10, 2):
        for r in (0.2, 0.42, 0.62):
            disc(image, pose, (math.sin(t[i]) * r, -math.cos(t[i]) * r), 0.055, shade(colour, 1.45))


def zebra(image, pose, rng):
    """A coat: wavy black and white bands over all of the picture's middle."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u, v = np.linalg.inv(pose.matrix).T @ np.stack([x.ravel() - pose.centre[0], y.ravel() - pose.centre[1]])
    bands = np.sin(u * rng.uniform(9, 13) + 1.1 * np.sin(v * rng.uniform(1.5, 2.5) + rng.uniform(0, TAU)) + v * 2)
    coat = np.where(bands > 0, rng.uniform(205, 245), rng.uniform(15, 45)).reshape(height, width).astype(np.float32)
    coat = cv2.GaussianBlur(coat, (3, 3), 0)[..., None] * np.array([0.95, 0.98, 1.0])
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [pose.points(arc((0, 0), 1.25, aspect=0.85))], 255, cv2.LINE_AA)
    alpha = mask[..., None] / 255.0
    image[:] = (image * (1 - alpha) + coat * alpha).astype(np.uint8)


def clock(image, pose, rng):
    rim = hsv(rng, (0, 360), (20, 200), (40, 170))
    disc(image, pose, (0, 0), 1.0, rim)
    disc(image, pose, (0, 0), 0.84, hsv(rng, 50, (0, 40), (225, 255)))
    for i in range(12):
        s, c = math.sin(i * TAU / 12), math.cos(i * TAU / 12)
        stroke(image, pose, [(s * 0.66, c * 0.66), (s * 0.78, c * 0.78)], (25, 25, 25), width=0.07)
    for reach, width in ((0.42, 0.1), (0.62, 0.06)):
        t = rng.uniform(0, TAU)
        stroke(image, pose, [(0, 0), (math.sin(t) * reach, math.cos(t) * reach)], (20, 20, 30), width=width)


def balloon(image, pose, rng):
    """A hot-air balloon: gores of two colours and a basket."""
    hue = rng.uniform(0, 360)
    colours = hsv(rng, hue, (170, 255), (170, 255)), hsv(rng, hue + rng.uniform(70, 180), (60, 255), (190, 255))
    for i, half_width in enumerate((0.8, 0.58, 0.34, 0.12)):
        top = arc((0, -0.25), half_width, math.pi, TAU, aspect=0.72 / half_width)
        polygon(
            image, pose, np.concatenate([top, [(half_width * 0.22, 0.62), (-half_width * 0.22, 0.62)]]), colours[i % 2]
        )
    for x in (-0.16, 0.16):
        stroke(image, pose, [(x, 0.6), (x * 0.8, 0.84)], (40, 50, 60), width=0.03)
    polygon(image, pose, [(-0.17, 0.8), (0.17, 0.8), (0.14, 1.05), (-0.14, 1.05)], (45, 85, 130))


def barn(image, pose, rng):
    wall = hsv(rng, (-4, 14), (140, 220), (110, 180))
    roof = hsv(rng, 220, (0, 60), (50, 120))
    white = (235, 238, 240)
    polygon(image, pose, [(-0.85, -0.1), (0.85, -0.1), (0.85, 0.9), (-0.85, 0.9)], wall)
    polygon(image, pose, [(-1.0, -0.05), (-0.68, -0.6), (0, -0.95), (0.68, -0.6), (1.0, -0.05)], roof)
    polygon(image, pose, [(-0.36, 0.2), (0.36, 0.2), (0.36, 0.9), (-0.36, 0.9)], shade(wall, 0.6))
    for line in (
        [(-0.36, 0.2), (0.36, 0.9)],
        [(0.36, 0.2), (-0.36, 0.9)],
        [(-0.36, 0.2), (0.36, 0.2), (0.36, 0.9), (-0.36, 0.9), (-0.36, 0.2)],
    ):
        stroke(image, pose, line, white, width=0.06)
    polygon(image, pose, [(-0.16, -0.55), (0.16, -0.55), (0.16, -0.28), (-0.16, -0.28)], white)


def honeycomb(image, pose, rng):
    wax = hsv(rng, (38, 50), (170, 240), (190, 250))
    cell = shade(wax, rng.uniform(0.3, 0.5))
    polygon(image, pose, arc((0, 0), 1.15, aspect=0.9), wax)
    side = rng.uniform(0.17, 0.24)
    for row in range(-6, 7):
        for column in range(-6, 7):
            x, y = (column + row % 2 / 2) * side * 1.9, row * side * 1.65
            if x * x + (y / 0.9) ** 2 < 1.05:
                t = np.arange(6) * TAU / 6 + TAU / 12
                polygon(image, pose, np.stack([x + side * 0.82 * np.cos(t), y + side * 0.82 * np.sin(t)], 1), cell)


def umbrella(image, pose, rng):
    hue = rng.uniform(0, 360)
    first, second = hsv(rng, hue, (120, 255), (120, 240)), hsv(rng, hue, (30, 110), (200, 255))
    stroke(
        image,
        pose,
        [(0, -0.8), (0, 0.72), (0.05, 0.84), (0.17, 0.88), (0.28, 0.8), (0.28, 0.68)],
        (40, 45, 60),
        width=0.08,
    )
    edge = np.linspace(-1, 1, 7)
    for i in range(6):
        left, right = edge[i], edge[i + 1]
        roof = arc((0, 0), 1.0, math.pi + math.acos(-left), math.pi + math.acos(-right), aspect=0.8, n=8)
        scallop = arc(((left + right) / 2, 0), (right - left) / 2, TAU, math.pi, aspect=0.5, n=8)
        if i < 3:  # the ribs run to the tip
            roof = np.concatenate([roof[:1], [(left * 0.5, -0.62)], [(0, -0.82)], [(right * 0.5, -0.62)], [(right, 0)]])
        else:
            roof = np.concatenate([[(left, 0)], [(left * 0.5, -0.62)], [(0, -0.82)], [(right * 0.5, -0.62)], roof[-1:]])
        polygon(image, pose, np.concatenate([roof, scallop]), (first, second)[i % 2])
    polygon(image, pose, np.concatenate([[(-0.03, -0.78)], [(0, -1.0)], [(0.03, -0.78)]]), (40, 45, 60))


def traffic_light(image, pose, rng):
    polygon(image, pose, [(-0.07, 0.8), (0.07, 0.8), (0.07, 1.6), (-0.07, 1.6)], (90, 90, 90))
    polygon(image, pose, [(-0.42, -1.0), (0.42, -1.0), (0.42, 0.9), (-0.42, 0.9)], hsv(rng, 120, (0, 50), (25, 60)))
    lit = rng.integers(3)
    for i, hue in enumerate((2, 48, 130)):
        value = (225, 255) if i == lit else (70, 110)
        disc(image, pose, (0, -0.68 + i * 0.63), 0.26, hsv(rng, hue, (210, 255), value))


def alp(image, pose, rng):
    """A range across the whole picture: sky above, snow-capped peaks, meadow below."""
    height, width = image.shape[:2]
    horizon = pose.centre[1] + height * 0.1
    sky = np.array(hsv(rng, (195, 225), (60, 170), (180, 255)), float)
    ramp = np.linspace(1.0, 0.75, height)[:, None, None]
    image[:] = np.clip(sky * ramp + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    for _ in range(rng.integers(2, 4)):
        peak_x, peak_y = rng.uniform(0.15, 0.85) * width, horizon - height * rng.uniform(0.3, 0.55)
        left, right = peak_x - width * rng.uniform(0.35, 0.6), peak_x + width * rng.uniform(0.35, 0.6)
        rock = hsv(rng, (200, 260), (20, 70), (70, 130))
        peak = np.array([peak_x, peak_y])
        foot = np.array([[right, horizon], [peak_x + 8, horizon], [peak_x - 5, horizon], [left, horizon]])
        slope = foot - peak
        snow = [
            peak,
            peak + 0.42 * slope[0],
            peak + 0.24 * slope[1],
            peak + 0.45 * slope[2],
            peak + 0.26 * slope[3],
            peak + 0.4 * slope[3],
        ]
        cv2.fillPoly(image, [np.rint([peak, foot[0], foot[3]]).astype(np.int32)], rock, cv2.LINE_AA)
        cv2.fillPoly(image, [np.rint(snow).astype(np.int32)], (250, 248, 244), cv2.LINE_AA)
    image[int(np.clip(horizon, 1, height - 1)) :] = hsv(rng, (80, 120), (90, 180), (70, 150))


def daisy(image, pose, rng):
    petal = hsv(rng, (0, 360), (0, 45), (225, 255))
    count, turn = int(rng.integers(11, 16)), rng.uniform(0, TAU)
    for i in range(count):
        t = turn + i * TAU / count
        leaf = arc((0, 0), 0.34, aspect=0.32) + (0.62, 0)
        cos, sin = math.cos(t), math.sin(t)
        polygon(image, pose, leaf @ np.array([[cos, sin], [-sin, cos]]), shade(petal, 0.93 if i % 2 else 1.0))
    disc(image, pose, (0, 0), 0.33, hsv(rng, (42, 52), (210, 255), (210, 255)))
    disc(image, pose, (0, 0), 0.2, hsv(rng, (30, 40), (210, 255), (190, 230)))


# wnid (WordNet 3.0), words as in a synsets.txt, drawing; in the order of the ids, as ILSVRC has them
CLASSES = (
    ("n01443537", "goldfish, Carassius auratus", goldfish),
    ("n02165456", "ladybug, ladybeetle, lady beetle, ladybird, ladybird beetle", ladybug),
    ("n02317335", "starfish, sea star", starfish),
    ("n02391049", "zebra", zebra),
    ("n02708093", "analog clock", clock),
    ("n02782093", "balloon", balloon),
    ("n02793495", "barn", barn),
    ("n03530642", "honeycomb", honeycomb),
    ("n04507155", "umbrella", umbrella),
    ("n06874185", "traffic light, traffic signal, stoplight", traffic_light),
    ("n09193705", "alp", alp),
    ("n11939491", "daisy", daisy),
)


# ---- the photograph around the thing -----------------------------------------------------------------------------


def background(rng, height, width):
    """Soft blotches of two to four colours, sometimes over a horizon: uint8 [h,w,3]."""
    cells = rng.integers(2, 6)
    base = np.array(hsv(rng, (0, 360), (20, 150), (60, 220)), np.float32)
    small = base + rng.normal(0, rng.uniform(12, 38), (cells, cells + 1, 3))
    image = cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.3:
        horizon = int(height * rng.uniform(0.4, 0.8))
        image[horizon:] = image[horizon:] * 0.4 + 0.6 * np.array(hsv(rng, (0, 360), (30, 150), (50, 190)), np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def clutter(image, rng, count):
    """Scraps that belong to no class: bars, blobs and slivers, from faint to solid."""
    height, width = image.shape[:2]
    for _ in range(count):
        layer = image.copy()
        pose = Pose(
            (rng.uniform(0, width), rng.uniform(0, height)),
            min(height, width) * rng.uniform(0.05, 0.22),
            rng.uniform(0, TAU),
        )
        colour = hsv(rng, (0, 360), (0, 200), (30, 240))
        kind = rng.integers(3)
        if kind == 0:
            stroke(layer, pose, [(-1.5, 0), (1.5, rng.uniform(-0.5, 0.5))], colour, width=rng.uniform(0.1, 0.4))
        elif kind == 1:
            polygon(layer, pose, arc((0, 0), 1.0, aspect=rng.uniform(0.3, 1)), colour)
        else:
            polygon(layer, pose, rng.uniform(-1, 1, (3, 2)), colour)
        alpha = rng.uniform(0.35, 0.9)
        cv2.addWeighted(layer, alpha, image, 1 - alpha, 0, dst=image)


def photograph(thing, rng, height, width):
    """One picture of `thing` (a drawing function of CLASSES): uint8 BGR [height,width,3]."""
    image = background(rng, height, width)
    clutter(image, rng, int(rng.integers(2, 7)))
    short = min(height, width)
    radius = short * rng.uniform(0.27, 0.47)
    reach = max(0.0, short / 2 - radius * 0.85)  # on the long side too: an evaluation crop is the middle square
    centre = width / 2 + rng.uniform(-reach, reach), height / 2 + rng.uniform(-reach, reach)
    thing(image, Pose(centre, radius, rng.normal(0, math.radians(12))), rng)
    clutter(image, rng, int(rng.integers(0, 2)))  # now and then something stands in front
    light = image.astype(np.float32) * rng.uniform(0.7, 1.2) + rng.uniform(-18, 18)
    if rng.random() < 0.35:
        light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.5, 1.2))
    light += rng.standard_normal(light.shape, dtype=np.float32) * np.float32(rng.uniform(2, 10))
    return np.clip(light, 0, 255).astype(np.uint8)
