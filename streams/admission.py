"""May this user open one more session? Pure: (live view, question, time) -> answer and reservation (behaviour 4.8).

Law of this file: the limits are asked by the very code that decides when a session starts (`streams.limits`), so that who is let in here is
not disconnected there. It decides about no session: a reservation counts for other questions alone, is no part of the journal, and may be
lost with the process that gave it.

Theory of operation. A question becomes the row of a session that is about to begin; each reservation of the same user becomes the row of
one that is as good as begun. The newcomer is refused where it would itself be the one to go; where the rule takes another (`oldest`,
`all-others`), or nobody, it is let in. A question for a session that is open already is allowed and reserves nothing.

A reservation lapses after a time, and is consumed by the identity's next Start on that NAS, with that MAC if one was given. Asked again for
the same NAS and MAC it is the same reservation, for longer. A user has so many at most: the oldest makes room, since one too many let in is
put right at its Start, and one too few is not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import NamedTuple

import msgspec

from schemas.admission import Answer, Question
from schemas.codec import display
from schemas.group import Standing
from schemas.journal import PolicyVersion
from schemas.policy import Policy
from schemas.session import IdentityRow, PartitionRow, SessionRow
from streams import limits, quotas, rates
from streams.admission_groups import Answered, GroupCounts
from streams.identity import NOBODY, IdentityRules
from streams.live_view import LiveView, Moved
from streams.mac import normal_mac
from streams.memberships import groups_of
from streams.merge import text_key
from streams.promises import fitting
from streams.rulebook import Asked, Questions, Rulebook

RESERVATIONS_MAX = 1_000_000
_LAST = 2**62
"""After every session there is: in order of begin, of last sign of life, and of offset."""


class Reservation(NamedTuple):
    """A slot that is kept for somebody who was let in and has not started yet.

    Attributes:
        id: for people and logs. device: its MAC; None: any device. groups: what the login knew of the user's groups.
        slots: groups whose limits count it.
        until_ms: on the caller's clock.
    """

    id: str
    nas: str
    device: str | None
    until_ms: float
    groups: tuple[str, ...] = ()
    slots: tuple[str, ...] = ()


class Reservations:
    """All of them, by identity; bounded per identity and in all.

    Attributes:
        gone: (identity, reservation) that stand no longer, for whoever counts them and takes them out.
    """

    def __init__(self, hold_ms: float, per_user_max: int, in_all_max: int = RESERVATIONS_MAX) -> None:
        self._hold_ms = hold_ms
        self._per_user_max = per_user_max
        self._in_all_max = in_all_max
        self._of: dict[str, tuple[Reservation, ...]] = {}
        self._ends: deque[tuple[float, str]] = deque()
        self._count = 0
        self.gone: list[tuple[str, Reservation]] = []

    def __len__(self) -> int:
        return self._count

    def of(self, identity: str, now_ms: float) -> tuple[Reservation, ...]:
        """Those of an identity that stand, oldest first."""
        while self._ends and (self._ends[0][0] <= now_ms or len(self._ends) > self._in_all_max):
            until_ms, name = self._ends.popleft()
            self._keep(name, tuple(each for each in self._of.get(name, ()) if each.until_ms > until_ms))
        return self._of.get(identity, ())

    def reserve(self, identity: str, newcomer: SessionRow, now_ms: float, new_id: str) -> Reservation:
        """Reserve for a session that is about to begin, or prolong what is reserved for the same NAS and device."""
        nas, device = newcomer.nas, newcomer.device
        known = self.of(identity, now_ms)
        same = next((each for each in known if device is not None and (each.nas, each.device) == (nas, device)), None)
        reservation = Reservation(new_id if same is None else same.id, nas, device, now_ms + self._hold_ms, newcomer.groups, newcomer.slots)
        self._ends.append((reservation.until_ms, identity))
        self._keep(identity, (*(each for each in known if each is not same), reservation)[-self._per_user_max :])
        return reservation

    def consume(self, identity: str, nas: str, device: str | None, now_ms: float) -> Reservation | None:
        """A session of the identity has started there: take the reservation that was for it, its own device's before one for any."""
        taken = fitting(self.of(identity, now_ms), nas, device)
        if taken is not None:
            self.give_back(identity, taken.id)
        return taken

    def give_back(self, identity: str, reservation: str) -> None:
        """Nothing is reserved under this id any more."""
        self._keep(identity, tuple(each for each in self._of.get(identity, ()) if each.id != reservation))

    def _keep(self, identity: str, left: tuple[Reservation, ...]) -> None:
        before = self._of.get(identity, ())
        self._count += len(left) - len(before)
        self.gone += [(identity, each) for each in before if each not in left]  # one that was prolonged may be in other groups now
        if left:
            self._of[identity] = left
        else:
            self._of.pop(identity, None)


class _Found(NamedTuple):
    """What the rules say: which one, in which words, and whether it refuses."""

    rule: str | None
    reason: str
    refused: bool


