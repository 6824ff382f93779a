"""Invented mapping files in the form of ObjectNet's own."""

import json
import os

LABELS = {
    "tv": "TV",
    "t-shirt": "T-shirt",
    "table_knife": "Table knife",
    "fan": "Fan",
    "bike": "Bicycle",
    "press": "Coffee/French press",
    "coffee_table": "Coffee table",
}
BY_BYTES = ["Bicycle", "Coffee table", "Coffee/French press", "Fan", "T-shirt", "TV", "Table knife"]
NAMES = [
    "tench, Tinca",
    "mountain bike, all-terrain bike",
    "tandem bicycle, tandem",
    "jersey, T-shirt",
    "television",
    "electric fan, blower",
    "espresso maker",
]
OVERLAP = {
    "Bicycle": "mountain bike, all-terrain bike; tandem bicycle, tandem",
    "T-shirt": "jersey, T-shirt",
    "TV": "television",
    "Fan": "electric fan, blower",
    "Coffee/French press": "espresso maker",
}
LINES = {"0": 0, "1": 2, "2": 1, "3": 3, "4": 4, "500": 5, "999": 6}  # index -> line; 1 and 2 are exchanged
EXPECTED = {2: 0, 1: 0, 3: 4, 4: 5, 500: 3, 999: 2}


def write_mappings(folder, **changes):
    files = {
        "folder_to_objectnet_label.json": LABELS,
        "objectnet_to_imagenet_1k.json": OVERLAP,
        "pytorch_to_imagenet_2012_id.json": LINES,
        "imagenet_to_label_2012_v2": NAMES,
    }
    os.makedirs(folder, exist_ok=True)
    for name, value in files.items():
        value = changes.get(name.split(".")[0], value)
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write("\n".join(value) + "\n" if name == "imagenet_to_label_2012_v2" else json.dumps(value))
    return str(folder)
