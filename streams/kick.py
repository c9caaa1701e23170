"""The kick machine: what becomes of one disconnect command, from its being read to its one final outcome (behaviours 5.1 to 5.7).

Rule 1: everything that moves a command from one state to another is in this file. It knows no socket, no Identifier space and no Kafka;
time and jitter come in with each event, bytes are made by its caller.

Theory of operation: a `Kick` is in one of five states, and `TRANSITIONS` says what each event does in each of them:

    queued        waiting for its turn, a source port and an Identifier (also again, when a further request is to be tried)
    sent          a request is on its way and nobody has answered it; it is retransmitted by RFC 5080 section 2.2.1, unless it went another
                  way than RADIUS (behaviour 5.6), where whoever carries it out answers in time
    backing-off   the NAS could not do it now (504, 505, 506); the same is asked again after a while, `BACK_OFF_MS` times at most
    acknowledged  the NAS promised; the proof (the session's end in the journal) is outstanding
    done          the final result was reported; whatever comes later is harmless

What is tried next is in `Kick.further`: the profile's requests that come after the one sent. A refusal may shorten them (403: no NAS
attributes in any; 508: Acct-Session-Id alone), and a promise that the session outlives leads to the next of them as a refusal would
(behaviour 5.4). None is tried twice, but for the repeats of backing off; so there are at most 2 * 9 requests + 1 + 3 exchanges.

A command with `coa` changes what the session may do instead of ending it. Nothing but the CoA-ACK says that this was done, so that is the
final `confirmed`; the session's end before it makes the command pointless (`gone`).

`step` gives back what is to be done: put a request on the wire, go another way, wake me at a time, wait for a turn, report a result. In
every state but the last one a timer is set, none later than `deadline_ms`; so there is one final result within `confirm_within_s` of the
command's being read.

Events and outputs are structs and no tuples: a fifth of the time to make, and there are a dozen of them for each kick.

Two clocks: durations are of the monotonic clock (`mono_ms`), only `expires_ms` and what is reported are of the wall clock (`wall_ms`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from schemas.codec import Text
from schemas.disconnect import ERROR_CAUSES, Attempt, DisconnectCommand, DisconnectResult, Follows, Outcome
from schemas.ways import WayAnswer, way_within_s
from streams.profiles import Request
from streams.retransmission import RFC5080, Schedule, Transmission, first, following

CONFIRM_WITHIN_MAX_S = 3600
"""No command stays open longer, whatever it says."""
BACK_OFF_MS = (4_000, 8_000, 16_000)
"""How long the NAS is left alone after each refusal for want of resources; after the last one the refusal stands."""
WAY_GRACE_MS = 2_000.0
"""What a driver leaves unsaid for so long after its time (`way_within_s`) is `unanswered`."""
NAS_ATTRIBUTES = frozenset({4, 32, 95})
"""What names the NAS and not the session (RFC 5176 section 3): NAS-IP-Address, NAS-Identifier, NAS-IPv6-Address."""


class State(StrEnum):
    """Where a command stands; see the top of this file."""

    QUEUED = "queued"
    SENT = "sent"
    BACKING_OFF = "backing-off"
    ACKNOWLEDGED = "acknowledged"
    DONE = "done"


class Input(StrEnum):
    """What can happen to a command."""

    TURN = "turn"  # it may send: a source port and an Identifier are its own
    CROWDED = "crowded"  # more wait for that NAS than can have their turn in time
    ACK = "ack"  # a verified Disconnect-ACK or CoA-ACK to its last request
    NAK = "nak"  # a verified NAK to its last request
    WAY_ANSWER = "way answer"  # what came of asking by another way
    TIMER = "timer"  # the time that it asked for has come
    ENDED = "ended"  # the journal says that the session has ended
    ALIVE = "alive"  # the journal says that the session still reports after the ACK
    REPLACED = "replaced"  # a newer command for the same session was read


class Now(msgspec.Struct, frozen=True, gc=False):
    """A moment: wall clock in ms since the epoch, and the monotonic clock in ms."""

    wall_ms: int
    mono_ms: float


NO_ANSWER = WayAnswer("unanswered")


class Event(msgspec.Struct, frozen=True, gc=False):
    """An input with what belongs to it.

    Attributes:
        jitter: between -1 and 1, for TURN, NAK and TIMER. identifier: for TURN. error_cause: for ACK and NAK, if the reply has one.
        word: for ENDED who says so, for REPLACED the newer command's id.
        answer: for WAY_ANSWER.
        is_silent: for TURN, CROWDED and TIMER: the NAS has left others unanswered, and nothing has come from it since.
    """

    input: Input
    now: Now
    jitter: float = 0.0
    identifier: int = 0
    error_cause: int | None = None
    word: str = ""
    answer: WayAnswer = NO_ANSWER
    is_silent: bool = False


class Wait(msgspec.Struct, frozen=True, gc=False):
    """Output: give me a turn (`Input.TURN`) when a source port and an Identifier are free."""


class Send(msgspec.Struct, frozen=True, gc=False):
    """Output: put the request on the wire.

    Attributes:
        request: what it says.
        again: False: build it, with the Identifier of the turn. True: the same octets from the same port (RFC 5080 section 2.2.1).
    """

    request: Request
    again: bool


class AskWay(msgspec.Struct, frozen=True, gc=False):
    """Output: ask by this other way, and give me `Input.WAY_ANSWER`."""

    via: str


class Timer(msgspec.Struct, frozen=True, gc=False):
    """Output: send `Input.TIMER` at this monotonic time; it replaces the timer before it."""

    at_ms: float


class Report(msgspec.Struct, frozen=True, gc=False):
    """Output: this became of the command."""

    result: DisconnectResult


Output = Wait | Send | AskWay | Timer | Report


class ImpossibleError(Exception):
    """An event that the caller's own order of things excludes: a defect in it, never the NAS's or the journal's doing."""


