"""`curfew quota`: how much is used, and an operator's word about it.

A user's windows lie in his identity's row and are ordered about in the session agents' journal, a whole group's in `group.table` and in the
group agent's: in both by the same record.
"""

from __future__ import annotations

import secrets
import time
from typing import Any, Literal, NamedTuple

import click
import msgspec

from agents.commands.groups import identity_of
from agents.commands.terminal import Refused, configured, json_option, moment, person, reason_option, run, show
from agents.directory import Selection, read_directory
from agents.group_directory import read_group
from agents.journal_orders import Order, write_orders
from agents.policy_log import read_versions
from schemas.codec import dumps
from schemas.configuration import Configuration
from schemas.journal import QuotaOrder
from schemas.policy import Policy, Quota
from schemas.session import IdentityRow, Window
from schemas.toml_reader import quantity
from schemas.topics import ACCOUNTING, SLOTS
from streams import quotas
from streams.membership_csv import wrong_names
from streams.rulebook import fits

COLUMNS = ("QUOTA", "GROUP", "SINCE", "UNTIL", "USED", "OF")
GROUP_MARK = "group:"
_group = click.option("--group", default="", metavar="G", help="The group or guest type, where a user's quota counts in one.")


class _Whose(NamedTuple):
    """Whose window: a user's identity, or a whole group; the other is empty."""

    identity: str
    group: str


@click.group()
def quota() -> None:
    """How much a user, or a whole group, has used of each quota, and what you give on top.

    WHO is a user, or `group:NAME` for all members of a group together.
    """


@quota.command(name="show")
@click.argument("who")
@configured
@json_option
def show_(configuration: Configuration, *, who: str, as_json: bool) -> None:
    """Show the windows that are open for WHO.

    \b
    curfew quota show alice
    curfew quota show group:meeting-room
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    whose = _whose(configuration, who)
    policy, windows = _of_group(configuration, whose.group) if whose.group else _of_user(configuration, whose.identity)
    rules = {rule.name: rule for rule in policy.quotas}
    known = [window for window in windows if window.rule in rules]
    show(known, COLUMNS, as_json=as_json, as_object=_object, cells=lambda window: _cells(rules[window.rule], window))


@quota.command()
@click.argument("who")
@click.argument("rule")
@click.argument("amount")
@_group
@reason_option
@configured
@json_option
def topup(configuration: Configuration, *, who: str, rule: str, amount: str, group: str, reason: str, as_json: bool) -> None:
    """Give WHO this AMOUNT on top ("500 MiB", "1 h"), until the window that is open closes.

    \b
    curfew quota topup alice daily "1 GiB" --reason "paid for it"
    curfew quota topup group:meeting-room room-daily "10 GiB"
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    whose = _whose(configuration, who, group)
    unit = "octets" if _rule(configuration, rule, whose).octets else "duration"
    given = quantity(amount, unit)
    if not given:
        raise Refused(f"{amount!r} is no amount of this quota: write " + ('"500 MiB"' if unit == "octets" else '"1 h 30 min"'))
    _order(configuration, "topup", whose, rule=rule, group=group, reason=reason, amount=given, as_json=as_json)


@quota.command()
@click.argument("who")
@click.argument("rule")
@_group
@reason_option
@configured
@json_option
def reset(configuration: Configuration, *, who: str, rule: str, group: str, reason: str, as_json: bool) -> None:
    """Let WHO begin the window that is open anew, with nothing used."""
    whose = _whose(configuration, who, group)
    _rule(configuration, rule, whose)
    _order(configuration, "reset", whose, rule=rule, group=group, reason=reason, as_json=as_json)


def _whose(configuration: Configuration, who: str, group: str = "") -> _Whose:
    if not who.startswith(GROUP_MARK):
        return _Whose(identity_of(configuration, who), "")
    whole = who.removeprefix(GROUP_MARK)
    if wrong := wrong_names([whole]):
        raise Refused(wrong[0])
    if group:
        raise Refused(f"{who!r} is a whole group: --group goes with a user")
    return _Whose("", whole)


def _of_user(configuration: Configuration, identity: str) -> tuple[Policy, tuple[Window, ...]]:
    directory = run(read_directory(configuration, Selection(identities=frozenset({identity}))))
    version = next(iter(directory.policies.values()), None)
    return version.policy if version else Policy(), (directory.identities.get(identity) or IdentityRow(identity)).windows


def _of_group(configuration: Configuration, group: str) -> tuple[Policy, tuple[Window, ...]]:
    view = run(read_group(configuration, group))
    return view.policy.policy, view.known.windows


def _rule(configuration: Configuration, name: str, whose: _Whose) -> Quota:
    versions = run(read_versions(configuration))
    known = {rule.name: rule for rule in (versions[-1].policy.quotas if versions else ())}
    if name not in known:
        raise Refused(f"the policy has no quota {name!r}" + (f"; it has {', '.join(known)}" if known else ""))
    rule = known[name]
    if rule.applies_to == "group" and not whose.group:
        raise Refused(f"the quota {name!r} is a whole group's: write {GROUP_MARK}NAME instead of the user")
    if whose.group and rule.applies_to != "group":
        raise Refused(f"the quota {name!r} is a user's: no group has a window of it")
    if whose.group and not fits(rule.group, whose.group):
        raise Refused(f"the quota {name!r} is for the group {rule.group!r}, not for {whose.group!r}")
    return rule


def _order(
    configuration: Configuration,
    op: Literal["topup", "reset"],
    whose: _Whose,
    *,
    rule: str,
    group: str,
    reason: str,
    as_json: bool,
    amount: int = 0,
) -> None:
    order = QuotaOrder(
        id=f"quota-{secrets.token_hex(6)}",
        op=op,
        identity=whose.identity,
        rule=rule,
        group=whose.group or group,
        amount=amount,
        time_ms=round(time.time() * 1000),
        who=person(),
        text=reason,
    )
    run(write_orders(configuration, [Order("quota", whose.group or whose.identity, order, SLOTS if whose.group else ACCOUNTING)]))
    whom = f"{GROUP_MARK}{whose.group}" if whose.group else whose.identity
    click.echo(dumps(msgspec.to_builtins(order)) if as_json else f"ordered: {op} of {rule} for {whom}")


def _object(window: Window) -> dict[str, Any]:
    return {name: getattr(window, name) for name in window.__struct_fields__}


def _cells(rule: Quota, window: Window) -> list[str]:
    used, most = quotas.figures(rule, window)
    return [window.rule, window.group or "-", moment(window.from_ms), moment(window.until_ms), used, most]
