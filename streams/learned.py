"""What each NAS was seen to accept, from the results of its disconnects, so that the next session is asked that way first (behaviour 5.3).

Law of this file: results in, what is known of a NAS out; pure state, bounded by `NASES_MAX`. The kicker observes its own results and, after
a restart, those that it reads back; whoever reads `disconnect.results` from its start (`curfew nas list`) comes to the same.

Theory of operation: the last request of a kick that the NAS said yes to is what works, until a later yes to another one. A yes that the
session outlived (`unconfirmed`) is none: it is forgotten where it was the last one known. The yes to a change of authorisation (a final
`confirmed` by a CoA-ACK) says nothing about disconnects. What works is known by the names of the
attributes and the kind of request, not by a number in the profile: so it holds for what the kicker makes of a profile after 403 or 508 as
well, and is simply not found any more when the profile changes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from itertools import chain

import msgspec

from schemas.disconnect import Attempt, DisconnectResult, Outcome
from streams.profiles import Request

NASES_MAX = 100_000
YES = frozenset({"Disconnect-ACK", "CoA-ACK", "accepted"})


class Accepted(msgspec.Struct, frozen=True):
    """A request that a NAS said yes to: its kind, and the names of its attributes in order."""

    request: str
    attributes: tuple[str, ...]


class Known(msgspec.Struct):
    """What is known of one NAS.

    Attributes:
        accepted: what it said yes to last; None: nothing yet.
        last_answer: the last answer of all, or nothing if the last attempt got none. last_error_cause: its Error-Cause.
        last_ms: the time of the last result.
        outcomes: how many commands ended how; final ones only.
    """

    accepted: Accepted | None = None
    last_answer: str | None = None
    last_error_cause: int | None = None
    last_ms: int = 0
    outcomes: Counter[Outcome] = msgspec.field(default_factory=Counter)


class Learned:
    """What is known, by NAS; the NAS that was longest without a result is forgotten first.

    Attributes:
        by_nas: in the order of their last results.
        counts: how many NASes said yes to what last.
    """

    def __init__(self) -> None:
        self.by_nas: OrderedDict[str, Known] = OrderedDict()
        self.counts: Counter[Accepted] = Counter()

    def observe(self, result: DisconnectResult) -> None:
        """A result, in the order in which the results of one NAS stand in their topic."""
        if not result.attempts and result.nas not in self.by_nas and result.outcome == "unknown-nas":
            return  # any name can stand in a command
        known = self.by_nas.get(result.nas)
        if known is None:
            known = self.by_nas[result.nas] = Known()
            if len(self.by_nas) > NASES_MAX:
                self._set(self.by_nas.popitem(last=False)[1], None)
        else:
            self.by_nas.move_to_end(result.nas)
        known.last_ms = result.time_ms
        outcome = result.outcome
        if result.final:
            known.outcomes[outcome] += 1
        if not result.attempts:
            return
        last = result.attempts[-1]
        known.last_answer, known.last_error_cause = last.answer, last.error_cause
        if outcome in ("acknowledged", "unconfirmed") or (outcome == "confirmed" and last.answer != "CoA-ACK"):
            self._learn(known, outcome, result.attempts)

    def _learn(self, known: Known, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        """From a promise, and from what came of it."""
        for attempt in reversed(attempts):
            if attempt.answer in YES:
                yes = Accepted(attempt.request, tuple(attempt.attributes))
                if outcome != "unconfirmed":
                    self._set(known, yes)
                elif known.accepted == yes:
                    self._set(known, None)
                return

    def accepted(self, nas: str) -> Accepted | None:
        """What that NAS said yes to last."""
        known = self.by_nas.get(nas)
        return None if known is None else known.accepted

    def _set(self, known: Known, accepted: Accepted | None) -> None:
        if known.accepted == accepted:
            return
        if known.accepted is not None:
            self.counts[known.accepted] -= 1
            if not self.counts[known.accepted]:
                del self.counts[known.accepted]
        if accepted is not None:
            self.counts[accepted] += 1
        known.accepted = accepted


def learn(results: Iterable[DisconnectResult]) -> Learned:
    """All that these results say, in their order."""
    learned = Learned()
    for result in results:
        learned.observe(result)
    return learned


def preferred(requests: tuple[Request, ...], others: Iterable[Request], accepted: Accepted | None) -> tuple[Request, ...]:
    """The requests with the one first that was accepted; `others` may be it as well, but are not tried otherwise."""
    if accepted is None:
        return requests
    names = list(accepted.attributes)
    for one in chain(requests, others):
        if [each.name for each in one.attributes] == names and one.name == accepted.request:
            return requests if one is requests[0] else (one, *(each for each in requests if each != one))
    return requests