class Desk:
    """Where it is asked.

    Attributes:
        view: what is open. reservations: what is as good as open.
    """

    def __init__(
        self, view: LiveView, rules: IdentityRules, reservations: Reservations, redirect: str | None = None, now_ms: float = 0
    ) -> None:
        self.view = view
        self._groups = GroupCounts()
        self.reservations = reservations
        self._rules = rules
        self._redirect = redirect
        self._book = Rulebook(Policy())
        self._version = 0
        for partition in view.partitions:
            for key in partition.keys(nas=""):
                self._hold(key, partition.session(key), now_ms)

    def ask(self, question: Question, now_ms: float, new_id: str) -> Answer:
        """Answer a question; one that is allowed is reserved for.

        Args:
            question: who wants in, where.
            now_ms: any clock that only goes forward, the same for all calls.
            new_id: of the reservation, if one is made.
        """
        identity = self.identity_of(question)
        if identity == NOBODY:
            return Answer(allowed=True, reason="this name is nobody's, so that nothing is counted for it")
        home = self.view.home_of(identity)
        self._take(home.policy)
        version = self._version
        rows = self.view.of_identity(identity)
        if (same := _already_open(question, rows)) is not None:
            reason = f"this session is open already, as {same.nas}/{display(same.acct_session_id)}"
            return Answer(allowed=True, reason=reason, policy_version=version)
        device = _device(question)
        standing = self.reservations.of(identity, now_ms)
        reserved = [each for each in standing if device is None or (each.nas, each.device) != (question.nas, device)]
        own = [each.id for each in standing if each not in reserved]
        newcomer = SessionRow(question.nas, "", identity, "open", device=device, order_ms=_LAST, last_seen_ms=_LAST, opened_offset=_LAST)
        newcomer.groups = question.groups
        scene = limits.Scene(self._book, home.identity(identity), home.row.clock_ms)
        asked = scene.book.questions(groups_of(scene.known, newcomer))
        newcomer.slots = tuple(dict.fromkeys(each.group for each in asked.group))
        to_come = [_as_row(each, identity, nth) for nth, each in enumerate(reserved)]
        others = [row for row in rows if limits.counts(row)] + to_come
        self._settle()
        found = (
            _too_often(scene, asked, to_come)
            or _spent(scene, asked, home.row)
            or _decide(scene, asked, newcomer, others, lambda: self._of_groups(scene, asked, newcomer, now_ms, own))
        )
        if found.refused:
            return Answer(allowed=False, reason=found.reason, rule=found.rule, redirect=self._redirect, policy_version=version)
        reservation = self.reservations.reserve(identity, newcomer, now_ms, new_id)
        self._settle()
        self._groups.hold(reservation.id, _in_all(scene.known, newcomer), newcomer.slots, round(now_ms))
        return Answer(allowed=True, reason=found.reason, rule=found.rule, reservation=reservation.id, policy_version=version)

    def _of_groups(self, scene: limits.Scene, asked: Questions, newcomer: SessionRow, now_ms: float, own: list[str]) -> Answered:
        if not asked.group:
            return Answered(None, None, [], [])
        held = [hold.rule for hold in scene.known.holds if hold.device == newcomer.device and scene.clock_ms < hold.until_ms]
        newcomer, policy = _in_all(scene.known, newcomer), scene.book.policy
        return self._groups.ask(asked.group, newcomer, held, round(now_ms), policy.limits, leaving=own)

    def _hold(self, key: str, row: SessionRow | None, now_ms: float) -> None:
        if row is not None and row.slots:
            home = self.view.home_of(row.identity)
            age_ms = home.row.clock_ms - row.opened_clock_ms
            self._groups.hold(key, _in_all(home.identity(row.identity), row), row.slots, round(now_ms) - age_ms)

    def _settle(self) -> None:
        """Reservations that are gone hold no slots."""
        for identity, gone in self.reservations.gone:
            self._groups.free(gone.id, identity, gone.slots)
        self.reservations.gone.clear()

    def _take(self, version: PolicyVersion) -> None:
        """Partitions may be one version apart for a moment: the newest that is in force anywhere is asked, and made ready once."""
        if version.version > self._version:
            self._version, self._book = version.version, Rulebook(version.policy)

    def identity_of(self, question: Question) -> str:
        """Whom the question is about, by the ingest's rules."""
        fields = {"user_name": question.user, "calling_station_id": question.calling_station_id or ""}
        return self._rules.identity_of(fields, question.nas)

    def give_back(self, question: Question, reservation: str) -> None:
        """The question was let in, and could not be answered so."""
        self.reservations.give_back(self.identity_of(question), reservation)
        self._settle()

    def moved(self, moved: Moved, now_ms: float) -> None:
        """A session is not as it was: one that has begun consumes the reservation that was for it."""
        before, after = moved.before, moved.after
        if before is not None:
            self._groups.free(moved.key, before.identity, before.slots)
        if after is not None:
            self._hold(moved.key, after, now_ms)
            if before is None or before.identity != after.identity:
                self.reservations.consume(after.identity, after.nas, after.device, now_ms)
                self._settle()


