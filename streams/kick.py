"""The kick machine: what becomes of one disconnect command, from its being read to its one final outcome (behaviours 5.1 to 5.4, 5.7).

Rule 1: everything that moves a command from one state to another is in this file. It knows no socket, no Identifier space and no Kafka;
time and jitter come in with each event, bytes are made by its caller.

Theory of operation: a `Kick` is in one of four states, and `TRANSITIONS` says what each event does in each of them:

    queued        waiting for its turn, a source port and an Identifier (also again, when a further attribute set is to be tried)
    sent          a Disconnect-Request is on its way and nobody has answered it; it is retransmitted by RFC 5080 section 2.2.1
    acknowledged  the NAS promised; the proof (the session's end in the journal) is outstanding
    done          the final result was reported; whatever comes later is harmless

`step` gives back what is to be done: put a request on the wire, wake me at a time, wait for a turn, report a result. In every state but the
last one a timer is set, none later than `deadline_ms`; so there is one final result within `confirm_within_s` of the command's being read.

Two clocks: durations are of the monotonic clock (`mono_ms`), only `expires_ms` and what is reported are of the wall clock (`wall_ms`).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from schemas.codec import Text
from schemas.disconnect import ERROR_CAUSES, Attempt, DisconnectCommand, DisconnectResult, Outcome
from streams.profiles import SentAttribute
from streams.retransmission import RFC5080, Schedule, Transmission, first, following

GONE = 503
CONFIRM_WITHIN_MAX_S = 3600
"""No command stays open longer, whatever it says."""
NEXT_SET = frozenset({401, 402, 403, 407})
"""Error-Causes that speak of the attributes sent: the profile's next attribute set is tried (behaviour 5.3)."""


class State(StrEnum):
    """Where a command stands; see the top of this file."""

    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    DONE = "done"


class Input(StrEnum):
    """What can happen to a command."""

    TURN = "turn"  # it may send: a source port and an Identifier are its own
    ACK = "ack"  # a verified Disconnect-ACK to its last request
    NAK = "nak"  # a verified Disconnect-NAK to its last request
    TIMER = "timer"  # the time that it asked for has come
    ENDED = "ended"  # the journal says that the session has ended
    ALIVE = "alive"  # the journal says that the session still reports after the ACK
    REPLACED = "replaced"  # a newer command for the same session was read


class Now(NamedTuple):
    """A moment: wall clock in ms since the epoch, and the monotonic clock in ms."""

    wall_ms: int
    mono_ms: float


class Event(NamedTuple):
    """An input with what belongs to it.

    Attributes:
        jitter: between -1 and 1, for TURN and TIMER. identifier: for TURN. error_cause: for ACK and NAK, if the reply has one.
        word: for ENDED who says so, for REPLACED the newer command's id.
    """

    input: Input
    now: Now
    jitter: float = 0.0
    identifier: int = 0
    error_cause: int | None = None
    word: str = ""


class Wait(NamedTuple):
    """Output: give me a turn (`Input.TURN`) when a source port and an Identifier are free."""


class Send(NamedTuple):
    """Output: put the request on the wire.

    Attributes:
        attributes: what it carries.
        again: False: build it, with the Identifier of the turn. True: the same octets from the same port (RFC 5080 section 2.2.1).
    """

    attributes: tuple[SentAttribute, ...]
    again: bool


class Timer(NamedTuple):
    """Output: send `Input.TIMER` at this monotonic time; it replaces the timer before it."""

    at_ms: float


class Report(NamedTuple):
    """Output: this became of the command."""

    result: DisconnectResult


Output = Wait | Send | Timer | Report


class ImpossibleError(Exception):
    """An event that the caller's own order of things excludes: a defect in it, never the NAS's or the journal's doing."""


class Way(NamedTuple):
    """How a session's NAS is asked: the attribute sets in the order in which they are tried, and the NAS's port."""

    sets: tuple[tuple[SentAttribute, ...], ...]
    port: int


class NoWay(NamedTuple):
    """Why it cannot be asked (behaviour 5.7)."""

    outcome: Outcome
    detail: str


