"""Time the training step alone, on made-up pictures: what the machine could do if data were free. Nothing is saved."""

from webvision.commands import flags
from webvision.errors import UsageError

CLASSES = 1000
BATCH = 64  # pictures a tower, as upstream's benchmark
STEPS = 100
STEPS_ON_CPU = 15  # of 12 s each for a ResNet-50 on two cores


def make_parser():
    parser = flags.CommandParser(description=__doc__)
    parser.add_argument(
        "--batch", type=flags.at_least(1), metavar="N", help=f"pictures a step, over all towers (default: {BATCH} each)"
    )
    parser.add_argument(
        "--steps",
        type=flags.at_least(7),
        metavar="N",
        help=f"to take, the first 5 untimed (default: {STEPS}; {STEPS_ON_CPU} on the CPU)",
    )
    parser.add_argument(
        "--classes", type=flags.at_least(1), default=CLASSES, metavar="N", help="(default: %(default)s)"
    )
    flags.add_image_size(parser, "224")
    flags.add_network_flags(parser)
    flags.add_device_flags(parser)
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    try:
        flags.check_network(args.mode, args.depth)
        flags.settle_devices(args)
        args.batch = args.batch or BATCH * args.devices.count
        flags.check_batch(args.batch, args.devices.count)
    except UsageError as error:
        parser.error(str(error))
    return args


def main(argv=None):
    args = parse_args(argv)
    flags.use_devices(args)
    from webvision.model.backbones import Network, backbone_of
    from webvision.training.fake import measure_step

    network = Network(backbone_of(args.mode, args.depth), args.classes, args.image_size or 224)
    steps = args.steps or (STEPS if args.devices.on_gpu else STEPS_ON_CPU)
    measure_step(network, flags.arithmetic(args), batch=args.batch, devices=args.devices, steps=steps)
