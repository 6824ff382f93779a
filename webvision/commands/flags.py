"""Flag groups that several commands share, and the checks that need no TensorFlow."""

import argparse
import difflib
import os
import sys

from webvision.commands import choosing
from webvision.devices import Devices, choose_gpus, cpu_cores, installed_gpus
from webvision.errors import UsageError
from webvision.machine import gpu_facts
from webvision.machine.choices import PRECISIONS
from webvision.machine.why_no_gpu import refuse_full
from webvision.model.backbones import DEPTHS, MODES, backbone_of


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest flag to one that there is none of."""

    def error(self, message):
        meant = self._meant() if message.startswith(("unrecognized arguments", "the following arguments")) else ""
        print(f"{self.prog}: error: {message}{meant} (--help tells the flags)", file=sys.stderr)
        raise SystemExit(2)

    def parse_known_args(self, args=None, namespace=None):
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def _meant(self):
        """What to say of the first flag given that there is none of: argparse tells of what is missing before."""
        known = self._option_string_actions
        words = (str(word).split("=")[0] for word in self._given)
        flags = (word for word in words if word.startswith("--") and word != "--")
        for flag in flags:
            if not any(option.startswith(flag) for option in known):
                near = difflib.get_close_matches(flag, known, n=1, cutoff=0.7)
                return f"; did you mean {near[0]}?" if near else f"; there is no {flag}"
        return ""


def add_data_flags(parser):
    """--data, --allow-outside, --workers, --image-size."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--data", metavar="DIR", help="data set: DIR/{train,val,test}/ and DIR/meta/{synsets,train,val,test}.txt"
    )
    group.add_argument(
        "--allow-outside",
        action="store_true",
        help="let lists name, and links lead to, pictures outside the data folder",
    )
    group.add_argument(
        "--workers",
        type=at_least(0),
        metavar="N",
        default=min(40, cpu_cores()),
        help="loader processes; 0 loads in the main process (default: one a core, here %(default)s)",
    )
    add_image_size(group, "224; with --load of a run of ours, that run's")
    return group


def add_image_size(group, default):
    """--image-size; `default` in words."""
    group.add_argument(
        "--image-size",
        type=at_least(32),
        metavar="PX",
        default=None,
        help=f"side of the network's input (default: {default})",
    )


def add_hang_limit(group, default):
    """--hang-limit; `default` in words."""
    group.add_argument(
        "--hang-limit",
        type=at_least(0, float),
        metavar="SECONDS",
        help=f"without progress after which the command ends with exit code 10; 0: never (default: {default})",
    )


def add_network_flags(parser):
    """-d/--depth, --mode, --data_format."""
    group = parser.add_argument_group("network")
    group.add_argument("-d", "--depth", type=int, default=18, choices=DEPTHS, help="layers (default: %(default)s)")
    group.add_argument(
        "--mode",
        default="resnet",
        choices=list(MODES),
        help="plain, pre-activation, or squeeze-and-excitation (depth 50 and up) (default: %(default)s)",
    )
    group.add_argument(
        "--data_format",
        choices=["NCHW", "NHWC"],
        default=None,
        help="memory layout (default: NHWC on the CPU and in half precision, NCHW for float32 on a GPU)",
    )
    return group


def add_device_flags(parser):
    """--gpu, --towers, --precision, --fp16, --bf16, --xla."""
    group = parser.add_argument_group("devices")
    group.add_argument(
        "--gpu", metavar="LIST", help="GPUs to use, as 0,1,2,3; -1 for the CPU (default: all that are visible)"
    )
    group.add_argument(
        "--towers",
        type=at_least(1),
        metavar="N",
        default=None,
        help="replicas a batch is divided over (default: one a GPU; 1 on the CPU)",
    )
    half = group.add_mutually_exclusive_group()
    half.add_argument(
        "--precision",
        choices=["auto", *PRECISIONS],
        help="what products are computed in; auto: bfloat16 on GPUs of compute capability 8.0 and up, float16 on 7.x, "
        "both compiled by XLA; float32 elsewhere (default: float32, by TF32 on GPUs that have it)",
    )
    half.add_argument("--fp16", action="store_true", help="compute in float16, with loss scaling (for GPUs)")
    half.add_argument(
        "--bf16", action="store_true", help="compute in bfloat16 (CPUs with AVX512-BF16 or AMX, newer GPUs)"
    )
    group.add_argument("--xla", action="store_true", help="compile with XLA (faster on GPUs, slower on CPUs)")
    return group


def add_splits(parser, which="which lists of meta/, where present"):
    """--splits of a command that makes a set of another."""
    parser.add_argument("--splits", default="train,val,test", metavar="A,B", help=f"{which} (default: %(default)s)")


def add_jobs(parser, what):
    """--jobs: how many of `what` at a time."""
    parser.add_argument("--jobs", type=int, default=cpu_cores(), metavar="N", help=f"{what} (default: %(default)s)")


def check_jobs(parser, args):
    """The parser's error unless --jobs can be."""
    if not 1 <= args.jobs <= 512:
        parser.error(f"--jobs {args.jobs} is outside 1..512")


