"""Train a ResNet on a data set in the ILSVRC layout, or evaluate one: --eval.

    python3 ./imagenet-resnet.py --data DIR --gpu 0,1,2,3 -d 50 --mode resnet
    python3 ./imagenet-resnet.py --data DIR -d 50 --mode resnet --eval --load train_log/NAME/model-STEP
    python3 ./imagenet-resnet.py --fake -d 50

The first are the flags of `webvision train`; with --eval (or --eval5k, which adds the error of every class) those of
`webvision eval`, with --fake those of `webvision step`; --help beside --eval or --fake tells those. Where a training's
runs go may be called --out here.
"""

import re
import sys

from webvision.commands import evaluate, step, train

MODES = {"--eval": evaluate, "--eval5k": evaluate, "--fake": step}


def main(argv=None):
    argv = list(sys.argv[1:] if argv is None else argv)
    chosen = [word for word in argv if word in MODES]
    command = MODES[chosen[0]] if chosen else train
    rest = [word for word in argv if word not in MODES]
    if command is train:  # this command's own name for where runs go
        rest = [re.sub(r"^--out(?==|$)", "--runs", word) for word in rest]
    if "--eval5k" in chosen:
        rest.append("--class-errors")
    if command is train and {"-h", "--help"} & set(rest):
        print(make_parser().format_help())
        return 0
    _refuse_of_others(command, rest)
    return command.main(rest)


def make_parser():
    """The flags of the training command, under the card's description."""
    parser = train.make_parser()
    parser.description = __doc__
    return parser


def _refuse_of_others(command, words):
    """Exit 2, saying where it belongs, at a flag that only another mode knows."""
    parser = command.make_parser()
    known = set(parser._option_string_actions)
    for name, other in (("training", train), ("--eval", evaluate), ("--fake", step)):
        for flag in other.make_parser()._option_string_actions if other is not command else ():
            if flag not in known and any(word == flag or word.startswith(flag + "=") for word in words):
                parser.error(f"{flag} belongs to {name}")
