"""From the bytes of one file to BGR pixels: which decoder, and how much of the picture.

Plain JPEGs (8 bits, Huffman, grey or three components) have three paths, tried in this order:

    window      our glue over libjpeg-turbo, built by `make setup`: decodes the crop's window only
    simplejpeg  a wheel, no compiler needed: decodes all, then cuts; the first choice for whole pictures
    opencv      decodes all, then cuts; and no warnings, so that only a missing end marker shows damage

They agree in every pixel as long as they bundle a libjpeg-turbo of version 2 or 3 (tests compare them; one grey level
is the promise). What simplejpeg has no name for (uncommon samplings) takes one of the others. Whatever is not a plain
JPEG is OpenCV's. Lack of memory is a MemoryError on every path, and no verdict. `describe()` says which path is in use.
"""

import functools
import importlib.util
import os
import re

import numpy as np

from webvision.data.native import library
from webvision.data.pictures.headers import Header

# What libjpeg warns of although the pixels are whole; decode_window.c lets the same two pass.
_ODD_ADOBE, _ODD_JFIF = "Unknown Adobe color transform code", "Warning: unknown JFIF revision"
_JFIF_REVISION = re.compile(rb"JFIF\0.")
# How libjpeg-turbo says that memory ran out; sizes were agreed to before, so that no file can make it say so.
_NO_MEMORY = ("Insufficient memory", "Memory allocation failure", "Memory limit exceeded")
# What OpenCV may need, at most, for a pixel (an animated WebP: 15.2 bytes, measured) and for a byte of the file.
_OPENCV_PIXEL_BYTES, _OPENCV_FILE_BYTES = 20, 4
PATHS = ("window", "simplejpeg", "opencv")


class DecodeError(ValueError):
    """The decoder refused the data, or complained about it."""


class _UnknownKind(Exception):
    """simplejpeg has no name for the picture's sampling or colours, and says nothing about whether it is whole."""


