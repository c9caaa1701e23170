"""What a NAS is like, learned from its records: whether it sends Interims, and what its clock is worth (behaviours 2.11 and 3.5).

Law of this file: (the NAS's row, a record, the partition's clock) -> the row, the same object where nothing is new, so that a record of a
NAS whose habits are known costs next to nothing. Each partition learns from its own sessions; who shows them (`curfew nas list`, the metric
`curfew_nas_habits`) puts the rows of all partitions together by `Habits`.

A clock that is behind makes every record look like old news. Where all of them are late by the same for `LEARN_MS`, that is the clock:
they are fresh. A backlog is not taken for it: it is handed in within minutes, comes nearer to the present, or says Acct-Delay-Time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal, get_args

from msgspec.structs import replace

from schemas.accounting import AccountingRecord
from schemas.session import NasRow

LEARN_MS: Final = 600_000
"""On the partition's clock: so long must all records be equally late."""
MUTE_AFTER_S: Final = 1_800
"""A session that lasted for so long and ended without an Interim shows that its NAS sends none."""
MUTE_SESSIONS_MAX: Final = 3
"""So many of them in a row are enough; counted no further."""

Habit = Literal["no-interims", "clock-disbelieved", "clock-behind"]
"""What is reported of a NAS."""
HABITS: Final[tuple[Habit, ...]] = get_args(Habit)


class Habits:
    """What all partitions learned of each NAS.

    Attributes:
        counts: how many NASes each habit is reported of.
    """

    def __init__(self) -> None:
        self.counts: Counter[Habit] = Counter()
        self._rows: dict[str, dict[int, NasRow]] = {}

    def take(self, partition: int, row: NasRow) -> None:
        """A partition's row of a NAS, as it is now."""
        rows = self._rows.setdefault(row.nas, {})
        before = rows.get(partition)
        if before is not None and _learned_of(before) == _learned_of(row):
            return  # its clock has moved, as it does all the time
        self.counts.subtract(self.of(row.nas).keys())
        rows[partition] = row
        self.counts.update(self.of(row.nas).keys())

    def of(self, nas: str) -> dict[Habit, str]:
        """What is to be reported of a NAS, each as a sentence; nothing: it is as it should be, or nothing shows the contrary."""
        return reported(self._rows.get(nas, {}).values())


def reported(rows: Iterable[NasRow]) -> dict[Habit, str]:
    """What is to be reported of a NAS, each as a sentence.

    Args:
        rows: what each partition has learned of it. An Interim that any of them heard proves that it sends them; a clock that one of them
            does not believe, or finds behind, is not believed, or behind, until that one has heard better.
    """
    rows = tuple(rows)
    found: dict[Habit, str] = {}
    if is_mute(*rows):
        found["no-interims"] = "sends no Interims: a session whose Stop is lost cannot be told from a living one"
    if any(row.stamps == "disbelieved" for row in rows):
        found["clock-disbelieved"] = "its Event-Timestamps are beyond belief: the arrival counts instead"
    late_ms = max((row.late_ms for row in rows), default=0)
    if late_ms:
        found["clock-behind"] = f"its clock is {late_ms // 1000} s behind: its records are taken as of now all the same"
    return found


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


def is_mute(*rows: NasRow) -> bool:
    """Whether it sends no Interims, by what each partition learned of it, so that nobody can tell the living from the dead there."""
    return not any(row.interims for row in rows) and sum(row.mute_sessions for row in rows) >= MUTE_SESSIONS_MAX


def is_fresh(nas: NasRow | None, record: AccountingRecord, late_after_ms: int) -> bool:
    """Whether a record tells of now, by a clock of the NAS that may be behind all the time."""
    if record.received_ms - record.event_ms <= late_after_ms:
        return True
    if nas is None or record.event_source != "event-timestamp" or 1000 * (record.acct_delay_s or 0) > late_after_ms:
        return False
    return nas.late_ms > 0 and _late_ms(record) - nas.late_ms <= late_after_ms


def _learned_of(row: NasRow) -> tuple[object, ...]:
    """What `reported` looks at."""
    return row.interims, row.mute_sessions, row.stamps, row.late_ms


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
