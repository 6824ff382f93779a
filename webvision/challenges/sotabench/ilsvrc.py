"""What is in the validation images of ILSVRC 2012: image id -> class, from the official devkit archive or a text list.

A class is the rank of its WordNet id among the sorted ids (0..999), the order that every public ImageNet classifier is
trained in. The devkit counts differently: its ground truth holds ILSVRC2012_ID 1..1000, which meta.mat ties to WordNet
ids. The archive is read in memory, member by member; nothing of it is unpacked, and nothing is unpickled.
"""

import gzip
import os
import zlib

import numpy as np

from webvision.challenges.sotabench.matfile import read_mat
from webvision.data.archives import tarstream
from webvision.data.lists.text import read_list
from webvision.errors import DataError, printable

DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"
LABEL_LISTS = ("val.txt", os.path.join("meta", "val.txt"))  # `ILSVRC2012_val_00000001.JPEG 65` by line
IMAGE_ID = "ILSVRC2012_val_{:08d}"
META, GROUND_TRUTH = "meta.mat", "ILSVRC2012_validation_ground_truth.txt"
MAX_MEMBER_BYTES = 4 << 20  # the real ones: 130 KB and 200 KB
MAX_BYTES = 256 << 20  # of the archive unpacked, as far as the files are: the real one holds 6 MB
MAX_MEMBERS = 10_000  # the real archive has 20
MAX_IMAGES = 100_000  # the real ones are 50,000
NUM_CLASSES = 1000


def find_targets(root):
    """{image id: class} from the devkit archive in the folder `root`, or else from one of LABEL_LISTS in it."""
    for name, read in ((DEVKIT, read_devkit), *((name, read_labels) for name in LABEL_LISTS)):
        path = os.path.join(root, name)
        if os.path.exists(path):
            return read(path)
    raise DataError(
        f"{root}: neither {DEVKIT} nor {' nor '.join(LABEL_LISTS)} is here; put the devkit of ILSVRC 2012 "
        "(image-net.org) there, or a list with a line `ILSVRC2012_val_00000001.JPEG 65` for each image, "
        "or name such a file in SOTABENCH_LABELS"
    )


def read_targets(path):
    """{image id: class} from the devkit archive or the text list `path`, told by the first bytes."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return read_devkit(path) if zipped else read_labels(path)


def read_labels(path):
    """{image id: class} from a text list; folders before a name and its extension are dropped."""
    targets = {}
    for number, entry in enumerate(read_list(path, NUM_CLASSES), 1):
        if entry.label is None:
            raise DataError(f"{path}:{number}: no label; a line is `ILSVRC2012_val_00000001.JPEG 65`")
        image_id = os.path.splitext(os.path.basename(entry.name))[0]
        if number > MAX_IMAGES:
            raise DataError(f"{path}: more than {MAX_IMAGES:,} images; is this a list of the validation images?")
        if image_id in targets:
            raise DataError(f"{path}:{number}: {printable(image_id)} has a label already")
        targets[image_id] = entry.label
    return targets


def read_devkit(path):
    """{image id: class} from the devkit archive `path`."""
    members = _members(path, (META, GROUND_TRUTH))
    try:
        class_of = classes_by_id(read_mat(members[META]))
    except DataError as error:
        raise DataError(f"{path}: {META}: {error}") from None
    targets = {}
    if members[GROUND_TRUTH].count(b"\n") > MAX_IMAGES:
        raise DataError(f"{path}: {GROUND_TRUTH} has more than {MAX_IMAGES:,} lines; this is not the devkit")
    for number, line in enumerate(members[GROUND_TRUTH].splitlines(), 1):
        if len(line) > 9 or not line.strip().isdigit() or int(line) not in class_of:
            raise DataError(
                f"{path}: {GROUND_TRUTH}:{number}: {printable(line[:40].decode('latin-1'))!r} is not the "
                f"ILSVRC2012_ID of one of {len(class_of)} classes"
            )
        targets[IMAGE_ID.format(number)] = class_of[int(line)]
    if not targets:
        raise DataError(f"{path}: {GROUND_TRUTH} is empty")
    return targets


def classes_by_id(variables):
    """{ILSVRC2012_ID: class} from meta.mat's `synsets`; those with children are inner nodes of the tree, not
    classes."""
    synsets = variables["synsets"].value if "synsets" in variables else None
    if not isinstance(synsets, list) or not all(isinstance(synset, dict) for synset in synsets):
        raise DataError("it has no structure called synsets")
    wnids = {}
    for row, synset in enumerate(synsets, 1):
        missing = [name for name in ("ILSVRC2012_ID", "WNID", "num_children") if name not in synset]
        if missing:
            raise DataError(f"synset {row} lacks the field {missing[0]}")
        if not _number(synset["num_children"], row):
            number, wnid = _number(synset["ILSVRC2012_ID"], row), synset["WNID"]
            if not isinstance(wnid, str) or number in wnids:
                raise DataError(f"synset {row}: its WNID is no text, or its id {number} occurs twice")
            wnids[number] = wnid
    if not wnids or len(set(wnids.values())) < len(wnids):
        raise DataError("it lists no class, or a WNID twice")
    rank = {wnid: place for place, wnid in enumerate(sorted(wnids.values()))}
    return {number: rank[wnid] for number, wnid in wnids.items()}


def _number(value, row):
    if not isinstance(value, np.ndarray) or value.size != 1 or not float(value.item()).is_integer():
        raise DataError(f"synset {row}: a whole number was expected")
    return int(value.item())


def _members(path, wanted):
    """{base name: bytes} of the `wanted` files in the archive `path`, read as a stream."""
    found = {}
    try:
        with gzip.open(path) as plain:
            reader = tarstream.Reader(plain)
            for member in reader:
                name = os.path.basename(os.fsdecode(member.name))
                taken = name in wanted and not member.odd and not member.folder
                most = MAX_MEMBER_BYTES if taken else MAX_BYTES - reader.offset
                if member.size > most or reader.count > MAX_MEMBERS:
                    raise DataError(
                        f"{path}: member {reader.count}, of {member.size} bytes, at byte {reader.offset}; this is not "
                        "the devkit"
                    )
                if taken and name in found:
                    raise DataError(f"{path}: it holds {name} twice")
                if taken:
                    found[name] = reader.read(member.size)
            plain.read(tarstream.BLOCK * 64)  # the padding, and with it gzip's check sum
    except (tarstream.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: not a whole .tar.gz archive ({printable(error)}); fetch it again") from None
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{path}: no {' and no '.join(missing)} in it; is this {DEVKIT}?")
    return found
