"""Where a command runs: the project's own virtual environment, whichever Python it was started with, and importing
nothing from folders that hold data.

`python3 utils/json2sub.py` must work as typed after `make demo`, without activating anything. Commands import only `os`
and `sys`, which every Python has loaded, before they call `use_project_environment`; this module imports no more.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# How a hint spells a command so that it works where it is read: in a checkout, or where the package is installed.
DOOR = "python3 -m webvision" if os.path.exists(os.path.join(ROOT, "Makefile")) else "webvision"


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


def import_only_code():
    """Take the current folder and the command's own off the module path, and put the checkout's first.

    Python looks there before its own library, and `-m`, `-c` and an empty part of PYTHONPATH add the current folder: an
    unpacked archive with an `argparse.py` would run in the next command that is given there.
    """
    here = {"", os.path.dirname(os.path.realpath(sys.argv[0])), ROOT}
    try:
        here.add(os.getcwd())
    except FileNotFoundError:  # gone: nothing can be imported from it
        pass
    library = os.path.dirname(os.__file__)
    sys.path[:] = [ROOT, *(entry for entry in sys.path if entry == library or entry not in here)]
    given = [os.path.realpath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    # For the processes that we start; empty is as if unset.
    os.environ["PYTHONPATH"] = os.pathsep.join(entry for entry in given if entry not in here or entry == ROOT)


def _without_traceback_of_an_interrupt(kind, error, trace):
    """For a Ctrl-C while a command still imports; Python ends as after one, whatever is printed."""
    if issubclass(kind, KeyboardInterrupt):
        print(f"{os.path.basename(sys.argv[0])}: error: interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def use_project_environment(*needed):
    """Go on in `.venv` if the running interpreter lacks one of the modules `needed`; exit 2 if there is no `.venv`.

    Every command's first step, so that what all of them need before any other is done here: `import_only_code` and
    `open_standard_streams`.
    """
    sys.excepthook = _without_traceback_of_an_interrupt
    import_only_code()
    open_standard_streams()
    import importlib.util

    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if not missing:
        return
    python = os.path.join(ROOT, ".venv", "bin", "python")
    if os.path.exists(python) and os.path.join(ROOT, ".venv") != sys.prefix:
        sys.stdout.flush()
        os.execv(python, [python, *sys.argv])
    remedy = f"run `make setup` in {ROOT}" if os.path.exists(os.path.join(ROOT, "Makefile")) else "install it with pip"
    print(
        f"{os.path.basename(sys.argv[0])}: error: {', '.join(missing)} not installed for {sys.executable}; {remedy}",
        file=sys.stderr,
    )
    sys.exit(2)
