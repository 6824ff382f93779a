"""FFCV with a store of JPEGs: files written into it as they are, random crops, mirrored, uint8, no colours.

Its crop is of the whole picture, decoded; its resize is area averaging: it has no other way for either.
"""

import os
import zlib

import numpy as np
from ffcv.fields import IntField, RGBImageField
from ffcv.fields.basics import IntDecoder
from ffcv.fields.rgb_image import IMAGE_MODES, RandomResizedCropRGBImageDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.reader import Reader
from ffcv.transforms import RandomHorizontalFlip, ToTensor
from ffcv.writer import DatasetWriter
from PIL import Image

_EPOCH = 100_000  # pictures; each epoch of FFCV's begins by allocating its buffers, which small sets must not pay for


class JpegField(RGBImageField):
    """Keeps a file's bytes: FFCV's own field would decode and compress again, into files of other sizes."""

    def encode(self, destination, image, malloc):
        with Image.open(image) as header:
            if header.format != "JPEG":
                raise ValueError(f"{image}: {header.format}, not JPEG")
            destination["width"], destination["height"] = header.size
        content = np.fromfile(image, np.uint8)
        destination["mode"] = IMAGE_MODES["jpg"]
        destination["data_ptr"], storage = malloc(content.nbytes)
        storage[:] = content


def write_store(entries, folder):
    """The store with the pictures `entries`, [(path, label)], written once into `folder`; returns its path."""
    store = os.path.join(folder, f"{zlib.crc32(repr(entries).encode()):08x}.beton")
    if not os.path.exists(store):
        writer = DatasetWriter(store + ".part", {"image": JpegField(), "label": IntField()}, num_workers=2)
        writer.from_indexed_dataset(entries)
        os.replace(store + ".part", store)
    return store


def batches(store, batch, workers):
    """Batches of [images, labels] from `store`, for ever."""
    count = int(Reader(store, {"image": RGBImageField}).num_samples)
    image = [
        RandomResizedCropRGBImageDecoder((224, 224), scale=(0.08, 1.0), ratio=(0.75, 1.333)),
        RandomHorizontalFlip(),
        ToTensor(),
    ]
    loader = Loader(
        store,
        batch,
        num_workers=workers,
        os_cache=True,
        order=OrderOption.RANDOM,
        drop_last=True,
        indices=np.tile(np.arange(count), -(-_EPOCH // count)),
        custom_fields={"image": RGBImageField},
        pipelines={"image": image, "label": [IntDecoder(), ToTensor()]},
    )
    while True:
        yield from loader
