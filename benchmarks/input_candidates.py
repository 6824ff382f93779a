"""The input pipelines that bench_input.py compares: each yields batches of [images, labels] for ever.

`upstream` is the reference recipe on tensorpack's own parts, in its structure: every process shuffles the whole list,
cv2.imread, the crop, four colour augmenters and the mirror on one picture, one ZMQ message per picture, then batches.
"""

import functools
import os

import numpy as np

WORKERS = 2
STORES = (
    "WEBVISION_BENCH_STORES"  # the environment variable with the folder for a copy of the set that a candidate needs
)


def lighting():
    """(eigenvalues, eigenvectors for BGR) of ImageNet's colours."""
    vectors = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32)
    return np.array([0.0045, 0.0188, 0.2175]) * 255.0, vectors[::-1, ::-1]


def entries(data):
    """[(path, label)] of the training list of the folder `data`."""
    with open(os.path.join(data, "meta", "train.txt"), encoding="utf-8") as file:
        return [
            (os.path.join(data, "train", name), int(label))
            for name, label in (line.rstrip("\n").rsplit(" ", 1) for line in file)
        ]


def _ours(data, batch, *, balance="none", colours=True, fed=("images", "labels")):
    from webvision.data.data_set import DataSet
    from webvision.data.loader.batches import TrainBatches
    from webvision.data.loader.spec import BatchSpec
    from webvision.data.views.augment import Augmentation

    split = DataSet.open(data).split("train")
    spec = BatchSpec(Augmentation(colours=colours), batch, fed)
    return iter(TrainBatches(split, split.order(balance, seed=1), spec, workers=WORKERS))


def _ours_from_archives(data, batch):
    """The same batches, from shards of the same pictures beside the set: a shard for each 512."""
    return _ours(_packed(data), batch)


def _packed(data):
    """`data` as shards of 512 pictures; made once."""
    from webvision.data.data_set import DataSet
    from webvision.prep.shards.pack import PackOptions, pack_set

    out = f"{data}-shards"
    if not os.path.exists(os.path.join(out, "meta", "train.txt")):
        split = DataSet.open(data).split("train")
        splits = {"train": (split.index, split.pictures)}
        pack_set(splits, os.path.join(data, "meta"), out, PackOptions(per_shard=512))
    return out


def _without_library(path):
    def start(data, batch):
        os.environ["WEBVISION_DECODER"] = path
        return _ours(data, batch)

    return start


def _upstream(data, batch, colours=True):
    import cv2

    from tensorpack.dataflow import AugmentImageComponent, BatchData, MultiProcessRunnerZMQ, RNGDataFlow, imgaug

    class Files(RNGDataFlow):
        """Path and label of every picture, in a random order."""

        def __init__(self):
            self._list = entries(data)

        def __len__(self):
            return len(self._list)

        def __iter__(self):
            for row in self.rng.permutation(len(self._list)):
                path, label = self._list[row]
                image = cv2.imread(path, cv2.IMREAD_COLOR)
                if image is not None:
                    yield [image, label]

    values, vectors = lighting()
    augmenters = [imgaug.GoogleNetRandomCropAndResize(interp=cv2.INTER_CUBIC)]
    if colours:
        augmenters.append(
            imgaug.RandomOrderAug(
                [
                    imgaug.BrightnessScale((0.6, 1.4), clip=False),
                    imgaug.Contrast((0.6, 1.4), clip=False),
                    imgaug.Saturation(0.4, rgb=False),
                    imgaug.Lighting(0.1, eigval=values, eigvec=vectors),
                ]
            )
        )
    augmenters.append(imgaug.Flip(horiz=True))
    flow = AugmentImageComponent(Files(), augmenters, copy=False)
    flow = BatchData(MultiProcessRunnerZMQ(flow, WORKERS), batch, remainder=False)
    flow.reset_state()
    while True:
        yield from flow


def _tf_data(data, batch, colours=True):
    import tensorflow as tf

    paths, labels = map(list, zip(*entries(data), strict=True))
    flow = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths)).repeat()
    return _tf_batches(tf, flow, lambda path, label: (tf.io.read_file(path), label), batch, colours)


def _tf_records(data, batch):
    """tf.data over TFRecord files of 512 pictures, shuffled as its guides have it: the files, then a buffer."""
    import tensorflow as tf

    def parse(record):
        fields = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
        found = tf.io.parse_single_example(record, fields)
        return found["image"], found["label"]

    files = _write_records(tf, entries(data), os.environ[STORES])
    flow = tf.data.Dataset.from_tensor_slices(files).shuffle(len(files)).repeat()
    flow = flow.interleave(tf.data.TFRecordDataset, cycle_length=4).shuffle(2048)
    return _tf_batches(tf, flow, parse, batch, True)


def _write_records(tf, files, folder):
    paths = []
    for first in range(0, len(files), 512):
        paths.append(os.path.join(folder, f"{first:06d}.tfrecord"))
        with tf.io.TFRecordWriter(paths[-1]) as writer:
            for path, label in files[first : first + 512]:
                with open(path, "rb") as file:
                    image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[file.read()]))
                number = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
                features = tf.train.Features(feature={"image": image, "label": number})
                writer.write(tf.train.Example(features=features).SerializeToString())
    return paths


