"""Limits under random policies that change under way, against a slow, obvious model of behaviours 4.1 to 4.5 that shares no code with them.

The model keeps a list of sessions and a list of rules, and for each Start walks through both. What it says (who breaches which rule with
which count, and who goes) must be what the session agent's step says, record by record.
"""

import random
from dataclasses import dataclass, field

import pytest

from schemas.disconnect import DisconnectCommand
from schemas.policy import Limit
from tests.support.journal import Journal, groups, interim, policy, result, start, stop, tick

USERS = ("al", "bo", "cy")
GROUPS = ("red", "blue", "guest:day", "guest:week")
DEVICES = tuple(f"02-00-00-00-00-0{n}" for n in range(4))
STEPS = 400


@dataclass
class One:
    """A session. `fate`: empty, `going` while its disconnect is under way, `stuck` when that failed."""

    name: str
    user: str
    device: str | None
    began_s: int
    seen: int
    number: int
    fate: str = ""
    let_be: set[str] = field(default_factory=set)


class Model:
    """What should follow from what."""

    def __init__(self) -> None:
        self.rules: list[Limit] = []
        self.groups: dict[str, set[str]] = {user: set() for user in USERS}
        self.open: list[One] = []
        self.holds: dict[tuple[str, str | None, str], int] = {}
        self.now_s = 0

    def scopes(self, rule: Limit, user: str) -> list[str]:
        """In which groups a rule is about a user; the empty text for the user alone."""
        mine = sorted(self.groups[user])
        if set(rule.exempt) & set(mine) or ("guest:*" in rule.exempt and any(name.startswith("guest:") for name in mine)):
            return []
        if rule.applies_to == "user":
            return [""]
        if rule.applies_to == "guest-type":
            mine = [name[6:] for name in mine if name.startswith("guest:")]
        else:
            mine = [name for name in mine if not name.startswith("guest:")]
        return [name for name in mine if rule.group in ("*", name)]

    def asked(self, user: str) -> list[tuple[Limit, str]]:
        """The rules about a user in the order of 4.1."""
        order = ("user", "user-in-group", "guest-type")
        return [(rule, scope) for kind in order for rule in self.rules if rule.applies_to == kind for scope in self.scopes(rule, user)]

    def counted(self, rule: Limit, user: str, but: One | None = None) -> list[One]:
        """The user's sessions that a rule counts, oldest first."""
        return [
            one
            for one in self.open
            if one is not but
            and one.user == user
            and one.fate != "going"
            and rule.name not in one.let_be
            and not (rule.counter_time_limit_s and self.now_s - one.began_s >= rule.counter_time_limit_s)
        ]

    def start(self, new: One) -> tuple[list[tuple[str, str, int]], list[str]]:
        """Somebody logs in: the breaches as (rule, scope, count), and who goes."""
        self.open.append(new)
        breaches: list[tuple[str, str, int]] = []
        gone: list[str] = []
        for rule, scope in self.asked(new.user):
            others = self.counted(rule, new.user, but=new)
            slots = {_slot(rule, one) for one in others}
            if len(slots) < rule.max_sessions or _slot(rule, new) in slots:
                continue
            breaches.append((rule.name, scope, len(slots)))
            if rule.action == "report" or rule.victim == "none":
                new.let_be.add(rule.name)
                continue
            held = self.holds.get((new.user, new.device, rule.name), -1) > self.now_s and new.device is not None
            going = [new] if held else self._victims(rule, new, others)
            self._go(rule, going)
            gone += [one.name for one in going]
            if new in going:
                break
        return breaches, gone

    def enforce(self, before: list[Limit]) -> list[str]:
        """New rules come for those who are over them: who goes."""
        gone: list[str] = []
        for user in sorted(USERS):
            for rule, _ in self.asked(user):
                if rule.on_change == "leave" or rule.action == "report" or rule.victim == "none" or rule in before:
                    continue
                rows = sorted(self.counted(rule, user), key=lambda one: one.number)
                by_use = sorted(rows, key=lambda one: one.seen)
                slots = list(dict.fromkeys(_slot(rule, one) for one in rows))
                if rule.victim == "newest":
                    slots.reverse()
                if rule.victim == "least-recently-active":
                    slots = sorted(set(slots), key=lambda slot: max(one.seen for one in by_use if _slot(rule, one) == slot))
                taken = slots[: max(0, len(slots) - rule.max_sessions)]
                going = [one for one in rows if _slot(rule, one) in taken]
                self._go(rule, going)
                gone += [one.name for one in going]
        return gone

    def _victims(self, rule: Limit, new: One, others: list[One]) -> list[One]:
        stuck = {_slot(rule, one) for one in others if one.fate == "stuck"}
        free = [one for one in others if _slot(rule, one) not in stuck]
        if rule.victim == "all-others":
            return free or [new]
        candidates = [*free, new]
        key = (lambda one: one.seen) if rule.victim == "least-recently-active" else (lambda one: one.number)
        first = max(candidates, key=key) if rule.victim == "newest" else min(candidates, key=key)
        return [one for one in candidates if _slot(rule, one) == _slot(rule, first)]

    def _go(self, rule: Limit, going: list[One]) -> None:
        for one in going:
            one.fate = "going"
            if rule.hold_s and one.device is not None:
                self.holds[one.user, one.device, rule.name] = self.now_s + rule.hold_s


