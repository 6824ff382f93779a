"""The one door for pixels: bytes of a stranger's file in, an 8-bit BGR picture or a typed reason out.

Training, evaluation, prediction and `check.py` read through this module, so a picture is damaged for all of them or for
none. What the treatment is:

* Formats: JPEG, PNG, WebP, BMP, GIF, told by their first bytes; everything else is refused (fewer decoders to attack).
* Size: at most `max_pixels`, sides in at most `max_side_ratio`, at most `max_memory` to decode it (so that animations
  and JPEGs of several scans may have fewer pixels), all read from the header before anything is allocated.
* Scans: a JPEG is walked over once for each; at most MAX_SCANS, and MAX_SCANNED pixels in all.
* EXIF orientation is applied, whatever the format, as viewers and cv2.imread do. ICC profiles and DPI are ignored.
* Grey becomes three equal channels; CMYK and YCCK become colour as OpenCV converts them; a palette is looked up; 16
bits
  become 8; alpha is dropped, not blended; of an animation the first frame is taken.
* A missing end marker, or a decoder's complaint about the data, makes a file damaged. `accept_truncated` lets it in.

Files are opened here and handed to the decoders as bytes: OpenCV crashes on names that are not UTF-8.

Links: a data set from a stranger may hold links to this machine's files. A picture that is a link out of the data
folder (the parent of the split's folder) is refused, unless `allow_outside`. A link within it is followed. Folders that
are links, the split's own or a class's, may lead anywhere: `preprocess.py` makes none and no archive brings one along,
so they are the user's.
"""

import dataclasses
import errno
import os
import stat
from dataclasses import dataclass

import numpy as np

from webvision.data.pictures import decode
from webvision.data.pictures.headers import FORMATS, Header, HeaderError, read_header
from webvision.errors import LESS_MEMORY, DataError, ResourceError, advice, printable

# Index = the number in Batch.status. Appended to, never reordered: reports hold the codes.
REASONS = (
    "ok",
    "empty",
    "missing",
    "not-a-file",
    "permission",
    "io",
    "file-too-large",
    "format",
    "header",
    "too-many-pixels",
    "side-ratio",
    "truncated",
    "corrupt",
    "crash",
    "time-out",
    "outside",
)


Path = str | bytes | os.PathLike
Inside = tuple[bytes, ...] | None  # folders that a link must not lead out of; None: anywhere


class ImageError(DataError):
    """A file that is no usable picture; `reason` is one of REASONS."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class OutOfMemoryError(ResourceError, MemoryError):
    """There is no memory for a picture that the policy lets in; the picture may be sound."""


@dataclass(frozen=True)
class ImagePolicy:
    """What is accepted as a picture."""

    max_pixels: int = 64 << 20  # 8192 x 8192: 200 MB decoded
    max_side_ratio: float = 50.0  # 8000 x 2 decodes, and then breaks crops
    max_bytes: int = 256 << 20  # no photograph is larger
    max_memory: int = 470_000_000  # bytes, the file's own among them
    accept_truncated: bool = False  # take what could be decoded of a cut or flipped file
    allow_outside: bool = False  # follow links out of the data folder
    formats: tuple = FORMATS

    def to_json(self) -> dict:
        """As what json.dumps takes, for worker processes."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict) -> "ImagePolicy":
        """The ImagePolicy that `to_json` described."""
        return cls(**{**fields, "formats": tuple(fields["formats"])})


DEFAULT_POLICY = ImagePolicy()
MAX_SCANS = 500  # decode_window.c has the same limit; encoders make about ten
MAX_SCANNED = 2_000_000_000  # 30 scans of the largest picture: some seconds


def inspect(data: bytes, policy: ImagePolicy = DEFAULT_POLICY) -> Header:
    """The `Header` of `data` if `policy` lets such a picture in; ImageError if not. Decodes nothing."""
    if not data:
        raise ImageError("empty", "an empty file")
    try:
        header = read_header(data)
    except HeaderError as error:
        raise ImageError(error.reason, str(error)) from None
    if header.format not in policy.formats:
        raise ImageError("format", f"{header.format} is not among the formats accepted ({', '.join(policy.formats)})")
    if header.width * header.height > policy.max_pixels:
        raise ImageError("too-many-pixels", f"{header.width} x {header.height} is over {policy.max_pixels} pixels")
    memory = header.pixel_bytes * header.width * header.height + len(data)
    if memory > policy.max_memory:
        raise ImageError(
            "too-many-pixels",
            f"{header.width} x {header.height} as this {header.format}: up to {memory / 1e6:.0f} MB to decode it; at "
            f"most {policy.max_memory / 1e6:.0f} MB are taken",
        )
    if header.scans > MAX_SCANS or header.scans * header.width * header.height > MAX_SCANNED:
        raise ImageError("corrupt", f"{header.scans} scans of {header.width} x {header.height} pixels")
    if max(header.width, header.height) > policy.max_side_ratio * min(header.width, header.height):
        raise ImageError(
            "side-ratio",
            f"{header.width} x {header.height}: one side is over {policy.max_side_ratio:g} times the other",
        )
    if not (header.complete or policy.accept_truncated):
        raise ImageError("truncated", f"the end of the {header.format} file is missing")
    return header


def read_image(data: bytes, policy: ImagePolicy = DEFAULT_POLICY) -> np.ndarray:
    """The picture in the bytes `data` as uint8 BGR [height, width, 3]; ImageError says why not."""
    header = inspect(data, policy)
    return turn(_decode(data, header, policy), header.orientation)


