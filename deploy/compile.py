# ruff: noqa: INP001 - a script, and no package
"""`make compile`: build what is on the way of a record into streams/.compiled, where `agents.compiled` finds it.

Needs a C compiler and Python's headers. What is compiled by mypyc: the cores of ingest, session agent, group agent and of the question
before a login, and all that they import of `streams`, but for modules with msgspec structs, whose classes are made at run time. A module
with a .pxd beside it, which gives C's types to its names, is compiled by Cython: mypyc has no quick way for octets and slices of them.
"""

import ast
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["CURFEW_COMPILED"] = "0"

from agents import compiled  # noqa: E402 - after the path to it

CORES = (
    *("streams.ingest_step", "streams.duplicates", "streams.talking"),
    *("streams.session_core", "streams.group_core"),
    "streams.admission",
)
GROUP = "curfew_streams"
BUILD = ROOT / "build/compile"
CYTHON = {"language_level": 3, "annotation_typing": False}
"""Annotations are mypy's: what is an `int` there may have more bits than one of C's."""


def main() -> int:
    """Build it, unless there is one of exactly these sources."""
    if compiled.is_current():
        return 0
    from Cython.Build import cythonize  # noqa: PLC0415 - not to be had where nothing is built
    from mypyc.build import mypycify  # noqa: PLC0415
    from setuptools import Distribution, Extension  # noqa: PLC0415
    from setuptools.errors import BaseError  # noqa: PLC0415

    named = compiled.fingerprint()
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    os.chdir(ROOT)  # modules are named by their path from here
    found = modules()
    typed = [path for path in found if Path(path).with_suffix(".pxd").exists()]
    by_mypyc = [path for path in found if path not in typed]
    extensions = mypycify(by_mypyc, opt_level="2", debug_level="0", group_name=GROUP, target_dir=str(BUILD / "c"))
    by_cython = [Extension(path.removesuffix(".py").replace("/", "."), [path], extra_compile_args=["-g0"]) for path in typed]
    extensions += cythonize(by_cython, build_dir=str(BUILD / "c"), compiler_directives=CYTHON, quiet=True)
    build = Distribution({"name": GROUP, "ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(BUILD / "lib"), str(BUILD / "temp")
    build.ensure_finalized()
    try:
        build.run()
    except BaseError as error:
        remedy = "It needs a C compiler and Python's headers; the core runs as Python, which is slower."
        sys.stderr.write(f"compile: {error}. {remedy}\n")
        return 1
    shutil.rmtree(compiled.BUILD, ignore_errors=True)
    shutil.move(BUILD / "lib", compiled.BUILD)
    (compiled.BUILD / compiled.FINGERPRINT).write_text(named)  # last: without it nothing uses the build
    shutil.rmtree(BUILD)
    return 0


def modules() -> list[str]:
    """Paths of the sources to compile, from the root."""
    found: dict[str, Path] = {}
    waiting = list(CORES)
    while waiting:
        name = waiting.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        if name in found or not path.exists():
            continue
        found[name] = path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("streams"):
                waiting += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return sorted(str(path.relative_to(ROOT)) for path in found.values() if "(msgspec.Struct" not in path.read_text())


if __name__ == "__main__":
    sys.exit(main())