class Kick:
    """One command's state. `begin` makes it, `step` moves it.

    Attributes:
        command: what was ordered; deadline_ms: monotonic, when the final result is due; timer_ms: the timer that is set.
    """

    __slots__ = ("attempts", "command", "deadline_ms", "expiry_ms", "schedule", "set_index", "state", "timer_ms", "transmission", "way")

    def __init__(self, command: DisconnectCommand, way: Way, now: Now, schedule: Schedule) -> None:
        self.command = command
        self.way = way
        self.schedule = schedule
        self.state = State.QUEUED
        self.deadline_ms = now.mono_ms + min(command.confirm_within_s, CONFIRM_WITHIN_MAX_S) * 1000
        self.expiry_ms = now.mono_ms + command.expires_ms - now.wall_ms
        self.set_index = 0
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
    """
    kick = Kick(command, way if isinstance(way, Way) else Way((), 0), now, schedule)
    if kick.expiry_ms <= now.mono_ms:
        return kick, _finish(kick, now, "expired", "It was read after its time was over.")
    if isinstance(way, NoWay):
        return kick, _finish(kick, now, way.outcome, way.detail)
    return kick, [Wait(), _timer(kick, min(kick.expiry_ms, kick.deadline_ms))]


def resume(command: DisconnectCommand, acknowledged: DisconnectResult, now: Now) -> tuple[Kick, list[Output]]:
    """A command was read whose ACK is on record already: nothing is sent again, only the proof is awaited."""
    kick = Kick(command, Way((), 0), now, RFC5080)
    kick.state = State.ACKNOWLEDGED
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
        acct_session_id=session_id(command),
        final=outcome != "acknowledged",
        outcome=outcome,
        error_cause=error_cause,
        error_cause_name=row.name if row else None,
        attempts=[msgspec.structs.replace(attempt, sent_ms=list(attempt.sent_ms)) for attempt in kick.attempts],
        detail=detail,
    )


def session_id(command: DisconnectCommand) -> Text:
    """The session's Acct-Session-Id as the command has it; empty when it has none that could be one."""
    try:
        return msgspec.convert(command.session.get("acct_session_id", ""), Text)  # type: ignore[no-any-return]  # it types no union
    except msgspec.ValidationError:
        return ""


def _timer(kick: Kick, at_ms: float) -> Timer:
    kick.timer_ms = at_ms
    return Timer(at_ms)


def _finish(kick: Kick, now: Now, outcome: Outcome, detail: str, *, error_cause: int | None = None) -> list[Output]:
    kick.state = State.DONE
    return [Report(result_of(kick, now, outcome, detail, error_cause=error_cause))]


def _too_early(kick: Kick, event: Event) -> bool:
    """A timer that was replaced since, or a clock's rounding."""
    return event.now.mono_ms < kick.timer_ms


def _send_first(kick: Kick, event: Event) -> list[Output]:
    """(queued, turn)."""
    now = event.now
    if min(kick.expiry_ms, kick.deadline_ms) <= now.mono_ms:
        return _give_up_waiting(kick, event)
    attributes = kick.way.sets[kick.set_index]
    kick.state = State.SENT
    kick.attempts.append(
        Attempt(attributes=[one.name for one in attributes], port=kick.way.port, identifier=event.identifier, sent_ms=[now.wall_ms])
    )
    kick.transmission = first(kick.schedule, now.mono_ms, event.jitter)
    return [Send(attributes, again=False), _timer(kick, min(kick.transmission.due_ms, kick.deadline_ms))]


def _give_up_waiting(kick: Kick, event: Event) -> list[Output]:
    """(queued, timer): its turn did not come in time."""
    if _too_early(kick, event):
        return [Timer(kick.timer_ms)]
    if kick.attempts:
        return _refused(kick, event.now, kick.attempts[-1].error_cause)
    return _finish(kick, event.now, "expired", "Its turn at the NAS did not come before its time was over; nothing was sent.")


def _send_again_or_give_up(kick: Kick, event: Event) -> list[Output]:
    """(sent, timer)."""
    if _too_early(kick, event):
        return [Timer(kick.timer_ms)]
    now = event.now
    last = kick.transmission
    further = following(kick.schedule, last, now.mono_ms, event.jitter) if last and now.mono_ms < kick.deadline_ms else None
    if further is None:
        return _finish(kick, now, "unanswered", _unanswered(kick))
    kick.transmission = further
    kick.attempts[-1].sent_ms.append(now.wall_ms)
    return [Send(kick.way.sets[kick.set_index], again=True), _timer(kick, min(further.due_ms, kick.deadline_ms))]


def _unanswered(kick: Kick) -> str:
    sends = len(kick.attempts[-1].sent_ms)
    return f"Sent {sends} times without an answer: the NAS is down, does not listen there, or knows us by another secret or address."


