"""What a picture's first bytes say: format, size, orientation, and whether its end is there. No pixel is decoded here.

A header is read before any decoder sees the file, because the decoders allocate what a header asks for: a 31 KB PNG may
claim 50000 x 50000 pixels, 8.6 KB of WebP take 711 MB. What they take for a pixel follows from the kind of picture;
PIXEL_BYTES were measured as the growth of a process's peak at 4096 x 4096, in the worst of the decoders.
"""

import struct
import zlib
from typing import NamedTuple

FORMATS = ("jpeg", "png", "webp", "bmp", "gif")  # decoded; everything else is refused by its first bytes

PIXEL_BYTES = 6.1  # most of what is below
GIF_PIXEL_BYTES = 8.2
WEBP_PIXEL_BYTES, MOVING_WEBP_PIXEL_BYTES = 8.5, 16.0
MOVING_PNG_PIXEL_BYTES = {8: 12.1, 16: 27.3}
SCANS_PIXEL_BYTES = 3.1  # of a JPEG of several scans, beside its coefficients: 2 bytes for each sample
MOST_PLAIN_PIXEL_BYTES = SCANS_PIXEL_BYTES + 2 * 3  # of a plain JPEG, whatever it holds


class Header(NamedTuple):
    """The claims of a file about its picture; sizes are as stored, before `orientation` (EXIF, 1..8) is applied."""

    format: str
    width: int
    height: int
    orientation: int = 1
    channels: int = 3  # of a JPEG: 1 grey, 3 colour, 4 CMYK; of the others as stored
    plain: bool = False  # an 8-bit Huffman JPEG of 1 or 3 components: what the fast decoders take
    complete: bool = True  # the end marker is there
    scans: int = 1  # of a JPEG that is not decoded in one go: how many times its decoder walks over the picture
    pixel_bytes: float = PIXEL_BYTES  # of memory that decoding takes at most

    @property
    def shown_size(self) -> tuple[int, int]:
        """(width, height) as a viewer shows the picture, after `orientation`."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)


class HeaderError(ValueError):
    """The bytes are no picture of a known format ('format'), or its header is broken ('header')."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


def read_header(data: bytes) -> Header:
    """The `Header` of the bytes `data`; HeaderError if there is none."""
    if data[:3] == b"\xff\xd8\xff":
        parse = _jpeg
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        parse = _png
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        parse = _webp
    elif data[:6] in (b"GIF87a", b"GIF89a"):
        parse = _gif
    elif data[:2] == b"BM":
        parse = _bmp
    else:
        raise HeaderError(
            "format", f"not a {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file (starts with {bytes(data[:8])!r})"
        )
    try:
        header = parse(data)
    except (struct.error, IndexError):
        raise HeaderError("header", f"the {parse.__name__[1:]} header ends early") from None
    if header.width < 1 or header.height < 1:
        raise HeaderError("header", f"the header says {header.width} x {header.height} pixels")
    return header


_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a segment: TEM, RSTn, SOI
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; C4, C8, CC are other segments


