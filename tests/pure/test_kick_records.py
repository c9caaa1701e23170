"""Whatever lies in `disconnect.commands` has an answer (COMMON bad input; behaviour 5.7)."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import encode, loads
from schemas.disconnect import DisconnectCommand, SessionNotice
from streams.kick_records import REJECTED_OCTETS_MAX, VALUE_OCTETS_MAX, Refusal, read_record, read_result, rejected

COMMAND = DisconnectCommand(id="1", time_ms=1, expires_ms=2, nas="campus", identity="bob", session={"acct_session_id": "S"}, reason="limit")
NOTICE = SessionNotice(command_id="1", nas="campus", identity="bob", acct_session_id="S", time_ms=1)


def test_commands_and_notices_come_back_as_they_went():
    assert read_record("command", encode(COMMAND)) == COMMAND
    assert read_record("notice", encode(NOTICE)) == NOTICE


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("command", b"not json", "not-json"),
        ("command", b"\xff", "not-json"),
        ("command", b"", "not-json"),
        ("command", b"[" * 60_000, "lacks-fields"),
        ("command", b'{"session":{"a":' + b"[" * 60_000, "not-json"),
        ("command", b"{}", "lacks-fields"),
        ("command", encode(NOTICE), "lacks-fields"),
        ("notice", encode(COMMAND), "lacks-fields"),
        ("command", None, "no-value"),
        ("command", b" " * (VALUE_OCTETS_MAX + 1), "too-long"),
        ("", encode(COMMAND), "unknown-kind"),
        ("order", encode(COMMAND), "unknown-kind"),
    ],
)
def test_what_cannot_be_taken_has_a_named_reason(kind, value, reason):
    refusal = read_record(kind, value)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason
    assert refusal.detail


@given(st.sampled_from(["command", "notice", "x"]), st.binary(max_size=300))
def test_no_octets_raise(kind, value):
    read_record(kind, value)
    read_result(value)


def test_a_rejected_record_says_where_it_lay_and_keeps_its_octets():
    value = b"\xff" * (REJECTED_OCTETS_MAX + 5)
    record = loads(rejected(Refusal("r", "d"), time_ms=1, topic="t", partition=2, offset=3, kind="k", key=b"\xfe", value=value))
    assert base64.b64decode(record.pop("bytes")) == value[:REJECTED_OCTETS_MAX]
    assert record == {"reason": "r", "detail": "d", "time_ms": 1, "topic": "t", "partition": 2, "offset": 3, "kind": "k", "key": "\\xfe"}