def decode(
    data: bytes,
    header: Header,
    *,
    window: tuple[int, ...] | None = None,
    scale: int = 1,
    tolerant: bool = False,
    whole: bool = True,
    path: str | None = None,
) -> np.ndarray:
    """The window (x, y, width, height) of the picture `data`, as stored, uint8 BGR, contiguous.

    `header` is what read_header said. With `scale` 2, 4 or 8 a plain JPEG is shrunk while it is decoded, and the window
    counts pixels of the shrunk picture. `tolerant` takes what can be had of damaged data. Without `whole` damage beyond
    the window may go unnoticed: for pictures that were gone through before. `path` is for tests.
    """
    size = (-(-header.width // scale), -(-header.height // scale))
    box = window or (0, 0, *size)
    if not header.plain:
        return _cut(_opencv(data, header, 1), box)
    # A whole picture is 5% faster through the wheel's newer libjpeg-turbo than through the system's; the pixels are
    # equal.
    path = path or _path(first="simplejpeg" if box == (0, 0, *size) else "window")
    if path == "simplejpeg":
        try:
            return _cut(_simplejpeg(data, header, scale, tolerant), box)
        except _UnknownKind:
            path = _path_but_simplejpeg()
    if path == "window":
        return _window(data, header, scale, box, tolerant, whole)
    return _cut(_opencv(data, header, scale), box)


def _cut(image, box):
    x, y, width, height = box
    part = image[y : y + height, x : x + width]
    if part.shape != (height, width, 3):
        raise DecodeError("the picture is smaller than its header says")
    return np.ascontiguousarray(part)


def fast_path() -> str:
    """Whether JPEGs are decoded by the compiled library."""
    return _path() == "window"


def _path(first="window"):
    """The JPEG path in use, `first` if it is there. WEBVISION_DECODER=simplejpeg or opencv chooses a later one, for
    comparisons."""
    otherwise = _path_but_simplejpeg()
    if first == "window" == otherwise or os.environ.get("WEBVISION_DECODER") == "opencv" or not _has_simplejpeg():
        return otherwise
    return "simplejpeg"


def _path_but_simplejpeg():
    return "window" if os.environ.get("WEBVISION_DECODER") not in PATHS[1:] and library.loaded() else "opencv"


@functools.cache
def _has_simplejpeg():
    return importlib.util.find_spec("simplejpeg") is not None


def describe() -> str:
    """One line for the run's header: the JPEG path in use."""
    level = library.loaded().wv_kernel() if library.loaded() else 0
    resize = (
        ", OpenCV resizes (no AVX2)",
        ", batches resized and coloured by AVX2",
        ", batches resized and coloured by AVX-512",
    )[level]
    return {
        "window": f"window decode by libjpeg-turbo, compiled here{resize}",
        "simplejpeg": "full decode by simplejpeg (window decode needs a C compiler and libjpeg-turbo's headers at "
        "`make setup`; about 1.4 times faster)",
        "opencv": "full decode by OpenCV (neither the compiled decoder nor simplejpeg is there)",
    }[_path()]


def _window(data, header, scale, box, tolerant, whole):
    status, message, pixels = library.decode_window(
        data, (header.width, header.height), box, scale=scale, tolerant=tolerant, whole=whole
    )
    if status:
        raise (MemoryError if status == library.NO_MEMORY else DecodeError)(message)
    return pixels


def _simplejpeg(data, header, scale, tolerant):
    import simplejpeg

    try:
        return _simplejpeg_once(simplejpeg, data, header, scale, tolerant)
    except DecodeError as error:
        if not str(error).startswith(_ODD_JFIF):
            raise
        # It has no way to pass over this one; what is before the first scan decides, and only the number is changed.
        head, mark, scans = data.partition(b"\xff\xda")
        data = _JFIF_REVISION.sub(b"JFIF\0\1", head) + mark + scans
        return _simplejpeg_once(simplejpeg, data, header, scale, tolerant)


def _simplejpeg_once(simplejpeg, data, header, scale, tolerant):
    try:
        height, width = simplejpeg.decode_jpeg_header(data, strict=False)[:2]
        if (width, height) != (header.width, header.height):  # never allocate for a size that was not checked
            raise DecodeError("two headers of different sizes")
        shrink = (
            {}
            if scale == 1
            else {"min_height": -(-height // scale), "min_width": -(-width // scale), "min_factor": scale}
        )
        try:
            return simplejpeg.decode_jpeg(data, "BGR", strict=not tolerant, **shrink)
        except ValueError as error:
            if tolerant or not str(error).startswith(_ODD_ADOBE):
                raise
            return simplejpeg.decode_jpeg(data, "BGR", strict=False, **shrink)
    except KeyError:  # its tables of names are older than the libjpeg-turbo within
        raise _UnknownKind from None
    except ValueError as error:
        if any(words in str(error) for words in _NO_MEMORY):
            raise MemoryError(str(error)) from None
        if "Could not determine" in str(error):
            raise _UnknownKind from None
        raise DecodeError(str(error)) from None


@functools.cache
def _silent_opencv():
    import cv2

    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # the reason is raised; 10,000 files would be 10,000 lines
    return cv2


def _opencv(data, header, scale):
    cv2 = _silent_opencv()
    flags = (
        cv2.IMREAD_IGNORE_ORIENTATION
        | {
            1: cv2.IMREAD_COLOR,
            2: cv2.IMREAD_REDUCED_COLOR_2,
            4: cv2.IMREAD_REDUCED_COLOR_4,
            8: cv2.IMREAD_REDUCED_COLOR_8,
        }[scale]
    )
    why = f"OpenCV cannot decode this {header.format}"
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        image, why = None, str(error).strip().splitlines()[0]
    if image is None:
        # Some of its decoders say no more than that when memory runs out; and one that says so may have been asked for
        # more than the picture is worth, by damaged data. So: could it have had all that a picture of this size takes?
        np.empty(_OPENCV_PIXEL_BYTES * header.width * header.height + _OPENCV_FILE_BYTES * len(data), np.uint8)
        raise DecodeError(why)
    if image.shape[:2] != (-(-header.height // scale), -(-header.width // scale)):
        raise DecodeError("the picture is not of the size that its header says")
    return image
