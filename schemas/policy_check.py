"""Whether a `policy.toml` makes sense: what must hold between its values, beyond the types and bounds of `policy`.

Pure, with one exception: time zones are looked up in the time-zone database that the decisions use too. Every finding of a file comes at
once, with line, column and what to write instead.
"""

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from schemas.configuration import Nas
from schemas.errors import Checked, Problem, in_order
from schemas.patterns import PatternError, compiled
from schemas.policy import GUEST, Duration, Limit, Liveness, Membership, Policy, Quota, Rate
from schemas.toml_reader import Reader, label
from schemas.toml_source import Path, Source, parse
from schemas.zones import ZoneNotFoundError, zone

Scoped = Limit | Quota | Rate | Duration


def check_policy(text: str, file: str, nases: Sequence[Nas] = ()) -> Checked[Policy]:
    """Check a `policy.toml`.

    Args:
        text: What the file holds; an empty text is a policy without rules.
        file: Its name, for the findings.
        nases: Those of the configuration that goes with it, where that is known.

    Returns:
        The policy unless there was an error, and the findings.
    """
    source = parse(text, file)
    if isinstance(source, Problem):
        return Checked(None, (source,))
    reader = Reader(source)
    policy = reader.read(Policy, source.tables)
    for path, value in list(reader.built.items()):
        if check := _CHECKS.get(type(value)):
            reader.problems.extend(check(source, path, value))
    for kind in (Limit, Quota, Rate, Duration):
        reader.problems.extend(_names(source, list(reader.every(kind))))
    reader.problems.extend(_spellings(source, reader))
    reader.problems.extend(_shadowed(source, list(reader.every(Limit))))
    reader.problems.extend(_too_short(source, list(reader.every(Liveness)), nases))
    return in_order(policy, reader.problems)


def _group(source: Source, path: Path, rule: Scoped) -> Iterator[Problem]:
    place = (*path, "group")
    if rule.applies_to == "user" and rule.group != "*":
        message = f'`{label(path)}.group` has no meaning with applies_to = "user"'
        yield source.value_problem(place, message, 'Write applies_to = "user-in-group", or leave `group` out.')
    elif rule.group.startswith(GUEST):
        message = f'`{label(path)}.group`: nobody can be in "{rule.group}": `{GUEST}` before a name is how guest types stand among groups'
        name = rule.group.removeprefix(GUEST)
        yield source.value_problem(place, message, f'Write applies_to = "guest-type" and group = "{name}".')
    elif rule.group != rule.group.strip() or not rule.group.isprintable():
        message = f'`{label(path)}.group`: nobody can be in "{rule.group}": a name of a group begins and ends with no blank'
        yield source.value_problem(place, message, f'Write "{rule.group.strip()}".')


def _limit(source: Source, path: Path, limit: Limit) -> Iterator[Problem]:
    yield from _group(source, path, limit)
    own = f"{GUEST}{limit.group}" if limit.applies_to == "guest-type" else limit.group
    every = {"*"} if limit.applies_to != "guest-type" else {"*", f"{GUEST}*"}
    if limit.applies_to != "user" and (own in limit.exempt or every & set(limit.exempt)):
        message = f'limit "{limit.name}" can never bite: `except` leaves alone all whom it is about'
        yield source.key_problem((*path, "except"), message, "Take that name out of `except`, or remove the limit.", "warning")
    if limit.victim_scope == "group" and limit.applies_to != "group":
        message = f'`limit.victim_scope` has no meaning with applies_to = "{limit.applies_to}"'
        yield source.value_problem((*path, "victim_scope"), message, 'Write applies_to = "group", or leave `victim_scope` out.')
    if limit.victim_scope == "group" and limit.victim == "least-recently-active":
        message = 'victim = "least-recently-active" has no meaning with victim_scope = "group": a group is not told of each Interim'
        yield source.value_problem((*path, "victim"), message, 'Write victim = "oldest", or victim_scope = "user".')


def _quota(source: Source, path: Path, quota: Quota) -> Iterator[Problem]:
    yield from _group(source, path, quota)
    if (quota.octets is None) == (quota.time_s is None):
        what = "neither `octets` nor `time`" if quota.octets is None else "both `octets` and `time`"
        message = f'quota "{quota.name}" has {what}'
        yield source.key_problem(path, message, 'Write one of them: octets = "2 GiB" or time = "4 h"; two quotas if both are meant.')
    if (quota.action == "coa") != bool(quota.coa):
        message = (
            f'quota "{quota.name}" has action = "coa" and no `coa`' if not quota.coa else f'`coa` of quota "{quota.name}" is never sent'
        )
        remedy = 'Write both: action = "coa" and the attributes to send, as in coa = { "Filter-Id" = "slow" }; or neither.'
        yield source.key_problem(path if not quota.coa else (*path, "coa"), message, remedy)
    try:
        zone(quota.time_zone)
    except ZoneNotFoundError:
        message = f'`quota.time_zone`: "{quota.time_zone}" is no time zone'
        yield source.value_problem((*path, "time_zone"), message, 'Write a name like "UTC" or "Africa/Johannesburg".')


