"""What a NAS is like, learned from its records: whether it sends Interims, and what its clock is worth (behaviours 2.11 and 3.5).

Law of this file: (the NAS's row, a record, the partition's clock) -> the row, the same object where nothing is new, so that a record of a
NAS whose habits are known costs next to nothing. Each partition learns from its own sessions; who shows them (`curfew nas list`) has the
row of the NAS name's home partition.

A clock that is behind makes every record look like old news. Where all of them are late by the same for `LEARN_MS`, that is the clock:
they are fresh. A backlog is not taken for it: it is handed in within minutes, comes nearer to the present, or says Acct-Delay-Time.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from schemas.accounting import AccountingRecord
from schemas.session import NasRow

LEARN_MS: Final = 600_000
"""On the partition's clock: so long must all records be equally late."""
MUTE_AFTER_S: Final = 1_800
"""A session that lasted for so long and ended without an Interim shows that its NAS sends none."""
MUTE_SESSIONS_MAX: Final = 3
"""So many of them in a row are enough; counted no further."""


def after(nas: NasRow, record: AccountingRecord, clock_ms: int, late_after_ms: int) -> NasRow:
    """The NAS's row after a record about a session.

    Args:
        nas: the row.
        record: what was said.
        clock_ms: the partition's clock.
        late_after_ms: a record is old news when it is later than that.
    """
    if record.status == "Interim-Update":
        if not nas.interims or nas.mute_sessions:
            nas = replace(nas, interims=True, mute_sessions=0)
    elif _lacks_interims(record) and not nas.interims and nas.mute_sessions < MUTE_SESSIONS_MAX:
        nas = replace(nas, mute_sessions=nas.mute_sessions + 1)
    if record.event_source != "event-timestamp":
        if nas.stamps != "disbelieved" and "Event-Timestamp" in record.disbelieved:
            nas = replace(nas, stamps="disbelieved")
        return nas
    if nas.stamps == "disbelieved":
        nas = replace(nas, stamps="believed")
    late_ms = _late_ms(record)
    if late_ms > late_after_ms:
        return _learned(nas, late_ms, clock_ms, late_after_ms)
    return replace(nas, late_ms=0, late_since_ms=-1) if nas.late_ms or nas.late_since_ms >= 0 else nas


def is_mute(nas: NasRow) -> bool:
    """Whether it sends no Interims, so that nobody can tell the living from the dead there."""
    return not nas.interims and nas.mute_sessions >= MUTE_SESSIONS_MAX


def is_fresh(nas: NasRow | None, record: AccountingRecord, late_after_ms: int) -> bool:
    """Whether a record tells of now, by a clock of the NAS that may be behind all the time."""
    if record.received_ms - record.event_ms <= late_after_ms:
        return True
    if nas is None or record.event_source != "event-timestamp" or 1000 * (record.acct_delay_s or 0) > late_after_ms:
        return False
    return nas.late_ms > 0 and _late_ms(record) - nas.late_ms <= late_after_ms


def _lacks_interims(record: AccountingRecord) -> bool:
    return record.status == "Stop" and (record.session_time_s or 0) >= MUTE_AFTER_S


def _late_ms(record: AccountingRecord) -> int:
    """By how much it is late beyond what it says itself."""
    return record.received_ms - record.event_ms - 1000 * (record.acct_delay_s or 0)


def _learned(nas: NasRow, late_ms: int, clock_ms: int, late_after_ms: int) -> NasRow:
    least_ms, most_ms = min(nas.late_least_ms, late_ms), max(nas.late_most_ms, late_ms)
    if nas.late_since_ms < 0 or most_ms - least_ms > late_after_ms:
        return replace(nas, late_since_ms=clock_ms, late_least_ms=late_ms, late_most_ms=late_ms)
    if clock_ms - nas.late_since_ms >= LEARN_MS and nas.late_ms != least_ms:
        nas = replace(nas, late_ms=least_ms)
    if (least_ms, most_ms) != (nas.late_least_ms, nas.late_most_ms):
        nas = replace(nas, late_least_ms=least_ms, late_most_ms=most_ms)
    return nas
