"""What an accounting record does to its partition: a session begins, goes on, ends, comes back; a NAS boots.

The decisions of the table are in `transitions`, `sameness`, `merge`, `boots`; here they are carried out on a `Step`.
"""

from __future__ import annotations

from msgspec.structs import replace

from schemas.accounting import NAS_STATUSES, SESSION_STATUSES, AccountingRecord
from schemas.codec import Text, decoder
from schemas.session import NasRow, SessionRow
from schemas.topics import session_key
from streams import (
    boots,
    claims,
    disconnects,
    ends,
    group_slots,
    habits,
    limiting,
    liveness,
    memberships,
    merge,
    metering,
    promises,
    quotas,
    sameness,
    sightings,
    successors,
    timeouts,
    transitions,
)
from streams.partitioner import partition_of
from streams.step import RecordRefused, Step

ALIVE_AFTER_MS = 5_000
"""An Interim so long after the NAS's Disconnect-ACK shows that the session lives; one sent just before it ends shows nothing."""

read = decoder(AccountingRecord).decode
"""A record of a NAS out of its JSON; raises `msgspec.ValidationError` or `msgspec.DecodeError`."""


def accounting(step: Step, record: AccountingRecord) -> None:
    """A record of a NAS.

    Raises:
        RecordRefused: it lacks what it cannot do without.
    """
    step.time_ms = record.received_ms
    if record.status in SESSION_STATUSES:
        if record.acct_session_id is None or not record.identity:
            raise RecordRefused("lacks-fields", f"a {record.status} needs acct_session_id and identity")
        _learn(step, record)
        _session(step, record, record.acct_session_id)
    elif record.status in NAS_STATUSES:
        _boot(step, record)


def _learn(step: Step, record: AccountingRecord) -> None:
    """What its NAS is like (behaviour 2.11)."""
    nas = step.change.nas(record.nas) or NasRow(record.nas)
    learned = habits.after(nas, record, step.core.row.clock_ms, step.core.policy.policy.late_after_s * 1000)
    if learned is not nas:
        step.change.nases[record.nas] = learned


def _session(step: Step, record: AccountingRecord, session_id: Text) -> None:
    key = session_key(record.nas, session_id if isinstance(session_id, str) else merge.text_key(session_id))
    row = step.change.session(key)
    same = "same" if row is None else sameness.sameness(row, record, step.core.row.clock_ms)
    status: transitions.Input = record.status  # type: ignore[assignment]  # one of SESSION_STATUSES
    action, before = transitions.action_for(row, status, same), row
    if action == "replace" and row is not None:
        if row.state != "ended":
            _supersede(step, row)
            group_slots.settle(step)  # another row takes its place under this key
        action, row = transitions.TRANSITIONS["absent", status], None
    if action == "ignore":
        return
    if row is None:
        _open(step, key, merge.new_row(record, session_id, step.offset, before), record)
        return
    _known(step, row, record, action)


def _supersede(step: Step, row: SessionRow) -> None:
    step.event("session.superseded", row)
    ends.end(step, row, "superseded", cause=None, ended_ms=row.event_ms)


def _known(step: Step, row: SessionRow, record: AccountingRecord, action: transitions.Action) -> None:
    newer = merge.is_newer(row, record)
    if newer and row.identity != record.identity:
        _rename(step, row, record.identity)
    heard_ms = step.core.heard_ms(row.nas, step.change)
    if action == "update" and newer and record.interim_interval_s is None:
        row.observed_s = liveness.observed_interval_s(row, heard_ms, record.event_ms, record.session_time_s)
    used, since_ms = quotas.usage_of(row) if step.core.book.has_quotas else None, row.last_seen_ms
    counters = sightings.counters(row)
    changed = _merge(step, row, record, newer=newer)
    is_back = False
    if row.state != "ended":
        row.heard_ms = max(row.heard_ms, heard_ms)
        is_back = action != "end" and sightings.heard(step, row, record, counters, newer=newer)
    if action == "update" or is_back:
        if changed or newer or is_back:
            step.event("session.updated", row)
        if newer and action == "update":
            _lives_on(step, row, record)
    elif action == "end":
        ends.end(step, row, "nas-stop", cause=_cause(record), ended_ms=record.event_ms)
    elif action == "correct":
        _correct(step, row, record, changed=changed)
    elif newer and (action == "reopen-if-newer" or (action == "reopen-if-after-boot" and _outlived(step, row, record))):
        _reopen(step, row, record, heard_ms)
    if used is not None:
        metering.used(step, row, used, since_ms)


def _merge(step: Step, row: SessionRow, record: AccountingRecord, *, newer: bool) -> bool:
    """A record's facts and the groups that it tells; whether anything that a subscriber sees is different."""
    changed = merge.merge(row, record, step.offset, newer=newer)
    if newer:
        timeouts.take(row, record)
    told = step.core.book.told.by(record) if newer else None
    if told is not None and memberships.take(row, told):
        changed = True
    return changed


