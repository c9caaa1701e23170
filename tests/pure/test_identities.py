"""An identity's row comes back as it was put, whether a number or the row itself rests for it (`streams.identities`)."""

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.session import Hold, IdentityRow, Promised, Recent, Window
from streams.identities import Identities

OFFSETS = st.integers(0, 2**63 - 1)
MORE: list[dict[str, Any]] = [
    {},
    {"holds": (Hold("02:00:00:00:00:01", "devices", 5),)},
    {"groups": ("staff",)},
    {"windows": (Window("month", "", 0, 1),)},
    {"recent": (Recent("logins", "", (1, 2)),)},
    {"lingers_ms": 0},
    {"promises": (Promised("p1", "ap1", None, 60, 90),)},
]
ROWS = st.builds(
    lambda name, seq, epoch, more: IdentityRow(name, seq, epoch, **more),
    st.sampled_from(["bob", "eve"]),
    OFFSETS,
    OFFSETS,
    st.sampled_from(MORE),
)


@given(moves=st.lists(st.tuples(ROWS, st.booleans()), max_size=12))
def test_rows_come_back_as_they_were_put(moves: list[tuple[IdentityRow, bool]]) -> None:
    """2.8: nothing of an identity is lost by how it rests in memory; what is forgotten is gone."""
    rows, kept = Identities(), dict[str, IdentityRow]()
    for row, stays in moves:
        rows[row.identity] = kept[row.identity] = row
        if not stays:
            del rows[row.identity], kept[row.identity]
        assert dict(rows) == kept
        assert [rows.get(name) for name in ("bob", "eve", "nobody")] == [kept.get(name) for name in ("bob", "eve", "nobody")]
        assert rows.lingering() == [(row.lingers_ms, name) for name, row in kept.items() if row.lingers_ms >= 0]
        assert len(rows) == len(kept)


def test_an_identity_of_which_only_its_sequence_is_kept_rests_as_a_number() -> None:
    """2.8: millions of them cost a third of what their rows would."""
    rows = Identities()
    rows["bob"] = IdentityRow("bob", 7, 40_000_000)
    resting = rows._rows["bob"]
    assert sys.getsizeof(resting) < sys.getsizeof(rows["bob"]) // 2
    with pytest.raises(KeyError):
        del rows["eve"]
    assert list(rows) == ["bob"]
