"""The worker's peers that Debian does not have: a Kafka Streams application built by Maven, and Quix Streams in an environment of its own.

Both lie under var/bench-peers, each with a stamp of what it was made from, so that it is made once; what cannot be made is said in a
sentence and is no error. Where jars and packages come from is the machine's own setting (Maven's and pip's).
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from agents.broker import COPY_GOAL
from bench.rig import ROOT

DIRECTORY = ROOT / "var/bench-peers"
STREAMS = ROOT / "bench/kafka_streams"
QUIX = ROOT / "bench/quix_sessions.py"
QUIX_REQUIREMENTS = ROOT / "bench/quix-requirements.txt"
COMPILE_GOAL = "org.apache.maven.plugins:maven-compiler-plugin:3.13.0:compile"
MAKE_WITHIN_S = 600
HEAP_MIB = 1024
"""As much as the embedded Kafka's own."""


class Peer(NamedTuple):
    """A program, or why there is none."""

    command: Sequence[str]
    why_not: str


def kafka_streams(*, install: bool) -> Peer:
    """The Java application, without its arguments; it is built where it has to be and `install` allows."""
    java = shutil.which("java")
    if java is None or shutil.which("javac") is None:
        return Peer((), "Kafka Streams: no JDK (Debian: apt-get install default-jdk-headless)")

    def make(place: Path) -> list[list[str]]:
        maven = ["mvn", "-q", "-B", "-f", str(STREAMS / "pom.xml"), f"-Dpeer.directory={place}", f"-DoutputDirectory={place}/libs"]
        return [[*maven, COMPILE_GOAL, COPY_GOAL]]

    place = DIRECTORY / "kafka-streams"
    why_not = _made(place, [STREAMS / "pom.xml", STREAMS / "Sessions.java"], make, install=install)
    command = (java, f"-Xmx{HEAP_MIB}m", "-cp", f"{place}/classes:{place}/libs/*", "Sessions")
    return Peer(command, f"Kafka Streams: {why_not}" if why_not else "")


def quix(*, install: bool) -> Peer:
    """The program in Quix Streams, without its arguments; its environment is made where it has to be and `install` allows."""

    def make(place: Path) -> list[list[str]]:
        pip = [str(place / "bin/python"), "-m", "pip", "install", "-q", "--no-input", "--disable-pip-version-check"]
        return [[sys.executable, "-m", "venv", str(place)], [*pip, "-r", str(QUIX_REQUIREMENTS)]]

    place = DIRECTORY / "quix"
    why_not = _made(place, [QUIX_REQUIREMENTS], make, install=install)
    return Peer((str(place / "bin/python"), str(QUIX)), f"Quix Streams: {why_not}" if why_not else "")


def _made(place: Path, sources: Sequence[Path], make: Callable[[Path], list[list[str]]], *, install: bool) -> str:
    """Make a place from its sources unless the stamp says that it is made of these; why it is not there, or nothing."""
    wanted = hashlib.sha256(str(place).encode() + b"".join(source.read_bytes() for source in sources)).hexdigest()
    stamp = place / "made-of.sha256"
    if stamp.is_file() and stamp.read_text() == wanted:
        return ""
    if not install:
        return "not made yet (a run of the bench that is not --tiny makes it)"
    print(f"bench: making {place.relative_to(ROOT)}", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)  # made in place, since an environment cannot be moved; without its stamp it is made anew
    place.mkdir(parents=True)
    for command in make(place):
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=MAKE_WITHIN_S)
        except (OSError, subprocess.TimeoutExpired) as failed:
            return str(failed)
        if done.returncode != 0:
            return (done.stderr or done.stdout).strip().partition("\n")[0][:300] or f"{command[0]} ended with {done.returncode}"
    stamp.write_text(wanted)
    return ""
