"""Octets from strangers do no harm: those that were kept, and some that nobody has looked at (`make fuzz` looks for hours)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.__main__ import CORPUS, NAMES
from tests.fuzz.targets import TARGETS

FILES = sorted(CORPUS.glob("*/*"))
JSON = [b"{", b'{"a":1}', b'"', b'":"', b'"\xff"', b"[[[[", b"null", b"-1", b"1e999", b"18446744073709551616", b"\\ud800", b",", b"}"]


def test_every_target_has_octets_to_begin_with() -> None:
    assert tuple(TARGETS) == NAMES
    assert {file.parent.name for file in FILES} == set(TARGETS)
    assert sum(file.stat().st_size for file in FILES) < 200_000


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_octets_that_were_kept_do_no_harm(file: Path) -> None:
    """1.2, 7.1: among them whatever was ever found."""
    TARGETS[file.parent.name](file.read_bytes())


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_octets_of_a_stranger_do_no_harm(name: str, data: st.DataObject) -> None:
    """1.2, 7.1: JSON-like pieces between pieces of what is right."""
    kept = [file.read_bytes() for file in FILES if file.parent.name == name]
    octets = bytearray(data.draw(st.sampled_from(kept)))
    for _ in range(data.draw(st.integers(0, 3))):
        at, cut = data.draw(st.integers(0, len(octets))), data.draw(st.integers(0, 8))
        octets[at : at + cut] = data.draw(st.sampled_from(JSON) | st.binary(max_size=12))
    TARGETS[name](bytes(octets))