def _acknowledge(kick: Kick, event: Event) -> list[Output]:
    """(sent, ack): a promise, not the proof."""
    _note_answer(kick, event, "Disconnect-ACK")
    kick.state = State.ACKNOWLEDGED
    result = result_of(
        kick, event.now, "acknowledged", "The NAS promised to end the session; its Stop is awaited.", error_cause=event.error_cause
    )
    return [Report(result), _timer(kick, kick.deadline_ms)]


def _take_refusal(kick: Kick, event: Event) -> list[Output]:
    """(sent, nak): Error-Cause decides (behaviour 5.3)."""
    _note_answer(kick, event, "Disconnect-NAK")
    if event.error_cause == GONE:
        return _finish(kick, event.now, "gone", ERROR_CAUSES[GONE].sentence, error_cause=GONE)
    if event.error_cause in NEXT_SET and kick.set_index + 1 < len(kick.way.sets):
        kick.set_index += 1
        kick.state = State.QUEUED
        return [Wait(), _timer(kick, min(kick.expiry_ms, kick.deadline_ms))]
    return _refused(kick, event.now, event.error_cause)


def _refused(kick: Kick, now: Now, error_cause: int | None) -> list[Output]:
    if error_cause is None:
        detail = "The NAS refused and named no Error-Cause."
    else:
        row = ERROR_CAUSES.get(error_cause)
        detail = row.sentence if row else f"The NAS refused with Error-Cause {error_cause}, which has no name here."
    return _finish(kick, now, "refused", detail, error_cause=error_cause)


def _note_answer(kick: Kick, event: Event, answer: str) -> None:
    attempt = kick.attempts[-1]
    attempt.answer = answer
    attempt.error_cause = event.error_cause
    if kick.transmission is not None:
        attempt.round_trip_ms = round(event.now.mono_ms - kick.transmission.sent_ms, 3)


def _ended_before_sending(kick: Kick, event: Event) -> list[Output]:
    """(queued, ended): it ended for other reasons."""
    return _finish(kick, event.now, "gone", f"The session ended before a request was answered{_said_by(event)}.")


def _prove(kick: Kick, event: Event) -> list[Output]:
    """(sent, ended) and (acknowledged, ended): the Stop may come before the ACK (behaviour 5.4)."""
    return _finish(kick, event.now, "confirmed", f"The session has ended{_said_by(event)}.")


def _said_by(event: Event) -> str:
    return f" (said by {event.word})" if event.word else ""


def _disprove(kick: Kick, event: Event) -> list[Output]:
    """(acknowledged, alive)."""
    return _finish(kick, event.now, "unconfirmed", "The NAS promised to end the session, and the session went on reporting.")


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
    (State.QUEUED, Input.ACK): _ignore,  # a late reply to an attribute set that was refused
    (State.QUEUED, Input.NAK): _ignore,  # likewise
    (State.QUEUED, Input.TIMER): _give_up_waiting,
    (State.QUEUED, Input.ENDED): _ended_before_sending,
    (State.QUEUED, Input.ALIVE): _ignore,  # nothing was promised yet
    (State.QUEUED, Input.REPLACED): _give_way,
    (State.SENT, Input.TURN): _impossible,  # a turn is given to who waits for one
    (State.SENT, Input.ACK): _acknowledge,
    (State.SENT, Input.NAK): _take_refusal,
    (State.SENT, Input.TIMER): _send_again_or_give_up,
    (State.SENT, Input.ENDED): _prove,
    (State.SENT, Input.ALIVE): _ignore,  # nothing was promised yet
    (State.SENT, Input.REPLACED): _give_way,
    (State.ACKNOWLEDGED, Input.TURN): _impossible,
    (State.ACKNOWLEDGED, Input.ACK): _ignore,  # a repeated reply
    (State.ACKNOWLEDGED, Input.NAK): _ignore,  # what a retransmission gets once the session is gone: 503
    (State.ACKNOWLEDGED, Input.TIMER): _miss_the_proof,
    (State.ACKNOWLEDGED, Input.ENDED): _prove,
    (State.ACKNOWLEDGED, Input.ALIVE): _disprove,
    (State.ACKNOWLEDGED, Input.REPLACED): _give_way,
    (State.DONE, Input.TURN): _impossible,
    (State.DONE, Input.ACK): _ignore,
    (State.DONE, Input.NAK): _ignore,
    (State.DONE, Input.TIMER): _ignore,
    (State.DONE, Input.ENDED): _ignore,
    (State.DONE, Input.ALIVE): _ignore,
    (State.DONE, Input.REPLACED): _ignore,
}
