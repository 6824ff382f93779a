"""Prediction of pictures that are in no list: gather them, ask the model, write what it says."""

import contextlib
import os
import sys
from dataclasses import dataclass

from webvision.challenges.kneron.answers import answer, write_answers, write_csv, write_per_file
from webvision.challenges.kneron.folder import read_class_map
from webvision.devices import Devices
from webvision.errors import IncompleteError, printable
from webvision.inference.predict import predict
from webvision.inference.snapshot import open_snapshot
from webvision.prep.own_folder.gather import STDIN, gathered


@dataclass(frozen=True)
class Wanted:
    """What is asked of a prediction."""

    pictures: str  # a picture, a folder, a list, '-' for standard input
    snapshot: str  # a run's folder, a checkpoint or an ONNX file
    out: str = "inference_result.json"
    per_file: str | None = None  # a folder
    csv: str | None = None
    top: int = 5
    label_ids: bool = False
    batch: int = 64
    workers: int = 0
    jobs: int = 1  # processes that convert
    gpus: tuple = ()
    backbone: str | None = None  # compared with the snapshot's
    class_map: str | None = None  # compared too
    class_map_otherwise: str | None = None  # for a snapshot that has no names


def answer_pictures(wanted):
    """Predict `wanted.pictures` and write the answers; returns lines for a person. IncompleteError if some could not be
    read: after everything is written."""
    snapshot = open_snapshot(
        wanted.snapshot,
        backbone=wanted.backbone,
        names=_names(wanted.class_map),
        names_otherwise=_names(wanted.class_map_otherwise),
    )
    with (
        gathered(wanted.pictures, jobs=wanted.jobs) as found,
        snapshot.open(Devices(bool(wanted.gpus), max(1, len(wanted.gpus)))) as model,
        contextlib.closing(
            predict(
                model,
                found.paths,
                snapshot.preset,
                top=wanted.top,
                batch=wanted.batch,
                workers=wanted.workers if len(found.paths) > wanted.batch else 0,
            )
        ) as said,
    ):
        answers = [
            answer(
                found.names[one.row],
                one.ids,
                one.scores,
                snapshot.names,
                label_ids=wanted.label_ids,
                problem=one.problem,
            )
            for one in said
        ]
    single = len(answers) == 1 and wanted.pictures != STDIN and not os.path.isdir(wanted.pictures)
    write_answers(wanted.out, answers, single=single)
    if wanted.per_file:
        write_per_file(wanted.per_file, answers)
    if wanted.csv:
        write_csv(wanted.csv, answers)
    for name, why in found.skipped[:5]:
        print(f"passed over: {printable(name)} ({why})", file=sys.stderr)
    lines = _lines(answers, wanted)
    if bad := [value["img_path"] for value in answers if "problem" in value]:
        print(*lines, sep="\n")
        raise IncompleteError(
            f"{len(bad)} of {len(answers)} pictures could not be read, {printable(bad[0])} first; the others' answers "
            f"are in {printable(wanted.out)}"
        )
    return lines


def _names(class_map):
    return read_class_map(class_map).names if class_map else None


def _lines(answers, wanted, shown=10):
    lines = []
    for value in answers[:shown]:
        pairs = ", ".join(f"{printable(label)} {100 * score:.1f} %" for score, label in value["0_0"][:3])
        lines.append(f"{printable(value['img_path'])}: {pairs or value.get('problem')}")
    if len(answers) > shown:
        lines.append(f"... and {len(answers) - shown} more")
    return [*lines, f"written to {printable(wanted.out)}"]
