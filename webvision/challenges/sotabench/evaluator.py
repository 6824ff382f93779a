"""sotabench's ImageNet evaluator: the public package's interface, figures, run hash and result file, without its
service.

A script written for the public package runs as it is: the checkout's `sotabencheval/` gives this class that name.

    >>> from sotabencheval.image_classification import ImageNetEvaluator
    >>> evaluator = ImageNetEvaluator(root, model_name="ResNet-50", paper_arxiv_id="1512.03385")
    >>> for image_ids, logits in batches:                   # ids have no extension
    ...     evaluator.add(dict(zip(image_ids, logits)))
    ...     if evaluator.cache_exists:                      # this model's results are known
    ...         break
    >>> evaluator.get_results()
    {'Top 1 Accuracy': 0.5, 'Top 5 Accuracy': 0.75}
    >>> evaluator.save().run_hash == evaluator.batch_hash
    True

What is kept of an image is two booleans, so memory does not grow with the number of classes. Ranks follow the public
package: the largest logit wins, equal ones in the order of NumPy's argsort (the highest index last), NaN before all.
With fewer than five classes "Top 5" means as many as there are; the public package then counts only the best one or
two.
"""

import hashlib
import json
import os
import sys
import time

import numpy as np

from webvision.challenges.sotabench import ilsvrc
from webvision.challenges.sotabench.result_cache import ResultCache, default_directory
from webvision.errors import DataError, IncompleteError, printable
from webvision.files import atomic_write

TOP1, TOP5 = "Top 1 Accuracy", "Top 5 Accuracy"
SERVER_ROOT = "./.data/vision/imagenet"
SHOWN = 10  # missing image ids named in an error


class UnknownImageError(DataError, KeyError):
    """An image id that the data set does not have; a KeyError, as the public package raises."""

    __str__ = DataError.__str__  # KeyError's shows the quoted representation


class MissingImagesError(IncompleteError, ValueError):
    """Results were asked for before every image had its logits; a ValueError, as the public package raises."""


def is_server():
    """Whether this runs on sotabench's server: the variable SOTABENCH_SERVER is 'true'."""
    return os.environ.get("SOTABENCH_SERVER") == "true"


