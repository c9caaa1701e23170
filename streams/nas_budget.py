"""How much one NAS is asked at a time, and how long it is left alone when it is silent or says that it is overloaded (behaviour 5.5).

Law of this file: numbers in, numbers out; one NAS; the time (monotonic, ms) and the jitter (-1 to 1) are arguments. What a request is and
who waits is the dispatcher's.

Theory of operation, three bounds at once:

    window    requests without an answer: `in_flight_max`, fewer after trouble, twice as many after each answer
    pace      the first `BURST` at once, then one in `SPACING_MS`, half of it more or less, so that a bulk of thousands does not arrive as
              one clap, nor its users come back in one
    pause     after trouble nothing is sent for 1 s, then 2, 4 ... `PAUSE_MS_MAX`; a tenth more or less (RFC 5080 section 2.2.1)

Trouble is an exchange that got no answer at all while nothing else was heard of the NAS (it is silent: the window falls to 1, so that one
request at a time finds out whether it is back), or a refusal for want of resources (Error-Cause 504 to 506: the window halves). What was
sent before a pause began and fails in it is the same trouble and counts once. The first answer of a silent NAS ends its pause.
"""

from __future__ import annotations

BURST = 8
SPACING_MS = 10.0
PAUSE_MS = 1_000.0
PAUSE_MS_MAX = 30_000.0
PAUSE_RAND = 0.1
NEVER = float("-inf")


class NasBudget:
    """One NAS.

    Attributes:
        in_flight_max: the largest window. in_flight: requests without an answer. window: how many there may be now.
        silent_since_ms: since when it has answered nothing; None while it answers, and before it was ever asked.
    """

    __slots__ = (
        "_credit",
        "_credit_ms",
        "_heard_ms",
        "_level",
        "_pause_ends_ms",
        "_trouble_ms",
        "in_flight",
        "in_flight_max",
        "silent_since_ms",
        "window",
    )

    def __init__(self, in_flight_max: int) -> None:
        self.in_flight_max = in_flight_max
        self.window = in_flight_max
        self.in_flight = 0
        self.silent_since_ms: float | None = None
        self._credit = float(BURST)
        self._credit_ms = 0.0
        self._heard_ms = NEVER
        self._trouble_ms = NEVER
        self._pause_ends_ms = NEVER
        self._level = 0

    @property
    def is_silent(self) -> bool:
        """The last exchange with it ended without an answer, and nothing has come from it since."""
        return self.silent_since_ms is not None

    def has_room(self) -> bool:
        """Whether the window lets one more request through, pause and pace aside."""
        return self.in_flight < self.window

    def wait_ms(self, now_ms: float, jitter: float) -> float:
        """How long to wait before the next request may begin, where the window has room; 0: begin."""
        if now_ms < self._pause_ends_ms:
            return self._pause_ends_ms - now_ms
        self._credit = min(float(BURST), self._credit + (now_ms - self._credit_ms) / SPACING_MS)
        self._credit_ms = now_ms
        # A rounding error more than a whole credit would be waited for in steps that the clock does not have
        return 0.0 if self._credit >= 1 - 1e-6 else (1 - self._credit) * SPACING_MS * (1 + 0.5 * jitter)

    def begin(self) -> None:
        """A request begins; `wait_ms` was 0."""
        self.in_flight += 1
        self._credit -= 1

    def end(self) -> None:
        """A request is over, whatever came of it."""
        self.in_flight -= 1

    def heard(self, now_ms: float) -> None:
        """It answered, and is not overloaded."""
        self._heard_ms = now_ms
        if self.silent_since_ms is not None:
            self.silent_since_ms = None
            self._pause_ends_ms = NEVER
        if now_ms >= self._pause_ends_ms:
            self._level = 0
            self.window = min(self.in_flight_max, 2 * self.window)

    def overloaded(self, sent_ms: float, now_ms: float, jitter: float) -> None:
        """It answered that it cannot now (Error-Cause 504, 505, 506) to a request first sent at `sent_ms`."""
        self._heard_ms = now_ms
        self.silent_since_ms = None
        if sent_ms >= self._trouble_ms:
            self.window = max(1, self.window // 2)
            self._pause(now_ms, jitter)

    def unanswered(self, sent_ms: float, now_ms: float, jitter: float) -> None:
        """The exchange that began at `sent_ms` was given up without an answer."""
        if self._heard_ms >= sent_ms or sent_ms < self._trouble_ms:
            return  # it answers others; or it failed with those that the pause is for
        if self.silent_since_ms is None:
            self.silent_since_ms = sent_ms
        self.window = 1
        self._pause(now_ms, jitter)

    def _pause(self, now_ms: float, jitter: float) -> None:
        self._trouble_ms = now_ms
        self._pause_ends_ms = now_ms + min(PAUSE_MS * 2.0**self._level, PAUSE_MS_MAX) * (1 + PAUSE_RAND * jitter)
        self._level = min(self._level + 1, 16)