class Way(NamedTuple):
    """How a session's NAS is asked.

    Attributes:
        requests: in the order in which they are tried. port: the NAS's, 0 where it is asked by another way than RADIUS.
        alone: the request for a NAS that finds several sessions; without attributes: there is none.
    """

    requests: tuple[Request, ...]
    port: int
    alone: Request = Request()


class NoWay(NamedTuple):
    """Why it cannot be asked (behaviour 5.7)."""

    outcome: Outcome
    detail: str


class Kick:
    """One command's state. `begin` makes it, `step` moves it.

    Attributes:
        command: what was ordered. session_id: its session's Acct-Session-Id.
        deadline_ms: monotonic, when the final result is due. expiry_ms: likewise, then nothing is sent anew.
        current: the request that is sent or is to be sent. further: those that may come after it. tried: those that were sent.
        promised: the NAS acknowledged one of them. back_offs: how often it was left alone. timer_ms: the timer that is set.
    """

    __slots__ = (
        "attempts",
        "back_offs",
        "command",
        "current",
        "deadline_ms",
        "expiry_ms",
        "further",
        "promised",
        "schedule",
        "session_id",
        "state",
        "timer_ms",
        "transmission",
        "tried",
        "way",
    )

    def __init__(self, command: DisconnectCommand, way: Way, now: Now, schedule: Schedule) -> None:
        self.command = command
        self.way = way
        self.schedule = schedule
        self.session_id = session_id(command)
        self.state = State.QUEUED
        self.deadline_ms = now.mono_ms + min(command.confirm_within_s, CONFIRM_WITHIN_MAX_S) * 1000
        self.expiry_ms = now.mono_ms + command.expires_ms - now.wall_ms
        self.current = Request()
        self.further = way.requests
        self.tried: list[Request] = []
        self.promised = False
        self.back_offs = 0
        self.attempts: list[Attempt] = []
        self.transmission: Transmission | None = None
        self.timer_ms = self.deadline_ms


def begin(command: DisconnectCommand, way: Way | NoWay, now: Now, schedule: Schedule = RFC5080) -> tuple[Kick, list[Output]]:
    """A command was read.

    Args:
        command: what was ordered.
        way: how its NAS is asked, or why it cannot be.
        now: when it was read.
        schedule: of retransmissions.

    Raises:
        ImpossibleError: the way has nothing to ask.
    """
    kick = Kick(command, way if isinstance(way, Way) else Way((), 0), now, schedule)
    if kick.expiry_ms <= now.mono_ms:
        return kick, _finish(kick, now, "expired", "It was read after its time was over.")
    if isinstance(way, NoWay):
        return kick, _finish(kick, now, way.outcome, way.detail)
    if not _choose_next(kick):
        raise ImpossibleError(f"a way without a request ({command.id})")
    return kick, _wait(kick)


