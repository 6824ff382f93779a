"""The import name of sotabench's public package, so that a `sotabench.py` of its kind runs here as it is.

Behind the name stands `webvision.challenges.sotabench`: same figures, run hash and result file, labels from the data
folder instead of the network. Where the public package is installed, this one steps aside and the name means that one.
"""

import importlib.util
import sys
from importlib.machinery import PathFinder


def _public_package():
    """The spec of the public package of this name, wherever on the module path it stands, or None."""
    for entry in sys.path:
        spec = PathFinder.find_spec(__name__, [entry])
        if spec and spec.loader and "webvision.challenges" not in (spec.loader.get_source(__name__) or ""):
            return spec  # without a loader it would be a mere folder; with that text, this file or a copy of it
    return None


_spec = _public_package()
if _spec:
    sys.modules[__name__] = importlib.util.module_from_spec(_spec)  # whoever imports the name gets this one
    _spec.loader.exec_module(sys.modules[__name__])
