"""Whether a `policy.toml` makes sense: what must hold between its values, beyond the types and bounds of `policy`.

Pure, with one exception: time zones are looked up in the time-zone database that the decisions use too. Every finding of a file comes at
once, with line, column and what to write instead. `_not_enforced` is the one place that knows which well-formed rules this version keeps
without acting on them.
"""

import re
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from schemas.errors import Checked, Problem, in_order
from schemas.policy import Duration, Limit, Liveness, Membership, Policy, Quota, Rate
from schemas.toml_reader import Reader, label
from schemas.toml_source import Path, Source, parse

_QUANTIFIERS = "*+?{"
_PATTERN_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P<\w+>|P=\w+|[:=!]|<[=!])|.", re.DOTALL)


def check_policy(text: str, file: str) -> Checked[Policy]:
    """Check a `policy.toml`.

    Args:
        text: What the file holds; an empty text is a policy without rules.
        file: Its name, for the findings.

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
        if (what := _not_enforced(value)) is not None:
            remedy = "Leave it in for a later version, or remove it."
            reader.problems.append(source.key_problem(path, f"{what} is kept but not enforced by this version", remedy, "warning"))
    for kind in (Limit, Quota, Rate, Duration):
        reader.problems.extend(_names(source, list(reader.every(kind))))
    return in_order(policy, reader.problems)


def _not_enforced(rule: msgspec.Struct) -> str | None:
    """What of a rule this version does not act on; None if it enforces all of it."""
    match rule:
        case Limit(applies_to="user"):
            ignored = {"except": rule.exempt, "counter_time_limit_s": rule.counter_time_limit_s, "on_change": rule.on_change == "enforce"}
            named = ", ".join(f"`{key}`" for key, given in ignored.items() if given)
            return f'{named} of limit "{rule.name}"' if named else None
        case Liveness(rule="interim" | "none"):
            return None if rule.probe == "none" else f'probe = "{rule.probe}"'
        case Liveness():
            return f'the liveness rule "{rule.rule}"'
        case Limit() | Quota() | Rate() | Duration():
            return f'{type(rule).__name__.lower()} "{rule.name}" for applies_to = "{rule.applies_to}"'
        case Membership():
            return f'membership by attribute "{rule.attribute}"'
        case _:
            return None


def _group(source: Source, path: Path, rule: Limit | Quota | Rate | Duration) -> Iterator[Problem]:
    if rule.applies_to == "user" and rule.group != "*":
        message = f'`{label(path)}.group` has no meaning with applies_to = "user"'
        yield source.value_problem((*path, "group"), message, 'Write applies_to = "user-in-group", or leave `group` out.')


def _quota(source: Source, path: Path, quota: Quota) -> Iterator[Problem]:
    yield from _group(source, path, quota)
    if (quota.octets is None) == (quota.time_s is None):
        what = "neither `octets` nor `time`" if quota.octets is None else "both `octets` and `time`"
        message = f'quota "{quota.name}" has {what}'
        yield source.key_problem(path, message, 'Write one of them: octets = "2 GiB" or time = "4 h"; two quotas if both are meant.')
    try:
        zoneinfo.ZoneInfo(quota.time_zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the database ("Africa") is an OSError
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


def _membership(source: Source, path: Path, membership: Membership) -> Iterator[Problem]:
    place = (*path, "pattern")
    try:
        pattern = re.compile(membership.pattern)
    except (re.error, OverflowError, RecursionError) as refused:
        message = f"`membership.pattern` is no regular expression: {refused}"
        yield source.value_problem(place, message, "Write a regular expression as Python reads it, best in 'single quotes'.")
        return
    if repeats_repetition(membership.pattern):
        message = "`membership.pattern` repeats a group that repeats or chooses itself, which can take forever on some texts"
        yield source.value_problem(place, message, 'Repeat single characters or sets: "[^;]+" instead of "(a+|b)*".')
    if not pattern.groupindex.keys() & {"group", "guest_type"}:
        message = "`membership.pattern` has neither a group named `group` nor one named `guest_type`"
        yield source.value_problem(place, message, "Write (?P<group>...) around the part that is the name, or (?P<guest_type>...).")


_CHECKS: dict[type, Callable[[Source, Path, Any], Iterator[Problem]]] = {
    Limit: _group,
    Quota: _quota,
    Rate: _group,
    Duration: _group,
    Liveness: _liveness,
    Membership: _membership,
}


def repeats_repetition(pattern: str) -> bool:
    """Whether a group that holds a quantifier or an alternative is itself repeated, as in `(a+)*`: matching may take exponential time.

    A stopgap: it knows no more of regular expressions than brackets and quantifiers, and refuses some that would be harmless.
    """
    parts = [part[0] for part in _PATTERN_PART.finditer(pattern)]
    open_groups = [False]  # whether each open group holds a quantifier or an alternative
    for index, part in enumerate(parts):
        following = parts[index + 1] if index + 1 < len(parts) else ""
        if part[0] == "(":
            open_groups.append(False)
        elif part == ")" and len(open_groups) > 1:
            holds = open_groups.pop()
            if holds and following in ("*", "+", "{"):
                return True
            open_groups[-1] |= holds
        elif part == "|" or part in _QUANTIFIERS:
            open_groups[-1] = True
    return False


def _names(source: Source, rules: list[tuple[Path, Any]]) -> Iterator[Problem]:
    first: dict[str, Path] = {}
    for path, rule in rules:
        other = first.setdefault(rule.name, path)
        if other != path:
            message = f'`{label(path)}.name`: "{rule.name}" is taken (line {source.line((*other, "name"))})'
            yield source.value_problem((*path, "name"), message, "Give each rule a name of its own: decisions are told by it.")
