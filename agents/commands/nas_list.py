"""`curfew nas list`: the NASes of the configuration with what was seen of them."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from agents.commands.terminal import configured, json_option, moment, plural, run, say, show
from agents.nas_view import read_nases
from schemas.configuration import Configuration, Nas
from streams.nas_seen import NasSeen

COLUMNS = ("NAS", "DISCONNECT", "TALKS", "LAST RECORD", "BOOTED", "OPEN", "LAST OUTCOME", "AT", "ACCEPTED", "HABITS")


@click.command("list")
@configured
@json_option
def list_(configuration: Configuration, *, as_json: bool) -> None:
    """Show the NASes: whether they talk, when they booted, their open sessions, and what their last disconnect came to.

    ACCEPTED is the attribute set that a NAS last accepted. HABITS says what makes its records worth less: it sends no Interims, or its
    clock is beyond belief, or behind. Disconnects are those of the last seven days.

    \b
    curfew nas list
    curfew nas list --json | jq 'select(.habits["no-interims"]) | .nas'
    curfew nas list --json | jq 'select(.last_disconnect.outcome == "unanswered") | .nas'
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    seen = run(read_nases(configuration))
    rows = [(nas, seen.pop(nas.name, NasSeen(nas=nas.name))) for nas in configuration.nas]
    show(rows, COLUMNS, as_json=as_json, as_object=_object, cells=_cells)
    others = f"; not in this configuration, but seen: {', '.join(sorted(seen)[:20])}" if seen else ""
    say(plural(len(rows), "NAS").replace("NASs", "NASes") + others)


def _object(row: tuple[Nas, NasSeen]) -> dict[str, Any]:
    nas, seen = row
    way = nas.disconnect
    return {
        **msgspec.to_builtins(seen),
        "addresses": list(nas.addresses),
        "via": None if way is None else way.via,
        "profile": way.profile if way is not None and way.via == "radius" else None,
    }


def _cells(row: tuple[Nas, NasSeen]) -> list[str]:
    nas, seen = row
    way, last = nas.disconnect, seen.last_disconnect
    return [
        nas.name,
        "-" if way is None else f"radius ({way.profile})" if way.via == "radius" else way.via,
        "-" if seen.talks is None else "yes" if seen.talks else "no",
        moment(seen.last_record_ms),
        moment(seen.booted_ms),
        str(seen.open_sessions),
        "-" if last is None else f"{last.outcome} ({last.error_cause_name})" if last.error_cause_name else last.outcome,
        moment(last.time_ms if last is not None else None),
        "-" if seen.accepted is None else " + ".join(seen.accepted.attributes) or seen.accepted.request,
        "; ".join(seen.habits.values()) or "-",
    ]
