"""`docs/security.md` against the tests and the product: every test that it names is there, and every door is in it."""

import ast
import re
from pathlib import Path

import pytest

import agents.broker
from agents.broker import pick_free_port
from agents.ways import _DRIVERS
from schemas.configuration import Configuration
from streams.ingest_step import CODE, UNKNOWN_NAS, UNKNOWN_SOURCE
from streams.radius.authenticator import BadAuthenticator
from streams.radius.framing import Malformed

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"`([a-z_/]+\.py)::(\w+)`", DOCUMENT)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=lambda part: part)
def test_every_test_that_the_document_names_is_there(file: str, test: str) -> None:
    tree = ast.parse((ROOT / "tests" / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_of_the_table_names_a_test() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= len(_DRIVERS) + 10
    assert [row for row in rows if "::test_" not in row] == []
    assert len(NAMED) > len(rows)


def test_every_place_that_listens_is_a_door_of_the_document() -> None:
    """A new section with `listen` wants a row of its own."""
    sections = [name for name in Configuration.__struct_fields__ if hasattr(getattr(Configuration(), name), "listen")]
    assert sections == ["ingest", "http", "pickup", "portal"]
    assert all(f"`[{section}] listen`" in DOCUMENT for section in sections if section != "ingest")
    assert all(f"**{door}" in DOCUMENT for door in ("UDP 1813", "TCP 2083", "replies from UDP 3799", "RouterOS", "MQTT", "Kafka", "Redis"))


def test_the_reasons_of_the_accounting_port_are_those_of_the_code() -> None:
    """1.1: what `curfew_packets_refused_total` counts."""
    assert all(f"`{reason}`" in DOCUMENT for reason in (UNKNOWN_SOURCE, CODE, UNKNOWN_NAS, *BadAuthenticator))
    assert len(Malformed) == 5, "the document says five"


def test_the_embedded_kafka_listens_on_the_loopback_alone(tmp_path: Path) -> None:
    """7.1: it has neither TLS nor passwords."""
    ports = pick_free_port(), pick_free_port()
    properties = agents.broker._write_properties(tmp_path, tmp_path / "log", *ports).read_text()
    places = re.findall(r"^(?:advertised\.)?listeners=(.*)$", properties, re.MULTILINE)
    assert len(places) == 2
    hosts = [re.fullmatch(r"[A-Z]+://(.+):[0-9]+", place)[1] for line in places for place in line.split(",")]
    assert hosts == ["127.0.0.1"] * 3
