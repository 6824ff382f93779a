"""What `pip install .` does beyond pyproject.toml: it compiles the C decoder where a compiler is, as `make setup`."""

import os
import runpy

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = os.path.dirname(os.path.abspath(__file__))
NATIVE = os.path.join("webvision", "data", "native")


class BuildWithDecoder(build_py):
    """Copies the modules, and compiles the decoder beside them; without a compiler the wheels' decoders are used."""

    def run(self):
        super().run()
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
