"""Who may import whom: data flows down one road, and so do imports."""
import ast
import os

from conftest import ROOT

ROAD = ("prep", "data", "model", "training", "scoring", "inference")
MAY_USE = {
    "prep": {"data"},                                    # lists and image reading, to check what training will read
    "data": set(),
    "model": {"data"},                                   # the presets' normalisation
    "training": {"data", "model", "scoring"},
    "scoring": {"data"},
    "inference": {"data", "model", "scoring"},
}
WITHOUT_TENSORFLOW = ("prep", "scoring")
ROOT_MODULES = {"imagenet5k", "resnet_model"}
REACHED_FROM = {"webvision/model/backbones.py"}          # the table through which the root modules are reached
SHARED = {"errors", "files", "environment", "devices", "faults", "cli", "compat"}


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


def test_imports_go_down_the_road_only():
    offenders = []
    for path in python_files():
        parts = path.split(os.sep)
        room = parts[1] if parts[0] == "webvision" and len(parts) > 2 else None
        for module in imported_by(path):
            target = module.split(".")
            if target[0] == "webvision" and len(target) > 1 and target[1] in ROAD and room and target[1] != room \
                    and target[1] not in MAY_USE[room]:
                offenders.append(f"{path} imports {module}")
            if target[0] == "utils" or module == "imagenet-resnet":
                offenders.append(f"{path} imports the entry point {module}")
            if target[0] in ROOT_MODULES and path not in REACHED_FROM:
                offenders.append(f"{path} imports {module}, which is reached from tables and entry points only")
    assert not offenders, "\n".join(offenders)


def test_prep_and_scoring_know_no_tensorflow():
    offenders = [f"{path} imports {module}" for path in python_files() for module in imported_by(path)
                 if path.startswith(tuple(f"webvision/{room}/" for room in WITHOUT_TENSORFLOW))
                 and (module.split(".")[0] in ("tensorflow", "tensorpack", "tf_keras") or module == "webvision.compat")]
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


def test_nothing_unpickles_evaluates_or_starts_a_shell():
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
                            for keyword in node.keywords):
                        offenders.append(f"{path}:{node.lineno} calls {name}")
    assert not offenders, "\n".join(offenders)
