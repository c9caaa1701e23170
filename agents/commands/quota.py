"""`curfew quota`: how much is used, and an operator's word about it."""

from __future__ import annotations

import secrets
import time
from typing import Any, Literal

import click
import msgspec

from agents.commands.groups import identity_of
from agents.commands.terminal import Refused, configured, json_option, moment, person, reason_option, run, show
from agents.directory import Selection, read_directory
from agents.journal_orders import Order, write_orders
from agents.policy_log import read_versions
from schemas.codec import dumps
from schemas.configuration import Configuration
from schemas.journal import QuotaOrder
from schemas.policy import Quota
from schemas.session import IdentityRow, Window
from schemas.toml_reader import quantity
from streams import quotas

COLUMNS = ("QUOTA", "GROUP", "SINCE", "UNTIL", "USED", "OF")
_group = click.option("--group", default="", metavar="G", help="The group or guest type, where the quota counts in one.")


@click.group()
def quota() -> None:
    """How much a user has used of each quota, and what you give on top."""


@quota.command(name="show")
@click.argument("user")
@configured
@json_option
def show_(configuration: Configuration, *, user: str, as_json: bool) -> None:
    """Show the windows that are open for USER."""
    identity = identity_of(configuration, user)
    directory = run(read_directory(configuration, Selection(identities=frozenset({identity}))))
    known = directory.identities.get(identity) or IdentityRow(identity)
    version = next(iter(directory.policies.values()), None)
    rules = {rule.name: rule for rule in (version.policy.quotas if version else ())}
    windows = [window for window in known.windows if window.rule in rules]
    show(windows, COLUMNS, as_json=as_json, as_object=_object, cells=lambda window: _cells(rules[window.rule], window))


@quota.command()
@click.argument("user")
@click.argument("rule")
@click.argument("amount")
@_group
@reason_option
@configured
@json_option
def topup(configuration: Configuration, *, user: str, rule: str, amount: str, group: str, reason: str, as_json: bool) -> None:
    """Give USER this AMOUNT on top ("500 MiB", "1 h"), until the window that is open closes.

    \b
    curfew quota topup alice daily "1 GiB" --reason "paid for it"
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    unit = "octets" if _rule(configuration, rule).octets else "duration"
    given = quantity(amount, unit)
    if not given:
        raise Refused(f"{amount!r} is no amount of this quota: write " + ('"500 MiB"' if unit == "octets" else '"1 h 30 min"'))
    _order(configuration, "topup", user, rule=rule, group=group, reason=reason, amount=given, as_json=as_json)


@quota.command()
@click.argument("user")
@click.argument("rule")
@_group
@reason_option
@configured
@json_option
def reset(configuration: Configuration, *, user: str, rule: str, group: str, reason: str, as_json: bool) -> None:
    """Let USER begin the window that is open anew, with nothing used."""
    _rule(configuration, rule)
    _order(configuration, "reset", user, rule=rule, group=group, reason=reason, as_json=as_json)


def _rule(configuration: Configuration, name: str) -> Quota:
    versions = run(read_versions(configuration))
    known = {rule.name: rule for rule in (versions[-1].policy.quotas if versions else ())}
    if name not in known:
        raise Refused(f"the policy has no quota {name!r}" + (f"; it has {', '.join(known)}" if known else ""))
    if known[name].applies_to == "group":
        raise Refused(f"the quota {name!r} is a whole group's: no user has a window of it")
    return known[name]


def _order(
    configuration: Configuration,
    op: Literal["topup", "reset"],
    user: str,
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
        identity=identity_of(configuration, user),
        rule=rule,
        group=group,
        amount=amount,
        time_ms=round(time.time() * 1000),
        who=person(),
        text=reason,
    )
    run(write_orders(configuration, [Order("quota", order.identity, order)]))
    click.echo(dumps(msgspec.to_builtins(order)) if as_json else f"ordered: {op} of {rule} for {order.identity}")


def _object(window: Window) -> dict[str, Any]:
    return {name: getattr(window, name) for name in window.__struct_fields__}


def _cells(rule: Quota, window: Window) -> list[str]:
    used, most = quotas.figures(rule, window)
    return [window.rule, window.group or "-", moment(window.from_ms), moment(window.until_ms), used, most]
