"""`curfew kick`: disconnect sessions, and say what is proven of it."""

from __future__ import annotations

import secrets
import sys
import time
from typing import Any

import click
import msgspec

from agents.commands.sessions import COLUMNS, cells
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
from agents.directory import Directory, Selection, read_directory, session_name
from agents.kick_orders import Fate, Fates, following, orders_for, write_kicks
from schemas.codec import display
from schemas.configuration import Configuration
from schemas.session import SessionRow

FATE_COLUMNS = ("SESSION", "USER", "OUTCOME")


@click.command()
@configured
@click.option("--user", default="", metavar="U", help="All sessions of this user.")
@click.option("--session", default="", metavar="S", help="One session: NAS/Acct-Session-Id, or the bare id where only one has it.")
@click.option("--mac", default="", metavar="M", help="All sessions of this device, in any notation.")
@click.option("--nas", default="", metavar="N", help="All sessions on this NAS.")
@click.option("--group", default="", metavar="G", help="All sessions of this group; a guest type is guest:NAME.")
@click.option("--dry-run", is_flag=True, help="Show whom it would hit, and do nothing.")
@yes_option
@reason_option
@outcomes_option
@json_option
def kick(
    configuration: Configuration,
    *,
    group: str,
    dry_run: bool,
    yes: bool,
    reason: str,
    wait_s: float,
    as_json: bool,
    user: str,
    session: str,
    mac: str,
    nas: str,
) -> None:
    """Disconnect the open sessions of a user, a device, a NAS or a group, or one session.

    Shows how many it would hit and asks on a terminal; with --yes, or in a pipe, it goes on. Each order goes on record with who and why.
    Then it follows the outcomes: `confirmed` is proven by the NAS's own Stop, `gone` by its word that it knows no such session; an
    acknowledgement alone proves nothing. Exit status 1 if a disconnect failed; one that is not decided when the wait is over does not
    count as failed.

    \b
    curfew kick --user alice --reason "left the building"
    curfew kick --session campus/5FA3C1-0007 --yes --json
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    if sum(map(bool, (user, session, mac, nas, group))) != 1:
        raise click.UsageError("name exactly one of --user, --session, --mac, --nas, --group")
    try:
        selection = Selection.of(configuration, user=user, session=session, mac=mac, nas=nas)
    except ValueError as wrong:
        raise Refused(str(wrong)) from wrong
    directory = run(read_directory(configuration, selection))
    rows = _targets(directory, session) if not group else directory.rows_in(group)
    _show_targets(rows, dry_run=dry_run, as_json=as_json)
    if dry_run:
        return
    if not rows:
        raise click.ClickException("no open session is meant by that: nothing was done")
    if not yes and sys.stdin.isatty() and not click.confirm(f"Disconnect {plural(len(rows), 'session')}?", err=True):
        raise click.ClickException("nothing was done")
    show_fates(run(carry_out(configuration, rows, reason, wait_s)), wait_s, as_json=as_json)


def show_fates(fates: list[Fate], wait_s: float, *, as_json: bool) -> None:
    """What became of each kick, and exit status 1 if one is decided and not proven."""
    show(fates, FATE_COLUMNS, as_json=as_json, as_object=msgspec.to_builtins, cells=_cells)
    if undecided := sum(not fate.decided for fate in fates):
        say(f"{plural(undecided, 'session')} not decided after {wait_s:g} s; the orders stand: `curfew watch --type 'disconnect.*'`")
    if any(fate.decided and not fate.proven for fate in fates):
        raise SystemExit(1)


def _targets(directory: Directory, session: str) -> list[SessionRow]:
    rows = directory.rows()
    if session and len(rows) > 1:
        raise Refused(f"{session!r} is {plural(len(rows), 'session')}, name one: {', '.join(map(session_name, rows))}")
    return rows


def _show_targets(rows: list[SessionRow], *, dry_run: bool, as_json: bool) -> None:
    """Who would be hit: the data of a dry run, and talk before a kick."""
    if dry_run:
        show(rows, COLUMNS, as_json=as_json, as_object=_target, cells=cells)
    elif rows:
        for line in plain_table(COLUMNS, [cells(row) for row in rows]):
            say(line)
    say(f"{plural(len(rows), 'session')} {'would be' if dry_run else 'to be'} disconnected.")


def _target(row: SessionRow) -> dict[str, Any]:
    return {"nas": row.nas, "acct_session_id": row.acct_session_id, "identity": row.identity, "user_name": row.user_name}


async def carry_out(configuration: Configuration, rows: list[SessionRow], reason: str, wait_s: float) -> list[Fate]:
    """Order these sessions disconnected, by whoever sits at the terminal, and follow what becomes of it for some seconds."""
    now_ms = round(time.time() * 1000)
    orders = orders_for(rows, f"kick-{now_ms}-{secrets.token_hex(4)}", person(), reason, now_ms)
    fates = Fates(list(zip(orders, rows, strict=True)))
    async with following(configuration) as reader:
        fates.places = await write_kicks(configuration, orders)
        async for record in reader.as_they_come(wait_s):
            if record is not None:
                fates.take(record, reader)
            elif fates.all_decided:
                break
    return fates.all


def _cells(fate: Fate) -> list[str]:
    return [f"{fate.nas}/{display(fate.acct_session_id)}", display(fate.user_name) or "-", fate.outcome]
