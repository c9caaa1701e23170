"""Fixtures for every level, and what is told about a run: the seed, the Kafka that was used, and why the rig was left out.

Markers follow the directory: tests/broker is `broker`, tests/rig is `rig`. In this process the core runs as Python, unless `--compiled` is
given; the parts of the product that tests start run the compiled one where there is one, as they do for everybody.
"""

import asyncio
import gc
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest

ASKS_FOR_COMPILED = "--compiled"
if ASKS_FOR_COMPILED not in sys.argv:
    os.environ["CURFEW_COMPILED"] = "0"  # before anything of ours is imported
from agents import compiled  # noqa: E402
from tests.support.kafka import Kafka, start_kafka  # noqa: E402

os.environ.pop("CURFEW_COMPILED", None)

SEED = int(os.environ.get("CURFEW_SEED") or random.SystemRandom().randrange(2**32))
RIG_PROGRAMS = ("hostapd", "wpa_supplicant", "freeradius", "ip", "unshare")
T = TypeVar("T")
KAFKAS_USED = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(ASKS_FOR_COMPILED, action="store_true", help="run the core as `make compile` built it")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[KAFKAS_USED] = []
    if config.getoption(ASKS_FOR_COMPILED) and not compiled.is_used():
        raise pytest.UsageError(f"{ASKS_FOR_COMPILED}: there is no build of these sources; `make compile` makes one")
    # No deadlines: how fast a busy machine is says nothing about what is right.
    hypothesis.settings.register_profile("test", deadline=None)
    hypothesis.settings.load_profile("test")
    # A shell that runs us in the background has SIGINT ignored, and every process that a test starts would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Debian keeps daemons where only root looks
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {SEED} (CURFEW_SEED={SEED} repeats it); core: {compiled.core()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in config.stash[KAFKAS_USED]:
        terminalreporter.write_line(f"kafka: {line}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    why_no_rig = None
    for item in items:
        if compiled.is_used() and item.get_closest_marker("python_core"):
            item.add_marker(pytest.mark.skip(reason="it replaces a part of the core, which only Python lets it do"))
        level = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        if level in {"broker", "rig"}:
            item.add_marker(level)
        if item.get_closest_marker("rig"):
            why_no_rig = _why_no_rig() if why_no_rig is None else why_no_rig
            if why_no_rig:
                item.add_marker(pytest.mark.skip(reason=why_no_rig))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No garbage collection while a failure is put into words.

    What is collected may log an exception; Python 3.11 parses source for its traceback, in the middle of the parse for ours, and raises
    SystemError (AST constructor recursion depth mismatch): the whole run would end there.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def _why_no_rig() -> str:
    """Empty when real NAS software can be run here, else the reason."""
    if not sys.platform.startswith("linux"):
        return "the rig needs Linux (network namespaces)"
    if os.geteuid() != 0:
        return "the rig needs root (network namespaces)"
    if missing := [name for name in RIG_PROGRAMS if shutil.which(name) is None]:
        return f"the rig needs programs that are not installed: {', '.join(missing)} (deploy/apt-packages.txt)"
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
        return "the rig may not make network namespaces here"
    return ""


@pytest.fixture(scope="session")
def seed() -> int:
    """The run's seed, printed in the header; CURFEW_SEED sets it."""
    return SEED


@pytest.fixture
def prefix() -> str:
    """A topic prefix (`[kafka] topic_prefix`) of the test's own; shown when the test fails."""
    name = f"t{secrets.token_hex(4)}."
    print(f"topic prefix: {name}")  # noqa: T201 - pytest shows it with a failure
    return name


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """The run's Kafka, shared: a test that stops or freezes it breaks others; `own_kafka` is for that."""
    yield from _run(start_kafka(tmp_path_factory.mktemp("kafka") / "data"), request.config, "shared")


@pytest.fixture(scope="session")
def _second_kafka(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    yield from _run(start_kafka(tmp_path_factory.mktemp("kafka") / "data", own=True), request.config, "private")


@pytest.fixture
def own_kafka(_second_kafka: Kafka) -> Iterator[Kafka]:
    """A Kafka for one test at a time, to stop, kill and freeze; it runs again, with its data, when the next test gets it."""
    _wait_for(_second_kafka.start())
    yield _second_kafka
    _wait_for(_second_kafka.resume())


def _run(starting: Coroutine[Any, Any, Kafka], config: pytest.Config, use: str) -> Iterator[Kafka]:
    kafka = _wait_for(starting)
    config.stash[KAFKAS_USED].append(f"{use}, {kafka.kind}, at {kafka.bootstrap}")
    yield kafka
    _wait_for(kafka.close())


def _wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on a loop that nobody else sees; asyncio.run would take the test runner's current loop away."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()
