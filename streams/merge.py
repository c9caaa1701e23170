"""A record's facts into a session's row: the same records in any order and any number lead to the same row (behaviour 2.2).

Attributes come from the newest record that has them, counters are the largest seen, the start is the Start's word or else the earliest that
an Interim or Stop implies. Nothing here decides whether the session runs: `streams.transitions` does.
"""

from __future__ import annotations

from operator import attrgetter

from schemas.accounting import AccountingRecord
from schemas.codec import Octets, Text
from schemas.journal import Claim
from schemas.session import SessionRow
from streams.mac import normal_mac
from streams.sameness import TOLERANCE_MS, start_by
from streams.usage import larger, octets_after

_COPIED = (
    "user_name",
    "calling_station_id",
    "source",
    "framed_ip_address",
    "acct_multi_session_id",
    "audit_session_id",
    "nas_ip_address",
    "nas_ipv6_address",
    "nas_identifier",
    "nas_port",
    "nas_port_id",
    "nas_port_type",
    "called_station_id",
    "class_",
    "chargeable_user_identity",
    "framed_ipv6_prefix",
    "framed_interface_id",
    "interim_interval_s",
)
_ATTRIBUTES = attrgetter(*_COPIED)
_USAGE_NAMES = ("session_time_s", "input_octets", "output_octets", "input_packets", "output_packets")
_USAGE = attrgetter(*_USAGE_NAMES)


def device_of(calling_station_id: Text | None) -> str | None:
    """The MAC address in one notation, or None where the Calling-Station-Id is none."""
    return normal_mac(calling_station_id) if isinstance(calling_station_id, str) else None


def is_newer(row: SessionRow, record: AccountingRecord) -> bool:
    """Whether the record says something later than the row knows, by the NAS's own clocks.

    Acct-Session-Time only grows, also where the clock was set back.
    """
    return record.event_ms > row.event_ms or (record.session_time_s or 0) > (row.session_time_s or 0)


def new_row(record: AccountingRecord, session_id: Text, offset: int, before: SessionRow | None = None) -> SessionRow:
    """A row for a session first heard of in this record, which replaces the one before, with its attributes; usage is not merged yet."""
    lasted_s = 0 if record.status == "Start" else record.session_time_s or 0
    return SessionRow(
        record.nas,
        session_id,
        record.identity,
        "open",
        **dict(zip(_COPIED, _ATTRIBUTES(record), strict=True)),
        device=device_of(record.calling_station_id),
        order_ms=record.received_ms - 1000 * ((record.acct_delay_s or 0) + lasted_s),
        opened_offset=offset,
        opened_by=record.status,
        before=None if before is None else (before.order_ms, before.session_time_s or 0),
    )


def merge(row: SessionRow, record: AccountingRecord, offset: int, *, newer: bool) -> bool:
    """Put a record into the row.

    Args:
        row: the session's, changed in place.
        record: what was said about it.
        offset: the record's, in the journal.
        newer: whether it says something later than the row knows (`is_newer`; True for a new row).

    Returns:
        Whether anything that a subscriber sees is different: usage, or an attribute.
    """
    told_s = record.session_time_s
    if told_s is not None and outlasts_the_clock(row, record, told_s):
        record.session_time_s = None
        _disbelieve(row, ["Acct-Session-Time"])
    if record.disbelieved:
        _disbelieve(row, record.disbelieved)
    changed = _merge_attributes(row, record, newer=newer)
    return merge_facts(row, record, offset, newer=newer) or changed


def merge_facts(row: SessionRow, record: AccountingRecord, offset: int, *, newer: bool) -> bool:
    """As `merge`, of a record without attributes of which all is believed: its usage, its times."""
    changed = _merge_usage(row, record, newer=newer)
    if not row.start_seen or record.status == "Start":
        _merge_start(row, record)
    if record.event_ms >= row.event_ms:
        row.event_ms, row.event_believed = record.event_ms, record.event_source == "event-timestamp"
    row.last_seen_ms = max(row.last_seen_ms, record.received_ms)
    row.last_offset = offset
    return changed