def _jpeg(data):
    position, size, orientation = 2, len(data), 1
    while True:
        position = data.find(b"\xff", position)
        if position < 0:
            raise HeaderError("header", "a JPEG without a frame header")
        marker = data[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        position += 2
        if marker in _NO_LENGTH:
            continue
        if marker in (0xD9, 0xDA):
            raise HeaderError("header", "a JPEG without a frame header")
        length = data[position] << 8 | data[position + 1]
        if length < 2 or position + length > size:
            raise HeaderError("header", "a JPEG segment reaches past the end of the file")
        if marker in _FRAMES:
            break
        if marker == 0xE1 and data[position + 2 : position + 8] == b"Exif\0\0" and orientation == 1:
            orientation = _exif_orientation(data[position + 8 : position + length])
        position += length
    precision, height, width, channels = struct.unpack_from(">BHHB", data, position + 2)
    scans = _jpeg_scans(data, position + length, channels, several=marker in _PROGRESSIVE)
    pixel_bytes = PIXEL_BYTES
    if scans > 1:
        pixel_bytes = max(PIXEL_BYTES, SCANS_PIXEL_BYTES + 2 * _samples_a_pixel(data[position + 8 : position + length]))
    # An embedded thumbnail has an end marker of its own, but it lies before the frame header.
    complete = data[-2:] == b"\xff\xd9" or data.rfind(b"\xff\xd9", position) >= 0
    plain = marker <= 0xC2 and precision == 8 and channels in (1, 3)
    return Header("jpeg", width, height, orientation, channels, plain, complete, scans, pixel_bytes)


def _jpeg_scans(data, position, channels, *, several):
    """How many scans follow the frame header: 1 if the first holds the picture, else all that there are markers for."""
    while data[position : position + 1] == b"\xff":
        marker = data[position + 1]
        if marker == 0xDA:
            break
        if marker == 0xFF:
            position += 1
            continue
        position += 2 if marker in _NO_LENGTH else 2 + (data[position + 2] << 8 | data[position + 3])
    if not several and data[position + 4 : position + 5] == bytes([channels]):
        return 1
    return max(2, data.count(b"\xff\xda", position))  # within a scan, no 0xFF is followed by 0xDA


def _samples_a_pixel(components):
    """Samples of all channels for each pixel: 3 for 4:4:4, 1.5 for 4:2:0. `components`: three bytes each."""
    factors = [(byte >> 4, byte & 15) for byte in components[1::3]]
    whole = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
    return sum(h * v for h, v in factors) / max(whole, 1)


def _exif_orientation(tiff):
    """The orientation tag of an EXIF block; 1 where it is absent or nonsense, as viewers do."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tiff[:4]))
    if order is None:
        return 1
    try:
        (offset,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, offset)
        for entry in range(offset + 2, offset + 2 + 12 * min(count, 200), 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
            if tag == 0x0112:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


_PNG_SLACK = 1 << 20  # bytes that a cut chunk may claim beyond its picture's uncompressed pixels: profiles, texts


def _png(data):
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if data[12:16] != b"IHDR":
        raise HeaderError("header", "a PNG that does not begin with IHDR")
    position, orientation, complete, pixel_bytes = 8, 1, False, PIXEL_BYTES
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            if (
                length > 8 * (width + 1) * height + _PNG_SLACK
            ):  # OpenCV allocates what a chunk asks for: 2 GB for 60 x 44
                raise HeaderError("corrupt", f"a PNG chunk at byte {position} claims {length} bytes")
            break
        if zlib.crc32(data[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise HeaderError("corrupt", f"wrong check sum of a PNG chunk at byte {position}")
        if kind == b"eXIf":
            orientation = _exif_orientation(data[position + 8 : end - 4])
        if kind == b"acTL":
            pixel_bytes = MOVING_PNG_PIXEL_BYTES[16 if depth == 16 else 8]
        if kind == b"IEND":
            complete = True
            break
        position = end
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 0)
    return Header("png", width, height, orientation, channels, complete=complete, pixel_bytes=pixel_bytes)


def _webp(data):
    kind = data[12:16]
    orientation, pixel_bytes = 1, WEBP_PIXEL_BYTES
    if kind == b"VP8X":
        pixel_bytes = MOVING_WEBP_PIXEL_BYTES if data[20] & 2 else WEBP_PIXEL_BYTES
        width = 1 + int.from_bytes(data[24:27], "little")
        height = 1 + int.from_bytes(data[27:30], "little")
        orientation = _webp_orientation(data)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise HeaderError("header", f"an unknown kind of WebP: {bytes(kind)!r}")
    (stated,) = struct.unpack_from("<I", data, 4)
    return Header("webp", width, height, orientation, complete=stated + 8 <= len(data), pixel_bytes=pixel_bytes)


def _webp_orientation(data):
    position = 12
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            block = data[position + 8 : position + 8 + length]
            return _exif_orientation(block[6:] if block[:6] == b"Exif\0\0" else block)
        position += 8 + length + (length & 1)
    return 1


def _gif(data):
    width, height = struct.unpack_from("<HH", data, 6)
    complete = data.rstrip(b"\0")[-1:] == b";"
    return Header("gif", width, height, complete=complete, pixel_bytes=GIF_PIXEL_BYTES)


def _bmp(data):
    offset, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, depth, compression = struct.unpack_from("<iiHHI", data, 18)
        height = abs(height)  # negative: stored from the top
    row_bytes = (abs(width) * depth + 31) // 32 * 4
    complete = compression not in (0, 3) or offset + row_bytes * height <= len(data)
    return Header("bmp", width, height, complete=complete)