def resume(command: DisconnectCommand, acknowledged: DisconnectResult, now: Now) -> tuple[Kick, list[Output]]:
    """A command was read whose ACK is on record already: nothing is sent again, only the proof is awaited."""
    kick = Kick(command, Way((), 0), now, RFC5080)
    kick.state = State.ACKNOWLEDGED
    kick.promised = True
    kick.attempts = acknowledged.attempts
    return kick, [_timer(kick, kick.deadline_ms)]


def step(kick: Kick, event: Event) -> list[Output]:
    """Something happened: move the kick, and say what is to be done.

    Raises:
        ImpossibleError: the event cannot happen in this state; the kick is as it was.
    """
    return TRANSITIONS[kick.state, event.input](kick, event)


def result_of(kick: Kick, now: Now, outcome: Outcome, detail: str, *, error_cause: int | None = None) -> DisconnectResult:
    """The command's result as it stands in the topics; `acknowledged` alone is not final."""
    command = kick.command
    row = ERROR_CAUSES.get(error_cause) if error_cause is not None else None
    return DisconnectResult(
        command_id=command.id,
        time_ms=now.wall_ms,
        nas=command.nas,
        identity=command.identity,
        acct_session_id=kick.session_id,
        final=outcome != "acknowledged",
        outcome=outcome,
        error_cause=error_cause,
        error_cause_name=row.name if row else None,
        attempts=kick.attempts if kick.state is State.DONE else [_as_it_is(attempt) for attempt in kick.attempts],
        detail=detail,
    )


def _as_it_is(attempt: Attempt) -> Attempt:
    """A copy that does not change with it."""
    return msgspec.structs.replace(attempt, sent_ms=list(attempt.sent_ms))


def session_id(command: DisconnectCommand) -> Text:
    """The session's Acct-Session-Id as the command has it; empty when it has none that could be one."""
    found = command.session.get("acct_session_id", "")
    if isinstance(found, str):
        return found
    try:
        return msgspec.convert(found, Text)  # type: ignore[no-any-return]  # it types no union
    except msgspec.ValidationError:
        return ""


def _timer(kick: Kick, at_ms: float) -> Timer:
    kick.timer_ms = at_ms
    return Timer(at_ms)


def _finish(kick: Kick, now: Now, outcome: Outcome, detail: str, *, error_cause: int | None = None) -> list[Output]:
    kick.state = State.DONE
    return [Report(result_of(kick, now, outcome, detail, error_cause=error_cause))]


def _send_by_ms(kick: Kick) -> float:
    return min(kick.expiry_ms, kick.deadline_ms)


def _wait(kick: Kick) -> list[Output]:
    kick.state = State.QUEUED
    return [Wait(), _timer(kick, _send_by_ms(kick))]


def _choose_next(kick: Kick) -> bool:
    """Make the first further request that was not tried yet the current one; False: there is none."""
    untried = [one for one in kick.further if (one.attributes or one.via != "radius") and one not in kick.tried]
    kick.further = tuple(untried[1:])
    if untried:
        kick.current = untried[0]
    return bool(untried)


def _too_early(kick: Kick, event: Event) -> bool:
    """A timer that was replaced since, or a clock's rounding."""
    return event.now.mono_ms < kick.timer_ms


def _send_first(kick: Kick, event: Event) -> list[Output]:
    """(queued, turn)."""
    now = event.now
    if _send_by_ms(kick) <= now.mono_ms:
        return _miss_the_turn(kick, event)
    kick.state = State.SENT
    request = kick.current
    kick.tried.append(request)
    names = [one.name for one in request.attributes]
    kick.attempts.append(
        Attempt(attributes=names, port=kick.way.port, identifier=event.identifier, sent_ms=[now.wall_ms], request=request.name)
    )
    if request.via != "radius":
        kick.transmission = None
        return [AskWay(request.via), _timer(kick, min(now.mono_ms + 1000 * way_within_s(request.via) + WAY_GRACE_MS, kick.deadline_ms))]
    kick.transmission = first(kick.schedule, now.mono_ms, event.jitter)
    return [Send(kick.current, again=False), _timer(kick, min(kick.transmission.due_ms, kick.deadline_ms))]


