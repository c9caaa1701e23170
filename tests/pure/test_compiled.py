"""`make compile`: a build runs only where it was made from exactly the sources that are here, and decides as Python does."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agents import compiled

ROOT = Path(__file__).parents[2]

LOOK = "import agents; from agents import compiled; import streams.mac; print(compiled.is_used(), hasattr(streams.mac, 'IS_OF_THE_BUILD'))"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The sources with a build of them: one module that says that it is the build's."""
    for package in ("schemas", "streams"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", ".compiled"))
    (tmp_path / "agents").mkdir()
    for name in ("__init__.py", "compiled.py"):
        shutil.copy(ROOT / "agents" / name, tmp_path / "agents" / name)
    build = tmp_path / "streams/.compiled"
    (build / "streams/radius").mkdir(parents=True)
    (build / "streams/mac.py").write_text("IS_OF_THE_BUILD = True\n")
    (build / compiled.FINGERPRINT).write_text(_run(tmp_path, "from agents import compiled; print(compiled.fingerprint())"))
    return tmp_path


def test_a_build_of_these_sources_runs(checkout: Path) -> None:
    assert _run(checkout, LOOK) == "True True"


@pytest.mark.parametrize("edited", ["streams/mac.py", "streams/radius/decode.py", "schemas/session.py"])
def test_a_source_that_was_edited_since_runs_as_python(checkout: Path, edited: str) -> None:
    with (checkout / edited).open("a") as source:
        source.write("# edited\n")
    assert _run(checkout, LOOK) == "False False"


def test_a_source_that_came_since_leaves_the_build_aside(checkout: Path) -> None:
    (checkout / "streams/newer.py").write_text("")
    assert _run(checkout, LOOK) == "False False"


def test_a_build_that_is_not_wanted_is_left_aside(checkout: Path) -> None:
    assert _run(checkout, LOOK, CURFEW_COMPILED="0") == "False False"


def test_a_core_that_runs_already_is_not_mixed_with_a_build(checkout: Path) -> None:
    assert _run(checkout, f"import streams.mac; {LOOK}") == "False False"


def test_without_a_build_python_runs(checkout: Path) -> None:
    shutil.rmtree(checkout / "streams/.compiled")
    assert _run(checkout, LOOK) == "False False"


def test_the_version_says_what_runs() -> None:
    assert _run(ROOT, "from agents.cli import main; main(['--version'])", CURFEW_COMPILED="0").endswith(", core: Python")


@pytest.mark.slow
@pytest.mark.skipif(not compiled.is_current(), reason="there is no build of these sources; `make compile` makes one")
def test_the_build_decides_as_python_does() -> None:
    """Limits, quotas and rates on one journal: the same outputs and the same rows, octet for octet."""
    script = "import agents; from tests.pure.test_compiled import digest; print(digest())"
    as_python, as_built = (_run(ROOT, script, CURFEW_COMPILED=wanted) for wanted in ("0", "1"))
    assert as_python.split()[1:] == as_built.split()[1:]
    assert (as_python.split()[0], as_built.split()[0]) == ("False", "True")
    assert len(as_built.split()) == 4


def digest() -> str:
    """What a journal of 300 users under tight rules leads to: whether it was the build, hashes of outputs and rows, how many outputs."""
    from msgspec.structs import replace

    from bench.rules import T0_MS, journal, rules
    from schemas.codec import encode
    from schemas.journal import PolicyVersion
    from schemas.topics import ACCOUNTING
    from streams.session_core import SessionCore
    from streams.step import Output

    policy = rules()
    tight = replace(
        policy,
        limits=tuple(replace(each, max_sessions=1) for each in policy.limits),
        quotas=tuple(replace(each, octets=each.octets and 15_000_000) for each in policy.quotas),
    )
    core, out = SessionCore(0, 1, ACCOUNTING.name), list[Output]()
    core.apply(0, "policy", None, encode(PolicyVersion(version=1, time_ms=T0_MS, policy=tight)), out)
    for offset, (kind, key, value) in enumerate(journal(300), 1):
        core.apply(offset, kind, key, value, out)
    outputs, rows = (hashlib.sha256(repr(seen).encode()).hexdigest() for seen in (out, core.checkpoint()))
    return f"{compiled.is_used()} {outputs} {len(out)} {rows}"


def _run(checkout: Path, script: str, **environment: str) -> str:
    """What a script prints that runs on a checkout's own packages, and nothing else."""
    clean = {name: value for name, value in os.environ.items() if name != compiled.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=checkout,
        env=clean | environment | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert not done.stderr
    return done.stdout.strip()