class ImageNetEvaluator:
    """Top-1 and top-5 accuracy (fractions, 0..1) on the 50,000 validation images of ILSVRC 2012.

    `root` holds ILSVRC2012_devkit_t12.tar.gz or a text list of labels (`ilsvrc.find_targets`); on the server it is
    ./.data/vision/imagenet. `labels`, or for scripts that are not to be changed the variable
    SOTABENCH_LABELS, names such a file elsewhere. `paper_model_name`, which the public text passes, means `model_name`.
    Results are kept in the folder `cache_dir` (on the server also without it, in `result_cache.default_directory()`)
    and looked up there under `identity`, a hash of the weights and of the pictures (`result_cache.identity_of`). Who
    sets none, here or later, evaluates every image: logits alone do not tell one checkpoint from the next.
    """

    task = "Image Classification"
    dataset = "ImageNet"

    def __init__(
        self,
        root=".",
        model_name=None,
        paper_arxiv_id=None,
        paper_pwc_id=None,
        paper_results=None,
        model_description=None,
        *,
        paper_model_name=None,
        labels=None,
        cache_dir=None,
        identity=None,
    ):
        self.root = os.path.expanduser(SERVER_ROOT if is_server() else root)
        self.model_name = model_name if model_name is not None else paper_model_name
        self.model_description = model_description
        self.paper_arxiv_id, self.paper_pwc_id, self.paper_results = paper_arxiv_id, paper_pwc_id, paper_results
        labels = labels or os.environ.get("SOTABENCH_LABELS")
        targets = ilsvrc.read_targets(labels) if labels else ilsvrc.find_targets(self.root)
        self.targets = dict(sorted(targets.items()))  # the first images are the same for any label file
        self._rows = {image_id: row for row, image_id in enumerate(self.targets)}
        self._labels = np.fromiter(self.targets.values(), np.int64, len(self.targets))
        self._hits = np.zeros((2, len(self.targets)), bool)  # top-1, top-5
        self._seen = np.zeros(len(self.targets), bool)
        self.identity = identity
        self._looked_up = None  # the identity that was looked for
        directory = cache_dir or (default_directory() if is_server() else None)
        self._cache = directory and ResultCache(directory, _targets_hash(self.targets))
        self.results, self.batch_hash, self.cached_results = None, None, False
        self.first_batch_processed = False
        self.speed_mem_metrics = {}
        self.reset_time()

    def reset_time(self):
        """Start the clock of the evaluation time again."""
        self._start = time.perf_counter()

    def add(self, output_dict):
        """Take {image id: logits (1-D)}; a later value for an id replaces the earlier one. The dict is not changed."""
        if not output_dict:
            print("Empty output_dict; will not process", file=sys.stderr)
            return
        rows = self._rows_of(output_dict)
        logits = _matrix(output_dict)
        labels = self._labels[rows]
        if labels.max() >= logits.shape[1]:
            raise DataError(
                f"{logits.shape[1]} logits an image, and the labels go up to {labels.max()}: "
                "is this a network for other classes?"
            )
        hits = in_top_k(logits, labels)
        self._hits[:, rows] = hits
        self._seen[rows] = True
        if not self.first_batch_processed:
            self.batch_hash = batch_hash(output_dict, hits.sum(axis=1) / len(rows))
            self.first_batch_processed = True

    def _rows_of(self, output_dict):
        unknown = [image_id for image_id in output_dict if image_id not in self._rows]
        if unknown:
            name = str(unknown[0])
            bare = os.path.splitext(name)[0]
            hint = (
                f"ids have no extension: use {bare!r}"
                if bare in self._rows
                else f"ids look like {next(iter(self._rows))!r}"
            )
            raise UnknownImageError(
                f"{len(unknown)} unknown image ids, the first is {printable(name)!r}; {hint}. "
                "Nothing of this batch was stored"
            )
        return np.fromiter((self._rows[image_id] for image_id in output_dict), np.int64, len(output_dict))

    @property
    def cache_exists(self):
        """True if these weights were evaluated on these pictures before (break the loop then), else False; None without
        a cache."""
        if not self.first_batch_processed:
            raise ValueError("No batches of data have been processed so no batch_hash exists")
        if not self._cache:
            return None
        if not self.cached_results and self.identity and self._looked_up != self.identity:
            self._looked_up = self.identity
            found = self._cache.find(self.identity)
            if found is not None:
                self.results, self.cached_results = found, True
                print("The same weights on the same pictures: the cached results are used.", file=sys.stderr)
        return self.cached_results

    @property
    def has_cache(self):
        """Whether an `identity` is of use."""
        return bool(self._cache)

    def get_results(self):
        """{'Top 1 Accuracy': fraction, 'Top 5 Accuracy': fraction}; MissingImagesError (a ValueError) if images
        lack."""
        if self.cached_results:
            return self.results
        missing = np.flatnonzero(~self._seen)
        if len(missing):
            ids = list(self.targets)
            raise MissingImagesError(
                f"There are {len(missing)} missing image IDs\n\nMissing IDs are "
                f"{', '.join(printable(ids[row]) for row in missing[:SHOWN])}"
                f"{', ...' if len(missing) > SHOWN else ''}"
            )
        top1, top5 = self._hits.sum(axis=1)
        self.results = {TOP1: int(top1) / len(self.targets), TOP5: int(top5) / len(self.targets)}
        self.speed_mem_metrics["Max Memory Allocated (Total)"] = max_memory_allocated()
        return self.results

    def save(self):
        """Compute the results, write them where SOTABENCH_STORE_FILENAME says, and return them as a BenchmarkResult."""
        self.get_results()
        seconds = None if self.cached_results else max(time.perf_counter() - self._start, 1e-9)
        tasks = None if self.cached_results else int(self._seen.sum())
        self.speed_mem_metrics.update(
            {"Tasks / Evaluation Time": seconds and tasks / seconds, "Tasks": tasks, "Evaluation Time": seconds}
        )
        if self._cache and not self.cached_results and self.identity:
            self._cache.store(self.identity, self.results, model=self.model_name)
        return BenchmarkResult(self)


