"""From a set to batches: lists, pictures, views, the loader, and the C code beneath. No TensorFlow.

For other programs: `from webvision.data import DataSet, batches`; see feeding.py.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webvision.data.data_set import DataSet, Split
    from webvision.data.feeding import batches

__all__ = ["DataSet", "Split", "batches"]


def __getattr__(name: str) -> Any:
    """The names above, when they are asked for: importing a room loads nothing."""
    if name in ("DataSet", "Split"):
        from webvision.data import data_set as module
    elif name == "batches":
        from webvision.data import feeding as module
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(module, name)