def read_window(
    data: bytes,
    header: Header,
    window: tuple[int, ...],
    *,
    scale: int = 1,
    policy: ImagePolicy = DEFAULT_POLICY,
    whole: bool = True,
) -> np.ndarray:
    """The pixels `window` = (x, y, width, height) of the picture as shown, decoding little more than those.

    `header` is inspect's. With `scale` 2, 4 or 8 the window is in pixels of the picture shrunk by that factor, each
    side rounded up; only plain JPEGs shrink while they are decoded (`header.plain`). Equal to the same part of
    `read_image`, and of the same verdict; without `whole` damage outside the window may go unnoticed.
    """
    width, height = header.shown_size
    shown = (-(-width // scale), -(-height // scale))
    stored = stored_window(window, shown, header.orientation)
    if header.plain:
        pixels = _decode(data, header, policy, window=stored, scale=scale, whole=whole)
    else:
        x, y, width, height = stored
        pixels = _decode(data, header, policy)[y : y + height, x : x + width]
    return turn(pixels, header.orientation)


def read_image_file(path: Path, policy: ImagePolicy = DEFAULT_POLICY, *, inside: Inside = None) -> np.ndarray:
    """`read_image` of a file; every failure to read it is an ImageError as well. Messages start with the path."""
    try:
        return read_image(read_bytes(path, policy, inside=inside), policy)
    except ImageError as error:
        raise ImageError(error.reason, f"{printable(os.fsdecode(path))}: {error}") from None


def data_folders(root: bytes) -> tuple[bytes, ...]:
    """What `inside` is for the pictures of a split's folder `root` (bytes): the data folder, as named and as it really
    lies."""
    return tuple(
        {
            os.path.realpath(folder).rstrip(b"/") + b"/"
            for folder in (os.path.dirname(os.path.abspath(root)), os.path.dirname(os.path.realpath(root)), root)
        }
    )


def read_bytes(path: Path, policy: ImagePolicy = DEFAULT_POLICY, *, inside: Inside = None) -> bytes:
    """The bytes of the regular file `path` (or what a link leads to); ImageError if there is none.

    Its kind is looked at first, and it is opened without waiting: a FIFO would block for ever, a device could do
    anything. `inside`: folders (bytes, ending in "/") that a link must not lead out of, as `data_folders` gives them;
    None: anywhere.
    """
    try:
        state, is_link = look_at(path, policy, inside=inside)
        if not stat.S_ISREG(state.st_mode):
            raise ImageError("not-a-file", "not a regular file")
        flags = 0 if is_link else os.O_NOFOLLOW  # a link put there since would not have been looked at
        try:
            return _read(path, policy, flags)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):
                raise
            return _read(path, policy, flags)  # once more: network mounts lose a handle now and then
    except OSError as error:
        raise unreadable(error) from None
    except MemoryError:
        raise _out_of_memory("to read a file") from None
    except ValueError:
        raise ImageError("missing", "a name with a zero byte") from None


def look_at(path: Path, policy: ImagePolicy = DEFAULT_POLICY, *, inside: Inside = None) -> tuple[os.stat_result, bool]:
    """(stat of `path` or of what it links to, whether it is a link); OSError, or ImageError for a link out of `inside`.

    One system call for what is no link, as `os.stat` would take.
    """
    state = os.lstat(path)
    if not stat.S_ISLNK(state.st_mode):
        return state, False
    if inside is not None and not policy.allow_outside:
        target = os.path.realpath(os.fsencode(path))
        if not target.startswith(inside):
            raise ImageError("outside", "a link that leads out of the data folder; --allow-outside follows it")
    return os.stat(path), True


_SPENT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}  # what the machine is short of, whatever the picture


def unreadable(error: OSError) -> Exception:
    """What an OSError is raised as: an ImageError, or a ResourceError if the machine is at its limit, whatever the
    picture."""
    if error.errno in _SPENT:
        return ResourceError(f"no picture can be read: {error.strerror}; {advice(error.errno)}")
    reason = {
        errno.ENOENT: "missing",
        errno.ENOTDIR: "missing",
        errno.ELOOP: "missing",
        errno.ENAMETOOLONG: "missing",
        errno.EACCES: "permission",
        errno.EPERM: "permission",
    }.get(error.errno or 0, "io")
    return ImageError(reason, error.strerror or "cannot be read")


def _out_of_memory(purpose):
    return OutOfMemoryError(f"out of memory {purpose}; {LESS_MEMORY}")


def _read(path, policy, flags):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    try:
        size = os.fstat(fd).st_size
        if size > policy.max_bytes:
            raise ImageError("file-too-large", f"{size} bytes; at most {policy.max_bytes} are read")
        data = os.read(fd, size)
        while len(data) < size:  # a signal or a network mount may cut a read short
            more = os.read(fd, size - len(data))
            if not more:
                break
            data += more
        return data
    finally:
        os.close(fd)


def _decode(data, header, policy, *, window=None, scale=1, whole=True):
    try:
        return decode.decode(data, header, window=window, scale=scale, tolerant=policy.accept_truncated, whole=whole)
    except decode.DecodeError as error:
        raise ImageError("corrupt", str(error)) from None
    except MemoryError:
        raise _out_of_memory(f"to decode a picture of {header.width} x {header.height} pixels") from None


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """`image` as it is meant to be seen: EXIF's orientation 1..8 applied, contiguous."""
    if orientation == 1:
        return image
    if orientation > 4:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def stored_window(window: tuple[int, ...], shown_size: tuple[int, int], orientation: int) -> tuple[int, ...]:
    """Where `window` of the picture as shown lies in the stored one; the inverse of `turn`."""
    x, y, width, height = window
    shown_width, shown_height = shown_size
    if orientation in (2, 3, 6, 7):
        x = shown_width - x - width
    if orientation in (3, 4, 7, 8):
        y = shown_height - y - height
    return (y, x, height, width) if orientation > 4 else (x, y, width, height)
