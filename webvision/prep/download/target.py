"""Where a set may be unpacked: never where code is imported from, for what an archive holds is a stranger's."""

import os
import sys
import sysconfig

from webvision.environment import ROOT
from webvision.errors import UsageError, printable

HOME = os.path.join(ROOT, "data")  # the one folder of the checkout for sets; no program looks for code there


def default_target(set_name):
    """The folder of a set when none is named, wherever the command is given."""
    return os.path.join(HOME, set_name)


def check_target(target):
    """UsageError if `target` is, holds or lies in a folder of code. It need not exist."""
    target = os.path.realpath(target)
    if _lies_in(target, os.path.realpath(HOME)):
        return
    for folder in _own_folders():
        if _lies_in(target, folder):
            raise UsageError(
                f"{printable(target)}: lies in {printable(folder)}, which holds programs, and an archive might bring "
                f"others; choose a folder elsewhere, or below {printable(HOME)}"
            )
    for folder in (*_own_folders(), *map(os.path.realpath, filter(None, sys.path))):
        if _lies_in(folder, target):
            raise UsageError(
                f"{printable(target)}: programs are run from {printable(folder)} in it; give the set a folder of its "
                "own"
            )


def _own_folders():
    library = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
    return sorted({os.path.realpath(folder) for folder in (ROOT, *library)})


def _lies_in(path, folder):
    return path == folder or path.startswith(folder.rstrip("/") + "/")
