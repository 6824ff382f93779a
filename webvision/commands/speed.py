"""Why is my GPU idle? Times reading, decoding, augmenting and hand-over of a data set here, and says how many workers
are enough."""

import os
import sys

from webvision.commands import flags
from webvision.devices import cpu_cores


def make_parser():
    parser = flags.CommandParser(description=__doc__)
    parser.add_argument("--data", metavar="DIR", help="an ILSVRC-layout folder; its training list is used")
    parser.add_argument(
        "--backbones",
        nargs="*",
        metavar="NAME",
        help="instead: parameters, size, and time of a picture for these backbones (all, if none is named), in "
        "TensorFlow, ONNX Runtime and int8, beside what Kneron publishes",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=cpu_cores(),
        metavar="N",
        help="to try together (default: %(default)s, the cores here)",
    )
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="pictures per batch (default: %(default)s)")
    parser.add_argument(
        "--size", type=int, default=224, metavar="PX", help="image size of the network (default: %(default)s)"
    )
    step = parser.add_mutually_exclusive_group()
    step.add_argument(
        "--depth",
        type=int,
        metavar="D",
        help="measure the training step of a ResNet of this depth too, on this machine",
    )
    step.add_argument("--rate", type=float, metavar="N", help="pictures/s that the step takes, if that is known")
    parser.add_argument(
        "--pictures", type=int, default=512, metavar="N", help="how many to look at (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of the table")
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    if (args.data is None) == (args.backbones is None):
        parser.error("either --data DIR, to time a data set, or --backbones, to time networks")
    if not 1 <= args.workers <= 512:
        parser.error(f"--workers {args.workers} is outside 1..512")
    if args.batch < 1 or args.pictures < 1:
        parser.error("--batch and --pictures are at least 1")
    if args.rate is not None and not args.rate > 0:
        parser.error(f"--rate {args.rate:g} is not a positive number")
    return args


def step_rate(depth, size, batch):
    """Pictures/s of the training step alone, as `imagenet-resnet.py --fake` measures it in a process of its own."""
    import re
    import subprocess

    from webvision.environment import ROOT
    from webvision.errors import UsageError

    done = subprocess.run(
        [
            sys.executable,
            os.path.join(ROOT, "imagenet-resnet.py"),
            "--fake",
            "-d",
            str(depth),
            "--image-size",
            str(size),
            "--batch",
            str(batch),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    rate = re.search(r": ([\d.]+) images/s", done.stdout)
    if not rate:
        raise UsageError("the training step could not be measured; its error stands above")
    return float(rate.group(1))


def time_backbones(names, *, as_json):
    """Print the figures of each backbone as soon as they are there."""
    import json
    from dataclasses import asdict

    from webvision.errors import UsageError, printable
    from webvision.model.backbones import BACKBONES, named_backbone

    flags.show_only(())
    try:
        names = [named_backbone(name) for name in names] or list(BACKBONES)
    except ValueError as error:
        raise UsageError(f"--backbones: {printable(error)}") from None
    from webvision.export import timing

    if not as_json:
        print(timing.HEADING)
    for name in names:
        found = timing.time_backbone(name)
        print(json.dumps(asdict(found)) if as_json else timing.line(found), flush=True)


def main(argv=None):
    args = parse_args(argv)
    if args.backbones is not None:
        return time_backbones(args.backbones, as_json=args.json)
    import json

    from webvision.data.data_set import DataSet
    from webvision.data.loader import speed
    from webvision.data.loader.spec import BatchSpec
    from webvision.data.pictures.decode import describe
    from webvision.data.views.augment import Augmentation
    from webvision.errors import UsageError

    try:
        view = Augmentation(image_size=args.size)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None
    split = DataSet.open(args.data).split("train")
    spec = BatchSpec(view, args.batch)
    timing = speed.measure(split, split.order("upsample"), spec, workers=args.workers, pictures=args.pictures)
    if args.depth:
        args.rate = step_rate(args.depth, args.size, args.batch)
        print(
            f"{1e6 / args.rate:8.0f} us/picture  training step of a ResNet-{args.depth}",
            file=sys.stderr if args.json else sys.stdout,
        )
    if args.json:
        enough = args.rate and speed.enough_workers(timing, args.rate, cpu_cores())
        print(json.dumps({**timing._asdict(), "worker": timing.worker, "rate": timing.rate, "enough_workers": enough}))
        return
    print(f"JPEG decoding: {describe()}")
    for value, what in (
        (timing.read_disk_wall, "reading from the storage, wall, one file at a time"),
        (timing.read, "reading from memory"),
        (timing.decode, "decoding"),
        (timing.augment, "resizing and colours"),
        (timing.worker, "a worker, all together"),
        (timing.hand_over, "hand-over, in the training process"),
        (timing.together_wall, f"wall with {timing.workers} worker(s) at once, as training sees it"),
    ):
        print(f"{value:8.0f} us/picture  {what}")
    print("\n".join(speed.explain(timing, args.rate, cpu_cores())))