def _in_all(known: IdentityRow, row: SessionRow) -> SessionRow:
    """A session with all groups that it is in, as the group agent is told of it."""
    return msgspec.structs.replace(row, groups=groups_of(known, row))


def _too_often(scene: limits.Scene, asked: Questions, to_come: list[SessionRow]) -> _Found | None:
    """The first rate of which a Start would be one too many and that disconnects; who was let in and has not started is counted."""
    for rate, group in asked.rates:
        if rate.action != "disconnect":
            continue
        reserved = sum((rate, group) in scene.book.questions(groups_of(scene.known, row)).rates for row in to_come)
        current = rates.before(scene.known, rate, group, scene.clock_ms) + reserved
        if current >= rate.starts:
            return _Found(rate.name, rates.sentence(rate, group, current) + _of_them(reserved), refused=True)
    return None


def _of_them(reserved: int) -> str:
    return f"; {reserved} of them reserved a moment ago" if reserved else ""


def _spent(scene: limits.Scene, asked: Questions, home: PartitionRow) -> _Found | None:
    """The first quota that is spent and disconnects: it is asked before any limit, as at a Start."""
    of_groups = (stand for stand, _ in quotas.spent_of_groups(home.spent, asked.group_quotas, home.wall_ms))
    for stand in chain(quotas.spent(scene.known, asked.quotas, home.wall_ms), of_groups):
        if stand.quota.action == "disconnect":
            return _Found(stand.quota.name, quotas.sentence(stand), refused=True)
    return None


def _decide(
    scene: limits.Scene, asked: Questions, newcomer: SessionRow, others: list[SessionRow], ask_groups: Callable[[], Answered]
) -> _Found:
    """Ask the limits in the order in which a Start is asked: the user's, the user's in groups, the groups', the guest types'."""
    first = limits.decide(scene, asked.first, newcomer, others)
    if first.breach is not None:
        return _of_breach(first.breach, newcomer)
    groups = ask_groups()
    if groups.refused is not None and groups.standing is not None:
        return _of_breach(_group_breach(scene, groups.refused, groups.standing, newcomer, others), newcomer)
    last = limits.decide(scene, asked.last, newcomer, others)
    if last.breach is not None:
        return _of_breach(last.breach, newcomer)
    for told in (*first.reported, *last.reported):
        return _Found(told.asked.limit.name, f"{told.text}; the rule lets it be", refused=False)
    passed = [*first.passed, *groups.passed, *last.passed]
    return _Found(None, "; ".join([*groups.reported, *passed]) or "no limit applies", refused=False)


def _group_breach(scene: limits.Scene, asked: Asked, standing: Standing, newcomer: SessionRow, others: list[SessionRow]) -> limits.Breach:
    """What follows from a group that is full: as at a Start, one of the user's own sessions may go instead."""
    text = limits.breach_text(asked, standing.current, standing.max)
    held = limits.is_held(asked.limit, newcomer, scene.known.holds, scene.clock_ms)
    if held:
        text += "; this device was evicted by it a moment ago"
    own = [row for row in others if asked.group in row.slots]
    victims = [newcomer] if held or asked.limit.victim_scope == "group" else limits.choose(asked.limit, newcomer, own)
    return limits.Breach(asked, standing.current, own, victims, text)


def _of_breach(breach: limits.Breach, newcomer: SessionRow) -> _Found:
    """Refused is who would go himself."""
    rule = breach.asked.limit.name
    if newcomer not in breach.victims:
        return _Found(rule, f"{breach.text}; another session goes when this one starts", refused=False)
    reserved = sum(row.opened_offset < 0 for row in breach.counted)
    return _Found(rule, breach.text + _of_them(reserved), refused=True)


def _device(question: Question) -> str | None:
    return normal_mac(question.calling_station_id or "")


def _already_open(question: Question, rows: list[SessionRow]) -> SessionRow | None:
    """The session that the question is about, where it runs and nobody ends it: a re-authentication."""
    device = _device(question)
    for row in rows:
        if row.kick_state in limits.IN_FLIGHT:
            continue
        if (
            (device is not None and row.device == device)
            or (question.acct_session_id and row.nas == question.nas and text_key(row.acct_session_id) == question.acct_session_id)
            or (question.audit_session_id and row.audit_session_id == question.audit_session_id)
        ):
            return row
    return None


def _as_row(reservation: Reservation, identity: str, nth: int) -> SessionRow:
    """A reservation as a session that has just begun; offsets below 0 are no session's."""
    newest = _LAST - 1
    return SessionRow(
        *(reservation.nas, reservation.id, identity, "open"),
        device=reservation.device,
        groups=reservation.groups,
        slots=reservation.slots,
        opened_clock_ms=_LAST,
        order_ms=newest,
        last_seen_ms=newest,
        opened_offset=-1 - nth,
    )
