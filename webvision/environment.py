"""Where a command runs: the project's own virtual environment, whichever Python it was started with.

`python3 utils/json2sub.py` must work as typed after `make demo`, without activating anything.
"""

import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def open_standard_streams():
    """Open /dev/null in place of standard input, output and error where the caller has closed them (`>&-`, some
    daemons).

    Else the next file to be opened gets the number 1, and whoever prints writes into it; and sys.stdout is None, which
    nobody who flushes it expects. Only right before any file is opened.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
            os.set_inheritable(number, True)  # our own commands and workers rely on it, too
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="backslashreplace"))


def use_project_environment(*needed):
    """Go on in `.venv` if the running interpreter lacks one of the modules `needed`; exit 2 if there is no `.venv`.

    Every command's first step, so that what all of them need before any other is done here: `open_standard_streams`.
    """
    open_standard_streams()
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if not missing:
        return
    python = os.path.join(ROOT, ".venv", "bin", "python")
    if os.path.exists(python) and os.path.join(ROOT, ".venv") != sys.prefix:
        sys.stdout.flush()
        os.execv(python, [python, *sys.argv])
    sys.exit(
        f"{os.path.basename(sys.argv[0])}: error: {', '.join(missing)} not installed for {sys.executable}; "
        f"run `make setup` in {ROOT}"
    )