def _tf_batches(tf, flow, fetch, batch, colours):
    """Batches of `flow`, whose elements `fetch` makes (bytes of a JPEG, label)."""

    def load(*element):
        raw, label = fetch(*element)
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            tf.image.extract_jpeg_shape(raw),
            tf.zeros([1, 0, 4]),
            area_range=(0.08, 1.0),
            aspect_ratio_range=(0.75, 1.333),
            max_attempts=10,
            use_image_if_no_bounding_boxes=True,
        )
        window = tf.stack([begin[0], begin[1], size[0], size[1]])
        image = tf.image.decode_and_crop_jpeg(raw, window, channels=3)
        image = tf.image.resize(image, (224, 224), method="bicubic")
        image = _tf_colours(tf, image) if colours else image
        image = tf.image.random_flip_left_right(image)
        return tf.cast(tf.clip_by_value(image, 0.0, 255.0), tf.uint8), label

    flow = flow.map(load, num_parallel_calls=WORKERS, deterministic=False).batch(batch, drop_remainder=True).prefetch(2)
    return flow.as_numpy_iterator()


def _tf_colours(tf, image):
    """The recipe's four operations in a random order, as everywhere else."""
    values, vectors = lighting()
    axes = tf.constant(vectors[::-1].copy(), tf.float32)  # for RGB

    def saturation():
        grey, factor = (
            tf.reduce_sum(image * tf.constant([0.299, 0.587, 0.114]), axis=2, keepdims=True),
            tf.random.uniform([], 0.6, 1.4),
        )
        return image * factor + grey * (1 - factor)

    for step in tf.unstack(tf.random.shuffle(tf.range(4))):
        image = tf.switch_case(
            step,
            [
                lambda: image * tf.random.uniform([], 0.6, 1.4),
                lambda: tf.image.adjust_contrast(image, tf.random.uniform([], 0.6, 1.4)),
                saturation,
                lambda: image + tf.linalg.matvec(axes, tf.random.normal([3], 0.0, 0.1) * values.astype(np.float32)),
            ],
        )
    return image


def _grain(data, batch):
    """Our batches, built in processes of Google's grain instead of over the ring."""
    import grain.python as grain

    from benchmarks.grain_source import Numbers

    dataset = grain.MapDataset.source(Numbers(data, batch)).repeat().to_iter_dataset()
    return iter(dataset.mp_prefetch(grain.MultiprocessingOptions(num_workers=WORKERS, per_worker_buffer_size=2)))


def _torch(data, batch, colours=True):
    import torch

    from benchmarks.torch_source import PillowSet

    loader = torch.utils.data.DataLoader(
        PillowSet(entries(data), colours),
        batch_size=batch,
        shuffle=True,
        num_workers=WORKERS,
        drop_last=True,
        persistent_workers=True,
    )
    while True:
        yield from loader


def _webdataset(data, batch, colours=True):
    """WebDataset's own reader over our shards: shards in a random order, a buffer of 1,000 samples, Pillow."""
    import torch
    import webdataset

    from benchmarks.torch_source import augmented

    folder = f"{data}-shards/train"
    shards = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".tar"))
    flow = webdataset.WebDataset(
        shards, resampled=True, shardshuffle=False, nodesplitter=webdataset.split_by_node
    ).shuffle(1000)
    flow = flow.to_tuple("jpg", "cls").map(functools.partial(augmented, colours=colours)).batched(batch)
    yield from torch.utils.data.DataLoader(flow, batch_size=None, num_workers=WORKERS)


def _ffcv(data, batch):
    from benchmarks.ffcv_source import batches, write_store

    return batches(write_store(entries(data), os.environ[STORES]), batch, WORKERS)


def _dali(data, batch, colours=True):
    from benchmarks.dali_source import batches

    return batches(entries(data), batch, WORKERS, colours=colours)


CANDIDATES = {
    "ours": _ours,
    "ours, from archives": _ours_from_archives,
    "ours, colours on the device": lambda data, batch: _ours(data, batch, fed=("images", "labels", "matrices")),
    "ours, no colours": lambda data, batch: _ours(data, batch, colours=False),
    "ours, simplejpeg (no compiler)": _without_library("simplejpeg"),
    "ours, OpenCV only": _without_library("opencv"),
    "upstream on tensorpack": _upstream,
    "upstream, no colours": lambda data, batch: _upstream(data, batch, colours=False),
    "tf.data": _tf_data,
    "tf.data over TFRecords": _tf_records,
    "tf.data, no colours": lambda data, batch: _tf_data(data, batch, colours=False),
}
EXTRAS = {  # name: (the modules that it needs besides NumPy, start)
    "FFCV, no colours": (["ffcv", "PIL"], _ffcv),
    "DALI": (["nvidia.dali"], _dali),
    "DALI, no colours": (["nvidia.dali"], lambda data, batch: _dali(data, batch, colours=False)),
    "torch DataLoader and Pillow": (["torch", "PIL"], _torch),
    "torch DataLoader and Pillow, no colours": (
        ["torch", "PIL"],
        lambda data, batch: _torch(data, batch, colours=False),
    ),
    "WebDataset's reader and Pillow": (["webdataset", "torch", "PIL"], _webdataset),
    "WebDataset's reader and Pillow, no colours": (
        ["webdataset", "torch", "PIL"],
        lambda data, batch: _webdataset(data, batch, colours=False),
    ),
    "grain instead of our ring": (["grain", "cv2"], _grain),
}
