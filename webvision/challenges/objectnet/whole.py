"""ObjectNet's pictures whole, but for the border that marks them: for models that bring a transform of their own."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from webvision.data.pictures.images import REASONS, ImageError, read_bytes, read_image

BORDER = 2  # px on each side, red, in every file of the data set
_AHEAD = 2  # pictures a thread has in the making
_GREY = np.full((256, 256, 3), 114, np.uint8)  # what the model gets in the place of one that cannot be read


class WholePictures:
    """The batches of `pictures` as an EvalBatches gives them, except that `images` is an iterator.

    It yields uint8 RGB pictures, decoded ahead in `workers` threads, a few at a time whatever the batch is, so that
    large pictures do not gather in memory. `status` is complete once `images` is used up.
    """

    def __init__(self, pictures, *, batch, workers, policy):
        self._pictures, self._batch, self._policy = pictures, batch, policy
        self._threads = max(1, workers)

    def __iter__(self):
        with ThreadPoolExecutor(self._threads, thread_name_prefix="objectnet") as pool:
            for first in range(0, len(self._pictures), self._batch):
                yield _Part(self, pool, range(first, min(first + self._batch, len(self._pictures))))

    def close(self):
        """Nothing is held between batches."""

    def decode(self, row):
        """The picture in this row without its border, or the ImageError that says why there is none."""
        path = f"{self._pictures.path}/{self._pictures.name(row)}"
        try:
            image = read_image(read_bytes(path, self._policy), self._policy)
        except ImageError as error:
            return error
        border = min(BORDER, (min(image.shape[:2]) - 1) // 2)  # a picture of 3 px keeps one
        return image[border : image.shape[0] - border, border : image.shape[1] - border, ::-1]

    def decoded(self, pool, rows):
        """`decode` of `rows` in their order, with a few ahead."""
        waiting = deque()
        for row in rows:
            waiting.append(pool.submit(self.decode, row))
            if len(waiting) > _AHEAD * self._threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Part:
    """One batch: its rows, its pictures as they come, and what was wrong with each (a place in REASONS)."""

    def __init__(self, whole, pool, rows):
        self.rows, self.status = rows, []
        self.images = self._images(whole.decoded(pool, rows))

    def _images(self, decoded):
        for picture in decoded:
            bad = isinstance(picture, ImageError)
            self.status.append(REASONS.index(picture.reason) if bad else 0)
            yield _GREY if bad else picture
