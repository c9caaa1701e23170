"""The core as machine code: `streams/` built out of the very files that are read here, used where it was built from exactly these.

What lives here: whether there is such a build and how it comes into use. What may not: building it (`deploy/compile.py`, `make compile`).

Theory of operation. A build is a directory beside the sources with an extension module for each that is on the way of a record, and the
fingerprint of all that went into it. `agents/__init__.py` calls `use` before anything of `streams` is imported, which puts that directory
in front of the package's own path. A source that was edited since makes another fingerprint, and then Python runs what was edited: there
is one source, and no build that differs from it can come into use.
"""

import hashlib
import os
import sys
import sysconfig
from pathlib import Path
from typing import Final

import streams

VARIABLE: Final = "CURFEW_COMPILED"
"""Environment: 0 leaves a build aside."""
SOURCES: Final = Path(streams.__file__).parent
BUILD: Final = SOURCES / ".compiled"
FINGERPRINT: Final = "fingerprint"
"""File of a build that names what it was built from."""


def fingerprint() -> str:
    """Of all that a build depends on: the core, what it takes its types and constants from, and this Python; hexadecimal."""
    seen = hashlib.sha256(str(sysconfig.get_config_var("EXT_SUFFIX")).encode())
    for path in sorted((*SOURCES.rglob("*.py"), *SOURCES.rglob("*.pxd"), *(SOURCES.parent / "schemas").rglob("*.py"))):
        seen.update(f"\0{path.relative_to(SOURCES.parent)}\0".encode() + path.read_bytes())
    return seen.hexdigest()


def is_current() -> bool:
    """Whether there is a build of exactly what is here."""
    try:
        return (BUILD / FINGERPRINT).read_text() == fingerprint()
    except OSError:
        return False


def is_used() -> bool:
    """Whether the build is what runs in this process."""
    return str(BUILD / "streams") in streams.__path__


def core() -> str:
    """What the core runs as in this process, in a word for people."""
    return "compiled" if is_used() else "Python"


def use() -> None:
    """Let the build run in this process, unless there is none of these sources, it is not wanted, or the core runs already."""
    runs_already = any(name.startswith("streams.") for name in sys.modules)
    if os.environ.get(VARIABLE) == "0" or runs_already or not is_current():
        return
    import streams.radius  # noqa: PLC0415 - only where there is a build, and before its modules

    for package in (streams, streams.radius):
        package.__path__.insert(0, str(BUILD.joinpath(*package.__name__.split("."))))
    sys.path.append(str(BUILD))
