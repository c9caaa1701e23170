"""When a request that nobody has answered is sent again, and when to give up (RFC 5080 section 2.2.1).

Law of this file: numbers in, numbers out. The time is handed in, and so is the randomness: a jitter between -1 and 1, of which RAND takes a
tenth. Times are milliseconds of one monotonic clock.

Theory of operation: RT for the first transmission is IRT + RAND*IRT; for each later one 2*RTprev + RAND*RTprev, but MRT + RAND*MRT where
that would exceed MRT. The exchange has failed when the timer of the MRC-th transmission runs out, or MRD after the first one, whichever
comes first. With the numbers for Disconnect-Requests and no jitter that is: sent at 0, 2, 6 and 14 s, given up at 30 s.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Schedule(NamedTuple):
    """The RFC's variables.

    Attributes:
        irt_ms: initial retransmission time. mrc: maximum retransmission count: transmissions in all. mrt_ms: maximum retransmission time.
        mrd_ms: maximum retransmission duration. rand: how far jitter reaches, as a share.
    """

    irt_ms: float = 2_000
    mrc: int = 5
    mrt_ms: float = 16_000
    mrd_ms: float = 30_000
    rand: float = 0.1


RFC5080 = Schedule()


class Transmission(msgspec.Struct, frozen=True, gc=False):
    """Where an exchange stands after a transmission.

    Attributes:
        started_ms: the first transmission. sent_ms: the last one. sends: transmissions so far. timeout_ms: RT of the last one.
        due_ms: when that runs out, or MRD.
    """

    started_ms: float
    sent_ms: float
    sends: int
    timeout_ms: float
    due_ms: float


def first(schedule: Schedule, now_ms: float, jitter: float) -> Transmission:
    """The first transmission, now.

    Args:
        schedule: RFC 5080's numbers.
        now_ms: monotonic.
        jitter: between -1 and 1.
    """
    timeout_ms = schedule.irt_ms * (1 + schedule.rand * jitter)
    return Transmission(now_ms, now_ms, 1, timeout_ms, now_ms + min(timeout_ms, schedule.mrd_ms))


def following(schedule: Schedule, last: Transmission, now_ms: float, jitter: float) -> Transmission | None:
    """The next transmission, now that the last one's time ran out; None: the exchange has failed.

    Args:
        schedule: RFC 5080's numbers.
        last: what `first` or this function gave before.
        now_ms: monotonic, at or after `last.due_ms`.
        jitter: between -1 and 1.
    """
    ends_ms = last.started_ms + schedule.mrd_ms
    if last.sends >= schedule.mrc or now_ms >= ends_ms:
        return None
    timeout_ms = last.timeout_ms * (2 + schedule.rand * jitter)
    if timeout_ms > schedule.mrt_ms:
        timeout_ms = schedule.mrt_ms * (1 + schedule.rand * jitter)
    return Transmission(last.started_ms, now_ms, last.sends + 1, timeout_ms, min(now_ms + timeout_ms, ends_ms))
