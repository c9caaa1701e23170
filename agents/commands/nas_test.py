"""`curfew nas test`: what a NAS answers to being asked, and what is wrong if it does not."""

from __future__ import annotations

import click
import msgspec

from agents.commands.terminal import Refused, configured, json_option, run, show
from agents.connection_test import WAIT_S, try_connection
from schemas.configuration import Configuration, Nas
from schemas.ways import Finding

COLUMNS = ("WAY", "", "FINDING")


@click.command("test")
@configured
@click.argument("name")
@click.option(
    "--wait",
    "wait_s",
    default=WAIT_S,
    type=click.FloatRange(min=0.1, max=60),
    metavar="S",
    show_default=True,
    help="Wait so many seconds for an answer.",
)
@json_option
def test(configuration: Configuration, *, name: str, wait_s: float, as_json: bool) -> None:
    """Try how a NAS is disconnected, without ending any session.

    By RADIUS it is asked for a session that cannot exist: 503 is the right answer, and says that the secret is right too. Ask from the
    machine of the kicker: a NAS takes disconnects from addresses that it knows. Exit status 1 if anything is wrong.

    \b
    curfew nas test campus
    curfew nas test campus --json
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    findings = run(try_connection(configuration, named(configuration, name), wait_s))
    show(findings, COLUMNS, as_json=as_json, as_object=msgspec.to_builtins, cells=_cells)
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)


def named(configuration: Configuration, name: str) -> Nas:
    """The NAS of that name.

    Raises:
        Refused: there is none.
    """
    for nas in configuration.nas:
        if nas.name == name:
            return nas
    known = ", ".join(nas.name for nas in configuration.nas[:20]) or "none"
    raise Refused(f"there is no NAS {name!r}; the configuration has {known}")


def _cells(finding: Finding) -> list[str]:
    return [finding.way, "ok" if finding.ok else "wrong", finding.sentence]
