"""A packed row is the row, and shorter where nothing seldom is in it."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.group import GROUP_ROW, SLOT_ROW
from schemas.session import IDENTITY_ROW, NAS_ROW, PARTITION_ROW, SESSION_ROW, GroupAnswer, RowKind, SessionRow

FIELDS = SessionRow.__struct_fields__
SELDOM = FIELDS[FIELDS.index("cause") :]
DEFAULTS = dict(zip(SELDOM, SessionRow.__struct_defaults__[-len(SELDOM) :], strict=True))
KINDS = {field.name: field.type for field in msgspec.structs.fields(SessionRow)}
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.integers(-70, 300)


TAIL = b"".join(msgspec.msgpack.encode(default) for default in DEFAULTS.values())
CUTS = [TAIL[begin : begin + length] for length in (1, 2, 4, 8) for begin in range(len(TAIL) - length + 1)]
LOOK_ALIKES = NUMBERS | st.sampled_from(CUTS).map(int.from_bytes) | st.sampled_from(CUTS).map(lambda cut: int.from_bytes(cut, signed=True))
"""Numbers whose octets are a part of the defaults'."""


def row(**fields: Any) -> SessionRow:
    return SessionRow("ap1", "s1", "bob", "open", **fields)


def whole(one: SessionRow) -> bytes:
    return msgspec.msgpack.encode(one)


def values(name: str) -> st.SearchStrategy[Any]:
    """What the field may hold; for words of ours any text, since the packer does not look."""
    if name == "verdicts":
        return st.lists(st.builds(GroupAnswer, st.text(), NUMBERS, st.text(), LOOK_ALIKES, LOOK_ALIKES), max_size=2).map(tuple)
    if name == "before":
        return st.none() | st.tuples(LOOK_ALIKES, LOOK_ALIKES)
    if name == "asked_at":
        return st.lists(st.tuples(st.text(), LOOK_ALIKES), max_size=2).map(tuple)
    if isinstance(DEFAULTS[name], tuple):
        return st.lists(st.text(), max_size=20).map(tuple)
    if isinstance(DEFAULTS[name], bool):
        return st.booleans()
    return LOOK_ALIKES if isinstance(DEFAULTS[name], int) else st.none() | (LOOK_ALIKES if name.endswith(("_ms", "_s")) else st.text())


@settings(max_examples=1000)
@given(st.fixed_dictionaries({}, optional={name: values(name) | st.just(DEFAULTS[name]) for name in SELDOM}))
def test_a_row_is_cut_short_exactly_where_nothing_seldom_is_in_it(fields: dict[str, Any]) -> None:
    """What looks like the defaults at the end of a row are the defaults."""
    one = row(**fields)
    is_usual = all(getattr(one, name) == default and type(getattr(one, name)) is type(default) for name, default in DEFAULTS.items())
    packed = SESSION_ROW.packed(one)
    assert len(packed) == len(whole(one)) - (len(SELDOM) if is_usual else 0)
    assert msgspec.msgpack.decode(packed) == msgspec.msgpack.decode(whole(one))[: len(msgspec.msgpack.decode(packed))]


@pytest.mark.parametrize("name", SELDOM)
def test_each_seldom_field_is_kept(name: str) -> None:
    """A row with it is read back with it."""
    told: dict[str, Any] = {"said_by": "nas-stop", "kick_state": "refused", "kick_reason": "limit", "before": (1, 2), "unproven": True}
    told |= {"asked_at": (("staff", 5),), "verdicts": (GroupAnswer("staff", 5),)}
    default = DEFAULTS[name]
    value = told.get(name, ("a",) if default == () else "word" if name in ("cause", "kick_id", "kick_rule", "operator_id") else 7)
    one = row(**{name: value})
    assert SESSION_ROW.packed(one) == whole(one)
    assert SESSION_ROW.unpacked(SESSION_ROW.packed(one)) == one
    assert SESSION_ROW.unpacked(SESSION_ROW.packed(row())) == row()


@pytest.mark.parametrize("number", sorted({int.from_bytes(cut) for cut in CUTS} | {int.from_bytes(cut, signed=True) for cut in CUTS}))
def test_a_number_that_looks_like_the_defaults_is_kept(number: int) -> None:
    """Alone in its row, wherever it stands."""
    rows = [row(**{name: number}) for name, default in DEFAULTS.items() if type(default) is int or name.endswith(("_ms", "_s"))]
    rows += [row(before=(number, number)), row(asked_at=(("", number),)), row(verdicts=(GroupAnswer("", 1, "", number, number),))]
    assert len(rows) == 14
    for one in rows:
        assert SESSION_ROW.packed(one) == (SESSION_ROW.packed(row()) if one == row() else whole(one))


def test_the_defaults_can_be_mistaken_for_nothing_else() -> None:
    """Each is one octet that begins no longer value; the first ten are texts and lists of texts; no seldom field holds bytes or a float."""
    octets = [msgspec.msgpack.encode(default) for default in DEFAULTS.values()]
    assert {*octets} == {b"\xc0", b"\xc2", b"\x00", b"\xff", b"\x90"}  # None, False, 0, -1 and ()
    assert b"".join(octets).startswith(b"\xc0" * 7 + b"\x90" * 3)
    for place, name in enumerate(SELDOM):
        words = {*re.findall(r"\w+", str(KINDS[name]))}
        assert not {"bytes", "float", "Any", "Octets"} & words, name
        assert place >= 10 or not {"int", "Whole", "Counter"} & words, name


WIDE = "9" * 80


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (SESSION_ROW, f'{{"nas":"ap1","acct_session_id":"s1","identity":"bob","state":"open","order_ms":{WIDE}}}'),
        (IDENTITY_ROW, f'{{"identity":"bob","windows":[["daily","",0,{WIDE}]]}}'),
        (NAS_ROW, f'{{"nas":"ap1","clock_ms":{WIDE}}}'),
        (PARTITION_ROW, f'{{"partition":0,"next_offset":{WIDE}}}'),
        (GROUP_ROW, f'{{"group":"staff","drift":{WIDE}}}'),
        (SLOT_ROW, f'{{"group":"staff","identity":"bob","session":"s:ap1/s1","order_ms":{WIDE}}}'),
    ],
)
def test_a_stranger_s_row_with_a_number_of_more_than_64_bits_is_refused(kind: RowKind[Any], value: str) -> None:
    """Found by `make fuzz`: it ended the projector that was to keep it."""
    for read in (kind.read, kind.repacked):
        with pytest.raises(msgspec.ValidationError, match="64 bits"):
            read(value.encode())
        assert read(value.replace(WIDE, "9" * 18).encode())
