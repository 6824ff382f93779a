"""Pictures that training does not read, decoded for conversion: AVIF, TIFF, JPEG 2000, HEIC, and whatever has alpha.

These decoders meet a file only here, in the converter's limited process; `data/pictures` stays with five formats. HEIC
needs the package pillow-heif (the extra `heic`): OpenCV has no decoder for it.
"""

import struct

import cv2
import numpy as np

from webvision.data.pictures.images import ImageError, turn

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")


def kind_of(data):
    """'avif', 'heic', 'tiff' or 'jpeg2000' by a file's first bytes; None for anything else."""
    if data[4:8] == b"ftyp":
        brands = [data[8:12], *(data[i : i + 4] for i in range(16, min(len(data), _u32(data, 0)), 4))]
        if any(brand in AVIF_BRANDS for brand in brands):
            return "avif"
        return "heic" if any(brand in HEIC_BRANDS for brand in brands) else None
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "tiff"
    if data[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" or data[:4] == b"\xff\x4f\xff\x51":
        return "jpeg2000"
    return None


def decode_foreign(data, kind, policy):
    """The picture as it is meant to be seen, uint8, 1, 3 or 4 channels (BGR, BGRA); ImageError if there is none."""
    try:
        if kind == "heic":
            return _within(_heic(data, policy), policy)
        if kind == "tiff" and (size := tiff_size(data)):
            _within_size(*size, policy)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError("corrupt", str(error).splitlines()[0]) from None
    if image is None:
        raise ImageError("corrupt", f"the {kind} file cannot be decoded")
    image = _within(image, policy)
    return turn_by_boxes(image, data) if kind == "avif" else image


def _within(image, policy):
    _within_size(image.shape[1], image.shape[0], policy)
    return image


def _within_size(width, height, policy):
    if width * height > policy.max_pixels:
        raise ImageError("too-many-pixels", f"{width} x {height} is over {policy.max_pixels} pixels")
    if max(width, height) > policy.max_side_ratio * min(width, height):
        raise ImageError(
            "side-ratio", f"{width} x {height}: one side is over {policy.max_side_ratio:g} times the other"
        )


def _heic(data, policy):
    try:
        import pillow_heif
    except ImportError:
        raise ImageError("format", "HEIC, which needs pillow-heif: pip install pillow-heif") from None
    try:
        file = pillow_heif.open_heif(data, convert_hdr_to_8bit=True)
        _within_size(*file.size, policy)
        image = np.asarray(file)
    except ImageError:
        raise
    except Exception as error:  # the library's own kinds of ValueError, EOFError, RuntimeError, SyntaxError
        raise ImageError("corrupt", f"the HEIC file cannot be decoded ({error})") from None
    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    return cv2.cvtColor(image, codes[image.shape[2]]) if image.ndim == 3 and image.shape[2] in codes else image


def tiff_size(data):
    """(width, height) of a TIFF's first picture from its tags, before anything is allocated; None if not found."""
    order = "<" if data[:2] == b"II" else ">"
    sides = {}
    try:
        (offset,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, offset)
        for entry in range(offset + 2, offset + 2 + 12 * min(count, 200), 12):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag in (256, 257):
                (sides[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    except struct.error:
        return None
    return (sides[256], sides[257]) if len(sides) == 2 else None


def turn_by_boxes(image, data):
    """Apply an AVIF's `irot` and `imir` properties, which OpenCV leaves alone."""
    head = data[: 1 << 16]
    rotation, mirror = head.find(b"\0\0\0\x09irot"), head.find(b"\0\0\0\x09imir")
    if rotation >= 0 and rotation + 8 < len(head):
        image = np.rot90(image, head[rotation + 8] & 3)  # anticlockwise, as the box counts
    if mirror >= 0 and mirror + 8 < len(head):
        image = image[:, ::-1] if head[mirror + 8] & 1 else image[::-1]  # 1: about the vertical axis
    return np.ascontiguousarray(image)


def transparent(data, header):
    """A PNG or WebP that shows something through: its BGRA pixels as meant to be seen; None for any other."""
    if not may_be_transparent(data):
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim < 3 or image.shape[2] != 4 or not (image[..., 3] < _opaque(image)).any():
        return None
    return turn(image, header.orientation)


def may_be_transparent(data):
    """Whether a file is of a kind that has alpha: told by its bytes, nothing decoded. A GIF's is lost in OpenCV."""
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data[25:26] in (b"\4", b"\6") or 0 < data.find(b"tRNS") < data.find(b"IDAT")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return data[12:16] == b"VP8L" or data[12:16] == b"VP8X" and bool(data[20] & 0x10)
    return False


def on_white(image):
    """8-bit BGR of 1, 3 or 4 channels of 8 or 16 bits or floating point; alpha is blended on white."""
    opaque = _opaque(image)
    image = image.astype(np.float32) * (255.0 / opaque) if image.dtype != np.uint8 else image
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    if image.shape[2] == 4:
        alpha = image[..., 3:].astype(np.float32) / 255
        image = image[..., :3] * alpha + 255 * (1 - alpha)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _opaque(image):
    return {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}.get(image.dtype, 1.0)


def _u32(data, offset):
    return int.from_bytes(data[offset : offset + 4], "big")
