"""Is what arrives still the archive? Asked where a server does not say how long it is: then it may have no end."""

import zlib

from webvision.data.archives import tarstream

MAX_PADDING = 64 << 20  # bytes after the end mark; tar pads to 10 kB
MAX_LIST = 1 << 30  # bytes of a text list: 16 million rows are 0.6 GB
_INFLATED = 1 << 20  # bytes at a time


def follower(archive):
    """An object whose `feed(bytes)` raises TarError once what was fed can't be the beginning of `archive`."""
    return {"tar": Tar, "tar.gz": GzippedTar, None: List}[archive.packed]()


class Tar:
    """Headers at their places, then the end mark, then little."""

    def __init__(self):
        self._block, self._skip, self._zeros, self._after = b"", 0, 0, 0

    def feed(self, data):
        """Take the next bytes."""
        at = 0
        while at < len(data):
            if self._zeros == 2:
                return self.feed_padding(len(data) - at)
            taken = min(self._skip or tarstream.BLOCK - len(self._block), len(data) - at)
            if self._skip:
                self._skip -= taken
            else:
                self._block += data[at : at + taken]
                if len(self._block) == tarstream.BLOCK:
                    self._read_header(self._block)
                    self._block = b""
            at += taken

    def feed_padding(self, count):
        """Take `count` bytes that are none of the archive's."""
        self._after += count
        if self._after > MAX_PADDING:
            raise tarstream.TarError(f"goes on for over {MAX_PADDING:,} bytes after the archive's end mark")

    def _read_header(self, block):
        if not block.strip(b"\0"):
            self._zeros += 1
        else:
            self._zeros = 0  # a lone block of zeros is for the proof to judge
            self._skip = tarstream.payload_after(block)


class GzippedTar:
    """A Tar within gzip."""

    def __init__(self):
        self._inflater, self._tar = zlib.decompressobj(31), Tar()

    def feed(self, data):
        """Take the next bytes."""
        try:
            while data and not self._inflater.eof:
                self._tar.feed(self._inflater.decompress(data, _INFLATED))
                data = self._inflater.unconsumed_tail
        except zlib.error as error:
            raise tarstream.TarError(f"damaged gzip: {error}") from None
        self._tar.feed_padding(len(data))  # behind gzip's end


class List:
    """Text of some length."""

    def __init__(self):
        self._size = 0

    def feed(self, data):
        """Take the next bytes."""
        self._size += len(data)
        if self._size > MAX_LIST or b"\0" in data:
            raise tarstream.TarError(f"not a list of text, or over {MAX_LIST:,} bytes of it")
