#!/usr/bin/env python3
"""Train a ResNet on a data set in the ILSVRC layout, or evaluate one: --eval.

    python3 ./imagenet-resnet.py --data DIR --gpu 0,1,2,3 -d 50 --mode resnet
    python3 ./imagenet-resnet.py --data DIR -d 50 --mode resnet --eval --load train_log/NAME/model-STEP

The same training command again continues the run where it stopped.
"""

import os
import sys

from webvision.environment import use_project_environment

use_project_environment("tensorflow", "tensorpack", "cv2")

import argparse  # noqa: E402
import dataclasses  # noqa: E402
import shlex  # noqa: E402
from contextlib import closing  # noqa: E402
from functools import partial  # noqa: E402

from webvision import cli, watchdog  # noqa: E402
from webvision.errors import IncompleteError, UsageError, run_command  # noqa: E402
from webvision.model.backbones import Network, backbone_of  # noqa: E402
from webvision.training.recipes import CARD_EPOCHS, Recipe  # noqa: E402

FAKE_CLASSES = 1000
FAKE_BATCH = 64  # pictures a tower with --fake, as upstream's benchmark
FAKE_STEPS = 100
FAKE_STEPS_ON_CPU = 15  # of 12 s each for a ResNet-50 on two cores


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = cli.add_data_flags(parser)
    data.add_argument(
        "--balance",
        type=_balance,
        default="upsample",
        metavar="HOW",
        help="repeat pictures of rare classes: upsample (every class as frequent as the largest), sqrt, "
        "cap:N (upsample, but no picture more than N times an epoch), none (default: upsample)",
    )
    data.add_argument(
        "--colour-on",
        choices=["worker", "device"],
        default="worker",
        help="where the colour augmentation is computed: by the loader, or in the graph (default: worker)",
    )
    data.add_argument("--fake", action="store_true", help="measure the step on made-up pictures; nothing is saved")
    cli.add_network_flags(parser)
    _add_training_flags(parser)
    _add_run_flags(parser)
    cli.add_device_flags(parser)
    _add_evaluation_flags(parser)
    args = parser.parse_args(argv)
    _check(parser, args)
    return args


def _add_training_flags(parser):
    group = parser.add_argument_group("training")
    group.add_argument(
        "--batch",
        type=cli.at_least(1),
        default=None,
        metavar="N",
        help="pictures a step, over all towers (default: 256; 64 with --eval)",
    )
    group.add_argument(
        "--epochs",
        type=cli.at_least(1),
        default=CARD_EPOCHS,
        metavar="N",
        help="the learning rate falls at 30/60/90 of 110 of them (default: %(default)s)",
    )
    group.add_argument(
        "--epoch-size",
        type=_epoch_size,
        default=1_280_000,
        metavar="N|list",
        help="pictures in an epoch; 'list': one pass over the balanced list (default: 1280000, ImageNet's)",
    )
    group.add_argument(
        "--lr", type=cli.above(0), default=None, help="learning rate (default: 0.1 for each 256 of --batch)"
    )
    group.add_argument(
        "--seed", type=cli.at_least(0), default=0, metavar="N", help="of order, augmentation and first weights"
    )
    group.add_argument("--sync-bn", action="store_true", help="batch norm over all towers, not each for itself")
    group.add_argument(
        "--finetune",
        action="store_true",
        help="with --load: start the last layer anew if the number of classes differs",
    )


