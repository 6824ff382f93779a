"""From ImageNet's classes to ObjectNet's, read from the data set's own files; no table of it is kept here.

Two forms are accepted. The challenge's JSON, `{"409": 1, ...}`: ImageNet index (0..999, by sorted WordNet id) to
ObjectNet id. Or the data set's `mappings/` folder, from which the same follows: an ObjectNet id is the rank of the
display label among all labels, sorted as bytes, and `objectnet_to_imagenet_1k.json` names each label's ImageNet
classes.
"""

import os

from webvision.challenges.objectnet.validate import FIRST_ID, LAST_ID
from webvision.errors import DataError, UsageError, printable
from webvision.files import read_untrusted_json

MAPPING_JSONS = ("imagenet_id_to_objectnet_id.json", "imagenet_pytorch_id_to_objectnet_id.json")
LABELS = "folder_to_objectnet_label.json"  # {folder: display label}
OVERLAP = "objectnet_to_imagenet_1k.json"  # {display label: "ImageNet name; ImageNet name"}
IMAGENET_NAMES = "imagenet_to_label_2012_v2"  # a class name by line
IMAGENET_LINES = "pytorch_to_imagenet_2012_id.json"  # {ImageNet index: line of that file, from 0}
IMAGENET_CLASSES = 1000
NO_PREDICTION = FIRST_ID  # what an ImageNet class outside the overlap becomes


def find_mapping(images):
    """The path of a mapping in or beside the folder `images`, or in the working directory; UsageError if there is
    none."""
    places = [
        os.path.join(base, name)
        for base in (images, os.path.join(images, os.pardir), os.curdir)
        for name in ("mappings", "mapping_files")
    ]
    for place in places:
        if os.path.isdir(place):
            return place
    raise UsageError(
        "no mapping from ImageNet to ObjectNet ids: --mapping PATH names the data set's mappings folder or its "
        f"{MAPPING_JSONS[0]} (looked in {', '.join(map(printable, places))}); a model that gives ObjectNet ids "
        "itself needs none: --convert_outputs_mode 0"
    )


def read_mapping(path):
    """{ImageNet index: ObjectNet id} from a JSON file, or from a `mappings/` folder or one that holds it."""
    if not os.path.isdir(path):
        return _from_json(path)
    for folder in (path, os.path.join(path, "mappings")):
        for name in MAPPING_JSONS:
            if os.path.exists(os.path.join(folder, name)):
                return _from_json(os.path.join(folder, name))
        if os.path.exists(os.path.join(folder, OVERLAP)):
            return _from_folder(folder)
    raise DataError(f"{printable(path)}: neither {' nor '.join(MAPPING_JSONS)} nor {OVERLAP} is in this folder")


def convert(ids, mapping):
    """The ObjectNet ids of a list of ImageNet indices; -1 for a class outside the overlap, as the challenge has it."""
    return [mapping.get(index, NO_PREDICTION) for index in ids]


def check_fits(mapping, num_classes):
    """UsageError unless a network of `num_classes` outputs can be meant by `mapping`'s indices."""
    largest = max(mapping)
    if num_classes <= largest or num_classes != IMAGENET_CLASSES > largest:
        raise UsageError(
            f"the network has {num_classes} outputs, and the mapping is from "
            f"{max(IMAGENET_CLASSES, largest + 1)} classes; give --mapping a JSON for this network's classes, "
            "or --convert_outputs_mode 0 if it gives ObjectNet ids itself"
        )


def _from_json(path):
    mapping = {}
    for key, value in _object(path).items():
        if not (key.isascii() and key.isdigit()) or type(value) is not int or not 0 <= value <= LAST_ID:
            raise DataError(
                f'{printable(path)}: "{printable(key)}": {printable(value)} is not an ImageNet index and an '
                f'ObjectNet id (0..{LAST_ID}), as in "409": 1'
            )
        mapping[int(key)] = value
    if not mapping:
        raise DataError(f"{printable(path)}: no class in it")
    return mapping


def _from_folder(folder):
    labels = _object(os.path.join(folder, LABELS))
    for name, label in labels.items():
        if not isinstance(label, str):
            raise DataError(f"{printable(os.path.join(folder, LABELS))}: the label of {printable(name)} is no text")
    if len(set(labels.values())) > LAST_ID + 1:
        raise DataError(
            f"{printable(os.path.join(folder, LABELS))}: more than {LAST_ID + 1} labels; is it ObjectNet's?"
        )
    rank = {label: place for place, label in enumerate(sorted(set(labels.values()), key=lambda label: label.encode()))}
    index_of = _imagenet_index(folder)
    path = os.path.join(folder, OVERLAP)
    mapping = {}
    for label, names in _object(path).items():
        if label not in rank:
            raise DataError(f"{printable(path)}: {printable(label)} is no label of {LABELS}")
        for name in names.split(";") if isinstance(names, str) else [""]:
            if name.strip() not in index_of:
                raise DataError(
                    f"{printable(path)}: {printable(label)}: {printable(name.strip())!r} is no class of "
                    f"{IMAGENET_NAMES}"
                )
            index = index_of[name.strip()]
            if mapping.setdefault(index, rank[label]) != rank[label]:
                raise DataError(f"{printable(path)}: {printable(name.strip())} belongs to two ObjectNet classes")
    if not mapping:
        raise DataError(f"{printable(path)}: no class in it")
    return mapping


def _imagenet_index(folder):
    """{ImageNet class name: index}."""
    path = os.path.join(folder, IMAGENET_NAMES)
    try:
        with open(path, encoding="utf-8") as file:
            names = [line.strip() for line in file]
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(path)}: {error}") from None
    path = os.path.join(folder, IMAGENET_LINES)
    index_of = {}
    for key, line in _object(path).items():
        number = int(line) if str(line).isdecimal() else -1
        if not (key.isascii() and key.isdigit()) or not 0 <= number < len(names):
            raise DataError(
                f'{printable(path)}: "{printable(key)}": {printable(line)} is not an index and a line of '
                f"{IMAGENET_NAMES}, which has {len(names)}"
            )
        # Two classes are called "maillot" and two "crane"; neither is in the overlap, so the name still decides.
        index_of[names[number]] = int(key)
    return index_of


def _object(path):
    """The JSON object in the file `path`."""
    value = read_untrusted_json(path)
    if not isinstance(value, dict):
        raise DataError(f"{printable(path)}: a JSON object was expected")
    return value
