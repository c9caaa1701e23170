"""`curfew sessions`: the live directory, and the slots that are kept for who was let in and has not started yet."""

from __future__ import annotations

import time
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from agents.commands.terminal import (
    Refused,
    configured,
    json_option,
    moment,
    octets,
    person_looks,
    plural,
    rich_table,
    run,
    run_until_interrupted,
    say,
    show,
)
from agents.directory import Directory, Selection, read_directory
from agents.reservations import Reserved, reservations_of
from agents.topic_reader import reading
from schemas.codec import display, loads
from schemas.configuration import Configuration
from schemas.session import SESSION_ROW, SessionRow
from schemas.topics import TABLE

COLUMNS = ("USER", "NAS", "SESSION", "MAC", "ADDRESS", "SINCE", "LAST SEEN", "IN", "OUT", "STATE", "KICK")
REDRAW_S = 0.5


@click.command()
@configured
@click.option(
    "--user", default="", metavar="U", help="Of this user, however the name is written (case and realm as the ingest takes them)."
)
@click.option("--nas", default="", metavar="N", help="On this NAS, by its name.")
@click.option("--mac", default="", metavar="M", help="Of this device, in any notation.")
@click.option("--all", "ended", is_flag=True, help="Ended sessions too, as long as they stay in the table.")
@click.option("--follow", is_flag=True, help="A live table, until Ctrl-C (on a terminal).")
@json_option
def sessions(configuration: Configuration, *, user: str, nas: str, mac: str, ended: bool, follow: bool, as_json: bool) -> None:
    """Show the open sessions, from the session.table topic.

    With --user also what is reserved for that user, on standard error, where `curfew projector` answers at [http] listen.

    \b
    curfew sessions --user alice
    curfew sessions --json | jq -r .acct_session_id
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    try:
        selection = Selection.of(configuration, user=user, nas=nas, mac=mac, ended=ended)
    except ValueError as wrong:
        raise Refused(str(wrong)) from wrong
    if follow:
        if as_json or not person_looks():
            raise Refused("--follow draws a table on a terminal; in a pipe take `curfew watch --json`")
        run_until_interrupted(_follow(configuration, selection))
        return
    directory = run(read_directory(configuration, selection))
    show(
        directory.rows(),
        (*COLUMNS, "COUNTS IN"),
        as_json=as_json,
        as_object=lambda row: as_object(row) | {"counts_in": directory.scopes_of(row)},
        cells=lambda row: [*cells(row), ", ".join(directory.scopes_of(row)) or "-"],
    )
    say(_summary(directory))
    for reserved in run(reservations_of(configuration, user)) if user else ():
        say(_reserved(reserved))


def as_object(row: SessionRow) -> dict[str, Any]:
    """A session as it stands in the topic, by name."""
    named: dict[str, Any] = loads(SESSION_ROW.named(row))
    return named


def cells(row: SessionRow) -> list[str]:
    """A session as a line of the table."""
    return [
        display(row.user_name) or row.identity,
        row.nas,
        display(row.acct_session_id),
        row.device or display(row.calling_station_id) or "-",
        row.framed_ip_address or "-",
        moment(row.started_ms),
        moment(row.last_seen_ms),
        octets(row.input_octets),
        octets(row.output_octets),
        row.state if row.said_by is None else f"{row.state} ({row.said_by})",
        row.kick_state or "-",
    ]


def _summary(directory: Directory) -> str:
    text = plural(len(directory.sessions), "session")
    return text + (f"; {plural(directory.unreadable, 'row')} of the table cannot be read" if directory.unreadable else "")


def _reserved(reserved: Reserved) -> str:
    return f"reserved on {reserved.nas} for {reserved.device or 'any device'}, {reserved.lapses_in_s:.0f} s more"


async def _follow(configuration: Configuration, selection: Selection) -> None:
    """Redraw the table as rows change, until interrupted."""
    directory = Directory(selection.matches)
    async with reading(configuration, TABLE, partitions=selection.partitions) as reader:
        async for record in reader.to_end():
            directory.apply(record)
        with Live(console=Console(), auto_refresh=False, screen=True) as live:
            drawn_s = 0.0
            async for new in reader.as_they_come():
                if new is not None:
                    directory.apply(new)
                elif time.monotonic() - drawn_s >= REDRAW_S:
                    drawn_s = time.monotonic()
                    live.update(rich_table(COLUMNS, map(cells, directory.rows())), refresh=True)