def _give_up_waiting(kick: Kick, event: Event) -> list[Output]:
    """(queued, timer): its turn did not come in time."""
    return [Timer(kick.timer_ms)] if _too_early(kick, event) else _miss_the_turn(kick, event)


def _miss_the_turn(kick: Kick, event: Event) -> list[Output]:
    if kick.attempts:
        return _settle(kick, event.now)
    if event.is_silent:
        return _finish(kick, event.now, "unanswered", "Nothing was sent: the NAS answered nobody while this waited for its turn.")
    return _finish(kick, event.now, "expired", "Its turn at the NAS did not come before its time was over; nothing was sent.")


def _turn_away(kick: Kick, event: Event) -> list[Output]:
    """(queued, crowded): better now than when its time is over."""
    if kick.attempts:
        return _settle(kick, event.now)
    if event.is_silent:
        return _finish(kick, event.now, "unanswered", "Nothing was sent: the NAS answers nobody, and many others wait for it.")
    detail = "Nothing was sent: more wait for this NAS already than it may be sent in time (RFC 5176 section 6.3)."
    return _finish(kick, event.now, "expired", detail)


def _send_again_or_give_up(kick: Kick, event: Event) -> list[Output]:
    """(sent, timer)."""
    if _too_early(kick, event):
        return [Timer(kick.timer_ms)]
    now = event.now
    last = kick.transmission
    if last is None:
        return _fail(kick, now, "unanswered", f"The way {kick.current.via} came to no end in time.")
    further = following(kick.schedule, last, now.mono_ms, event.jitter) if now.mono_ms < kick.deadline_ms else None
    if further is None:
        return _fail(kick, now, "unanswered", _unanswered(kick))
    kick.transmission = further
    kick.attempts[-1].sent_ms.append(now.wall_ms)
    return [Send(kick.current, again=True), _timer(kick, min(further.due_ms, kick.deadline_ms))]


def _unanswered(kick: Kick) -> str:
    sends = len(kick.attempts[-1].sent_ms)
    return f"Sent {sends} times without an answer: the NAS is down, does not listen there, or knows us by another secret or address."


def _acknowledge(kick: Kick, event: Event) -> list[Output]:
    """(sent, ack): a promise, not the proof, unless the NAS adds that the session was gone already. It is reported once."""
    _note_answer(kick, event, f"{_kind(kick)}-ACK")
    if follows(event.error_cause) == "gone":
        return _gone(kick, event)
    if kick.command.coa:
        detail = "The NAS acknowledged the change; the session goes on, and nothing else says that the change was made."
        return _finish(kick, event.now, "confirmed", detail, error_cause=event.error_cause)
    return _take_promise(kick, event)


def _take_promise(kick: Kick, event: Event) -> list[Output]:
    was_promised, kick.promised = kick.promised, True
    kick.state = State.ACKNOWLEDGED
    outputs: list[Output] = [_timer(kick, kick.deadline_ms)]
    if not was_promised:
        detail = f"The NAS promised to end the session; its Stop is awaited. {event.answer.detail}".rstrip()
        outputs.insert(0, Report(result_of(kick, event.now, "acknowledged", detail, error_cause=event.error_cause)))
    return outputs


def follows(error_cause: int | None) -> Follows:
    """What that Error-Cause, or none, leads to."""
    row = ERROR_CAUSES.get(error_cause) if error_cause is not None else None
    return row.follows if row else "give-up"


def _gone(kick: Kick, event: Event) -> list[Output]:
    return _finish(kick, event.now, "gone", _sentence(event.error_cause), error_cause=event.error_cause)


def _take_refusal(kick: Kick, event: Event) -> list[Output]:
    """(sent, nak): Error-Cause decides (behaviour 5.3)."""
    _note_answer(kick, event, f"{_kind(kick)}-NAK")
    match follows(event.error_cause):
        case "gone":
            return _gone(kick, event)
        case "later":
            return _back_off(kick, event)
        case "without-nas":
            kick.further = tuple(without_nas(one) for one in (kick.current, *kick.further))
        case "alone":
            kick.further = (kick.way.alone,)
        case "give-up":
            kick.further = ()
        case "next-set":
            pass
    return _wait(kick) if _choose_next(kick) else _settle(kick, event.now)


