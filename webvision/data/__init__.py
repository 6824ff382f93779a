"""From a set to batches: lists, pictures, views, the loader, and the C code beneath. No TensorFlow.

For other programs: `from webvision.data import DataSet, batches`; see feeding.py.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webvision.data.data_set import DataSet, Split
    from webvision.data.feeding import batches

__all__ = ["DataSet", "Split", "batches"]


def __getattr__(name: str) -> Any:
    """The names above, when they are asked for: importing a room loads nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module("webvision.data.feeding" if name == "batches" else "webvision.data.data_set")
    return getattr(module, name)