def _add_run_flags(parser):
    group = parser.add_argument_group("run")
    group.add_argument(
        "--load", metavar="CKPT", help="weights to start from or to evaluate: model-STEP, run folder, or .npz"
    )
    group.add_argument("--name", help="of the run (default: imagenet-MODE-dDEPTH)")
    group.add_argument(
        "--out",
        metavar="PATH",
        help="where runs go (default: train_log), or with --eval the prediction "
        "file (default: train_log/predictions.json)",
    )
    group.add_argument("--fresh", action="store_true", help="a new run beside an existing one instead of continuing it")
    group.add_argument("--log-every", type=cli.at_least(1), default=100, metavar="STEPS")
    group.add_argument(
        "--log-style", choices=["plain", "di"], default="plain", help="di: DI-engine's lines and TensorBoard tags"
    )
    group.add_argument(
        "--save-every",
        type=cli.above(0),
        default=10.0,
        metavar="MINUTES",
        help="between checkpoints, besides each epoch's (default: 10)",
    )
    group.add_argument(
        "--keep",
        type=cli.at_least(1),
        default=10,
        metavar="N",
        help="last checkpoints to keep, besides the best (default: %(default)s)",
    )
    group.add_argument(
        "--keep-every",
        type=cli.at_least(1),
        default=None,
        metavar="K",
        help="keep the checkpoint of every K-th epoch for ever (default: none)",
    )
    group.add_argument(
        "--on-nan",
        choices=["stop", "rollback"],
        default="stop",
        help="when the loss diverges: stop with exit code 6, or go back to the last checkpoint with a tenth of the "
        "learning rate, three times at most (default: stop)",
    )
    group.add_argument(
        "--stop-at",
        type=_stop_at,
        default=None,
        metavar="NAME=VALUE,...",
        help="end the run once validation reaches all of these, as top1=75,top5=95,loss=0.5 (accuracies in percent)",
    )
    group.add_argument(
        "--histograms", action="store_true", help="of weights and gradients, for TensorBoard, each epoch"
    )
    group.add_argument(
        "--trace", action="store_true", help="trace one step: its parts in the log, a timeline in the run folder"
    )
    group.add_argument(
        "--requeue-code",
        type=cli.at_least(0),
        default=None,
        metavar="N",
        help="exit code after a signal (default: 128 + the signal's number)",
    )
    group.add_argument(
        "--hang-limit",
        type=cli.at_least(0, float),
        default=None,
        metavar="SECONDS",
        help="without progress after which the run ends with exit code 10; 0: never (default: 600 to start, 180 "
        "a step, 420 a batch of validation or --eval, 300 a save)",
    )


def _add_evaluation_flags(parser):
    group = parser.add_argument_group("evaluation")
    group.add_argument("--eval", action="store_true", help="predict a list with --load and write the prediction file")
    group.add_argument(
        "--eval5k", action="store_true", help="--eval, and the error of every class in web_acc{1,5}.json"
    )
    group.add_argument("--split", choices=["train", "val", "test"], default="val", help="which list (default: val)")
    group.add_argument(
        "--scores", choices=["top", "all"], default="top", help="keep the top-5 scores, or those of all classes"
    )
    group.add_argument(
        "--crops",
        type=int,
        choices=[1, 5, 10],
        default=1,
        help="average over 5 crops, corners and centre of the resized picture; 10: with --flip (default: the centre)",
    )
    group.add_argument("--flip", action="store_true", help="average each crop with its mirror image")
    group.add_argument("--logits", metavar="FILE.npy", help="also stream all logits into this file")
    group.add_argument(
        "--max-bad",
        type=cli.at_least(0, float),
        default=0.01,
        metavar="SHARE",
        help="of pictures that may be unreadable (default: 0.01)",
    )


def _check(parser, args):
    """What can be known to be wrong before TensorFlow starts; completes the arguments."""
    args.eval = args.eval or args.eval5k
    if not args.data and not args.fake:
        parser.error("--data DIR is needed (or --fake, to measure the step without data)")
    if args.data and not os.path.isdir(args.data):
        parser.error(f"--data {args.data}: no such folder")
    if args.eval and not args.load:
        parser.error("--eval needs the weights to evaluate: --load train_log/NAME/model-STEP")
    if args.finetune and not args.load:
        parser.error("--finetune needs the weights to start from: --load")
    if args.crops == 10:
        args.crops, args.flip = 5, True
    if args.crops > 1 or args.flip:
        if not args.eval:
            parser.error("--crops and --flip belong to --eval")
        if args.logits:
            parser.error(
                "--logits: the mean of several views' probabilities has no logits; --scores all keeps the probabilities"
            )
    try:
        cli.check_network(args.mode, args.depth)
        args.gpus, args.devices = cli.choose_devices(args.gpu, args.towers, xla=args.xla)
        args.batch = args.batch or (FAKE_BATCH * args.devices.count if args.fake else 64 if args.eval else 256)
        if not args.eval:
            cli.check_batch(args.batch, args.devices.count)
    except UsageError as error:
        parser.error(str(error))


