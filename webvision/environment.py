"""Where a command runs: the project's own virtual environment, whichever Python it was started with.

`python3 utils/json2sub.py` must work as typed after `make demo`, without activating anything.
"""
import importlib.util
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def use_project_environment(*needed):
    """Go on in `.venv` if the running interpreter lacks one of the modules `needed`; exit 2 if there is no `.venv`."""
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if not missing:
        return
    python = os.path.join(ROOT, ".venv", "bin", "python")
    if os.path.exists(python) and os.path.join(ROOT, ".venv") != sys.prefix:
        sys.stdout.flush()
        os.execv(python, [python, *sys.argv])
    sys.exit(f"{os.path.basename(sys.argv[0])}: error: {', '.join(missing)} not installed for {sys.executable}; "
             f"run `make setup` in {ROOT}")
