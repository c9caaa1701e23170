"""The session agent's process: a Faust app whose events are whole polls, and its run inside our own event loop.

What lives here: the app, the agent, start and stop. What may not: Kafka (`poll`), a partition (`partition_owner`), decisions (the core).

Theory of operation. Faust's own consumer and producer stay off: a service polls and puts polls on a channel, and the agent applies each
to the cores of its partitions, some 10 to 20 ms of work, between which the event loop sends, heartbeats and checkpoints. Nothing inside
the app may fail unseen (Faust would restart an agent without its event), so failures go to `run_worker`, which raises them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from faust.app import App, BootStrategy
from faust.types import StreamT
from mode import CrashingSupervisor

from agents.health import Health
from agents.kafka_client import client_settings
from agents.partition_owner import CoreMaker
from agents.poll import Poll, PollService
from schemas.configuration import Configuration
from schemas.topics import FAUST_APP, SESSION_AGENT
from streams.session_core import SessionCore

POLLS_WAITING_MAX = 1
"""Polls on the channel beside the one being applied."""


class WorkerBoot(BootStrategy):
    """Sensors and agents only: Kafka is ours, and there is no table and no web server."""

    enable_kafka = False
    enable_web = False


class WorkerApp(App):
    """A Faust app that keeps nothing on disk.

    Attributes:
        polls: the service that feeds the agent.
    """

    BootStrategy = WorkerBoot
    polls: PollService

    def _create_directories(self) -> None:
        """Faust would make a data directory wherever the process was started."""


def build_app(
    configuration: Configuration,
    health: Health,
    stop: asyncio.Event,
    make_core: CoreMaker,
    on_failure: Callable[[Exception], None],
) -> WorkerApp:
    """The Faust app with its agent, its channel and the service that polls; nothing is started.

    Args:
        configuration: as loaded.
        health: is told when all partitions that the group gave us are restored.
        stop: when set, the service checkpoints, leaves the group and is `finished`.
        make_core: makes an empty core for a partition.
        on_failure: called with what has to end the process.
    """
    app = WorkerApp(
        FAUST_APP,
        broker=f"kafka://{client_settings(configuration)['bootstrap_servers']}",
        autodiscover=False,
        web_enabled=False,
        topic_disable_leader=True,
        agent_supervisor=CrashingSupervisor,
    )
    channel: Any = app.channel(maxsize=POLLS_WAITING_MAX)  # Faust's types know events only, not plain values
    app.polls = PollService(configuration, health, make_core, put=channel.put, stop=stop, on_failure=on_failure)

    @app.agent(channel, name=SESSION_AGENT)
    async def session(polls: StreamT[Poll]) -> None:
        async for poll in polls:
            poll.membership.apply(poll)
            await asyncio.sleep(0)

    @app.task  # type: ignore[untyped-decorator]
    async def begin() -> None:
        # Not before the agent listens: a channel drops what nobody is subscribed to
        await app.add_runtime_dependency(app.polls)

    return app


async def run_worker(configuration: Configuration, health: Health, stop: asyncio.Event, *, make_core: CoreMaker = SessionCore) -> None:
    """Apply the journal until `stop` is set; then checkpoint, leave the group and return.

    Raises:
        CurfewError: it cannot go on; the text has the remedy.
        Exception: a defect; nothing was committed after it.
    """
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(error: Exception) -> None:
        if not failed.done():
            failed.set_exception(error)

    app = build_app(configuration, health, stop, make_core, fail)
    # Faust opens this at its first assignment, which never comes; closed, agents of channels wait for ever
    app.flow_control.resume()
    await app.start()
    endings: list[asyncio.Task[Any]] = [asyncio.create_task(app.wait_until_stopped()), asyncio.create_task(app.polls.finished.wait())]
    try:
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in endings:
            task.cancel()
        await app.stop()
    if app.crash_reason is not None:
        raise app.crash_reason
    if failed.done():
        failed.result()