def merge_claim(row: SessionRow, claim: Claim) -> bool:
    """Put what another partition knew of the same session, under another identity, into the row; whether anything is different."""
    before = (row.started_ms, *_USAGE(row))
    if claim.start_seen and not row.start_seen:
        row.started_ms, row.start_seen, row.start_believed = claim.started_ms, True, claim.start_believed
    elif claim.started_ms is not None and claim.start_seen == row.start_seen and claim.started_ms < (row.started_ms or 1 << 62):
        row.started_ms, row.start_believed = claim.started_ms, claim.start_believed
    row.order_ms = min(row.order_ms, claim.order_ms)
    for name in _USAGE_NAMES:
        setattr(row, name, larger(getattr(row, name), getattr(claim, name)))
    return before != (row.started_ms, *_USAGE(row))


def outlasts_the_clock(row: SessionRow, record: AccountingRecord, session_time_s: int) -> bool:
    """Whether an Acct-Session-Time is longer than the session can be, by the NAS's clock since its Start as well as by arrival."""
    if not (row.start_seen and row.start_believed and record.event_source == "event-timestamp"):
        return False
    if 1000 * session_time_s <= record.event_ms - (row.started_ms or 0):
        return False
    life_ms = max(record.event_ms - (row.started_ms or 0), record.received_ms - row.order_ms)
    return 1000 * session_time_s > life_ms + max(TOLERANCE_MS, life_ms // 10)


def _disbelieve(row: SessionRow, names: list[str]) -> None:
    if not set(names) <= set(row.disbelieved):
        row.disbelieved = tuple(sorted({*row.disbelieved, *names}))


def _merge_usage(row: SessionRow, record: AccountingRecord, *, newer: bool) -> bool:
    time_s, octets_in, octets_out, packets_in, packets_out = before = _USAGE(row)
    said = _USAGE(record)
    if before == said:
        return False
    at_once = record.event_ms == row.event_ms and said[0] == time_s
    row.session_time_s = larger(time_s, said[0])
    row.input_octets = octets_after(octets_in, said[1], gigawords=record.gigawords, newer=newer, at_once=at_once)
    row.output_octets = octets_after(octets_out, said[2], gigawords=record.gigawords, newer=newer, at_once=at_once)
    if said[3] is not None or said[4] is not None:
        row.input_packets = larger(packets_in, said[3])
        row.output_packets = larger(packets_out, said[4])
    return bool(before != _USAGE(row))


def repeats_attributes(row: SessionRow, record: AccountingRecord) -> bool:
    """Whether a record has no attribute that the row has not; nearly every Interim repeats what its Start said."""
    said_all, known_all = _ATTRIBUTES(record), _ATTRIBUTES(row)
    return said_all == known_all or all(said is None or said == known for said, known in zip(said_all, known_all, strict=True))


def _merge_attributes(row: SessionRow, record: AccountingRecord, *, newer: bool) -> bool:
    said_all = _ATTRIBUTES(record)
    known_all = _ATTRIBUTES(row)
    if said_all == known_all:
        return False  # nearly every Interim repeats what its Start said
    changed = False
    for name, said, known in zip(_COPIED, said_all, known_all, strict=True):
        if said is not None and said != known and (newer or known is None):
            setattr(row, name, said)
            changed = True
    if changed:
        row.device = device_of(row.calling_station_id)
    return changed


def _merge_start(row: SessionRow, record: AccountingRecord) -> None:
    start_ms = start_by(record)
    believed = record.event_source == "event-timestamp"
    if record.status == "Start":
        row.started_ms = min(start_ms or 0, row.started_ms or 0) if row.start_seen else start_ms
        row.start_seen, row.start_believed = True, believed
    elif not row.start_seen:
        implied_ms = record.event_ms if start_ms is None else start_ms
        if row.started_ms is None or implied_ms < row.started_ms:
            row.started_ms, row.start_believed = implied_ms, believed


def text_key(value: Text) -> str:
    """A text as part of a key: octets that are not UTF-8 as `base64:...`."""
    return f"base64:{value.base64}" if isinstance(value, Octets) else value
