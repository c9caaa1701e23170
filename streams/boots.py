"""Accounting-On and -Off: which sessions a boot has ended, and which boots count (behaviour 2.4; RFC 2866 section 5.1).

The RFC gives no rule for open sessions; the field closes all of that NAS. NAS clocks lie, so a boot ends what the journal saw before it,
unless both Event-Timestamps say that the session began after it. And a NAS of the configuration can be several devices (a network of access
points, what a proxy passes on): a boot is about the device that NAS-Identifier and NAS-IP-Address name, where they tell it apart.
"""

from __future__ import annotations

from schemas.accounting import AccountingRecord
from schemas.session import Boot, SessionRow
from streams.sameness import TOLERANCE_MS

REPEAT_TOLERANCE_MS = 5_000
"""A repeated Accounting-On has the Event-Timestamp of the first, or nearly so. One without is dated by its arrival, and may have been sent
again for so long as `sameness.TOLERANCE_MS` without saying so: taken for a second boot it would end the sessions begun since."""


def boot_of(record: AccountingRecord) -> Boot:
    """The boot that an Accounting-On or -Off tells of."""
    believed = record.event_source == "event-timestamp"
    return Boot(record.status, record.event_ms, believed, record.acct_session_id, record.nas_identifier, record.nas_ip_address)


def is_news(boot: Boot, last: Boot | None) -> bool:
    """Whether a boot counts: it is neither the last one again (sent anew, or through another ingest) nor an older one that was overtaken.

    A second boot soon after gives itself another Acct-Session-Id.
    """
    if last is None or not same_device(boot, last):
        return True
    is_same = (boot.status, boot.acct_session_id) == (last.status, last.acct_session_id)
    tolerance_ms = REPEAT_TOLERANCE_MS if boot.believed or last.believed else TOLERANCE_MS
    if is_same and abs(boot.event_ms - last.event_ms) <= tolerance_ms:
        return False
    return not (boot.believed and last.believed and boot.event_ms < last.event_ms)


def ends(boot: Boot, row: SessionRow) -> bool:
    """Whether an open session that the journal saw before the boot has ended with it."""
    if not same_device(boot, row):
        return False
    began_since = row.start_seen and row.start_believed and (row.started_ms or 0) >= boot.event_ms
    heard_since = row.event_believed and row.event_ms > boot.event_ms
    return not (boot.believed and (began_since or heard_since))


def shows_life(boot: Boot | None, row: SessionRow, record: AccountingRecord, closed_for_ms: int) -> bool:
    """Whether an Interim shows that a session which a boot has ended began after that boot, whose record came late.

    Args:
        boot: the last one of the NAS.
        row: the session's.
        record: the Interim.
        closed_for_ms: how long ago the journal saw the boot that ended it, on the partition's clock.
    """
    if boot is not None and same_device(boot, row) and boot.believed and record.event_source == "event-timestamp":
        return record.event_ms > boot.event_ms
    # No clock of the NAS's own tells. Who was dead could speak for so long as his packets were on their way, or as they say themselves.
    late_ms = max(record.received_ms - record.event_ms, 1000 * (record.acct_delay_s or 0))
    return closed_for_ms > late_ms + TOLERANCE_MS


def began_before(boot: Boot | None, row: SessionRow, record: AccountingRecord) -> bool:
    """Whether a record that comes after the boot is late news of a session that the boot has ended: it must not open it again."""
    if boot is None or not boot.believed or record.event_source != "event-timestamp" or not same_device(boot, row):
        return False
    return record.event_ms < boot.event_ms and (row.started_ms or 0) < boot.event_ms


def same_device(one: Boot | SessionRow, other: Boot | SessionRow) -> bool:
    """Nothing that both of them say tells them apart."""
    pairs = ((one.nas_identifier, other.nas_identifier), (one.nas_ip_address, other.nas_ip_address))
    return all(mine is None or its is None or mine == its for mine, its in pairs)
