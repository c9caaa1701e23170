"""Which NASes talk through this ingest, told by its ticks (DESIGN "Time").

Law of this file: the clocks are arguments. A tick names the NASes that began or ceased to talk since the last one, and now and then all
that talk, so it does not grow with the number of NASes. How far each talking NAS was heard is told a few times in its window
(`Tick.heard`): its talking clock advances up to there. What was lost with a tick is said again: `repeat` makes the next one full.

A NAS that reports its sessions each ten minutes is not silent between two packets. So its window is its interim interval and a tenth, as
the configuration says, else as the Interims of a few of its sessions show (`Pace`).
"""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.journal import Tick

FULL_EVERY_TICKS = 30
"""A full list comes with the first tick and with each one of so many: whoever missed a change is right again by then."""

HEARD_PER_WINDOW = 10
"""So often within its window is it told how far a NAS was heard, at the most once a tick and at the least once a full list."""

INTERVAL_TOLERANCE = 1.1
WINDOW_MS_MIN = 5000
SAMPLES_MAX = 4
GAPS_MIN, GAPS_MAX = 2, 16
"""So many gaps between Interims show an interval, and so many are kept: where Interims are lost, one gap alone may be a multiple of it."""
INTERVAL_MS_MAX = 7_200_000
"""A longer gap between two Interims shows no interval: what lay between was lost."""
UNKNOWN_KEPT_MS = 3_600_000


class Interim(NamedTuple):
    """What an Interim-Update shows of its NAS's interval: the session, and its Acct-Session-Time if told."""

    session: str
    session_time_s: int | None


class Pace:
    """How often a NAS reports a session, learned from a few of its sessions.

    By the NAS's own Acct-Session-Time where it tells that, so that a way that was cut meanwhile is not taken for its pace; by the shortest
    of the last gaps, since a lost Interim doubles one. A window too long would count a silence of the NAS's as its sessions' own.
    """

    __slots__ = ("_gaps_ms", "_samples")

    def __init__(self) -> None:
        self._samples: dict[str, tuple[int | None, int]] = {}
        self._gaps_ms: tuple[int, ...] = ()

    @property
    def interval_ms(self) -> int | None:
        """The interim interval; None: not known yet."""
        return min(self._gaps_ms) if len(self._gaps_ms) >= GAPS_MIN else None

    def heard(self, interim: Interim, mono_ms: int) -> None:
        """An Interim came, at this time on the monotonic clock."""
        session, time_s = interim
        last = self._samples.pop(session, None)
        if last is None and len(self._samples) == SAMPLES_MAX and not self._make_room(mono_ms):
            return
        self._samples[session] = (time_s, mono_ms)  # the one heard last is the last
        if last is None:
            return
        last_time_s, last_mono_ms = last
        gap_ms = mono_ms - last_mono_ms if time_s is None or last_time_s is None else 1000 * (time_s - last_time_s)
        if 1000 <= gap_ms <= INTERVAL_MS_MAX:
            self._gaps_ms = (*self._gaps_ms, gap_ms)[-GAPS_MAX:]

    def _make_room(self, mono_ms: int) -> bool:
        """Forget the sample that was heard longest ago, if its session seems to be over."""
        oldest = next(iter(self._samples))
        over = mono_ms - self._samples[oldest][1] > (2 * self.interval_ms if self.interval_ms else UNKNOWN_KEPT_MS)
        if over:
            del self._samples[oldest]
        return over


class Talking:
    """The NASes heard, each with when it was heard last."""

    def __init__(self, ingest: str, period_ms: int, window_ms: int) -> None:
        """Start with nobody talking.

        Args:
            ingest: this ingest's id.
            period_ms: between two ticks.
            window_ms: a NAS not heard for longer has ceased, where its interim interval is neither configured nor learned, or shorter.
        """
        self._ingest = ingest
        self._period_ms = period_ms
        self._window_ms = window_ms
        self._windows_ms: dict[str, int] = {}
        self._paces: dict[str, Pace] = {}
        self._last_heard_ms: dict[str, int] = {}
        self._known: set[str] = set()
        self._told_ms: dict[str, int] = {}
        self._until_full = 0

    def configure(self, intervals_s: Mapping[str, int]) -> None:
        """Take over the configured interim intervals, by NAS; the next tick tells the windows that follow from them."""
        self._windows_ms = {
            nas: max(WINDOW_MS_MIN, round(interval_s * 1000 * INTERVAL_TOLERANCE)) for nas, interval_s in intervals_s.items()
        }
        self.repeat()

    def heard(self, nas: str, mono_ms: int, interim: Interim | None = None) -> None:
        """An authentic packet came from this NAS; `interim` if it is one and the NAS's interval is not configured."""
        self._last_heard_ms[nas] = mono_ms
        if interim is not None:
            pace = self._paces.get(nas)
            if pace is None:
                pace = self._paces[nas] = Pace()
            pace.heard(interim, mono_ms)

    def repeat(self) -> None:
        """A tick was lost: the next one is full."""
        self._until_full = 0

    def bare_tick(self, mono_ms: int, wall_ms: int) -> Tick:
        """A tick that tells only the time, for a single partition."""
        return Tick(ingest=self._ingest, wall_ms=wall_ms, mono_ms=mono_ms, period_ms=self._period_ms)

    def tick(self, mono_ms: int, wall_ms: int) -> Tick:
        """The tick that is due now, with what changed since the last one.

        Args:
            mono_ms: this ingest's monotonic clock.
            wall_ms: its wall clock, milliseconds since the epoch.
        """
        ceased, heard = [], []
        for nas, heard_ms in self._last_heard_ms.items():
            if mono_ms - heard_ms > self._window_of(nas):
                ceased.append((nas, mono_ms - heard_ms))
            elif self._is_to_be_told(nas, heard_ms, mono_ms):
                heard.append((nas, mono_ms - heard_ms))
                self._told_ms[nas] = mono_ms
        for nas, _ in ceased:
            del self._last_heard_ms[nas]
            self._told_ms.pop(nas, None)
            self._known.discard(nas)
        full = self._until_full == 0
        self._until_full = (FULL_EVERY_TICKS if full else self._until_full) - 1
        new = self._last_heard_ms if full else self._last_heard_ms.keys() - self._known
        self._known.update(new)
        return Tick(
            ingest=self._ingest,
            wall_ms=wall_ms,
            mono_ms=mono_ms,
            period_ms=self._period_ms,
            full=full,
            began=[(nas, self._known_window_of(nas)) for nas in sorted(new)],
            ceased=ceased,
            heard=heard,
        )

    def _is_to_be_told(self, nas: str, heard_ms: int, mono_ms: int) -> bool:
        told_ms = self._told_ms.get(nas)
        if told_ms is None:
            return True
        every_ms = min(self._window_of(nas) // HEARD_PER_WINDOW, FULL_EVERY_TICKS * self._period_ms)
        return heard_ms > told_ms and mono_ms - told_ms >= every_ms

    def _window_of(self, nas: str) -> int:
        return self._known_window_of(nas) or self._window_ms

    def _known_window_of(self, nas: str) -> int:
        """The window that follows from the NAS's interval; 0: that is not known."""
        configured_ms = self._windows_ms.get(nas)
        if configured_ms is not None:
            return configured_ms
        pace = self._paces.get(nas)
        interval_ms = None if pace is None else pace.interval_ms
        return 0 if interval_ms is None else max(self._window_ms, round(interval_ms * INTERVAL_TOLERANCE))
