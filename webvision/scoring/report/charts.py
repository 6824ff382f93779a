"""Charts as SVG text, coloured by classes of the page's style sheet, so that they follow light, dark and print."""

import math
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 60, 24, 14, 44


class Series(NamedTuple):
    name: str
    points: list[tuple[float, float]]


class Axis(NamedTuple):
    """A range of values and the pixels that it covers."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value):
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(v) for v in (value, low, high))
        return self.start + (self.end - self.start) * ((value - low) / (high - low) if high > low else 0.5)


def percent(value):
    return f"{100 * value:.0f} %"


def short(count):
    """A count in at most four characters: 950, 1.2k, 37k, 2.1M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.1f}{unit}" if count < 10 * size else f"{count / size:.0f}{unit}"
    return str(count)


def line_chart(title, series, *, y_text=percent, log=False, x_name="epoch"):
    """Lines over a common x axis; a point alone is a dot. '' when there is nothing to draw."""
    series = [
        Series(name, [(x, y) for x, y in points if math.isfinite(y) and (y > 0 or not log)]) for name, points in series
    ]
    series = [s for s in series if s.points]
    if not series:
        return ""
    xs = [x for s in series for x, _ in s.points]
    ys = [y for s in series for _, y in s.points]
    x_axis = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    low, high = (min(ys) / 1.3, max(ys) * 1.3) if log else (min(0, *ys), max(ys) * 1.05 or 1)
    y_axis = Axis(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [_frame(x_axis, y_axis, y_text, x_name)]
    for number, s in enumerate(series):
        path = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in s.points)
        parts.append(f'<polyline class="line c{number}" points="{path}"/>')
        if len(s.points) <= 60:
            parts += [
                f'<circle class="dot c{number}" cx="{x_axis.at(x):.1f}" cy="{y_axis.at(y):.1f}" r="3">'
                f"<title>{escape(s.name)}, {x_name} {x:g}: {y_text(y)}</title></circle>"
                for x, y in s.points
            ]
    return _figure(title, parts, [s.name for s in series])


def bar_chart(title, groups, names, *, x_name):
    """Groups of bars: [(label under the group, hint, [value for each of names])], values 0..1."""
    y_axis = Axis(0, 1, HEIGHT - BOTTOM, TOP)
    step = (WIDTH - LEFT - RIGHT) / max(1, len(groups))
    width = min(46, step * 0.8 / len(names))
    parts = [_frame(None, y_axis, percent, x_name)]
    for i, (label, hint, values) in enumerate(groups):
        centre = LEFT + step * (i + 0.5)
        for number, value in enumerate(values):
            if math.isfinite(value):
                x = centre + width * (number - len(values) / 2)
                told = f"{hint}, {names[number]}: {100 * value:.1f} %"
                parts.append(_bar(x, y_axis.at(value), width - 2, y_axis.start, number, told))
        parts.append(_under(centre, 16, label))
    return _figure(title, parts, names)


def reliability_charts(found):
    """Accuracy against confidence, with the diagonal of a network that is right as often as it is sure; and how sure it
    is."""
    x_axis, y_axis = Axis(0, 1, LEFT, WIDTH - RIGHT), Axis(0, 1, HEIGHT - BOTTOM, TOP)
    bins = [
        (x_axis.at(low) + 1, x_axis.at(high) - x_axis.at(low) - 2, *rest)
        for low, high, *rest in zip(found.edges, found.edges[1:], found.counts, found.accuracy, found.confidence)
        if rest[0]
    ]
    frame = _frame(x_axis, y_axis, percent, "confidence", x_text=percent)
    right, share = [frame], [frame]
    for x, width, count, accuracy, confidence in bins:
        hint = f"confidence {100 * confidence:.1f} %, right {100 * accuracy:.1f} %, images: {count}"
        right.append(_bar(x, y_axis.at(accuracy), width, y_axis.start, 0, hint))
        share.append(_bar(x, y_axis.at(count / found.counts.sum()), width, y_axis.start, 2, hint))
    right.append(
        f'<line class="diagonal" x1="{x_axis.at(0)}" y1="{y_axis.at(0)}" x2="{x_axis.at(1)}" y2="{y_axis.at(1)}"/>'
    )
    return _figure("How often it is right, when it is so sure", right) + _figure(
        "How sure it is: share of the images", share
    )


def _bar(x, top, width, bottom, number, hint):
    return (
        f'<rect class="bar c{number}" x="{x:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}">'
        f"<title>{escape(hint)}</title></rect>"
    )


def _frame(x_axis, y_axis, y_text, x_name, x_text="{:g}".format):
    parts = []
    for value in _ticks(y_axis):
        y = y_axis.at(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">{y_text(value)}</text>'
        )
    for value in _ticks(x_axis) if x_axis else ():
        parts.append(_under(x_axis.at(value), 16, x_text(value)))
    parts.append(_under((LEFT + WIDTH - RIGHT) / 2, 38, x_name))
    return "".join(parts)


def _under(x, down, text):
    return f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{HEIGHT - BOTTOM + down}">{escape(text)}</text>'


def _ticks(axis):
    """About five round values of the axis; powers of ten on a logarithmic one."""
    if axis.log:
        found = [10.0**e for e in range(math.ceil(math.log10(axis.low)), math.floor(math.log10(axis.high)) + 1)]
        return found or [axis.low, axis.high]
    span = axis.high - axis.low
    if span <= 0:
        return [axis.low]
    raw = span / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 2.5, 5, 10) if m * size >= raw)
    first = math.ceil(axis.low / step - 1e-9)
    return [i * step for i in range(first, math.floor(axis.high / step + 1e-9) + 1)]


def _figure(title, parts, names=()):
    keys = "".join(f'<li><span class="key c{i}"></span>{escape(name)}</li>' for i, name in enumerate(names))
    legend = f'<ul class="legend">{keys}</ul>' if names else ""
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>{legend}</figure>'
    )
