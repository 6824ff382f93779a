"""What `pip install .` does beyond pyproject.toml: it compiles the C decoder where a compiler is, as `make setup`, and
puts sotabench's import name where the public package of that name goes before it."""

import os
import runpy
import shutil

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = os.path.dirname(os.path.abspath(__file__))
NATIVE = os.path.join("webvision", "data", "native")


# A folder at the end of the module path, by a .pth file: in site-packages itself, the files of the public package and
# ours would overwrite each other, whichever came last.
BORROWED_NAMES = "webvision/challenges/sotabench/borrowed_names"


class BuildWithDecoder(build_py):
    """Copies the modules, and compiles the decoder beside them; without a compiler the wheels' decoders are used."""

    def run(self):
        super().run()
        borrowed = os.path.join(self.build_lib, BORROWED_NAMES, "sotabencheval")
        shutil.copytree(
            os.path.join(HERE, "sotabencheval"),
            borrowed,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
        with open(os.path.join(self.build_lib, "webvision-borrowed-names.pth"), "w", encoding="ascii") as file:
            file.write(BORROWED_NAMES + "\n")
        compiler = runpy.run_path(os.path.join(HERE, NATIVE, "compiler.py"))
        found = compiler["find_compiler"]()
        out = os.path.abspath(os.path.join(self.build_lib, NATIVE, "_decode_window.so"))
        problem = compiler["compile_library"](out, found) if found else "no C compiler"
        if problem:
            self.warn(f"pictures are decoded by wheels, more slowly: {problem}")


class WithBinary(Distribution):
    """A wheel for this platform, not for any."""

    def has_ext_modules(self):
        return True


setup(cmdclass={"build_py": BuildWithDecoder}, distclass=WithBinary)