class BenchmarkResult:
    """One finished evaluation; made by `save()`, which appends it to the file in SOTABENCH_STORE_FILENAME, if set."""

    def __init__(self, evaluator):
        self.model, self.model_description = evaluator.model_name, evaluator.model_description
        self.task, self.dataset, self.config = evaluator.task, evaluator.dataset, {}
        self.results, self.speed_mem_metrics = evaluator.results, evaluator.speed_mem_metrics
        self.arxiv_id, self.pwc_id, self.pytorch_hub_id = evaluator.paper_arxiv_id, evaluator.paper_pwc_id, None
        self.paper_results, self.run_hash = evaluator.paper_results, evaluator.batch_hash
        path = os.environ.get("SOTABENCH_STORE_FILENAME")
        if os.environ.get("SOTABENCH_CHECK") in ("full", "params"):
            print(
                "SOTABENCH_CHECK is set, but sotabench's service is gone: nobody can check these results",
                file=sys.stderr,
            )
        elif path:
            append_result(path, self.to_dict())

    def to_dict(self):
        """The result as sotabench stores it."""
        return {
            "model": None if self.model is None else self.model.encode("ascii", "ignore").decode("ascii"),
            "model_description": self.model_description,
            "task": self.task,
            "dataset_name": self.dataset,
            "results": self.results,
            "speed_mem_metrics": self.speed_mem_metrics,
            "arxiv_id": self.arxiv_id,
            "pwc_id": self.pwc_id,
            "pytorch_hub_id": self.pytorch_hub_id,
            "paper_results": self.paper_results,
            "run_hash": self.run_hash,
        }


def append_result(path, result):
    """Append `result` to the JSON list in the file `path`, which is replaced as a whole or left alone."""
    results = []
    if os.path.isfile(path):
        try:
            with open(path, encoding="utf-8") as file:
                results = json.load(file)
        except ValueError as error:
            raise DataError(f"{path}: not JSON ({error}); move it away to start a new result file") from None
        if not isinstance(results, list):
            raise DataError(f"{path}: not a list of results; move it away to start a new result file")
    with atomic_write(path) as file:
        json.dump([*results, result], file, ensure_ascii=False)


def in_top_k(logits, labels):
    """Whether each label is the best, and among the best five, of its row: bool [2, images].

    Counting larger logits decides all rows without ties at the border, in one pass; the others, and rows with NaN, are
    sorted as the public package sorts them, so that they come out as there on the same machine.
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    larger, at_least = _count(logits > own), _count(logits >= own)
    sane = ~np.isnan(logits).any(axis=1) if logits.dtype.kind == "f" else np.ones(len(labels), bool)
    hits = np.empty((2, len(labels)), bool)
    for line, k in enumerate((1, min(5, logits.shape[1]))):
        hits[line] = at_least <= k
        for row in np.flatnonzero(~sane | ((larger < k) & (at_least > k))):
            hits[line, row] = labels[row] in np.argsort(logits[row][None], axis=1)[0, -k:]
    return hits


def _count(flags):
    return np.add.reduce(flags.view(np.uint8), axis=1, dtype=np.uint32)  # 3 times as fast as count_nonzero by rows


def batch_hash(output_dict, accuracies):
    """sotabench's run hash: of the first batch's dict as Python prints it, with the accuracies so far at its end."""
    top1, top5 = map(float, accuracies)
    return calculate_batch_hash({**output_dict, TOP1: top1, TOP5: top5})


def calculate_batch_hash(output):
    """SHA-256 of `output` as Python prints it."""
    return hashlib.sha256(str(output).encode("utf-8")).hexdigest()


def _matrix(output_dict):
    """The logits as one array [images, classes]."""
    try:
        logits = np.asarray([np.asarray(value) for value in output_dict.values()])
    except ValueError as error:
        raise DataError(f"the images of a batch must have equally many logits ({error})") from None
    if logits.ndim != 2 or logits.dtype.kind not in "fiu" or not logits.shape[1]:
        raise DataError(
            f"logits of shape {logits.shape[1:]} and type {logits.dtype} for "
            f"{printable(next(iter(output_dict)))}; one row of numbers is expected"
        )
    return logits


def _targets_hash(targets):
    return hashlib.sha256(
        "".join(f"{name} {label}\n" for name, label in sorted(targets.items())).encode("utf-8", "surrogateescape")
    ).hexdigest()


def max_memory_allocated():
    """Bytes at the peak since the last call: TensorFlow's on all GPUs, or this process's memory where there is none."""
    tensorflow = sys.modules.get("tensorflow")  # never imported here: only a TensorFlow in use is of interest
    config = getattr(tensorflow, "config", None)
    gpus = config.list_logical_devices("GPU") if config else []
    if gpus:
        names = [f"GPU:{place}" for place in range(len(gpus))]
        peak = sum(config.experimental.get_memory_info(name)["peak"] for name in names)
        for name in names:
            config.experimental.reset_memory_stats(name)
        return peak
    with open("/proc/self/status", encoding="ascii") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:")), None)
