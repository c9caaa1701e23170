"""Recorded histories: journals with everything that came out of them, replayed against today's code.

`python -m tests.histories.record` writes them anew. A difference in a replay is a change of what the same log means: it is either a
mistake, or it is wanted, and then the new files are committed with the reason.

A file has a header line, then a line for each record of one partition's journal: what was in it, and the outputs that followed. Values
stand as JSON where that gives the same octets back, else as base64.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from schemas.topics import ACCOUNTING
from streams.session_core import SessionCore
from streams.step import Output
from tests.support.journal import Record

FOLDER = Path(__file__).parent


class Line(NamedTuple):
    """A record, and what came out of it."""

    record: Record
    out: list[Output]


def play(records: Iterable[Record]) -> Iterator[Line]:
    """Apply a journal of one partition of one, record by record."""
    core = SessionCore(0, 1, ACCOUNTING.name)
    for offset, record in enumerate(records):
        out: list[Output] = []
        core.apply(offset, *record, out)
        yield Line(record, out)


def write(name: str, about: str, lines: Iterable[Line]) -> None:
    """Write a history."""
    with (FOLDER / f"{name}.jsonl").open("w", encoding="utf-8") as file:
        file.write(json.dumps({"history": name, "about": about}) + "\n")
        for record, out in lines:
            told = [{"topic": o.topic, "partition": o.partition, "kind": o.kind, "key": o.key.decode(), **_told(o.value)} for o in out]
            key = None if record.key is None else record.key.decode()
            file.write(json.dumps({"kind": record.kind, "key": key, **_told(record.value or b""), "out": told}) + "\n")


def read(path: Path) -> list[Line]:
    """Read a history."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()[1:]]
    return [Line(_record(line), [_output(told) for told in line["out"]]) for line in lines]


def _record(line: dict[str, Any]) -> Record:
    return Record(line["kind"], None if line["key"] is None else line["key"].encode(), _octets(line))


def _output(told: dict[str, Any]) -> Output:
    return Output(told["topic"], told["partition"], told["key"].encode(), _octets(told), told["kind"])


def _told(value: bytes) -> dict[str, Any]:
    try:
        parsed = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"base64": base64.b64encode(value).decode()}
    return {"value": parsed} if msgspec.json.encode(parsed) == value else {"base64": base64.b64encode(value).decode()}


def _octets(told: dict[str, Any]) -> bytes:
    return base64.b64decode(told["base64"]) if "base64" in told else msgspec.json.encode(told["value"])