def add_snapshot_flags(add):
    """What every command that asks a snapshot takes, by `add` (adder_of_twins): how it is checked, and computed."""
    add("--backbone", metavar="NAME", help="compared with the snapshot's")
    add(
        "--model-def-path",
        default="./models/",
        metavar="DIR",
        help="taken and left alone: code is never loaded from it",
    )
    add("--gpu", metavar="LIST", help="GPUs, as 0 or 0,1; -1 for the CPU (default: what is there)")
    add("--batch-size", type=at_least(1), default=64, metavar="N", help="pictures at a time (default: 64)")
    add("--workers", type=at_least(0), metavar="N", help="loader processes (default: one a core)")


def adder_of_twins(parser):
    """`parser.add_argument` that also takes a flag's twin with '_' for '-', and the other way round."""

    def add(*names, **settings):
        twins = [
            f"--{name[2:].translate(table)}"
            for name in names
            for table in (str.maketrans("-", "_"), str.maketrans("_", "-"))
        ]
        # The first name is what help shows; a repeated one is refused by argparse.
        return parser.add_argument(*dict.fromkeys([*names, *twins]), **settings)

    return add


def at_least(low, kind=int):
    """An argparse type: a number not below `low`."""

    def number(text):
        value = kind(text)
        if not value >= low:  # NaN is not
            raise argparse.ArgumentTypeError(f"{text} is below {low}")
        return value

    number.__name__ = "number"  # argparse names the type in "invalid number value"
    return number


def at_least_or(low, word):
    """An argparse type: a whole number not below `low`, or `word` as it is."""
    number = at_least(low)
    kind = lambda text: text if text == word else number(text)  # noqa: E731
    kind.__name__ = number.__name__
    return kind


def above(low):
    """An argparse type: a number above `low`."""

    def number(text):
        value = float(text)
        if not low < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not above {low}")
        return value

    return number


def share(text):
    """An argparse type: '1%' or '0.01' -> .01"""
    try:
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a share; write 0.5% or 0.005")
    return value


def choose_devices(gpu, towers, *, xla=False):
    """(CUDA_VISIBLE_DEVICES entries, Devices) for --gpu, --towers and --xla."""
    gpus = choose_gpus(gpu)
    if gpus and towers not in (None, len(gpus)):
        raise UsageError(
            f"--towers {towers} with {len(gpus)} GPUs: on GPUs there is one tower each; choose them with --gpu"
        )
    return gpus, Devices(bool(gpus), len(gpus) if gpus else towers or 1, xla)


def check_data(parser, args):
    """The parser's error unless --data names a folder."""
    if not args.data:
        parser.error("--data DIR is needed")
    if not os.path.isdir(args.data):
        what = "a file, where a folder is needed" if os.path.exists(args.data) else "no such folder"
        parser.error(f"--data {args.data}: {what}")


def settle_devices(args):
    """--gpu, --towers, --xla and --precision as `args.gpus` (for CUDA_VISIBLE_DEVICES), `args.devices`, and what is
    settled for `arithmetic`."""
    args.gpus, _ = choose_devices(args.gpu, args.towers)
    if args.precision == "auto":
        choosing.choose_precision(args)
    elif args.precision is None and (args.fp16 or args.bf16):
        args.precision = "float16" if args.fp16 else "bfloat16"
    args.gpus, args.devices = choose_devices(args.gpu, args.towers, xla=args.xla)


def show_only(gpus):
    """Have CUDA show this process these GPUs and no other; none: the CPU computes. Before TensorFlow is imported."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus) or "-1"


def show_first(count):
    """`show_only` the first `count` GPUs; UsageError if there are fewer. For challenges, whose flag is a number."""
    if not 0 <= count <= installed_gpus():
        raise UsageError(f"--gpus {count}: this machine shows {installed_gpus()}; 0 computes on the CPU")
    show_only(map(str, range(count)))


def use_devices(args):
    """Have TensorFlow see the devices that were chosen, and no other; before it is imported."""
    if args.gpus:
        show_only(args.gpus)
        refuse_full(gpu_facts.known_gpus(args.gpus))
    elif args.gpu is not None:
        show_only(())
    if args.xla and not args.gpus:
        # XLA leaves the CPU alone unless told so before TensorFlow starts.
        os.environ["TF_XLA_FLAGS"] = f"{os.environ.get('TF_XLA_FLAGS', '')} --tf_xla_cpu_global_jit".strip()


def arithmetic(args):
    """The Arithmetic of --precision and --data_format on the chosen devices; tells TensorFlow whether TF32 will do."""
    from webvision.compat import tf
    from webvision.model.forward import choose_arithmetic

    if args.precision in ("float32", "tf32"):
        tf.config.experimental.enable_tensor_float_32_execution(args.precision == "tf32")
    half = {"fp16": args.precision == "float16", "bf16": args.precision == "bfloat16"}
    return choose_arithmetic(on_gpu=args.devices.on_gpu, data_format=args.data_format, **half)


def check_batch(batch, towers):
    """UsageError unless `batch` divides over `towers`; names the nearest that do."""
    if batch % towers:
        below = batch - batch % towers
        nearest = f"{below} or {below + towers}" if below else f"{towers}"
        raise UsageError(f"--batch {batch} does not divide over {towers} towers; use {nearest}")


def check_network(mode, depth):
    """UsageError unless `mode` exists with `depth`."""
    try:
        backbone_of(mode, depth)
    except ValueError as error:
        raise UsageError(str(error)) from None


def stop_at(text):
    """An argparse type: the StopRule written as `text`, of figures that a validation has."""
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
