"""Which picture trains and which one judges: decided by content, class by class, like pictures on one side.

The side of a picture is a function of its bytes alone, so pictures that are added move none that were there; only a
class that would be left without a judge, or with nothing to learn from, is helped by the picture nearest to the border.
Sides that were given before stay, whatever is added. Pictures that are copies of each other, or look alike, share a
side: a model that has seen one of them in training is flattered by the other.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from webvision.prep.check import same
from webvision.prep.own_folder.examine import records

SIDES = ("train", "val", "test")
_SALT = b"webvision own folder"  # or an uploader who sorts files by hash would choose the split


@dataclass(frozen=True)
class Shares:
    """How much of each class is for val and for test."""

    val: float = 0.2  # the seed's 8 : 2
    test: float = 0.0

    def side(self, place):
        """The side of a place in 0..1; val comes first, so that a test list added later leaves val as it is."""
        return "val" if place < self.val else "test" if place < self.val + self.test else "train"


@dataclass
class Sided:
    """The pictures that are used, each with its side, and those that are not."""

    sides: dict  # {path: side}
    skipped: list  # (path, why)
    twins: list  # groups of two or more paths on one side


def place_of(content):
    """A number in 0..1 of a picture's content, spread evenly."""
    return int.from_bytes(hashlib.sha256(_SALT + bytes.fromhex(content)).digest()[:8], "big") / 2**64


def drop_copies(pictures, findings):
    """(pictures that are used, (path, why) of those that are not): of equal files in a class one is enough, and a file
    that stands in two classes says nothing about either."""
    by_content = {}
    for picture in pictures:
        by_content.setdefault(findings[picture.path].content, []).append(picture)
    used, skipped = [], []
    for picture in pictures:
        equal = by_content[findings[picture.path].content]
        other = next((other for other in equal if other.label != picture.label), None)
        first = _first_kept(equal)
        if other is not None:
            skipped.append((picture.path, f"the same picture is in another class: {other.path}"))
        elif picture is not first:
            skipped.append((picture.path, f"a copy of {first.path}"))
        else:
            used.append(picture)
    return used, skipped


def _first_kept(equal):
    """Of copies the one that is used; where the folder has splits, one that judges: it must not be trained on."""
    return min(equal, key=lambda picture: ("test", "val", "train", None).index(picture.split))


def twin_groups(findings):
    """{path: number of its group}: pictures that look alike have one number, directly or through others."""
    paths = [finding.path for finding in findings]
    group = list(range(len(paths)))

    def root(i):
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i

    rows = records(findings)
    pairs = same.near_look(rows, rows)
    for a, b in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        a, b = sorted((root(a), root(b)))
        group[b] = a
    return {path: root(i) for i, path in enumerate(paths)}


def divide(pictures, findings, shares, before):
    """The Sided of pictures from a folder without splits. `before`: {content: side} that were given already."""
    used, skipped = drop_copies(pictures, findings)
    groups = twin_groups([findings[picture.path] for picture in used])
    members = {}
    for picture in used:
        members.setdefault(groups[picture.path], []).append(picture)
    sides = {}
    for group in members.values():
        sides |= _side_of_group(group, findings, shares, before, skipped)
    used = [picture for picture in used if picture.path in sides]
    settled = {path for path in sides if findings[path].content in before}
    _help_classes(used, findings, groups, sides, settled, shares)
    return Sided(sides, skipped, _twins(members, sides))


def _side_of_group(group, findings, shares, before, skipped):
    """{path: side} of pictures that look alike: that of those who had one, else of the smallest hash."""
    had = {
        picture.path: before[findings[picture.path].content]
        for picture in group
        if findings[picture.path].content in before
    }
    if len(set(had.values())) > 1:  # each was there before what links them: nothing moves, the link is left out
        skipped += [(p.path, "looks like pictures on both sides") for p in group if p.path not in had]
        return had
    side = next(iter(had.values()), None) or shares.side(min(place_of(findings[p.path].content) for p in group))
    return {picture.path: side for picture in group}


def _help_classes(used, findings, groups, sides, settled, shares):
    """Give every class at least one picture that judges and one that trains, where it has two groups of pictures."""
    sizes = Counter(groups.values())
    labels = sorted({picture.label for picture in used})
    wanted = ["train", "val"] + ["test"] * (shares.test > 0)
    for label in labels:
        own = [picture.path for picture in used if picture.label == label]
        for side in wanted:
            if any(sides[path] == side for path in own):
                continue
            # The nearest to the border, of a side that can spare it; never one whose look-alikes stay behind.
            free = [p for p in own if p not in settled and sizes[groups[p]] == 1 and _spares(own, sides, sides[p])]
            if free:
                order = min if side == "val" else max
                sides[order(free, key=lambda path: place_of(findings[path].content))] = side


def _spares(own, sides, side):
    return sum(sides[path] == side for path in own) > 1


def keep_given(pictures, findings, shares, before):
    """The Sided of pictures from a folder that is split already: its own sides, without what flatters.

    A training picture that equals or looks like one that judges is not trained on. Without a val of its own, train is
    divided; test never serves as val.
    """
    used, skipped = drop_copies(pictures, findings)
    sides = {picture.path: picture.split for picture in used}
    if "val" not in set(sides.values()):
        train = [picture for picture in used if picture.split == "train"]
        divided = divide(train, findings, Shares(shares.val, 0.0), before)
        sides |= divided.sides
        skipped += divided.skipped
        for path, _ in divided.skipped:
            sides.pop(path, None)
    groups = twin_groups([findings[path] for path in sides])
    judges = {groups[path]: path for path, side in sides.items() if side != "train"}
    for path in [path for path, side in sides.items() if side == "train" and groups[path] in judges]:
        skipped.append((path, f"looks like {judges[groups[path]]}, which judges"))
        del sides[path]
    members = {}
    for picture in used:
        if picture.path in sides:
            members.setdefault(groups[picture.path], []).append(picture)
    return Sided(sides, skipped, _twins(members, sides))


def _twins(members, sides):
    groups = [[picture.path for picture in group if picture.path in sides] for group in members.values()]
    return [group for group in groups if len(group) > 1]


def counts(pictures, sides, num_classes):
    """{side: pictures of each class} for the sides that have any."""
    table = {side: np.zeros(num_classes, np.int64) for side in SIDES}
    for picture in pictures:
        if picture.path in sides:
            table[sides[picture.path]][picture.label] += 1
    return {side: found for side, found in table.items() if found.any()}
