"""Who may import whom: data flows down one road, and so do imports."""

import ast
import os

from tests.support.data_set import ROOT

MAY_USE = {
    "commands": {
        "challenges",
        "data",
        "doctor",
        "export",
        "inference",
        "machine",
        "model",
        "prep",
        "scoring",
        "training",
    },
    "machine": set(),
    "doctor": {"data", "machine"},
    "prep": {"data"},  # lists and image reading, to check what training will read
    "data": set(),
    "model": {"data", "machine"},  # the presets' normalisation
    "training": {"data", "machine", "model", "scoring"},
    "inference": {"data", "machine", "model", "scoring"},
    "export": {"data", "model"},
    "scoring": {"data"},
    "challenges": {"data", "scoring"},
}
# Rooms within rooms; whoever is not named may use all of its house. A challenge uses no other challenge.
INNER = {
    "data": {
        "lists": set(),
        "pictures": {"native"},
        "views": set(),
        "native": set(),
        "archives": {"lists", "pictures", "native"},
        "loader": {"lists", "pictures", "views", "native", "archives"},
    },
    "inference": {"serving": set()},
    "commands": {"own_pictures": set()},
    "model": {"networks": set(), "foreign": {"networks"}},
    "scoring": {"predictions": set(), "figures": {"predictions"}, "report": {"figures", "predictions"}},
    "training": {
        "parts": set(),
        "state": set(),
        "watching": {"state", "graph"},
        "graph": {"parts"},
        "small_sets": {"parts"},
    },
    "prep": {
        "download": {"arrange"},
        "arrange": set(),
        "check": set(),
        "demo": set(),
        "shards": set(),
        "own_folder": {"check"},  # its pool of limited processes, and what looks alike
    },
    "challenges": {"codalab": set(), "objectnet": set(), "sotabench": set(), "kneron": set()},
}
WITHOUT_TENSORFLOW = ("doctor", "machine", "prep", "data", "scoring", "challenges")
ROOT_MODULES = {"imagenet5k", "resnet_model"}
REACHED_FROM = {"webvision/model/backbones.py"}  # the table through which the root modules are reached
SHARED = {"errors", "files", "environment", "devices", "faults", "compat", "progress", "processes"}


def python_files():
    for folder, _, names in os.walk(os.path.join(ROOT, "webvision")):
        for name in names:
            if name.endswith(".py"):
                yield os.path.relpath(os.path.join(folder, name), ROOT)
    yield from ("imagenet5k.py", "resnet_model.py")


def imported_by(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms(parts):
    """The room and the inner room of 'webvision/data/lists/text.py', or of webvision.data.lists.text, each None where
    there is none."""
    room = parts[1] if parts[0] == "webvision" and len(parts) > 1 and parts[1] in MAY_USE else None
    inner = parts[2] if room and len(parts) > 2 and parts[2] in INNER.get(room, ()) else None
    return room, inner


def test_imports_go_down_the_road_only():
    offenders = []
    for path in python_files():
        room, inner = rooms(path.split(os.sep))
        for module in imported_by(path):
            target, target_inner = rooms(module.split("."))
            if room and target and target != room and target not in MAY_USE[room]:
                offenders.append(f"{path} imports {module}")
            if (
                target == room
                and inner
                and target_inner
                and target_inner != inner
                and target_inner not in INNER[room][inner]
            ):
                offenders.append(f"{path} imports {module}, against the walls within {room}")
            if module.split(".")[0] == "utils" or module == "imagenet-resnet":
                offenders.append(f"{path} imports the entry point {module}")
            if module.split(".")[0] in ROOT_MODULES and path not in REACHED_FROM:
                offenders.append(f"{path} imports {module}, which is reached from tables and entry points only")
    assert not offenders, "\n".join(offenders)


def test_every_folder_is_a_room_with_a_sign():
    """Each folder of code is in the tables above, and its __init__ says what is there."""
    offenders = []
    for folder, _, names in os.walk(os.path.join(ROOT, "webvision")):
        parts = os.path.relpath(folder, ROOT).split(os.sep)
        if "__init__.py" not in names or len(parts) == 1:
            continue
        if rooms(parts)[len(parts) - 2] is None:
            offenders.append(f"{'/'.join(parts)} is in no table")
        with open(os.path.join(folder, "__init__.py"), encoding="utf-8") as file:
            if not ast.get_docstring(ast.parse(file.read())):
                offenders.append(f"{'/'.join(parts)} says nothing of what is there")
    assert not offenders, "\n".join(offenders)


def test_rooms_without_tensorflow_know_none():
    offenders = [
        f"{path} imports {module}"
        for path in python_files()
        for module in imported_by(path)
        if path.startswith(tuple(f"webvision/{room}/" for room in WITHOUT_TENSORFLOW))
        and (module.split(".")[0] in ("tensorflow", "tensorpack", "tf_keras") or module == "webvision.compat")
    ]
    assert not offenders, "\n".join(offenders)


def test_only_compat_sets_the_environment_of_tensorflow_or_patches_it():
    offenders = []
    for path in python_files():
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            source = file.read()
        if path != "webvision/compat.py" and ("TF_USE_LEGACY_KERAS" in source or "import tensorflow as" in source):
            offenders.append(path)
    assert not offenders, "\n".join(offenders)


def test_no_module_is_over_long_or_called_after_nothing():
    offenders = []
    for path in python_files():
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            lines = len(file.readlines())
        if lines > 330 or os.path.basename(path) in ("utils.py", "common.py", "helpers.py", "misc.py"):
            offenders.append(f"{path}: {lines} lines")
    assert not offenders, "\n".join(offenders)


def test_nothing_unpickles_evaluates_or_starts_a_shell():  # Z1
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    offenders = []
    for path in python_files():
        offenders += [f"{path} imports {module}" for module in imported_by(path) if module.split(".")[0] in forbidden]
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            for node in ast.walk(ast.parse(file.read())):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    if name in ("eval", "exec", "os.system", "yaml.load") or any(
                        keyword.arg in ("shell", "allow_pickle") and ast.unparse(keyword.value) == "True"
                        for keyword in node.keywords
                    ):
                        offenders.append(f"{path}:{node.lineno} calls {name}")
    assert not offenders, "\n".join(offenders)
