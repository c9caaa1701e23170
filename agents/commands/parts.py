"""`curfew ingest`, `worker`, `kicker`, `prober`, `projector`: one part alone, for many machines; and what `curfew up` starts.

What lives here: processes, signals, health and the log of a part. A child of `curfew up` (it has a status socket) is one process; by hand
`processes` of the configuration are started under a supervisor, which starts again what dies.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvloop
from aiohttp import web

from agents.commands.terminal import CONFIG_META, configured, say
from agents.door import run_door
from agents.health import STATUS_SOCKET_VARIABLE, Health, serve_health
from agents.library_log import LIBRARIES, Measured
from agents.settings import load_settings
from agents.short_way import Answer
from agents.sightings_door import run_sightings_door
from agents.supervise import LOG_LEVEL_VARIABLE, Part, Supervisor
from agents.tasks import end
from agents.topic_admin import KafkaUnreachableError, require_topics
from schemas.configuration import Configuration
from schemas.errors import CurfewError

KAFKA_RETRY_S = 1.0

Work = Callable[[Configuration, Health, asyncio.Event], Awaitable[None]]

log = logging.getLogger(__name__)


@click.command()
@configured
def ingest(configuration: Configuration) -> None:
    """Take RADIUS accounting in: write it to the journal, and answer what is durable there.

    SIGHUP reads NASes and secrets again.
    """
    from agents.ingest import run_ingest  # noqa: PLC0415 - the other subcommands need not load a part's libraries

    config = click.get_current_context().meta[CONFIG_META]

    async def work(configuration: Configuration, health: Health, stop: asyncio.Event) -> None:
        await run_ingest(configuration, health, stop, reread=lambda: load_settings(config))

    _run("ingest", configuration, work, configuration.ingest.processes)


@click.command()
@configured
def worker(configuration: Configuration) -> None:
    """Apply the journal: keep the table, say what happens, decide whom to disconnect; let published policies in."""
    from agents.worker import run_worker  # noqa: PLC0415 - as above

    async def work(configuration: Configuration, health: Health, stop: asyncio.Event) -> None:
        await _wait_for_topics(configuration, health, stop)
        doors = (run_door(configuration, stop), run_sightings_door(configuration, stop))
        await _together(stop, run_worker(configuration, health, stop), *doors)

    _run("worker", configuration, work, configuration.worker.processes)


@click.command()
@configured
def kicker(configuration: Configuration) -> None:
    """Carry disconnect commands out (RFC 5176), and say what is proven of each.

    SIGHUP reads NASes and secrets again.
    """
    from agents.kafka_client import look_before_each_write  # noqa: PLC0415 - as above
    from agents.kicker import GIVEN_UP_AFTER_S, run_kicker  # noqa: PLC0415 - as above
    from agents.portal import Portal  # noqa: PLC0415 - as above
    from agents.pulse import Pulse  # noqa: PLC0415 - as above
    from agents.ways import ways  # noqa: PLC0415 - as above
    from agents.ways.poll import Poll  # noqa: PLC0415 - as above

    config = click.get_current_context().meta[CONFIG_META]
    poll, portal = Poll(configuration), Portal(configuration)

    def reread() -> Configuration:
        changed = load_settings(config)
        poll.change(changed)
        portal.change(changed)
        return changed

    async def work(configuration: Configuration, health: Health, stop: asyncio.Event) -> None:
        await _wait_for_topics(configuration, health, stop)
        pulse = Pulse(GIVEN_UP_AFTER_S)
        look_before_each_write(pulse.look)
        beating = asyncio.create_task(pulse.beat())
        drivers = {**ways(configuration), "poll": poll}
        kicking = run_kicker(configuration, health, stop, reread=reread, drivers=drivers, look=pulse.look)
        try:
            await _together(stop, kicking, poll.serve(stop), portal.serve(stop))
        finally:
            await end(beating)

    _run("kicker", configuration, work, 1)


@click.command()
@configured
def projector(configuration: Configuration) -> None:
    """Answer look-ups and the question before a login over HTTP; keep the live directory in Redis, where one is configured."""
    from agents.admission import Admission  # noqa: PLC0415 - as above
    from agents.http_api import plain_answers, routes  # noqa: PLC0415 - as above
    from agents.priority import take_priority  # noqa: PLC0415 - as above
    from agents.projector import run_projector  # noqa: PLC0415 - as above

    admission = Admission(configuration, on_open=partial(take_priority, configuration.admission.nice))

    async def work(configuration: Configuration, health: Health, stop: asyncio.Event) -> None:
        await _wait_for_topics(configuration, health, stop)
        await _together(stop, admission.run(health, stop), admission.promises.run(stop), run_projector(configuration, admission, stop))

    _run("projector", configuration, work, 1, routes=routes(configuration, admission), plain=plain_answers(configuration, admission))


@click.command()
@configured
def prober(configuration: Configuration) -> None:
    """Ask devices that fell silent, on the interfaces of [prober], by ARP and neighbour discovery. Needs CAP_NET_RAW.

    SIGHUP reads NASes and secrets again.
    """
    from agents.prober import run_prober  # noqa: PLC0415 - as above

    config = click.get_current_context().meta[CONFIG_META]

    async def work(configuration: Configuration, health: Health, stop: asyncio.Event) -> None:
        await _wait_for_topics(configuration, health, stop)
        await run_prober(configuration, health, stop, reread=lambda: load_settings(config))

    _run("prober", configuration, work, 1)


def _run(
    name: str,
    configuration: Configuration,
    work: Work,
    processes: int,
    *,
    routes: Sequence[web.RouteDef] = (),
    plain: Answer | None = None,
) -> None:
    logging.basicConfig(level=os.environ.get(LOG_LEVEL_VARIABLE, "INFO"), format="%(levelname)s %(name)s: %(message)s")
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)  # what they say below that is about themselves
    for handler in logging.getLogger().handlers:
        handler.addFilter(Measured())
    alone = processes == 1 or STATUS_SOCKET_VARIABLE in os.environ
    running = _run_alone(name, configuration, work, routes, plain) if alone else _run_several(name, configuration, processes)
    try:
        uvloop.run(running)
    except CurfewError as failed:
        raise click.ClickException(str(failed)) from failed


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _run_alone(name: str, configuration: Configuration, work: Work, routes: Sequence[web.RouteDef], plain: Answer | None) -> None:
    stop, health = _stop_on_signals(), Health(name)
    # A part that knows NASes takes the signal (`reloading`); the others must not die of it, as of systemd's reload of them all
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, log.info, "no NAS is known here: there is nothing to read again")
    async with serve_health(configuration, health, routes=routes, plain=plain):
        await work(configuration, health, stop)


async def _run_several(name: str, configuration: Configuration, processes: int) -> None:
    """So many children of this very command; SIGHUP goes on to those that read their configuration again."""
    stop, health = _stop_on_signals(), Health(name)
    config = click.get_current_context().meta[CONFIG_META]
    arguments = (name, *(("--config", str(config)) if config else ()))
    with tempfile.TemporaryDirectory(prefix="curfew-") as directory:
        stage = [Part(f"{name}-{number}", arguments) for number in range(1, processes + 1)]
        supervisor = Supervisor([stage], directory=Path(directory), environment=os.environ, health=health, say=say)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, supervisor.send, "ingest", signal.SIGHUP)
        async with serve_health(configuration, health, metrics_dir=Path(directory)):
            await supervisor.run(stop)


async def _wait_for_topics(configuration: Configuration, health: Health, stop: asyncio.Event) -> None:
    """Return when Kafka is there and its topics are as wanted; wait for Kafka, but not for topics.

    Raises:
        TopicsMissingError: some are not there.
        TopicsDifferError: some are otherwise than wanted.
    """
    while not stop.is_set():
        try:
            await require_topics(configuration)
        except KafkaUnreachableError as away:
            if health.reason != str(away):
                log.warning("%s Waiting for it.", away)
            health.not_ready(str(away))
            await asyncio.sleep(KAFKA_RETRY_S)
        else:
            return


async def _together(stop: asyncio.Event, *works: Awaitable[Any]) -> None:
    """Run works until all are done; the first that fails stops the others, and its exception is raised."""

    async def one(work: Awaitable[Any]) -> None:
        try:
            await work
        finally:
            stop.set()

    outcomes = await asyncio.gather(*map(one, works), return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