def without_nas(request: Request) -> Request:
    """The request without what names the NAS."""
    kept = tuple(one for one in request.attributes if one.number not in NAS_ATTRIBUTES)
    return request if len(kept) == len(request.attributes) else Request(kept, request.code, request.via)


def _take_way_answer(kick: Kick, event: Event) -> list[Output]:
    """(sent, way answer): `accepted` is a promise as an ACK is, `gone` what 503 is, the others are final (behaviour 5.6)."""
    if kick.current.via == "radius":
        return []  # late: the command was begun anew
    answer = event.answer
    attempt = kick.attempts[-1]
    attempt.answer = answer.answer
    attempt.round_trip_ms = answer.round_trip_ms
    match answer.answer:
        case "accepted":
            return _take_promise(kick, event)
        case "gone":
            return _finish(kick, event.now, "gone", answer.detail or ERROR_CAUSES[503].sentence)
        case outcome:
            return _fail(kick, event.now, outcome, answer.detail)


def _back_off(kick: Kick, event: Event) -> list[Output]:
    """Leave the NAS alone for a while, if there is time for asking again after it."""
    if kick.back_offs < len(BACK_OFF_MS):
        at_ms = event.now.mono_ms + BACK_OFF_MS[kick.back_offs] * (1 + kick.schedule.rand * event.jitter)
        if at_ms < _send_by_ms(kick):
            kick.back_offs += 1
            kick.state = State.BACKING_OFF
            return [_timer(kick, at_ms)]
    return _settle(kick, event.now)


def _ask_again(kick: Kick, event: Event) -> list[Output]:
    """(backing-off, timer): the same attributes, as a new request."""
    return [Timer(kick.timer_ms)] if _too_early(kick, event) else _wait(kick)


def _settle(kick: Kick, now: Now) -> list[Output]:
    """Nothing more can be tried: what the NAS said last is the result."""
    last = kick.attempts[-1] if kick.attempts else None
    if last is None or not (last.answer or "").endswith("-NAK"):
        return _fail(kick, now, "unconfirmed", "")
    return _fail(kick, now, "refused", _sentence(last.error_cause), error_cause=last.error_cause)


def _fail(kick: Kick, now: Now, outcome: Outcome, detail: str, *, error_cause: int | None = None) -> list[Output]:
    """It came to nothing; where the NAS had promised before, that is what people must know."""
    if kick.promised:
        outcome, detail = "unconfirmed", f"The NAS promised to end the session, and the session went on reporting. {detail}".rstrip()
    return _finish(kick, now, outcome, detail, error_cause=error_cause)


def _sentence(error_cause: int | None) -> str:
    if error_cause is None:
        return "The NAS refused and named no Error-Cause."
    row = ERROR_CAUSES.get(error_cause)
    return row.sentence if row else f"The NAS refused with Error-Cause {error_cause}, which has no name here."


def _kind(kick: Kick) -> str:
    return kick.current.name.removesuffix("-Request")


def _note_answer(kick: Kick, event: Event, answer: str) -> None:
    attempt = kick.attempts[-1]
    attempt.answer = answer
    attempt.error_cause = event.error_cause
    if kick.transmission is not None:
        attempt.round_trip_ms = round(event.now.mono_ms - kick.transmission.sent_ms, 3)


def _end_meanwhile(kick: Kick, event: Event) -> list[Output]:
    """(queued, ended) and (backing-off, ended): it ended for other reasons, unless the NAS had promised it."""
    if kick.promised:
        return _prove(kick, event)
    return _finish(kick, event.now, "gone", f"The session ended before the NAS took a request{_said_by(event)}.")


def _prove(kick: Kick, event: Event) -> list[Output]:
    """(sent, ended) and (acknowledged, ended): the Stop may come before the ACK (behaviour 5.4)."""
    if kick.command.coa:
        return _finish(kick, event.now, "gone", f"The session ended before the NAS answered the change{_said_by(event)}.")
    return _finish(kick, event.now, "confirmed", f"The session has ended{_said_by(event)}.")


def _said_by(event: Event) -> str:
    return f" (said by {event.word})" if event.word else ""


def _try_another_way(kick: Kick, event: Event) -> list[Output]:
    """(acknowledged, alive): the promise was not kept; the next attribute set is tried if there is one (behaviour 5.4)."""
    return _wait(kick) if _choose_next(kick) else _settle(kick, event.now)


