"""Whether a record is about the session in the row, or about another one under the same Acct-Session-Id (RFC 2866 section 5.5: ids repeat).

NAS clocks lie and retransmissions come late, so a later start needs a tolerance, and a record must also be newer than all that is known of
the old session before it may begin a new one. Whoever is in doubt takes it for the same: a session merged wrongly is corrected by its next
record, a session split wrongly is counted twice.
"""

from __future__ import annotations

from schemas.accounting import AccountingRecord
from schemas.session import SessionRow
from streams.transitions import Sameness

BELIEVED_TOLERANCE_MS = 5_000
"""Two starts by Event-Timestamp (whole seconds, one clock) further apart are two sessions."""
TOLERANCE_MS = 60_000
"""Where a start is computed from arrival times: a Start may have been retransmitted for so long without saying so."""


def start_by(record: AccountingRecord) -> int | None:
    """When the record says its session began, milliseconds since the epoch; None if it does not say."""
    if record.status == "Start":
        return record.event_ms - 1000 * (record.session_time_s or 0)
    return None if record.session_time_s is None else record.event_ms - 1000 * record.session_time_s


def sameness(row: SessionRow, record: AccountingRecord, clock_ms: int) -> Sameness:
    """Whether the record is about the row's session, a later one, or an earlier one.

    Args:
        row: the session's.
        record: what is said under its Acct-Session-Id.
        clock_ms: the partition's clock: how old the row's session can be at most, whatever the clocks of ingests say.
    """
    start_ms = start_by(record)
    if start_ms is None or row.started_ms is None:
        return "same"
    if record.status != "Start":
        if _began_at(row.order_ms, record):
            return "same"
        if row.before is not None and _repeats(row.before, row, record, clock_ms):
            return "earlier"
        # An Interim's or Stop's start is computed: it must lie after the whole life of the old session as we know it.
        if start_ms > row.event_ms + TOLERANCE_MS:
            return "later"
        return "earlier" if record.event_ms < row.started_ms - TOLERANCE_MS and _knows_better(row, record, clock_ms) else "same"
    if not row.start_seen and _began_at(row.order_ms, record):
        return "same"  # the missing one
    tolerance_ms = BELIEVED_TOLERANCE_MS if row.start_seen and _both_believed(row, record) else TOLERANCE_MS
    # Where no Start was seen yet, this may be the missing one, overtaken by what we know.
    known_until_ms = row.event_ms if row.start_seen else row.event_ms + tolerance_ms
    if start_ms > row.started_ms + tolerance_ms and record.event_ms > known_until_ms:
        return "later"
    return "earlier" if start_ms < row.started_ms - tolerance_ms and _knows_better(row, record, clock_ms) else "same"


def _began_at(order_ms: int, record: AccountingRecord) -> bool:
    """Whether the record's session began when another one did, by arrival: so it is the same, though the NAS's clock was set meanwhile."""
    if record.session_time_s is None and record.status != "Start":
        return False
    began_ms = record.received_ms - 1000 * ((record.acct_delay_s or 0) + (record.session_time_s or 0))
    return abs(began_ms - order_ms) <= TOLERANCE_MS


def _repeats(before: tuple[int, int], row: SessionRow, record: AccountingRecord, clock_ms: int) -> bool:
    """Whether a record says what is known already of the session before the row's, as `SessionRow.before` has it.

    Only where no clock of the NAS's own tells, and soon after the row's session began: later a repeat has no way left, and a clock that was
    set can make any session seem to have begun when the other one did.
    """
    is_young = clock_ms - row.opened_clock_ms <= 2 * TOLERANCE_MS
    is_known = (record.session_time_s or 0) <= before[1] and _began_at(before[0], record)
    return is_young and is_known and not _both_believed(row, record)


def _both_believed(row: SessionRow, record: AccountingRecord) -> bool:
    return record.event_source == "event-timestamp" and row.start_believed


def _knows_better(row: SessionRow, record: AccountingRecord, clock_ms: int) -> bool:
    """Whether the row's start can show that a record with an older time is of a session before.

    One clock, the NAS's, has told both; or an Acct-Session-Time is longer than the row's session can have lasted. A time of arrival alone
    silences no session: an ingest's clock is behind the other's, or was set. A Stop or Start it may keep out, which does no harm, and an
    Interim that says no more than is known.
    """
    if not row.start_seen and row.session_time_s is None:
        return False  # the row's start is the time of an Interim that did not say how long its session had lasted
    if record.status != "Interim-Update" or _both_believed(row, record):
        return True
    told_s = record.session_time_s or 0
    return told_s <= (row.session_time_s or 0) or 1000 * told_s > clock_ms - row.opened_clock_ms + TOLERANCE_MS
