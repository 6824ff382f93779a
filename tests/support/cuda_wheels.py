"""CUDA wheels without CUDA: empty shared libraries with the right names, laid out as NVIDIA's wheels are.

TensorFlow's check opens them and calls nothing, so they satisfy it; they need one another as the real ones do.
"""

import subprocess

from webvision.machine.cuda_libraries import LIBRARIES

NEEDS = {
    "libcublas.so.12": ("libcublasLt.so.12",),
    "libcusparse.so.12": ("libnvJitLink.so.12",),
    "libcusolver.so.11": ("libnvJitLink.so.12", "libcusparse.so.12", "libcublas.so.12", "libcublasLt.so.12"),
}


def compile_library(path, source="", *, name=None, needs=()):
    """A shared library at `path` called `name`, of C `source`, that needs the libraries at `needs`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,--no-as-needed", f"-Wl,-soname,{name or path.name}", "-o", path, "-x", "c", "-"]
        + ["-x", "none", *needs],
        input=source,
        text=True,
        check=True,
    )
    return path


def write_wheels(root, *, without=()):
    """site-packages/nvidia below `root`, with every library but those in `without`."""
    (root / "nvidia").mkdir(parents=True)
    (root / "nvidia" / "__init__.py").write_text("")
    made = {}
    for name, folder, _ in LIBRARIES:
        if name not in without:
            needs = [made[other] for other in NEEDS.get(name, ()) if other in made]
            made[name] = compile_library(root / "nvidia" / folder / "lib" / name, needs=needs)
    return root
