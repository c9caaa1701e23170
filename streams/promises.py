"""What a login was let in with, kept until its session begins: Session-Timeout, where the accounting tells none (behaviour 3.6).

Law of this file: pure. A promise is a record of the journal, written before the login is answered, and so it lies there before the Start
that takes it. It says nothing of who may begin (`admission`), and nothing follows from one that nobody takes.

It waits in the identity's row for the next Start on that NAS, with that MAC if one was given: a Start that is fresh, since one of a backlog
began before the question. Said again for the same NAS and MAC it is the last word. It lapses on the partition's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from msgspec.structs import replace

from schemas.admission import Question
from schemas.codec import decoder
from schemas.journal import Promise
from schemas.session import Promised, SessionRow
from streams import ends, timeouts
from streams.mac import normal_mac
from streams.step import Step

PROMISES_MAX = 64
"""Of one identity; the oldest makes room."""

_PROMISE = decoder(Promise).decode


class _Kept(Protocol):
    @property
    def nas(self) -> str: ...

    @property
    def device(self) -> str | None: ...


K = TypeVar("K", bound=_Kept)


def fitting(kept: Iterable[K], nas: str, device: str | None) -> K | None:
    """Which of those that are kept for a session to come is for this one: its own device's before one for any, of them the oldest."""
    there = [each for each in kept if each.nas == nas and each.device in (device, None)]
    return min(there, key=lambda each: each.device is None, default=None)


def of_login(question: Question, identity: str, reservation: str, now_ms: int, hold_ms: int) -> Promise | None:
    """The promise of a login that was let in; None: it tells of no Session-Timeout.

    Args:
        question: what was asked.
        identity: whom it is about.
        reservation: the id of the slot that is kept.
        now_ms: milliseconds since the epoch.
        hold_ms: for so long.
    """
    if question.session_timeout_s is None:
        return None
    return Promise(
        id=reservation,
        identity=identity,
        nas=question.nas,
        calling_station_id=question.calling_station_id,
        session_timeout_s=question.session_timeout_s,
        time_ms=now_ms,
        expires_ms=now_ms + hold_ms,
    )


def promise(step: Step, value: bytes) -> None:
    """A login was let in; its identity need have no session yet."""
    said = _PROMISE(value)
    clock_ms, device = step.core.row.clock_ms, normal_mac(said.calling_station_id or "")
    known = step.change.identity(said.identity, step.offset)
    kept = [
        each
        for each in known.promises
        if clock_ms < each.until_ms and each.id != said.id and (device is None or (each.nas, each.device) != (said.nas, device))
    ]
    left_ms = said.expires_ms - max(said.time_ms, step.core.row.wall_ms)
    session_timeout_s = timeouts.believed(said.session_timeout_s)
    if session_timeout_s is not None and left_ms > 0:
        kept.append(Promised(said.id, said.nas, device, session_timeout_s, clock_ms + left_ms))
    step.change.identities[said.identity] = replace(known, promises=tuple(kept[-PROMISES_MAX:]))
    ends.forget_identity(step, said.identity, 0)


def take(step: Step, row: SessionRow) -> None:
    """A session has begun: the promise that was for it is used up. The NAS's own word, where the Start has one, is stronger."""
    known = step.change.identity(row.identity, step.offset)
    if not known.promises:
        return
    standing = [each for each in known.promises if step.core.row.clock_ms < each.until_ms]
    taken = fitting(standing, row.nas, row.device)
    step.change.identities[row.identity] = replace(known, promises=tuple(each for each in standing if each is not taken))
    if taken is not None and row.session_timeout_s is None:
        row.session_timeout_s = taken.session_timeout_s
