"""The Interim that most of a journal is made of: its session is open and known, it is later than all that was said, and only usage grew.

The law: what it leads to is, to the octet, what `session_records` makes of it; a test holds the two against each other over random
journals. Here it is done in one go, without a `Step`, which takes less than half of the time. Whatever is out of the ordinary is left to
`session_records`: the row in hand is a copy of its own until the last lines, so nothing has happened then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.accounting import AccountingRecord
from schemas.codec import encode
from schemas.event import RecordRef
from schemas.session import SESSION_ROW, IdentityRow, NasRow, SessionRow, Window
from schemas.topics import EVENTS, session_key
from streams import habits, memberships, merge, quotas, sightings
from streams.ids import decision_id
from streams.liveness import observed_interval_s
from streams.sameness import sameness
from streams.step import Output, event_of

if TYPE_CHECKING:
    from streams.session_core import SessionCore

Windows = tuple[Window, ...]

_unpack = SESSION_ROW.unpacked


def taken(core: SessionCore, offset: int, record: AccountingRecord, out: list[Output]) -> bool:
    """Carry an Interim out, if it is plain.

    Args:
        core: the partition.
        offset: the record's.
        record: what was said; left as it is.
        out: takes the event.

    Returns:
        Whether it was carried out; if not, nothing has changed.
    """
    table, session_id, identity = core.table, record.acct_session_id, record.identity
    known, nas = table.identities.get(identity), table.nases.get(record.nas)
    if known is None or nas is None or not isinstance(session_id, str):
        return False
    key = session_key(record.nas, session_id)
    packed = table.rows.get(key)
    if packed is None:
        return False
    row = _unpack(packed)
    if not _is_plain(core, known, nas, row, record):
        return False
    interval_s = row.interim_interval_s or row.observed_s or 0
    book = core.book
    used, since_ms = quotas.usage_of(row) if book.has_quotas else quotas.NOTHING, row.last_seen_ms
    if not _merge(core, nas, row, record, offset):
        return False
    windows = known.windows
    if book.has_quotas or book.has_group_limits:
        counted = _windows(core, known, row, used, (since_ms, record.received_ms))
        if counted is None:
            return False
        windows = counted
    known = IdentityRow(identity, known.seq + 1, known.seq_epoch, known.holds, known.groups, windows, known.recent, -1, known.promises)
    because = [RecordRef(core.journal_topic, core.partition, offset)]
    event_id = decision_id(core.partition, offset, 0, identity)
    event = encode(event_of("session.updated", row, known, record.received_ms, event_id, row.cause, because))
    row.interims += 1
    table.renew(key, row, interval_s, known)
    out.append(Output(EVENTS.name, core.partition, identity.encode(), event))
    core.event_types["session.updated"] = core.event_types.get("session.updated", 0) + 1
    return True


def _is_plain(core: SessionCore, known: IdentityRow, nas: NasRow, row: SessionRow, record: AccountingRecord) -> bool:
    return (
        row.state == "open"
        and row.identity == record.identity
        and row.kick_state is None
        and row.idle_timeout_s is None
        and not row.unproven
        and known.lingers_ms < 0
        and not nas.ceased_by
        and not record.disbelieved
        and record.session_timeout_s is None
        and record.idle_timeout_s is None
        and record.termination_action is None
        and merge.is_newer(row, record)
        and sameness(row, record, core.row.clock_ms) == "same"
        and habits.after(nas, record, core.row.clock_ms, core.policy.policy.late_after_s * 1000) is nas
    )


def _merge(core: SessionCore, nas: NasRow, row: SessionRow, record: AccountingRecord, offset: int) -> bool:
    """Put its facts into the row; False: there is more to them than usage."""
    if not merge.repeats_attributes(row, record):
        return False
    if record.session_time_s is not None and merge.outlasts_the_clock(row, record, record.session_time_s):
        return False
    heard_ms = core.heard_now_ms(nas)
    if record.interim_interval_s is None:
        row.observed_s = observed_interval_s(row, heard_ms, record.event_ms, record.session_time_s)
    before = sightings.counters(row)
    merge.merge_facts(row, record, offset, newer=True)
    told = core.book.told.by(record)
    if told is not None and memberships.take(row, told):
        return False
    row.heard_ms = max(row.heard_ms, heard_ms)
    sightings.note(row, record, before, newer=True)
    return True


def _windows(core: SessionCore, known: IdentityRow, row: SessionRow, used: quotas.Usage, told: tuple[int, int]) -> Windows | None:
    """The identity's windows with this usage; None: there is something to tell of it, or of its slots in groups."""
    asked = core.book.questions(memberships.groups_of(known, row) if row.groups else known.groups)
    if core.book.has_group_limits and not (
        row.counts and row.slots == asked.slots and not row.verdicts and (not row.asked or set(row.asked) <= set(row.slots))
    ):
        return None
    if not (asked.quotas or asked.group_quotas):
        return known.windows
    after = quotas.usage_of(row)
    if after == used:
        return known.windows
    if asked.group_quotas:
        return None
    grown, (since_ms, now_ms) = (after[0] - used[0], after[1] - used[1]), told
    until_ms = core.row.wall_ms or now_ms
    return quotas.added(known.windows, asked.metered, core.book.calendar, grown, (until_ms - max(0, now_ms - since_ms), until_ms))
