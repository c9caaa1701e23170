"""`curfew nas sessions`: who a device itself says is on it, held against the table."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

import click
import msgspec

from agents.commands.kick import carry_out, show_fates
from agents.commands.nas_test import named
from agents.commands.sessions import as_object as row_as_object
from agents.commands.terminal import (
    Refused,
    configured,
    json_option,
    outcomes_option,
    person,
    plain_table,
    plural,
    reason_option,
    run,
    say,
    show,
    yes_option,
)
from agents.device_kicks import end_strangers, look, name_of
from agents.directory import session_name
from agents.kick_orders import Fate
from schemas.codec import display
from schemas.configuration import Configuration, Nas
from streams.device_sessions import Held

COLUMNS = ("ON", "ID", "USER", "MAC", "ADDRESS", "SESSION", "UP", "DIFFERS")


@click.command("sessions")
@configured
@click.argument("name")
@click.option("--kick", "ids", multiple=True, metavar="ID", help="Disconnect this one: ID or SESSION of the list; may be repeated.")
@click.option("--kick-unknown", is_flag=True, help="Disconnect those that the device alone knows, but for its own local users.")
@yes_option
@reason_option
@outcomes_option
@json_option
def sessions(
    configuration: Configuration,
    *,
    name: str,
    ids: tuple[str, ...],
    kick_unknown: bool,
    yes: bool,
    reason: str,
    wait_s: float,
    as_json: bool,
) -> None:
    """Show who a device has on hotspot and PPPoE by its own account, and where session.table differs.

    ON is `both`, `device` (accounting never told of it) or `table` (the device does not list it). What is kicked is shown first, and asked
    for on a terminal. A session that the table knows is disconnected as by `curfew kick`; one that the device alone knows is removed there,
    looked for again, and its result goes on record. Exit status 1 if one is decided and not gone.

    \b
    curfew nas sessions hotspot-1
    curfew nas sessions hotspot-1 --kick hotspot/*1A --reason "not paid"
    curfew nas sessions hotspot-1 --kick-unknown --yes --json
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    nas = named(configuration, name)
    held = run(look(configuration, nas))
    if not ids and not kick_unknown:
        show(held, COLUMNS, as_json=as_json, as_object=_object, cells=_cells)
        say(_summary(held))
        return
    chosen = _chosen(held, ids, kick_unknown=kick_unknown)
    for line in plain_table(COLUMNS, [_cells(one) for one in chosen]) if chosen else ():
        say(line)
    say(f"{plural(len(chosen), 'session')} to be disconnected.")
    if not chosen:
        raise click.ClickException("nothing was done")
    if not yes and sys.stdin.isatty() and not click.confirm(f"Disconnect {plural(len(chosen), 'session')}?", err=True):
        raise click.ClickException("nothing was done")
    show_fates(run(_kick(configuration, nas, chosen, reason, wait_s)), wait_s, as_json=as_json)


async def _kick(configuration: Configuration, nas: Nas, chosen: list[Held], reason: str, wait_s: float) -> list[Fate]:
    strangers = [one.device for one in chosen if one.row is None and one.device is not None]
    rows = [one.row for one in chosen if one.row is not None]
    fates = await end_strangers(configuration, nas, strangers, person(), reason) if strangers else []
    return fates + (await carry_out(configuration, rows, reason, wait_s) if rows else [])


def _chosen(held: list[Held], ids: tuple[str, ...], *, kick_unknown: bool) -> list[Held]:
    """What a person means, in the order of the list.

    Raises:
        Refused: an id fits nothing, or more than one session.
    """
    chosen: list[Held] = []
    for wanted in ids:
        fitting = [one for one in held if wanted in _names(one)]
        if len(fitting) != 1:
            what = (
                "no session of the list" if not fitting else f"{plural(len(fitting), 'session')}, name one: {', '.join(map(_id, fitting))}"
            )
            raise Refused(f"{wanted!r} is {what}")
        chosen += fitting
    strangers = [one for one in held if one.where == "device" and one.device is not None] if kick_unknown else []
    local = sum(one.device is not None and one.device.radius is False for one in strangers)
    if local:
        say(f"{plural(local, 'session')} of local users of the device left alone: RADIUS never heard of them. --kick ends one by its ID.")
    chosen += [one for one in strangers if one.device is not None and one.device.radius is not False]
    return [one for one in held if any(one is other for other in chosen)]


def _names(held: Held) -> set[str]:
    """What a session of the list may be called."""
    names = set()
    if held.device is not None:
        names |= {name_of(held.device), held.device.device_id, held.device.device_id.lstrip("*"), held.device.acct_session_id or ""}
    if held.row is not None:
        names |= {display(held.row.acct_session_id), session_name(held.row)}
    return names - {""}


def _id(held: Held) -> str:
    return name_of(held.device) if held.device is not None else "-"


def _object(held: Held) -> dict[str, Any]:
    return {
        "on": held.where,
        "id": None if held.device is None else name_of(held.device),
        "differs": list(held.differs),
        "device": None if held.device is None else msgspec.to_builtins(held.device),
        "table": None if held.row is None else row_as_object(held.row),
    }


def _cells(held: Held) -> list[str]:
    device, row = held.device, held.row
    shown = [
        display((device and getattr(device, name)) or (row and getattr(row, name)) or None) or "-"
        for name in ("user_name", "calling_station_id", "framed_ip_address")
    ]
    session_id = display((row and row.acct_session_id) or (device and device.acct_session_id) or None) or "-"
    theirs = [] if row is None else [display(getattr(row, name)) for name in held.differs]
    return [
        held.where,
        _id(held),
        *shown,
        session_id,
        "-" if device is None or device.uptime_s is None else _lasted(device.uptime_s),
        ", ".join(f"table has {value}" for value in theirs) or "-",
    ]


def _lasted(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    return f"{days}d " * bool(days) + f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def _summary(held: list[Held]) -> str:
    count = Counter(one.where for one in held)
    differ = sum(bool(one.differs) for one in held)
    text = f"{plural(count['both'], 'session')} on both, {count['device']} on the device alone, {count['table']} in the table alone"
    return text + (f"; {differ} named differently" if differ else "")
