"""The download program behind utils/download.sh: fetch, prove and unpack the archives of a set, then arrange it.

Everything can be stopped at any moment and run again: it goes on where it was.
"""

import argparse
import os
import re
import sys
import time

from webvision.commands import flags
from webvision.environment import DOOR
from webvision.prep.download.target import HOME, check_target, default_target
from webvision.prep.download.unpack import STATE


def make_parser():
    parser = flags.CommandParser(
        description="Download a set, prove it whole, unpack it and arrange it for "
        "training. Run it again after any interruption: it goes on."
    )
    parser.add_argument(
        "target", nargs="?", metavar="FOLDER", help=f"where the set goes (default: {os.path.join(HOME, '<set>')})"
    )
    parser.add_argument("--set", default="webvision-2.0", help="which set (default: %(default)s); --list shows all")
    parser.add_argument(
        "--parts", type=lambda text: text.split(","), metavar="A,B", help="only these parts, e.g. info,val"
    )
    parser.add_argument("--list", action="store_true", help="show the sets, their parts and servers, and end")
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="URL", help="take the files from here; may be repeated"
    )
    parser.add_argument(
        "--archives", metavar="FILE", help="another list of sets (default: webvision/prep/download/catalogue.json)"
    )
    parser.add_argument(
        "--manifest",
        action="append",
        default=[],
        metavar="FILE",
        help="check against the manifest.json of another machine",
    )
    parser.add_argument("--keep-archives", action="store_true", help="don't delete an archive after it is unpacked")
    parser.add_argument(
        "--in-archives",
        action="store_true",
        help="don't unpack the pictures: their archives go to train/, val/ and test/, where training reads them",
    )
    parser.add_argument("--no-arrange", action="store_true", help="download and unpack only")
    behaviour = parser.add_argument_group("behaviour")
    behaviour.add_argument(
        "--parallel", type=count, default=3, metavar="N", help="archives at a time (default: %(default)s)"
    )
    behaviour.add_argument("--limit-rate", type=size, metavar="SIZE", help="bytes a second in all, e.g. 20M")
    behaviour.add_argument(
        "--max-wait",
        type=seconds,
        default=7200.0,
        metavar="TIME",
        help="give up after so long without a byte, e.g. 90m (default: 2h; the server restarts every midnight)",
    )
    behaviour.add_argument(
        "--stall",
        type=seconds,
        default=30.0,
        metavar="TIME",
        help="a silent connection is dropped after (default: 30s)",
    )
    behaviour.add_argument(
        "--skip-odd-members",
        action="store_true",
        help="leave links and devices in an archive out instead of refusing it",
    )
    behaviour.add_argument("--skip-space-check", action="store_true", help="start even if the disk looks too small")
    return parser


def parse_args(argv=None):
    parser = make_parser()
    args = parser.parse_args(argv)
    args.target = args.target or default_target(args.set)
    return args


def count(text):
    if not text.isdigit() or not 1 <= int(text) <= 16:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 16")
    return int(text)


def size(text):
    """'20M' -> 20000000"""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]?)B?", text)
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size like 500k or 20M")
    return float(match[1]) * 1000 ** " kMGT".index(match[2] or " ")


def seconds(text):
    """'90m' -> 5400.0"""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is not a time like 30s, 90m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def main(argv=None):
    args = parse_args(argv)
    from webvision.prep.download import catalogue

    sets = catalogue.read_catalogue(args.archives or catalogue.CATALOGUE)
    if args.list:
        return show(sets)
    wanted = catalogue.select(sets, args.set, parts=args.parts, mirrors=args.mirror)
    check_target(args.target)
    print(f"into {os.path.abspath(args.target)}", flush=True)
    code = download(wanted, args)
    if code or args.no_arrange or not sets[args.set].get("arrange"):
        return code
    return arrange_if_whole(catalogue.select(sets, args.set), args.target, in_archives=args.in_archives)


