"""Batches of ours as elements of Google's grain: batch number -> arrays. In a module, because grain's workers import
it."""

import os


class Numbers:
    """A grain source: element k is the batch k of an epoch."""

    def __init__(self, data, batch):
        from webvision.data.lists.balance import parse_balance, targets
        from webvision.data.lists.index import open_index
        from webvision.data.lists.order import EpochOrder
        from webvision.data.lists.text import read_classes

        classes = read_classes(os.path.join(data, "meta", "synsets.txt"))
        index = open_index(os.path.join(data, "meta", "train.txt"), len(classes))
        order = EpochOrder(index, targets(index.counts, parse_balance("none")), seed=1)
        rows = order.rows(0, range(len(order) // batch * batch))
        self._names = [name.encode() for name in index.names(rows)]
        self._labels = index.labels[rows]
        self._root, self._batch, self._builder = os.path.join(data, "train"), batch, None

    def __len__(self):
        return len(self._names) // self._batch

    def __getitem__(self, number):
        from webvision.data.loader.builder import BatchBuilder, Job, new_slot
        from webvision.data.loader.spec import BatchSpec
        from webvision.data.pictures.folder import PictureFolder
        from webvision.data.views.augment import Augmentation

        spec, first = BatchSpec(Augmentation(), self._batch), number * self._batch
        if self._builder is None:  # made where it is used: it cannot be sent
            self._builder = BatchBuilder(PictureFolder(self._root), spec)
        slot = new_slot(spec)
        self._builder.build(Job(number, 1, first, tuple(self._names[first : first + self._batch]), self._batch), slot)
        return slot.images, self._labels[first : first + self._batch]
