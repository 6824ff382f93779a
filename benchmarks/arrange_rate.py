#!/usr/bin/env python3
"""How fast utils/preprocess.py arranges, against bare renames of the same files and what the published script's loop
does.

    python3 benchmarks/arrange_rate.py --files 500000 [--folder /dev/shm]

Prints files per second of wall and of processor time, the largest memory, and its growth per row.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CLASSES, FILES_PER_QUERY = 5000, 640  # WebVision 2.0: 16 million files in 25,000 query folders


def make_set(root, files):
    """An unpacked set of one-byte pictures."""
    os.makedirs(f"{root}/info")
    with open(f"{root}/info/synsets.txt", "w") as file:
        file.writelines(f"n{i:08d} word\n" for i in range(CLASSES))
    rows = open(f"{root}/info/train_filelist_all.txt", "w")  # not a list: children are charged for our memory
    for i in range(files):
        query = i // FILES_PER_QUERY
        folder = f"{'google' if query % 2 else 'flickr'}/q{query:05d}"
        if i % FILES_PER_QUERY == 0:
            os.makedirs(f"{root}/{folder}")
        name = f"{folder}/{i * 2654435761 % 10**10:010d}abcd.jpg"
        fd = os.open(f"{root}/{name}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)
        rows.write(f"{name} {query * 7919 % CLASSES}\n")
    rows.close()


def bare_renames(root):
    """Seconds for os.rename alone, names made beforehand."""
    with open(f"{root}/info/train_filelist_all.txt") as file:
        rows = [line.split() for line in file]
    pairs = [(f"{root}/{name}", f"{root}/train/n{int(label):08d}/{os.path.basename(name)}") for name, label in rows]
    for i in range(CLASSES):
        os.makedirs(f"{root}/train/n{i:08d}")
    start = time.perf_counter()
    for source, target in pairs:
        os.rename(source, target)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--folder", default="/dev/shm")
    args = parser.parse_args()
    for share in (0.1, 0.5, 1):
        with tempfile.TemporaryDirectory(dir=args.folder) as root:
            files = int(args.files * share)
            make_set(root, files)
            start = time.perf_counter()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [sys.executable, os.path.join(ROOT, "utils/preprocess.py"), "--raw", root],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wall = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(
                f"preprocess.py, {files:,} files: {files / wall:,.0f} files/s of wall time, {files / work:,.0f} of "
                "processor time; "
                f"largest memory of the runs so far {after.ru_maxrss / 1024:.0f} MB"
            )
    with tempfile.TemporaryDirectory(dir=args.folder) as root:
        make_set(root, args.files)
        print(f"bare os.rename: {args.files / bare_renames(root):,.0f} files/s")


if __name__ == "__main__":
    main()