def _liveness(source: Source, path: Path, liveness: Liveness) -> Iterator[Problem]:
    for key, rule in (("period_s", "handshake"), ("length_s", "offline-detect")):
        given = getattr(liveness, key) is not None
        if liveness.rule == rule and not given:
            yield source.key_problem(path, f'`liveness` with rule = "{rule}" has no `{key}`', f"Add `{key}`: a whole number of seconds.")
        if liveness.rule != rule and given:
            message = f'`liveness.{key}` has no meaning with rule = "{liveness.rule}"'
            yield source.key_problem((*path, key), message, f'Write rule = "{rule}", or leave `{key}` out.')


def _too_short(source: Source, rules: list[tuple[Path, Liveness]], nases: Sequence[Nas]) -> Iterator[Problem]:
    """Rules that nobody asks by and that call a session dead before two of its NAS's Interims were due (behaviour 3.1)."""
    for nas in nases:
        path, rule = next(((path, rule) for path, rule in rules if fnmatchcase(nas.name, rule.nas)), ((), None))
        if rule is None or rule.probe == "arp" or nas.interim_interval_s is None:
            continue
        dead_s = rule.length_s if rule.rule == "offline-detect" else (rule.period_s or 0) * rule.times if rule.rule == "handshake" else 0
        if dead_s and dead_s < 2 * nas.interim_interval_s:
            message = (
                f"a session of {nas.name} would be dead after {dead_s} s, but it reports each {nas.interim_interval_s} s: with "
                f'probe = "{rule.probe}" only its reports show that the client lives'
            )
            remedy = f'Give it at least two intervals ({2 * nas.interim_interval_s} s), or write probe = "arp".'
            yield source.value_problem((*path, "length_s" if rule.rule == "offline-detect" else "period_s"), message, remedy)


def _membership(source: Source, path: Path, membership: Membership) -> Iterator[Problem]:
    place = (*path, "pattern")
    try:
        pattern = compiled(membership.pattern)
    except PatternError as refused:
        message = f"`membership.pattern` is no regular expression that takes linear time: {refused}"
        remedy = "Write it as RE2 reads it (no look-around, no back-references, no huge repetitions), best in 'single quotes'."
        yield source.value_problem(place, message, remedy)
        return
    if not pattern.groupindex.keys() & {"group", "guest_type"}:
        message = "`membership.pattern` has neither a group named `group` nor one named `guest_type`"
        yield source.value_problem(place, message, "Write (?P<group>...) around the part that is the name, or (?P<guest_type>...).")


_CHECKS: dict[type, Callable[[Source, Path, Any], Iterator[Problem]]] = {
    Limit: _limit,
    Quota: _quota,
    Rate: _group,
    Duration: _group,
    Liveness: _liveness,
    Membership: _membership,
}


def _names(source: Source, rules: list[tuple[Path, Any]]) -> Iterator[Problem]:
    first: dict[str, Path] = {}
    for path, rule in rules:
        other = first.setdefault(rule.name, path)
        if other != path:
            message = f'`{label(path)}.name`: "{rule.name}" is taken (line {source.line((*other, "name"))})'
            yield source.value_problem((*path, "name"), message, "Give each rule a name of its own: decisions are told by it.")


def _spellings(source: Source, reader: Reader) -> Iterator[Problem]:
    """Names of groups and guest types that differ only in how they are written: groups are told apart by each letter."""
    first: dict[str, tuple[str, Path]] = {}
    for path, rule in list(reader.built.items()):
        for name, place in _group_names(path, rule):
            known, where = first.setdefault(" ".join(name.casefold().split()), (name, place))
            if known != name:
                message = f'"{name}" is "{known}" in another spelling (line {source.line(where)})'
                yield source.value_problem(place, message, f'Write "{known}" in both places, or give one of them another name.')


def _group_names(path: Path, rule: msgspec.Struct) -> Iterator[tuple[str, Path]]:
    if not isinstance(rule, Scoped):
        return
    if rule.applies_to != "user" and "*" not in rule.group:
        yield (f"{GUEST}{rule.group}" if rule.applies_to == "guest-type" else rule.group), (*path, "group")
    if isinstance(rule, Limit):
        for index, name in enumerate(rule.exempt):
            if "*" not in name:
                yield name, (*path, "except", index)


def _shadowed(source: Source, limits: list[tuple[Path, Limit]]) -> Iterator[Problem]:
    """Limits that can never be the reason, since one that is asked before them allows no more of the same sessions."""
    for path, limit in limits:
        for other_path, other in limits:
            if _hides(other, limit, is_before=other_path < path):
                line = source.line((*other_path, "name"))
                message = f'limit "{limit.name}" can never bite: "{other.name}" (line {line}) is asked before and allows no more'
                remedy = "Allow fewer here, or more there; or remove one of them."
                yield source.value_problem((*path, "max_sessions"), message, remedy, "warning")
                break


def _hides(one: Limit, other: Limit, *, is_before: bool) -> bool:
    """Whether whoever breaches the other limit has breached this one first."""
    if one.action == "report" or one.victim == "none" or one.exempt or one.counter_time_limit_s or one.max_sessions > other.max_sessions:
        return False
    if one.count == "devices" and other.count == "sessions":
        return False
    if one.applies_to == "user":
        return other.applies_to in ("user-in-group", "guest-type") or (other.applies_to == "user" and is_before)
    return is_before and one.applies_to == other.applies_to and one.group in ("*", other.group)
