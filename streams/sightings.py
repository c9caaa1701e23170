"""Signs of life: what an accounting record says of its client, and what somebody else has seen (behaviours 3.1, 3.4).

The law: a sign of life is never given to the wrong session. A sighting by MAC address is of the device's newest session, since a device is
in one place; one by an address alone is of the session that has it, and of none where several have. What answers a probe counts for that
session, and only from the MAC address that it is known by. Sightings from the future or of long ago are no news.
"""

from __future__ import annotations

from schemas.accounting import AccountingRecord
from schemas.codec import decoder
from schemas.session import SessionRow
from schemas.sighting import Sighting, Sightings
from schemas.topics import session_key
from streams import liveness, merge, questions
from streams.mac import normal_mac
from streams.step import RecordRefused, Step

FUTURE_MS = 60_000
"""A sighting may be so far ahead of the log's time: clocks differ."""
AGAIN_SHARE = 10
"""A session that was alive less than this part of its period ago need not be told so again: its row stays as it is."""

Counters = tuple[int | None, int | None, int | None, int | None]

_SIGHTINGS = decoder(Sightings).decode


def counters(row: SessionRow) -> Counters:
    """What grows when the client does something: octets, packets."""
    return row.input_octets, row.output_octets, row.input_packets, row.output_packets


def began(row: SessionRow, record: AccountingRecord) -> None:
    """A session is heard of for the first time, or is back: it lives. Its row says when that is on the talking clock."""
    row.alive_ms = row.moved_ms = row.heard_ms
    row.alive_at_ms = record.event_ms
    row.probes = 0


def heard(step: Step, row: SessionRow, record: AccountingRecord, before: Counters, *, newer: bool) -> bool:
    """What a record of an open session says of its client; the row is changed.

    Args:
        step: the record.
        row: the session's, the record merged and `heard_ms` set.
        record: what the NAS said.
        before: the counters before it.
        newer: whether it says something later than was known.

    Returns:
        Whether the session was suspect and is not any more.
    """
    is_sign = note(row, record, before, newer=newer)
    return (is_sign or not liveness.is_by_client(step.core.rule_of(row.nas))) and _lives(row)


def note(row: SessionRow, record: AccountingRecord, before: Counters, *, newer: bool) -> bool:
    """As `heard`, of the session's row alone; whether the record is a sign of life of the client itself."""
    now = counters(row)
    if now[:2] != before[:2]:
        row.moved_ms = row.heard_ms
    is_sign = newer and (record.status == "Start" or (now != before and _grew(before, now)))
    if is_sign:
        row.alive_ms, row.alive_at_ms = row.heard_ms, max(row.alive_at_ms, record.event_ms)
    return is_sign


def _grew(before: Counters, now: Counters) -> bool:
    """Whether any of them is larger; written out, since it is asked of each Interim."""
    return (
        (before[0] or 0) < (now[0] or 0)
        or (before[1] or 0) < (now[1] or 0)
        or (before[2] or 0) < (now[2] or 0)
        or (before[3] or 0) < (now[3] or 0)
    )


def sighting(step: Step, value: bytes) -> None:
    """Somebody was seen.

    Raises:
        RecordRefused: a probe was answered by another device than the one that was asked.
    """
    for seen in _SIGHTINGS(value).seen:
        outcome = _see(step, seen)
        step.core.sightings[outcome] = step.core.sightings.get(outcome, 0) + 1
        if outcome == "another-device" and seen.probe_id is not None:
            detail = f"{seen.address} of session {merge.text_key(seen.acct_session_id or '')} on {seen.nas} is {seen.mac}'s now"
            raise RecordRefused("sighting-of-another", detail)


def _see(step: Step, seen: Sighting) -> str:
    """Give a sighting to its session; what became of it, to be counted."""
    wall_ms = step.core.row.wall_ms
    if seen.time_ms > wall_ms + FUTURE_MS:
        return "future"
    if seen.time_ms < wall_ms - 1000 * step.core.policy.policy.late_after_s:
        return "late"
    if seen.nas is not None and seen.mac is None and seen.address is None and seen.acct_session_id is None:
        return questions.answered(step, seen)
    mac = None if seen.mac is None else normal_mac(seen.mac)
    if seen.mac is not None and (mac is None or int(mac[:2], 16) & 1):
        return "no-device"
    rows = [row for row in map(step.change.session, _keys(step, seen, mac)) if row is not None and row.state != "ended"]
    if seen.nas is not None:
        rows = [row for row in rows if row.nas == seen.nas]
    if not rows:
        return "nobody"
    if mac is not None and seen.address is not None and len(rows) > 1:
        rows = [row for row in rows if row.framed_ip_address == seen.address] or rows
    if mac is None and len(rows) > 1:
        return "ambiguous"
    row = max(rows, key=lambda row: row.opened_offset)
    if mac is not None and row.device is not None and row.device != mac:
        return "another-device"
    return "alive" if _alive(step, row, seen) else "again"


def _keys(step: Step, seen: Sighting, mac: str | None) -> tuple[str, ...]:
    if seen.nas is not None and seen.acct_session_id is not None:
        return (session_key(seen.nas, merge.text_key(seen.acct_session_id)),)
    known = step.core.table.whereabouts
    try:
        return known.of_mac(mac) if mac is not None else known.of_address(seen.address or "")
    except ValueError:
        return ()


def _alive(step: Step, row: SessionRow, seen: Sighting) -> bool:
    """Note a sign of life in the row, unless that is no news."""
    watched = liveness.watch(step.core.rule_of(row.nas), row)
    if watched is None:
        return False
    heard_ms = step.core.heard_ms(row.nas, step.change)
    if row.state == "open" and heard_ms - liveness.alive_ms(watched, row) < watched.period_ms // AGAIN_SHARE:
        return False
    row.alive_ms, row.alive_at_ms = heard_ms, max(row.alive_at_ms, seen.time_ms)
    if _lives(row):
        who = f" by {seen.by}" if seen.by else ""
        step.event("session.updated", row, text=f"seen{who}")
    return True


def _lives(row: SessionRow) -> bool:
    row.probes = 0
    if row.state != "suspect":
        return False
    row.state = "open"
    return True
