"""The policy made ready to be asked: which rules touch somebody who is in these groups, and in which order they are asked.

Law of this file: (policy) -> by groups, the rules in the fixed order of behaviour 4.1: user, user in group, group, guest type; within a
kind the policy's order. What it costs to find them is paid once for each set of groups, so a rule costs nothing to whom it cannot touch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

from schemas.policy import GUEST, Duration, Limit, Policy, Quota, Rate
from streams.told_groups import ToldGroups
from streams.windows import Calendar, Per

REMEMBERED_MAX = 4096
"""Sets of groups whose rules are remembered; when that many are known, all are forgotten and found again."""


class Asked(NamedTuple):
    """A limit as it is asked about one session.

    Attributes:
        limit: the rule. group: in which group, or guest type without its prefix; empty for a user's.
    """

    limit: Limit
    group: str


class Metered(NamedTuple):
    """A quota as it is held against each record that tells of usage.

    Attributes:
        rule: the quota's name. group: in which group or guest type; empty for a user's.
        in_octets: it counts octets; else milliseconds.
        bites_at: from this much on there is something to tell or to do, where no operator gave anything on top.
        per, time_zone: its windows.
    """

    rule: str
    group: str
    in_octets: bool
    bites_at: int
    per: Per
    time_zone: str


class Questions(NamedTuple):
    """The rules that touch a session in certain groups.

    Attributes:
        first: the user's limits, then those of the user in each group: decided here, before any group is asked.
        group: limits of whole groups, which the group agent counts. slots: these groups, each once.
        last: limits of guest types: decided here, after the groups.
        quotas, rates, durations: (rule, group) each, but for those of whole groups; the quotas by name, as their windows are kept.
        group_quotas, group_rates: those of whole groups, which the group agent counts.
        keys: (limit's name, group) of all these limits, to see quickly whether another session is counted in one.
        here: what is decided at once: `first`, and `last` too where no group is asked in between.
        alone: what the live log says of `here` when the user has no other session; None: that may breach one.
        metered: as `quotas`.
        quota_groups, rate_groups: the groups that `group_quotas` and `group_rates` are about, each once.
    """

    first: tuple[Asked, ...]
    group: tuple[Asked, ...]
    slots: tuple[str, ...]
    last: tuple[Asked, ...]
    quotas: tuple[tuple[Quota, str], ...]
    rates: tuple[tuple[Rate, str], ...]
    durations: tuple[tuple[Duration, str], ...]
    keys: frozenset[tuple[str, str]]
    group_quotas: tuple[tuple[Quota, str], ...]
    group_rates: tuple[tuple[Rate, str], ...]
    here: tuple[Asked, ...]
    alone: tuple[str, ...] | None
    metered: tuple[Metered, ...]
    quota_groups: tuple[str, ...]
    rate_groups: tuple[str, ...]


class Rulebook:
    """One version of the policy, indexed by the groups that a session is in.

    Attributes:
        policy: what it was made of. told: groups that come with records. calendar: the quotas' windows.
        has_group_limits: whether any limit counts whole groups. has_quotas, has_durations, has_meters: whether there is
            a quota; a `[[duration]]`; a quota or a rate.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.told = ToldGroups(policy.memberships)
        self.calendar = Calendar()
        self.has_group_limits = any(limit.applies_to == "group" for limit in policy.limits)
        self.has_quotas = bool(policy.quotas)
        self.has_durations = bool(policy.durations)
        self.has_meters = bool(policy.quotas or policy.rates)
        self._known: dict[tuple[str, ...], Questions] = {}

    def questions(self, groups: tuple[str, ...]) -> Questions:
        """The rules for a session in these groups (guest types as `guest:NAME`)."""
        known = self._known.get(groups)
        if known is None:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            known = self._known[groups] = self._find(groups)
        return known

    def _find(self, groups: tuple[str, ...]) -> Questions:
        policy = self.policy
        asked = [Asked(limit, group) for limit in policy.limits if not is_exempt(limit, groups) for group in scopes(limit, groups)]
        by_kind = {kind: tuple(a for a in asked if a.limit.applies_to == kind) for kind in ("user", "user-in-group", "group", "guest-type")}
        quotas = sorted(((quota, group) for quota in policy.quotas for group in scopes(quota, groups)), key=_name_and_group)
        rates = [(rate, group) for rate in policy.rates for group in scopes(rate, groups)]
        own_quotas, group_quotas = _apart(quotas)
        own_rates, group_rates = _apart(rates)
        first, last = by_kind["user"] + by_kind["user-in-group"], by_kind["guest-type"]
        here = first if by_kind["group"] else first + last
        return Questions(
            first,
            by_kind["group"],
            _groups(by_kind["group"]),
            last,
            own_quotas,
            own_rates,
            tuple((duration, group) for duration in policy.durations for group in scopes(duration, groups)),
            frozenset((a.limit.name, a.group) for a in asked),
            group_quotas,
            group_rates,
            here,
            _alone(here),
            tuple(_metered(*each) for each in own_quotas),
            _groups(group_quotas),
            _groups(group_rates),
        )


R = TypeVar("R", Quota, Rate)


def _apart(rules: list[tuple[R, str]]) -> tuple[tuple[tuple[R, str], ...], tuple[tuple[R, str], ...]]:
    """Those that count here, and those of whole groups."""
    return tuple(r for r in rules if r[0].applies_to != "group"), tuple(r for r in rules if r[0].applies_to == "group")


def _name_and_group(one: tuple[Quota, str]) -> tuple[str, str]:
    """The order in which windows are kept."""
    return one[0].name, one[1]


def _groups(rules: Iterable[tuple[Limit | Quota | Rate, str]]) -> tuple[str, ...]:
    """The groups of these rules, each once."""
    return tuple(dict.fromkeys(group for _, group in rules))


def _alone(here: tuple[Asked, ...]) -> tuple[str, ...] | None:
    if not all(each.limit.max_sessions for each in here):
        return None
    return tuple(passed_text(each, 0, each.limit.max_sessions) for each in here)


def _metered(quota: Quota, group: str) -> Metered:
    share = min(quota.warn_at, default=100)
    return Metered(quota.name, group, bool(quota.octets), -(-share * allowed(quota) // 100), quota.per, quota.time_zone)  # rounded up


def allowed(quota: Quota) -> int:
    """What may be used in a window, octets or milliseconds, before an operator gives anything on top."""
    return quota.octets or 1000 * (quota.time_s or 0)


def passed_text(asked: Asked, current: int, most: int) -> str:
    """What the live log says of a limit that was passed."""
    return f"{asked.limit.name}{f' in {asked.group}' if asked.group else ''}: {current} open of {most} allowed"


def scopes(rule: Limit | Quota | Rate | Duration, groups: tuple[str, ...]) -> Iterator[str]:
    """In which of somebody's groups a rule counts: the empty text for a user's rule."""
    if rule.applies_to == "user":
        yield ""
        return
    for group in groups:
        is_guest = group.startswith(GUEST)
        name = group.removeprefix(GUEST) if is_guest else group
        if is_guest == (rule.applies_to == "guest-type") and fits(rule.group, name):
            yield name


def is_exempt(limit: Limit, groups: tuple[str, ...]) -> bool:
    """Whether a limit leaves somebody in these groups alone (`except`)."""
    return any(fits(pattern, group) for pattern in limit.exempt for group in groups)


def fits(pattern: str, name: str) -> bool:
    """Whether a name is meant by a rule's pattern; `*` is any text."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), name, re.DOTALL) is not None