def _balance(text):
    from webvision.data.lists.balance import parse_balance

    try:
        return parse_balance(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _stop_at(text):
    from webvision.scoring.figures.stop_rules import parse_stop_at, with_accuracies

    measured = with_accuracies(
        {"val-loss": 0.0, **{f"val-{kind}error-top{k}": 0.0 for kind in ("", "balanced-") for k in (1, 5)}}
    )
    try:
        rule = parse_stop_at(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if others := [name for name in rule.targets if name not in measured]:
        raise argparse.ArgumentTypeError(f"{', '.join(others)} is no figure of the validation: {', '.join(measured)}")
    return rule


def _epoch_size(text):
    return text if text == "list" else cli.at_least(1)(text)


def main(argv=None):
    args = parse_args(argv)
    if args.gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(args.gpus)
    elif args.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    if args.xla and not args.gpus:
        # XLA leaves the CPU alone unless told so before TensorFlow starts.
        os.environ["TF_XLA_FLAGS"] = f"{os.environ.get('TF_XLA_FLAGS', '')} --tf_xla_cpu_global_jit".strip()
    if args.fake:
        return fake(args)
    if args.eval:
        with watchdog.watch(args.hang_limit):
            return evaluate(args)
    return train(args)


def train(args):
    from webvision.data.data_set import DataSet
    from webvision.data.lists.balance import describe_empty
    from webvision.data.lists.class_names import read_class_words
    from webvision.data.loader.batches import TrainBatches
    from webvision.data.loader.spec import BatchSpec
    from webvision.data.pictures import decode
    from webvision.data.views.augment import Augmentation
    from webvision.data.views.presets import PRESETS
    from webvision.model.card import card_of
    from webvision.training import job
    from webvision.training.fit import fit
    from webvision.training.run_folder import choose_folder, describe_run

    data = DataSet.open(args.data, allow_outside=args.allow_outside)
    split = data.split("train")
    order = split.order(args.balance, seed=args.seed)
    if remark := describe_empty(split.index.counts, data.classes):
        print(remark, file=sys.stderr)
    network = Network(backbone_of(args.mode, args.depth), len(data.classes), args.image_size or 224)
    recipe = Recipe(
        epochs=args.epochs,
        epoch_size=len(order) if args.epoch_size == "list" else args.epoch_size,
        batch=args.batch,
        lr=args.lr,
    )
    computing = job.Computing(arithmetic(args), args.devices, sync_bn=args.sync_bn)
    colours = ("matrices",) if args.colour_on == "device" else ()
    spec = BatchSpec(Augmentation(image_size=network.image_size), args.batch, ("images", "labels", *colours))

    def train_batches(samples_seen):
        return TrainBatches(split, order, spec, workers=args.workers, start=samples_seen, max_bad=args.max_bad)

    fit(
        job.Job(
            folder=choose_folder(args.out or "train_log", args.name or f"imagenet-{network.name}", fresh=args.fresh),
            description=describe_run(
                command=shlex.join(["python3", *sys.argv]),
                index=split.index,
                classes=data.classes,
                network=network,
                recipe=recipe,
                arithmetic=computing.arithmetic,
                balance=args.balance,
                seed=args.seed,
                class_counts=split.index.counts.tolist(),
                colour_on=args.colour_on,
                entries=len(order),
                towers=args.devices.count,
                device=args.devices.kind,
                workers=args.workers,
                decoder=decode.describe(),
            ),
            network=network,
            card=card_of(
                network,
                PRESETS["webvision"],
                classes=data.classes,
                words=read_class_words(args.data, data.classes),
                train_counts=tuple(split.index.counts.tolist()),
                data_format=computing.arithmetic.data_format,
            ),
            recipe=recipe,
            pictures=job.Pictures(
                split.index.hash, len(order), spec, train_batches, validation_batches(args, data, network)
            ),
            computing=computing,
            start=job.Start(args.seed, args.load, new_head=args.finetune),
            keeping=job.Keeping(60 * args.save_every, last=args.keep, every_epochs=args.keep_every),
            ending=job.Ending(args.on_nan, args.stop_at, args.hang_limit, args.requeue_code),
            watching=job.Watching(args.log_every, args.trace, args.histograms, args.log_style),
        )
    )


def arithmetic(args):
    from webvision.model.forward import choose_arithmetic

    return choose_arithmetic(on_gpu=args.devices.on_gpu, fp16=args.fp16, bf16=args.bf16, data_format=args.data_format)


def validation_batches(args, data, network):
    """The batches of the val list, or None where there is no labelled one."""
    from webvision.data.loader.batches import EvalBatches
    from webvision.data.loader.spec import BatchSpec
    from webvision.data.views.presets import PRESETS

    if not data.has("val"):
        print("no meta/val.txt: training without validation", file=sys.stderr)
        return None
    split = data.split("val")
    if not split.index.labelled:
        print(f"{split.index.path} has no labels: training without validation", file=sys.stderr)
        return None
    spec = BatchSpec(PRESETS["webvision"].scaled(network.image_size), args.batch)
    return EvalBatches(split, spec, workers=args.workers)


def evaluate(args):
    from webvision.data.data_set import DataSet
    from webvision.data.loader.batches import EvalBatches
    from webvision.data.loader.spec import BatchSpec
    from webvision.data.views.presets import PRESETS
    from webvision.inference.evaluate import Outputs, evaluate, prediction_header, refuse_duplicates
    from webvision.inference.predictor import Predictor
    from webvision.inference.provenance import classes_in_header, known_card, settle_size
    from webvision.inference.summary import print_errors, write_class_errors

    data = DataSet.open(args.data, allow_outside=args.allow_outside)
    card = known_card(args.load, classes=data.classes)
    split = data.split(args.split)
    refuse_duplicates(split.index)
    size = settle_size(
        args.load, card, asked=args.image_size, remark=partial(print, file=sys.stderr), otherwise="--image-size"
    )
    network = Network(backbone_of(args.mode, args.depth), len(data.classes), size)
    preset = PRESETS["webvision"]
    if card:
        card.check_network(network, args.load)
        preset = card.preset
    preset = dataclasses.replace(preset.scaled(size), crops=args.crops, flip=args.flip)
    outputs = Outputs(args.out or os.path.join("train_log", "predictions.json"), args.scores == "all", args.logits)
    os.makedirs(os.path.dirname(outputs.predictions) or ".", exist_ok=True)
    spec = BatchSpec(preset, max(1, args.batch // preset.views))
    with (
        Predictor(network, arithmetic(args), args.load, preset=preset, devices=args.devices) as predictor,
        closing(EvalBatches(split, spec, workers=args.workers)) as batches,
    ):
        print(f"{predictor.checkpoint}: {predictor.fit.counts()}", file=sys.stderr)
        header = prediction_header(
            split.index,
            classes=classes_in_header(data.classes, card),
            network=network,
            preset=preset,
            checkpoint=predictor.checkpoint,
        )
        bad = evaluate(predictor, batches, split.index, header=header, outputs=outputs)
    print_errors(outputs.predictions, bad=batches.bad)
    if args.eval5k:
        write_class_errors(outputs.predictions, len(data.classes))
    if bad > args.max_bad * len(split.index):
        raise IncompleteError(
            f"{bad} of {len(split.index)} pictures could not be read, over --max-bad {args.max_bad:.1%}; their rows "
            "hold the fallback. utils/check.py --decode names them"
        )


def fake(args):
    from webvision.training.fake import measure_step

    network = Network(backbone_of(args.mode, args.depth), FAKE_CLASSES, args.image_size or 224)
    steps = FAKE_STEPS if args.devices.on_gpu else FAKE_STEPS_ON_CPU
    measure_step(network, arithmetic(args), batch=args.batch, devices=args.devices, steps=steps)


if __name__ == "__main__":
    run_command(main)