def _miss_the_proof(kick: Kick, event: Event) -> list[Output]:
    """(acknowledged, timer)."""
    if _too_early(kick, event):
        return [Timer(kick.timer_ms)]
    return _finish(
        kick, event.now, "unconfirmed", f"The NAS promised to end the session, and no Stop came in {kick.command.confirm_within_s} s."
    )


def _give_way(kick: Kick, event: Event) -> list[Output]:
    """(any, replaced): at most one disconnect in flight per session."""
    return _finish(kick, event.now, "superseded", f"A newer command for the same session took its place ({event.word}).")


def _ignore(_kick: Kick, _event: Event) -> list[Output]:
    """Late, repeated, or of no consequence here."""
    return []


def _impossible(kick: Kick, event: Event) -> list[Output]:
    raise ImpossibleError(f"{event.input} cannot happen to a command that is {kick.state} ({kick.command.id})")


TRANSITIONS: dict[tuple[State, Input], Callable[[Kick, Event], list[Output]]] = {
    (State.QUEUED, Input.TURN): _send_first,
    (State.QUEUED, Input.CROWDED): _turn_away,
    (State.QUEUED, Input.ACK): _ignore,  # a late reply to a request that was refused
    (State.QUEUED, Input.NAK): _ignore,  # likewise
    (State.QUEUED, Input.WAY_ANSWER): _ignore,  # the command was begun anew
    (State.QUEUED, Input.TIMER): _give_up_waiting,
    (State.QUEUED, Input.ENDED): _end_meanwhile,
    (State.QUEUED, Input.ALIVE): _ignore,  # nothing was promised, or another way is to be tried already
    (State.QUEUED, Input.REPLACED): _give_way,
    (State.SENT, Input.TURN): _impossible,  # a turn is given to who waits for one
    (State.SENT, Input.CROWDED): _impossible,
    (State.SENT, Input.ACK): _acknowledge,
    (State.SENT, Input.NAK): _take_refusal,
    (State.SENT, Input.WAY_ANSWER): _take_way_answer,
    (State.SENT, Input.TIMER): _send_again_or_give_up,
    (State.SENT, Input.ENDED): _prove,
    (State.SENT, Input.ALIVE): _ignore,  # likewise
    (State.SENT, Input.REPLACED): _give_way,
    (State.BACKING_OFF, Input.TURN): _impossible,
    (State.BACKING_OFF, Input.CROWDED): _impossible,
    (State.BACKING_OFF, Input.ACK): _ignore,  # a repeated or late reply to the request that was refused
    (State.BACKING_OFF, Input.NAK): _ignore,  # likewise
    (State.BACKING_OFF, Input.WAY_ANSWER): _ignore,
    (State.BACKING_OFF, Input.TIMER): _ask_again,
    (State.BACKING_OFF, Input.ENDED): _end_meanwhile,
    (State.BACKING_OFF, Input.ALIVE): _ignore,
    (State.BACKING_OFF, Input.REPLACED): _give_way,
    (State.ACKNOWLEDGED, Input.TURN): _impossible,
    (State.ACKNOWLEDGED, Input.CROWDED): _impossible,
    (State.ACKNOWLEDGED, Input.ACK): _ignore,  # a repeated reply
    (State.ACKNOWLEDGED, Input.NAK): _ignore,  # what a retransmission gets once the session is gone: 503
    (State.ACKNOWLEDGED, Input.WAY_ANSWER): _ignore,
    (State.ACKNOWLEDGED, Input.TIMER): _miss_the_proof,
    (State.ACKNOWLEDGED, Input.ENDED): _prove,
    (State.ACKNOWLEDGED, Input.ALIVE): _try_another_way,
    (State.ACKNOWLEDGED, Input.REPLACED): _give_way,
    (State.DONE, Input.TURN): _impossible,
    (State.DONE, Input.CROWDED): _impossible,
    (State.DONE, Input.ACK): _ignore,
    (State.DONE, Input.NAK): _ignore,
    (State.DONE, Input.WAY_ANSWER): _ignore,
    (State.DONE, Input.TIMER): _ignore,
    (State.DONE, Input.ENDED): _ignore,
    (State.DONE, Input.ALIVE): _ignore,
    (State.DONE, Input.REPLACED): _ignore,
}
