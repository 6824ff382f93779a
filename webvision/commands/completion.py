"""Print the completion of `webvision` for a shell.

eval "$(webvision completion bash)"                in ~/.bashrc
webvision completion zsh > ~/.zfunc/_webvision     with ~/.zfunc in fpath
"""

import argparse
import importlib

from webvision.__main__ import ROAD
from webvision.commands import flags

SHELLS = ("bash", "zsh")


def make_parser():
    parser = flags.CommandParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shell", choices=SHELLS, help="whose")
    return parser


def every_command():
    """One parser with all commands of the road, each with its own flags."""
    parser = argparse.ArgumentParser(prog="webvision")
    commands = parser.add_subparsers()
    for name, command in ROAD.items():
        own = importlib.import_module(f"webvision.commands.{command.module}").make_parser()
        commands.add_parser(name, parents=[own], conflict_handler="resolve", help=command.about)
    return parser


def main(argv=None):
    shell = make_parser().parse_args(argv).shell
    import shtab

    print(shtab.complete(every_command(), shell=shell))
