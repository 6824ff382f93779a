"""Arrange an unpacked WebVision set into the ILSVRC layout that training reads: train/<wnid>/, val/, test/, meta/.

Run again after any interruption: it goes on and ends in the same bytes.
"""

import os
import sys

from webvision.commands import flags
from webvision.environment import DOOR


def make_parser():

    parser = flags.CommandParser(description=__doc__.replace("\n\n", " "))
    parser.add_argument(
        "--raw",
        default=".",
        metavar="DIR",
        help="the unpacked set: info/, google/, flickr/, ... (default: this folder)",
    )
    parser.add_argument("--data", metavar="DIR", help="where to arrange it (default: the --raw folder)")
    method = parser.add_mutually_exclusive_group()
    method.add_argument(
        "--move", dest="method", action="store_const", const="move", default="move", help="move the files (default)"
    )
    method.add_argument(
        "--link", dest="method", action="store_const", const="link", help="hard links: --raw stays as it is"
    )
    method.add_argument(
        "--copy", dest="method", action="store_const", const="copy", help="copies: also from a read-only or other disk"
    )
    parser.add_argument(
        "--in-archives",
        action="store_true",
        help="the pictures stay inside their archives, which go to train/, val/ and test/; training reads them there",
    )
    parser.add_argument(
        "--from-shards",
        action="store_true",
        help="DATA/{train,val,test}/ hold shards of others: make the lists from the labels in them (KEY.cls, KEY.json)",
    )
    parser.add_argument(
        "--folders",
        metavar="DIR",
        help="another set: DIR/train/<class>/*, DIR/val/<class>/*; writes the lists that go with them, classes in the "
        "order of their names, into DIR/meta, and touches nothing else",
    )
    parser.add_argument(
        "--train-list", metavar="FILE", help="another training list (default: info/train_filelist_all.txt)"
    )
    parser.add_argument(
        "--max-missing",
        type=flags.share,
        default=0.001,
        metavar="SHARE",
        help="stop if more of a split's pictures are missing or empty (default: 0.1%%)",
    )
    return parser


def parse_args(argv=None):
    return make_parser().parse_args(argv)


def main(argv=None):
    args = parse_args(argv)
    if args.folders:
        from webvision.prep.own_folder.folders import list_folders

        print(*list_folders(args.folders), f"next: python3 utils/check.py --data {args.folders}", sep="\n")
        return
    from webvision.errors import printable
    from webvision.prep.arrange.arrange import REPORT, arrange
    from webvision.prep.arrange.in_archives import arrange_archives

    data = args.data or args.raw
    if args.from_shards:
        return list_shards(data)
    report = (arrange_archives if args.in_archives else arrange)(
        args.raw,
        data,
        method=args.method,
        train_list=args.train_list,
        max_missing=args.max_missing,
        remark=lambda text: print(f"preprocess.py: {printable(text)}", file=sys.stderr),
    )
    for split in ("train", "val", "test"):
        if split in report:
            numbers = {
                name: value["count"]
                for name, value in report[split].items()
                if isinstance(value, dict) and value["count"]
            }
            print(
                f"{split}: {report[split]['kept']:,} pictures{'' if report[split]['labelled'] else ', unlabelled'}",
                *(f"{count:,} {name.replace('_', ' ')}" for name, count in numbers.items()),
                sep="; ",
            )
    bare = report["train"]["classes_without_a_picture"]
    if bare:
        print(f"preprocess.py: {len(bare)} classes have no training picture, the first is {bare[0]}", file=sys.stderr)
    print(f"names: {os.path.join(data, 'meta', REPORT)}; next: {DOOR} check --data {data}")


def list_shards(data):
    """--from-shards: lists of what is in the shards of each split."""
    from webvision.data.archives.building import archive_names
    from webvision.data.lists.folders import SPLITS
    from webvision.errors import DataError, printable
    from webvision.prep.shards.lists import write_lists

    splits = [split for split in SPLITS if archive_names(os.path.join(data, split))]
    if not splits:
        raise DataError(f"{printable(data)}: no *.tar in train/, val/ or test/; the shards of each split belong there")
    for split, rows in write_lists(data, splits).items():
        print(f"{split}: {rows:,} pictures listed")
    print(f"next: {DOOR} check --quick --data {printable(data)}")