def show(sets):
    from webvision.prep.download.http import redact

    for name, one in sets.items():
        print(f"{name}: {one.get('about', '')}\n  from {' or '.join(map(redact, one['mirrors']))}")
        for part, entries in one["parts"].items():
            names = [entry if isinstance(entry, str) else entry["name"] for entry in entries]
            print(f"  {part}: {', '.join(names) if len(names) < 4 else f'{names[0]} ... {names[-1]} ({len(names)})'}")


def download(wanted, args):
    """Acquire the archives `wanted`; prints the report and returns the exit code of the worst that happened."""
    from webvision.errors import ResourceError
    from webvision.files import directory_lock, remove_leftovers, write_json
    from webvision.prep.download import crew

    state = os.path.join(args.target, STATE)
    try:
        os.makedirs(state, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{error}; choose another target folder") from None
    with directory_lock(state, "download"):
        remove_leftovers(state)
        results = crew.run(
            wanted,
            crew.Settings(
                target=args.target,
                state=state,
                parallel=args.parallel,
                limit_rate=args.limit_rate,
                max_wait=args.max_wait,
                stall=args.stall,
                keep=args.keep_archives,
                in_archives=args.in_archives,
                skip_odd=args.skip_odd_members,
                check_space=not args.skip_space_check,
                manifests=tuple(args.manifest),
            ),
        )
        report = {
            "format": "webvision-download",
            "version": 1,
            "set": args.set,
            "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "complete": all("error" not in result for result in results.values()),
            "archives": results,
        }
        write_json(os.path.join(state, "report.json"), report)
    return print_report(results, state)


def print_report(results, state):
    from webvision.errors import printable
    from webvision.progress import amount

    failed = {name: result for name, result in results.items() if "error" in result}
    whole = [result for result in results.values() if "error" not in result]
    print(
        f"{len(whole)} of {len(results)} archives are here and unpacked "
        f"({sum(r['status'] == 'was done' for r in whole)} were before): "
        f"{amount(sum(r['size'] for r in whole), 'bytes')}, {sum(r.get('members', 1) for r in whole):,} files"
        + (f"; checksums: {os.path.join(state, 'manifest.json')}" if whole else "")
    )
    for name, result in results.items():
        if left_out := result.get("left_out"):
            print(
                f"download.sh: {name}: left out {printable(left_out[0])}{' and others' * (len(left_out) > 1)}: links, "
                f"devices, or names that programs act on; {os.path.join(state, 'report.json')} names them",
                file=sys.stderr,
            )
    for name, result in failed.items():
        print(f"download.sh: error: {name}: {printable(result['error'])}", file=sys.stderr)
    codes = {result["exit_code"] for result in failed.values()}
    # What running again cannot mend comes first: a full disk, then bad data, then the network.
    return next((code for code in (130, 7, 3, 9) if code in codes), max(codes, default=0))


def arrange_if_whole(all_archives, target, *, in_archives=False):
    """Arrange the set once every archive of it is unpacked; say what is lacking otherwise."""
    from webvision.errors import printable
    from webvision.prep.arrange.arrange import arrange
    from webvision.prep.arrange.in_archives import arrange_archives
    from webvision.prep.download import acquire

    lacking = [one.name for one in all_archives if not acquire.done_mark(one, os.path.join(target, STATE))]
    if lacking:
        print(
            f"download.sh: {len(lacking)} archives of the set are not here ({lacking[0]}, ...), so it is not arranged; "
            f"to arrange what is here: {DOOR} prepare --raw {target}",
            file=sys.stderr,
        )
        return 0
    report = (arrange_archives if in_archives else arrange)(
        target, target, remark=lambda text: print(f"download.sh: {printable(text)}", file=sys.stderr)
    )
    print(
        "arranged:",
        ", ".join(f"{report[split]['kept']:,} {split}" for split in ("train", "val", "test") if split in report),
        f"pictures in {target}; next: {DOOR} check --data {target}",
    )
    return 0