def _slot(rule: Limit, one: One) -> str:
    return one.device if rule.count == "devices" and one.device else one.name


def some_rules(chance: random.Random) -> list[Limit]:
    """Between no rule and five, of all kinds."""
    rules = []
    for number in range(chance.randrange(6)):
        applies_to = chance.choice(("user", "user", "user-in-group", "guest-type"))
        rules.append(
            Limit(
                name=f"r{number}",
                applies_to=applies_to,
                max_sessions=chance.randrange(4),
                group="*" if applies_to == "user" or chance.random() < 0.5 else chance.choice(("red", "day")),
                count=chance.choice(("devices", "sessions")),
                victim=chance.choice(("newest", "oldest", "least-recently-active", "all-others", "none")),
                hold_s=chance.choice((0, 5)),
                action=chance.choice(("disconnect", "disconnect", "report")),
                counter_time_limit_s=chance.choice((0, 0, 20)),
                exempt=tuple(chance.sample(("red", "guest:day", "guest:*"), chance.choice((0, 0, 1)))),
                on_change=chance.choice(("leave", "enforce")),
            )
        )
    return rules


class Play:
    """One seed: the journal and the model side by side."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.model = Model()
        self.journal = Journal().feed(tick(0))
        self.version = self.starts = self.decided = 0

    def start(self) -> None:
        user, device = self.chance.choice(USERS), self.chance.choice((*DEVICES, None))
        self.starts += 1
        new = One(f"s{self.starts}", user, device, self.model.now_s, self.at(), self.at())
        breaches, gone = self.model.start(new)
        self.journal.feed(start(new.name, user, at_s=self.at() / 1000, mac=device))
        events = [event for event in self.journal.events() if event.type == "limit.breached"]
        assert [(event.rule, event.group or "", event.current) for event in events] == breaches
        self.follow(gone)

    def change_policy(self) -> None:
        before, self.model.rules = self.model.rules, some_rules(self.chance)
        if before and self.chance.random() < 0.5:
            self.model.rules = [before[0], *(rule for rule in self.model.rules if rule.name != before[0].name)]
        self.version += 1
        gone = self.model.enforce(before)
        self.journal.feed(policy(*self.model.rules, version=self.version))
        self.journal.events()
        self.follow(gone)

    def change_groups(self) -> None:
        user = self.chance.choice(USERS)
        self.model.groups[user] = set(self.chance.sample(GROUPS, self.chance.randrange(3)))
        self.journal.feed(groups(user, *self.model.groups[user]))

    def end(self) -> None:
        if self.model.open:
            one = self.chance.choice(self.model.open)
            self.model.open.remove(one)
            self.journal.feed(stop(one.name, one.user, at_s=self.at() / 1000, mac=one.device))

    def sign_of_life(self) -> None:
        if self.model.open:
            one = self.chance.choice(self.model.open)
            one.seen = self.at()
            self.journal.feed(interim(one.name, one.user, at_s=self.at() / 1000, mac=one.device))

    def pass_time(self) -> None:
        self.model.now_s += 1
        self.journal.feed(tick(self.model.now_s))

    def at(self) -> int:
        """Milliseconds, another for each record."""
        return self.model.now_s * 1000 + self.journal.offset

    def follow(self, gone: list[str]) -> None:
        """The commands are those that the model wants; the NAS carries them out, or cannot."""
        commands: list[DisconnectCommand] = self.journal.commands()
        assert sorted(str(command.session["acct_session_id"]) for command in commands) == sorted(gone)
        self.decided += len(commands)
        for command in commands:
            one = next(one for one in self.model.open if one.name == command.session["acct_session_id"])
            if self.chance.random() < 0.3:
                one.fate = "stuck"
                self.journal.feed(result(command, "refused"))
            elif self.chance.random() < 0.8:
                self.model.open.remove(one)
                self.journal.feed(stop(one.name, one.user, at_s=self.at() / 1000, mac=one.device))


@pytest.mark.parametrize("seed", range(12))
def test_random_policies_decide_as_the_model_does(seed: int) -> None:
    """4.1 to 4.5, 4.9: with groups, guest types, exceptions, counter time limits, holds, and rules that are enforced when they come."""
    play = Play(seed)
    steps = [play.start] * 8 + [play.end] * 2 + [play.sign_of_life] * 3 + [play.pass_time] * 3 + [play.change_groups, play.change_policy]
    for _ in range(STEPS):
        play.chance.choice(steps)()
        if play.chance.random() < 0.02:
            play.journal.restart()
    assert play.decided > 20
    assert play.journal.rejected() == []
