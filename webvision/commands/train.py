"""Train a network on a data set in the ILSVRC layout. The same command again continues the run where it stopped.

webvision train --data DIR --gpu 0,1,2,3 -d 50 --mode resnet
webvision train PICTURES                a plain folder of class folders; webvision train-pictures --help tells its flags
"""

import argparse
import dataclasses
import os
import shlex
import sys

from webvision.commands import choosing, flags, train_flags
from webvision.errors import UsageError
from webvision.files import file_sha256


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = flags.add_data_flags(parser)
    data.add_argument(
        "--balance",
        type=train_flags.balance,
        default=None,
        metavar="HOW",
        help="repeat pictures of rare classes: upsample (every class as frequent as the largest), sqrt, "
        "cap:N (upsample, but no picture more than N times an epoch), none (default: the recipe's)",
    )
    data.add_argument(
        "--colour-on",
        choices=["worker", "device"],
        default="worker",
        help="where the colour augmentation is computed: by the loader, or in the graph (default: worker)",
    )
    data.add_argument(
        "--max-bad",
        type=flags.share,
        default=0.01,
        metavar="SHARE",
        help="of pictures that may be unreadable, each replaced by another, before training stops (default: 1%%)",
    )
    flags.add_network_flags(parser)
    train_flags.add_recipe_flags(parser)
    train_flags.add_run_flags(parser)
    train_flags.add_watching_flags(parser)
    flags.add_device_flags(parser)
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    flags.check_data(parser, args)
    if args.finetune and not args.load:
        parser.error("--finetune needs the weights to start from: --load")
    try:
        flags.check_network(args.mode, args.depth)
        flags.settle_devices(args)
        args.recipe = _recipe(args)
        if args.batch != "auto":
            flags.check_batch(args.recipe.batch, args.devices.count)
        elif not args.gpus:
            raise UsageError("--batch auto goes by the memory of GPUs, and this run has none; give a number")
    except UsageError as error:
        parser.error(str(error))
    return args


def _recipe(args):
    """The Recipe that the flags name, before the list says how long 'list' is."""
    from webvision.data.lists.balance import parse_balance
    from webvision.training.recipe_file import read_recipe
    from webvision.training.recipes import recipe_named, with_settings

    epoch_size = args.epoch_size if args.epoch_size != "list" else None
    chosen = {
        "epochs": args.epochs,
        "epoch_size": epoch_size,
        "batch": None if args.batch == "auto" else args.batch,
        "lr": args.lr,
        "balance": None if args.balance is None else str(args.balance),
    }
    try:
        recipe = recipe_named(args.recipe)
        recipe = with_settings(read_recipe(args.config, recipe) if args.config else recipe, args.set)
        parse_balance(recipe.balance)
        return dataclasses.replace(recipe, **{name: value for name, value in chosen.items() if value is not None})
    except ValueError as error:
        raise UsageError(str(error)) from None


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    from webvision.commands import train_pictures

    if train_pictures.are_named(argv, instead_of=make_parser()):
        return train_pictures.main(argv)
    args = parse_args(argv)
    flags.use_devices(args)
    if args.batch == "auto":
        choosing.choose_batch(args)
    from webvision.training.fit import fit

    fit(job_of(args))


def job_of(args):
    """The Job that the flags ask for."""
    from webvision.data.data_set import DataSet
    from webvision.data.lists.balance import describe_empty, parse_balance, targets
    from webvision.data.lists.class_names import read_class_words
    from webvision.data.views.presets import PRESETS
    from webvision.model.backbones import Network, backbone_of
    from webvision.model.card import card_of
    from webvision.training import job
    from webvision.training.graph.learning import check_towers, weights_of
    from webvision.training.recipes import Task, visits_told
    from webvision.training.state.run_folder import choose_folder

    data = DataSet.open(args.data, allow_outside=args.allow_outside)
    split = data.split("train")
    if remark := describe_empty(split.index.counts, data.classes):
        print(remark, file=sys.stderr)
    order = split.order(args.recipe.balance, seed=args.seed)
    if args.epoch_size == "list":
        args.recipe = dataclasses.replace(args.recipe, epoch_size=len(order))
    network = Network(backbone_of(args.mode, args.depth), len(data.classes), args.image_size or 224)
    shown = targets(split.index.counts, parse_balance(args.recipe.balance)).tolist()
    args.plan = visits_told(args.recipe, split.index.counts.tolist(), shown)
    args.row_weights, counted = weights_of(args.weights, split.index, shown)
    args.task = Task(counts=tuple(counted), rows=len(split.index), weighted=args.weights is not None)
    check_towers(args.recipe, args.devices.count)
    computing = job.Computing(flags.arithmetic(args), args.devices, sync_bn=args.sync_bn)
    card = card_of(
        network,
        PRESETS["webvision"],
        classes=data.classes,
        words=read_class_words(args.data, data.classes),
        train_counts=tuple(split.index.counts.tolist()),
        data_format=computing.arithmetic.data_format,
    )
    return job.Job(
        folder=choose_folder(args.runs, args.name or f"imagenet-{network.name}", fresh=args.fresh),
        description=_description(args, data, split, order, network, computing.arithmetic),
        network=network,
        card=card,
        recipe=args.recipe,
        pictures=_pictures(args, data, split, order, network),
        computing=computing,
        start=job.Start(args.seed, args.load, new_head=args.finetune),
        keeping=job.Keeping(60 * args.save_every, last=args.keep, every_epochs=args.keep_every),
        ending=job.Ending(args.on_nan, args.stop_at, args.hang_limit, args.requeue_code),
        watching=job.Watching(args.log_every, args.trace, args.histograms, args.log_style),
    )


def _pictures(args, data, split, order, network):
    from webvision.data.loader.batches import TrainBatches
    from webvision.data.loader.spec import BatchSpec
    from webvision.training import job

    colours = ("matrices",) if args.colour_on == "device" else ()
    view = dataclasses.replace(args.recipe.view, image_size=network.image_size)
    spec = BatchSpec(view, args.recipe.batch, ("images", "labels", *colours))

    def train_batches(samples_seen):
        return TrainBatches(split, order, spec, workers=args.workers, start=samples_seen, max_bad=args.max_bad)

    validation = _validation_batches(args, data, network)
    return job.Pictures(split.index.hash, len(order), spec, train_batches, validation, args.task, args.row_weights)


def _validation_batches(args, data, network):
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
    spec = BatchSpec(PRESETS["webvision"].scaled(network.image_size), args.recipe.batch)
    return EvalBatches(split, spec, workers=args.workers)


def _description(args, data, split, order, network, arithmetic):
    from webvision.data.pictures import decode
    from webvision.training.state.run_folder import describe_run

    return describe_run(
        command=shlex.join([*_called_as(), *sys.argv[1:]]),
        index=split.index,
        classes=data.classes,
        network=network,
        recipe=args.recipe,
        arithmetic=arithmetic,
        balance=args.recipe.balance,
        seed=args.seed,
        plan=args.plan,
        weights_sha256=file_sha256(args.weights) if args.weights else None,
        class_counts=split.index.counts.tolist(),
        colour_on=args.colour_on,
        entries=len(order),
        towers=args.devices.count,
        device=args.devices.kind,
        workers=args.workers,
        decoder=decode.describe(),
    )


def _called_as():
    """The words of this command before its flags, as they were typed."""
    name = sys.argv[0]
    return ["webvision"] if os.path.basename(name).startswith("webvision") else ["python3", name]
