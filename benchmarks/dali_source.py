"""NVIDIA DALI's CPU pipeline: crops decoded alone, cubic resize without a filter before it (as ours), mirror, uint8.

Its colour operation is color_twist: brightness, contrast and saturation as one matrix per picture; the recipe's
lighting is left out, in DALI's favour.
"""

import numpy as np
from nvidia.dali import fn, pipeline_def, types


@pipeline_def
def _pipeline(paths, labels, colours):
    files, label = fn.readers.file(files=paths, labels=labels, random_shuffle=True, name="files")
    image = fn.decoders.image_random_crop(files, random_area=(0.08, 1.0), random_aspect_ratio=(0.75, 1.333))
    image = fn.resize(image, size=(224, 224), interp_type=types.INTERP_CUBIC, antialias=False)
    if colours:
        brightness, contrast, saturation = (fn.random.uniform(range=(0.6, 1.4)) for _ in range(3))
        image = fn.color_twist(image, brightness=brightness, contrast=contrast, saturation=saturation)
    return fn.flip(image, horizontal=fn.random.coin_flip()), label


def batches(entries, batch, workers, *, colours):
    """Batches of [images, labels] from `entries`, [(path, label)], for ever."""
    paths, labels = map(list, zip(*entries, strict=True))
    pipeline = _pipeline(paths, labels, colours, batch_size=batch, num_threads=workers, device_id=None)
    pipeline.build()
    while True:
        yield [np.asarray(part.as_tensor()) for part in pipeline.run()]
