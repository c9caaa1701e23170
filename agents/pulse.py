"""A process that stood still (SIGSTOP, a machine that was suspended, a starved one) ends before it writes anything more.

What lives here: noticing it, and the end. What may not: who is guarded (`agents.commands.parts`), what is written.

Theory of operation. Who is silent towards its consumer group for longer than a session timeout has had its partitions given to others, and
hears of it only after it has gone on: by then it would have told outcomes that its successor told too, and asked NASes to disconnect whom
its successor has disconnected. So each write to Kafka, and each request to a NAS, looks at a clock that went on meanwhile; and so does a
task, again and again, since a gap is one only to who looks often. The end is that of a process that is killed, from which everything
recovers: what is flushed in an orderly one is what must not be written.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from typing import Final

BEAT_S: Final = 0.5
STOOD_STILL: Final = 75
"""The exit status: EX_TEMPFAIL of sysexits.h, try again."""

log = logging.getLogger(__name__)


def uptime_s() -> float:
    """Seconds since the machine was started, those in which it was suspended among them (clock_gettime(2); macOS leaves these out)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Pulse:
    """Looks at the clock of one process.

    Args:
        most_s: between two looks; beyond it the process ends.
        clock: in seconds, never set back, and goes on while the process and the machine do not.
        end: ends the process at once, with an exit status.
    """

    def __init__(self, most_s: float, *, clock: Callable[[], float] = uptime_s, end: Callable[[int], object] = os._exit) -> None:
        self._most_s = most_s
        self._clock = clock
        self._end = end
        self._looked_s = clock()

    def look(self) -> None:
        """End the process if the last look is too long ago."""
        now_s = self._clock()
        stood_s, self._looked_s = now_s - self._looked_s, now_s
        if stood_s > self._most_s:
            log.critical("this process stood still for %.1f s, and others have taken its work over: it ends and starts anew", stood_s)
            self._end(STOOD_STILL)

    async def beat(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(BEAT_S)