def _open(step: Step, key: str, row: SessionRow, record: AccountingRecord) -> None:
    _merge(step, row, record, newer=True)
    row.opened_clock_ms = step.core.row.clock_ms - (record.received_ms - row.order_ms)
    row.heard_ms = step.core.heard_ms(row.nas, step.change)
    sightings.began(row, record)
    step.change.put(key, row)
    if record.status != "Start":
        claims.want(step, row)
    if record.status != "Start" and step.core.book.has_quotas:
        metering.used(step, row, quotas.NOTHING, row.order_ms)
    if record.status == "Stop":
        ends.end(step, row, "nas-stop", cause=_cause(record), ended_ms=record.event_ms)
        return
    nas = step.change.nas(row.nas)
    if nas is not None and boots.began_before(nas.boot, row, record):
        ends.end(step, row, "nas-reboot", cause="NAS-Reboot", ended_ms=row.event_ms)
        return
    row.counts = _is_fresh(step, record)
    row.unproven = record.status != "Start" or not row.counts
    row.interims = int(record.status != "Start")
    if row.unproven:
        step.event("session.started", row, cause=f"first heard of by {record.status}" if record.status != "Start" else None)
        return
    promises.take(step, row)
    for replaced in successors.replaced_by(row, [other for other in step.change.open_of(row.identity) if other is not row]):
        _supersede(step, replaced)
    verdict = limiting.verdict(step, row)
    step.event("session.started", row, passed=verdict.passed)
    if not (step.core.book.has_meters and metering.began(step, row)):
        limiting.follow(step, row, verdict)


def _lives_on(step: Step, row: SessionRow, record: AccountingRecord) -> None:
    """An Interim that says something later than was known; a repeat or one that was overtaken proves nothing."""
    row.interims += 1
    if row.unproven:
        _prove(step, row, record)
    if not _is_fresh(step, record):
        return
    timeouts.idle(step, row, row.heard_ms)
    if row.kick_state == "acknowledged":
        _alive(step, row)


def _prove(step: Step, row: SessionRow, record: AccountingRecord) -> None:
    """A session first heard of late, or by an Interim, takes part from its first fresh record and can breach from the second."""
    if not _is_fresh(step, record):
        return
    if not row.counts:
        row.counts = True
    elif row.interims > 1:
        row.unproven = False
        limiting.follow(step, row, limiting.verdict(step, row))


def _alive(step: Step, row: SessionRow) -> None:
    """An Interim after the NAS's ACK: the kicker must know, unless it was on its way already (behaviour 5.4)."""
    if step.core.row.clock_ms - row.kick_clock_ms > ALIVE_AFTER_MS:
        disconnects.notice(step, row, alive=True)


def _correct(step: Step, row: SessionRow, record: AccountingRecord, *, changed: bool) -> None:
    """A Stop for a session that is closed already: the NAS's word replaces our conclusion, the usage is merged."""
    if row.said_by == "moved":
        claims.want(step, row)
        row.closed_ms = step.core.row.clock_ms  # its end is news, which must not go before the others have heard of it
    if row.said_by != "nas-stop":
        row.said_by, row.cause, row.ended_ms = "nas-stop", _cause(record), record.event_ms
        changed = True
        disconnects.notice_if_kicked(step, row)
    if changed:
        step.event("session.updated", row)


def _reopen(step: Step, row: SessionRow, record: AccountingRecord, heard_ms: int) -> None:
    row.state, row.said_by, row.cause, row.ended_ms, row.closed_ms = "open", None, None, None, None
    row.heard_ms = heard_ms
    sightings.began(row, record)
    row.interims += 1
    row.counts, row.unproven = _is_fresh(step, record), True
    claims.want(step, row)
    step.event("session.reopened", row)
    if row.kick_state == "acknowledged":
        _alive(step, row)


def _outlived(step: Step, row: SessionRow, record: AccountingRecord) -> bool:
    """Whether a session that a boot has ended began after it (behaviour 2.4)."""
    nas = step.change.nas(row.nas)
    return boots.shows_life(None if nas is None else nas.boot, row, record, step.core.row.clock_ms - (row.closed_ms or 0))


def _rename(step: Step, row: SessionRow, identity: str) -> None:
    """A session whose name changes under way is one session (behaviour 2.10)."""
    step.event("session.moved", row, text=f"now known as {identity}")
    ends.forget_identity(step, row.identity, 1)
    row.identity = identity


def _is_fresh(step: Step, record: AccountingRecord) -> bool:
    return habits.is_fresh(step.change.nas(record.nas), record, step.core.policy.policy.late_after_s * 1000)


def _boot(step: Step, record: AccountingRecord) -> None:
    """Accounting-On or -Off (2.4)."""
    known = step.change.nas(record.nas) or NasRow(record.nas)
    boot = boots.boot_of(record)
    if not boots.is_news(boot, known.boot):
        return
    rows = [row for row in map(step.change.session, step.core.table.open_on.get(record.nas, ())) if row is not None]
    for row in sorted(rows, key=lambda row: row.opened_offset):
        if boots.ends(boot, row):
            ends.end(step, row, "nas-reboot", cause="NAS-Reboot", ended_ms=row.event_ms)
    at_home = partition_of(record.nas, step.core.partitions) == step.core.partition
    step.change.nases[record.nas] = known = replace(known, boot=boot)
    if at_home:
        step.nas_event("nas.up" if record.status == "Accounting-On" else "nas.down", known)


def _cause(record: AccountingRecord) -> str | None:
    return None if record.terminate_cause is None else str(record.terminate_cause)
