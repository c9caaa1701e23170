"""What was seen of each NAS: who of it talks, when it booted, how many sessions it has, what its last disconnect came to (behaviour 5.7).

Law of this file: it folds rows of `session.table` and results into a line per NAS; nothing is judged. A partition has a row of its own for
each NAS; the one in the NAS name's home partition speaks for all, but for what each learned of its own sessions (`habits`).
"""

from __future__ import annotations

import msgspec

from schemas.disconnect import DisconnectResult
from schemas.session import NasRow, SessionRow
from streams.habits import Habit, Habits
from streams.learned import Accepted, Learned


class SeenDisconnect(msgspec.Struct, kw_only=True, frozen=True):
    """A disconnect with its final outcome."""

    outcome: str
    time_ms: int
    error_cause_name: str | None = None


class NasSeen(msgspec.Struct, kw_only=True):
    """What was seen of one NAS; None: nothing.

    Attributes:
        talks: whether an ingest hears it now.
        booted_ms: the last Accounting-On or -Off, and by which of them.
        open_sessions: how many. last_record_ms: the newest record of those in the table.
        last_disconnect: the last final outcome. outcomes: how many there were of each.
        accepted: what the NAS is known to accept (`streams.learned`).
        habits: what is reported of it (`streams.habits`), each as a sentence: no Interims, a clock beyond belief.
    """

    nas: str
    talks: bool | None = None
    booted_ms: int | None = None
    booted_by: str | None = None
    open_sessions: int = 0
    last_record_ms: int | None = None
    last_disconnect: SeenDisconnect | None = None
    outcomes: dict[str, int] = {}
    accepted: Accepted | None = None
    habits: dict[Habit, str] = {}


class NasesSeen:
    """The fold. Of a session only its NAS is kept, while it is open.

    Attributes:
        by_name: what was seen, also of NASes that the configuration does not name.
    """

    def __init__(self) -> None:
        self.by_name: dict[str, NasSeen] = {}
        self._open: dict[tuple[int, bytes], str] = {}
        self._learned = Learned()
        self._habits = Habits()

    def of(self, name: str) -> NasSeen:
        """What was seen of a NAS, if anything."""
        return self.by_name.setdefault(name, NasSeen(nas=name))

    def session(self, place: tuple[int, bytes], row: SessionRow | None) -> None:
        """A session's row, or that it is gone; `place` is its partition and key."""
        before = self._open.pop(place, None)
        if before is not None:
            self.of(before).open_sessions -= 1
        if row is None:
            return
        seen = self.of(row.nas)
        seen.last_record_ms = max(row.last_seen_ms, seen.last_record_ms or 0)
        if row.state != "ended":
            self._open[place] = row.nas
            seen.open_sessions += 1

    def nas(self, row: NasRow) -> None:
        """The NAS's row in its home partition."""
        seen = self.of(row.nas)
        seen.talks = bool(row.follows)
        if row.boot is not None:
            seen.booted_ms, seen.booted_by = row.boot.event_ms, row.boot.status

    def learned(self, partition: int, row: NasRow) -> None:
        """Any partition's row of the NAS."""
        self._habits.take(partition, row)
        self.of(row.nas).habits = self._habits.of(row.nas)

    def result(self, result: DisconnectResult) -> None:
        """A disconnect's result, in the order in which they stand in their topic."""
        self._learned.observe(result)
        if not result.final:
            return
        seen = self.of(result.nas)
        seen.last_disconnect = SeenDisconnect(outcome=result.outcome, time_ms=result.time_ms, error_cause_name=result.error_cause_name)

    def all(self) -> dict[str, NasSeen]:
        """What was seen of every NAS, by name."""
        for name, known in self._learned.by_nas.items():
            seen = self.of(name)
            seen.outcomes, seen.accepted = dict(sorted(known.outcomes.items())), known.accepted
        return self.by_name
