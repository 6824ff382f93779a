"""A small JPEG writer for the samplings that no library at hand writes: any factors for each of three components."""

import struct

import numpy as np

# Every Huffman code is its symbol's number in four bits: sizes 0..11 for DC; "end of block" and sizes 1..8 for AC.
_DC, _AC = bytes(range(12)), bytes(range(9))


def sampled_jpeg(seed, width, height, sampling, *, progressive=False):
    """The bytes of a picture of random blocks; `sampling` is the components' horizontal x vertical factors, as
    "4x2,1x1,1x1"."""
    factors = [tuple(map(int, part.split("x"))) for part in sampling.split(",")]
    most_h, most_v = (max(side) for side in zip(*factors))
    across, down = -(-width // (8 * most_h)), -(-height // (8 * most_v))
    draw = np.random.Generator(np.random.Philox(key=seed))
    shapes = [(down * v, across * h) for h, v in factors]
    # Of each component's blocks: the mean, and the three lowest frequencies, none of them zero.
    blocks = [
        np.concatenate(
            [
                draw.integers(-50, 51, (*shape, 1)),
                draw.integers(1, 20, (*shape, 3)) * draw.choice([-1, 1], (*shape, 3)),
            ],
            axis=2,
        ).tolist()
        for shape in shapes
    ]
    together = [
        (number, row * v + i, column * h + j)
        for row in range(down)
        for column in range(across)
        for number, (h, v) in enumerate(factors)
        for i in range(v)
        for j in range(h)
    ]
    everyone = range(len(factors))
    if not progressive:
        scans = [(everyone, 0, 63, _code(blocks, together, dc=True, ac=True))]
    else:  # a scan of one component has no blocks beyond its own edges
        scans = [(everyone, 0, 0, _code(blocks, together, dc=True))]
        for number, (h, v) in enumerate(factors):
            own = [
                (number, row, column)
                for row in range(-(-height * v // (8 * most_v)))
                for column in range(-(-width * h // (8 * most_h)))
            ]
            scans.append(([number], 1, 63, _code(blocks, own, ac=True)))
    frame = struct.pack(">BHHB", 8, height, width, len(factors)) + b"".join(
        bytes([number + 1, h << 4 | v, 0]) for number, (h, v) in enumerate(factors)
    )
    return (
        b"\xff\xd8"
        + b"".join(
            [
                _segment(0xDB, b"\0" + b"\x10" * 64),
                _segment(0xC2 if progressive else 0xC0, frame),
                _segment(0xC4, b"\0" + _lengths(_DC) + _DC),
                _segment(0xC4, b"\x10" + _lengths(_AC) + _AC),
                *(
                    _segment(
                        0xDA,
                        bytes([len(numbers)])
                        + b"".join(bytes([number + 1, 0]) for number in numbers)
                        + bytes([first, last, 0]),
                    )
                    + data
                    for numbers, first, last, data in scans
                ),
            ]
        )
        + b"\xff\xd9"
    )


def _segment(marker, body):
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _lengths(symbols):
    return bytes([0, 0, 0, len(symbols)] + [0] * 12)


def _code(blocks, places, *, dc=False, ac=False):
    """The entropy-coded data of the blocks at `places` = (component, row, column)."""
    bits, before = [], [0] * len(blocks)
    for number, row, column in places:
        mean, *others = blocks[number][row][column]
        if dc:
            bits.append(_number(mean - before[number]))
            before[number] = mean
        if ac:
            bits.extend([*map(_number, others), "0000"])
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")


def _number(value):
    size = abs(value).bit_length()
    return f"{size:04b}" + (f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else "")
