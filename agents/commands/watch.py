"""`curfew watch`: session events as they come."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any, get_args

import click
from aiokafka.structs import ConsumerRecord

from agents.commands.terminal import configured, json_option, moment, person_looks, run_until_interrupted, say
from agents.directory import home_of, identities_of
from agents.topic_reader import reading
from schemas.codec import UNREADABLE, decoder, display, dumps
from schemas.configuration import Configuration
from schemas.event import EventType, SessionEvent
from schemas.topics import EVENTS

_EVENT = decoder(SessionEvent).decode
_COLOURS = {"session": "green", "limit": "red", "quota": "red", "rate": "red", "disconnect": "magenta", "nas": "cyan"}
_ENDS = ("session.ended", "session.superseded", "session.stale", "session.suspect")


@click.command()
@configured
@click.option("--user", default="", metavar="U", help="Of this user, however the name is written.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="T",
    help="Only these types, e.g. session.started; disconnect.* is all of a kind. May be repeated.",
)
@click.option("--from-beginning", is_flag=True, help="First all that the topic still holds.")
@click.option("--for", "for_s", type=click.FloatRange(min=0), metavar="S", help="End after S seconds.")
@json_option
def watch(
    configuration: Configuration, *, user: str, types: tuple[str, ...], from_beginning: bool, for_s: float | None, as_json: bool
) -> None:
    """Print session events as they come, one line each, until Ctrl-C.

    \b
    curfew watch --type 'disconnect.*' --type limit.breached
    curfew watch --user alice --json --from-beginning --for 5
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    known = get_args(EventType)
    for wanted in types:
        if not any(_fits(name, wanted) for name in known):
            raise click.UsageError(f"no event is of type {wanted!r}; there are {', '.join(known)}")
    identities = identities_of(configuration, user) if user else frozenset()
    run_until_interrupted(_watch(configuration, identities, types, from_beginning=from_beginning, for_s=for_s, as_json=as_json))


def _fits(name: str, wanted: str) -> bool:
    return name == wanted or (wanted.endswith("*") and name.startswith(wanted[:-1]))


async def _watch(
    configuration: Configuration,
    identities: frozenset[str],
    types: tuple[str, ...],
    *,
    from_beginning: bool,
    for_s: float | None,
    as_json: bool,
) -> None:
    unreadable = 0
    async with reading(configuration, EVENTS, partitions=partial(home_of, identities)) as reader:
        if not from_beginning:
            await reader.seek_to_end()
        async for record in reader.as_they_come(for_s):
            if record is None:
                sys.stdout.flush()
                continue
            event = _event_of(record)
            if event is None:
                unreadable += 1
            elif (not identities or event.identity in identities) and (not types or any(_fits(event.type, wanted) for wanted in types)):
                click.echo(dumps(event) if as_json else line(event))
    if unreadable:
        say(f"{unreadable} events could not be read")


def _event_of(record: ConsumerRecord[Any, Any]) -> SessionEvent | None:
    try:
        return _EVENT(record.value or b"")
    except UNREADABLE:
        return None


def line(event: SessionEvent) -> str:
    """An event as one line for people."""
    what = [
        f"{display(event.user_name) or display(event.identity) or '-'}",
        f"{event.nas}/{display(event.acct_session_id)}" if event.acct_session_id else event.nas,
    ]
    details = [
        display(event.text),
        f"said by {event.said_by}" if event.said_by else None,
        event.cause,
        f"rule {event.rule}" if event.rule else None,
    ]
    type_ = f"{event.type:<24}"
    if person_looks():
        colour = "yellow" if event.type in _ENDS else _COLOURS[event.type.partition(".")[0]]
        type_ = click.style(type_, fg=colour)
    return "  ".join([moment(event.time_ms), type_, *what, ", ".join(filter(None, details))]).rstrip()
