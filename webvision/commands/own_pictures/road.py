"""The road from a folder of pictures to a judged model: prepare, probe, fine-tune, choose, judge.

RUN/data/            the data set (prep/own_folder), RUN/class_id.json its classes
RUN/probe.npz        the frozen network with a last layer for these classes, RUN/features/ what it saw
RUN/model-STEP ...   checkpoints of the fine-tuning, with all that a training run has
RUN/chosen.json      which of the two is better on val: what is evaluated, exported, reported
RUN/predictions.json, eval_results.txt, report.html
"""

import os
from dataclasses import dataclass

from webvision import faults
from webvision.challenges.kneron.answers import write_class_map
from webvision.commands.own_pictures.judging import REPORT, RESULTS, judge
from webvision.commands.own_pictures.probing import probe
from webvision.commands.own_pictures.start import find_start, known_backbone
from webvision.data.data_set import DataSet
from webvision.data.lists.class_names import read_class_words
from webvision.devices import Devices
from webvision.errors import UsageError
from webvision.files import write_json
from webvision.inference.snapshot import CHOSEN, best_weights
from webvision.model.card import card_of
from webvision.prep.own_folder.prepare import prepare
from webvision.prep.own_folder.split import Shares


@dataclass(frozen=True)
class Wanted:
    """What is asked of a run over somebody's own pictures."""

    pictures: str  # the folder
    run: str  # the run's folder
    backbone: str | None  # None: the snapshot's, else the default
    snapshot: str | None = None  # weights to begin with
    shares: Shares = Shares()
    probe: bool = True
    fine_tune: object = None  # finetuning.Tuning; None: the probe is the model
    batch: int = 64
    workers: int = 0
    jobs: int = 1
    devices: Devices = Devices()


def walk(wanted, *, say=print):
    """The whole road; `say` is given lines for a person. Returns the scorecard of the chosen weights over val."""
    from webvision.model.forward import choose_arithmetic
    from webvision.training.job import Computing

    known_backbone(wanted.backbone)  # before minutes of looking
    os.makedirs(wanted.run, exist_ok=True)
    prepared = prepare(wanted.pictures, os.path.join(wanted.run, "data"), shares=wanted.shares, jobs=wanted.jobs)
    for line in prepared.report:
        say(line)
    write_class_map(os.path.join(wanted.run, "class_id.json"), prepared.classes)
    start = find_start(wanted.backbone, len(prepared.classes), folder=wanted.run, snapshot=wanted.snapshot)
    say(f"{start.network.backbone}: {start.words}")
    data = DataSet.open(prepared.data)
    sets = {name: data.split(name) for name in ("train", "val")}
    computing = Computing(choose_arithmetic(on_gpu=wanted.devices.on_gpu), wanted.devices)
    card = _card(data, start, sets["train"], computing)
    how = {"computing": computing, "batch": wanted.batch, "workers": wanted.workers}
    probed = None
    if start.weights is not None and wanted.probe:
        probed = probe(start, sets, wanted.run, card=card, log=say, **how)
    if probed is None and wanted.fine_tune is None:
        raise UsageError("--freeze-backbone 1 needs weights to freeze: give some with --snapshot, or train all with 0")
    tuned = wanted.fine_tune(wanted, start, sets, card, probed, computing, say) if wanted.fine_tune else None
    weights = choose(wanted.run, probed, tuned, say)
    figures = judge(weights, start.network, sets["val"], wanted.run, data=data.root, card=card, **how)
    say(
        f"val: {100 * (1 - figures['errors']['top1']['error']):.1f} % right of {figures['images']}, by {weights}"
        " (val chose these weights: pictures that nobody chose by will be a little harder)"
    )
    say(f"{os.path.join(wanted.run, REPORT)}, {RESULTS}, class_id.json")
    return figures


def _card(data, start, train, computing):
    return card_of(
        start.network,
        start.preset,
        classes=data.classes,
        words=read_class_words(data.root, data.classes),
        train_counts=tuple(train.index.counts.tolist()),
        data_format=computing.arithmetic.data_format,
    )


def choose(run, probed, tuned, say):
    """The path of the weights that are right more often on val, noted in chosen.json; of equal ones the probe's."""
    path, accuracy = (probed.weights, probed.accuracy) if probed else (None, -1.0)
    if tuned and tuned.accuracy > accuracy:
        path, accuracy = tuned.weights, tuned.accuracy
    elif tuned:
        say(f"fine-tuning came to {100 * tuned.accuracy:.1f} %, no better than the probe: the probe is kept")
    faults.point("own-stage")
    write_json(os.path.join(run, CHOSEN), {"weights": os.path.basename(path), "val_accuracy": accuracy})
    return best_weights(run)
