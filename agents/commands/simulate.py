"""`curfew simulate`: a network of simulated NASes, seeded, with answering Disconnect ports."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Any, NamedTuple

import click

from agents.commands.terminal import Refused, configured, json_option, run, say
from agents.simulated_nas import Place, SimulatedNetwork
from schemas.codec import dumps
from schemas.configuration import Configuration, Endpoint, endpoint
from streams.simulation import Answer, NasSettings, Network, People, SimulatedNas

ANSWERS_WITHIN_S = 5.0
POLL_S = 0.05
PORT_MAX = 65_535
SHOWN_MAX = 3


@click.command()
@configured
@click.option("--nas", "nas_count", type=click.IntRange(1, 10_000), default=3, show_default=True, help="How many NASes.")
@click.option("--users", type=click.IntRange(0, 65_536), default=100, show_default=True, help="How many people: user1, user2, ...")
@click.option("--devices", type=click.IntRange(1, 254), default=2, show_default=True, help="Devices of each.")
@click.option("--rate", type=click.FloatRange(min=0), default=2.0, show_default=True, help="Logins a second.")
@click.option(
    "--session", "session_s", type=click.FloatRange(min=0.1), default=300.0, show_default=True, help="Mean length of a session in seconds."
)
@click.option(
    "--interim", "interim_s", type=click.FloatRange(min=0.1), default=60.0, show_default=True, help="Seconds between two Interim-Updates."
)
@click.option("--for", "for_s", type=click.FloatRange(min=0), help="Seconds; without it until Ctrl-C.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same people, devices and answers.")
@click.option("--server", help="HOST:PORT for accounting.  [default: the first [ingest] listen]")
@click.option(
    "--secret",
    default="testing123",
    show_default=True,
    envvar="CURFEW_SIMULATE_SECRET",
    show_envvar=True,
    help="Of accounting. Everybody on this machine sees a command line, nobody else a variable.",
)
@click.option("--source", default="127.0.0.1", show_default=True, help="Address of the first NAS.")
@click.option(
    "--spread",
    is_flag=True,
    help="Each NAS has the address after the one before; else all share one, and are told apart by NAS-Identifier.",
)
@click.option(
    "--disconnect-port",
    type=click.IntRange(0, PORT_MAX),
    default=3799,
    show_default=True,
    help="Of the first NAS; those that share its address have the ports after it. 0: the system chooses.",
)
@click.option(
    "--disconnect-secret",
    envvar="CURFEW_SIMULATE_DISCONNECT_SECRET",
    show_envvar=True,
    help="Of Disconnect-Requests, likewise.  [default: --secret]",
)
@click.option(
    "--answer",
    type=click.Choice([answer.value for answer in Answer]),
    default=Answer.ACK.value,
    show_default=True,
    help="What a NAS does about a Disconnect-Request.",
)
@click.option("--power-cut", is_flag=True, help="End without Accounting-Off: the sessions stay in the table.")
@click.option("--print-nas", is_flag=True, help="Print the [[nas]] tables that a configuration needs for this network, and do no more.")
@json_option
def simulate(configuration: Configuration, **options: Any) -> None:
    """Simulate a network of NASes: people log in and out, NASes report, send again what is not answered, and answer Disconnect-Requests.

    \b
    curfew simulate --nas 5 --print-nas >> curfew.toml
    curfew simulate --nas 5 --rate 20 --for 60 --answer nak-503
    """  # noqa: D301 - click's mark for lines that must not be wrapped
    wanted = _Wanted(**options)
    places = _places(wanted)
    nases = _nases(wanted, places)
    if wanted.print_nas:
        for nas, place in zip(nases, places, strict=True):
            click.echo(_nas_table(wanted, nas, place))
        return
    run(_simulate(wanted, configuration, places, nases))
    summary = _summary(nases)
    click.echo(dumps(summary) if wanted.as_json else "\n".join(f"{name:24} {count}" for name, count in summary.items()))


class _Wanted(NamedTuple):
    """The options, by the names that they have above."""

    nas_count: int
    users: int
    devices: int
    rate: float
    session_s: float
    interim_s: float
    for_s: float | None
    seed: int
    server: str | None
    secret: str
    source: str
    spread: bool
    disconnect_port: int
    disconnect_secret: str | None
    answer: str
    power_cut: bool
    print_nas: bool
    as_json: bool


def _places(wanted: _Wanted) -> list[Place]:
    try:
        source = IPv4Address(wanted.source)
    except ValueError as wrong:
        raise Refused(f"--source {wanted.source}: {wrong}") from wrong
    count, port = wanted.nas_count, wanted.disconnect_port
    if wanted.spread:
        return [Place(str(source + number), port) for number in range(count)]
    if port and port + count - 1 > PORT_MAX:
        raise Refused(f"--disconnect-port {port} leaves no ports for {count} NASes: take a lower one, 0, or --spread")
    return [Place(str(source), port + number if port else 0) for number in range(count)]


def _nases(wanted: _Wanted, places: Sequence[Place]) -> list[SimulatedNas]:
    return [
        SimulatedNas(
            NasSettings(
                name=f"nas-{number + 1}",
                address=IPv4Address(place.address),
                secret=wanted.secret.encode(),
                disconnect_secret=(wanted.disconnect_secret or wanted.secret).encode(),
                interim_s=wanted.interim_s,
                answer=Answer(wanted.answer),
            ),
            random.Random(f"{wanted.seed}/{number}"),
        )
        for number, place in enumerate(places)
    ]


def _nas_table(wanted: _Wanted, nas: SimulatedNas, place: Place) -> str:
    """What a configuration must say of a simulated NAS; JSON's strings are TOML's."""
    disconnect_secret = wanted.disconnect_secret or wanted.secret
    text = [
        "[[nas]]",
        f'name = "{nas.settings.name}"',
        f'addresses = ["{place.address}/32"]',
        *([] if wanted.spread else [f'nas_identifier = "{nas.settings.name}"']),
        f"secret = {dumps(wanted.secret)}",
        f'disconnect = {{ address = "{place.address}", port = {place.disconnect_port or 3799}, secret = {dumps(disconnect_secret)} }}',
        f"interim_interval_s = {math.ceil(wanted.interim_s)}",
    ]
    return "\n".join(text) + "\n"


async def _simulate(wanted: _Wanted, configuration: Configuration, places: Sequence[Place], nases: Sequence[SimulatedNas]) -> None:
    """Run the network until its time is over or a signal comes; then wait for the last answers."""
    people = People([f"user{number + 1}" for number in range(wanted.users)], wanted.devices, wanted.rate, wanted.session_s)
    network = Network(nases, people, random.Random(wanted.seed))
    server = _server(wanted.server or configuration.ingest.listen[0])
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with SimulatedNetwork(network, places, server, lambda _: None) as simulated:
        where = ", ".join(f"{place.address}:{place.disconnect_port}" for place in simulated.places[:SHOWN_MAX])
        more = ", ..." if len(nases) > SHOWN_MAX else ""
        say(f"Accounting goes to {server.address}:{server.port}; Disconnect-Requests are taken at {where}{more}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), wanted.for_s)
        simulated.end(is_power_cut=wanted.power_cut)
        deadline_s = time.monotonic() + ANSWERS_WITHIN_S
        while any(nas.unanswered for nas in nases) and time.monotonic() < deadline_s:  # noqa: ASYNC110 - a pure network sets no events
            await asyncio.sleep(POLL_S)


def _server(text: str) -> Endpoint:
    try:
        return endpoint(text)
    except ValueError as wrong:
        raise Refused(f"--server: {wrong}") from wrong


def _summary(nases: Sequence[SimulatedNas]) -> dict[str, int]:
    """What all NASes together have seen."""
    counts = [nas.counts for nas in nases]
    records = sum((each.records for each in counts), Counter[str]())
    disconnects = sum((each.disconnects for each in counts), Counter[str]())
    return {
        "records sent": records.total(),
        **{f"  {status}": records[status] for status in sorted(records)},
        "sent again": sum(each.repeats for each in counts),
        "answered": sum(each.answered for each in counts),
        "given up": sum(each.unanswered for each in counts),
        "still waiting": sum(nas.unanswered for nas in nases),
        "lost in a full queue": sum(each.lost for each in counts),
        "answers refused": sum(each.refused for each in counts),
        "Disconnect-Requests": disconnects.total(),
        **{f"  {said}": disconnects[said] for said in sorted(disconnects)},
    }
