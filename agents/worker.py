"""The worker's process: a Faust app with two agents whose events are whole polls, and its run inside our own event loop.

What lives here: the app, its agents (of sessions, of groups), start and stop. What may not: Kafka (`poll`), a partition
(`partition_owner`), decisions (the cores).

Theory of operation. Faust's own consumer and producer stay off: for each agent a service polls and puts polls on a channel, and the agent
applies each to the cores of its partitions, some 10 to 20 ms of work, between which the event loop sends, heartbeats and checkpoints. The
agents have consumer groups of their own, so that both kinds of partitions are shared out evenly, and neither waits where the other is held
up. Nothing inside the app may fail unseen (Faust would restart an agent without its event), so failures go to `run_worker`, which raises
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from faust.app import App, BootStrategy
from faust.types import StreamT
from mode import CrashingSupervisor

from agents import metrics
from agents.health import Health
from agents.kafka_client import client_settings
from agents.partition_owner import Lane
from agents.poll import Poll, PollService
from schemas.configuration import Configuration
from schemas.topics import ACCOUNTING, FAUST_APP, GROUP_AGENT, GROUPS, GROUPS_GROUP, SESSION_AGENT, SLOTS, TABLE, WORKER_GROUP
from streams.group_core import GroupCore
from streams.session_core import SessionCore

POLLS_WAITING_MAX = 1
"""Polls on an agent's channel beside the one being applied."""
IDLE_PERIODS = 10

SESSIONS = Lane(SESSION_AGENT, ACCOUNTING, TABLE, WORKER_GROUP, SessionCore, metrics.SESSION_LANE)
GROUP_SLOTS = Lane(GROUP_AGENT, SLOTS, GROUPS, GROUPS_GROUP, GroupCore, metrics.GROUP_LANE, IDLE_PERIODS)
LANES = (SESSIONS, GROUP_SLOTS)


class WorkerBoot(BootStrategy):
    """Sensors and agents only: Kafka is ours, and there is no table and no web server."""

    enable_kafka = False
    enable_web = False


class WorkerApp(App):
    """A Faust app that keeps nothing on disk.

    Attributes:
        polls: the services that feed the agents.
    """

    BootStrategy = WorkerBoot
    polls: list[PollService]

    def _create_directories(self) -> None:
        """Faust would make a data directory wherever the process was started."""


class LaneHealth(Health):
    """One lane's share in the worker's readiness: the worker is ready when all of its lanes are.

    Args:
        whole: the worker's.
        lanes: of all its lanes; this one is added.
    """

    def __init__(self, whole: Health, lanes: list[LaneHealth]) -> None:
        super().__init__(whole.part)
        self._whole = whole
        self._lanes = lanes
        lanes.append(self)

    def ready(self) -> None:
        """The lane does its work."""
        super().ready()
        self._tell()

    def not_ready(self, reason: str) -> None:
        """The lane does not."""
        super().not_ready(reason)
        self._tell()

    def _tell(self) -> None:
        reasons = [lane.reason for lane in self._lanes if not lane.is_ready]
        if reasons:
            self._whole.not_ready(reasons[0])
        else:
            self._whole.ready()


def build_app(
    configuration: Configuration,
    health: Health,
    stop: asyncio.Event,
    lanes: Sequence[Lane],
    on_failure: Callable[[Exception], None],
) -> WorkerApp:
    """The Faust app with an agent, a channel and a service that polls for each lane; nothing is started.

    Args:
        configuration: as loaded.
        health: is told when all partitions that the groups gave us are restored.
        stop: when set, the services checkpoint, leave their groups and are `finished`.
        lanes: which agents.
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
    app.polls = []
    shares: list[LaneHealth] = []
    for lane in lanes:
        channel: Any = app.channel(maxsize=POLLS_WAITING_MAX)  # Faust's types know events only, not plain values
        share = LaneHealth(health, shares)
        app.polls.append(PollService(configuration, share, lane, put=channel.put, stop=stop, on_failure=on_failure))
        app.agent(channel, name=lane.agent)(_apply)

    @app.task  # type: ignore[untyped-decorator]
    async def begin() -> None:
        # Not before the agents listen: a channel drops what nobody is subscribed to
        for polls in app.polls:
            await app.add_runtime_dependency(polls)

    return app


async def _apply(polls: StreamT[Poll]) -> None:
    async for poll in polls:
        poll.membership.apply(poll)
        await asyncio.sleep(0)


async def run_worker(configuration: Configuration, health: Health, stop: asyncio.Event, *, lanes: Sequence[Lane] = LANES) -> None:
    """Apply the journals until `stop` is set; then checkpoint, leave the groups and return.

    Raises:
        CurfewError: it cannot go on; the text has the remedy.
        Exception: a defect; nothing of that lane was committed after it.
    """
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    ending = asyncio.Event()

    def fail(error: Exception) -> None:
        if not failed.done():
            failed.set_exception(error)
        ending.set()  # the other lanes leave in order

    async def end() -> None:
        await stop.wait()
        ending.set()

    app = build_app(configuration, health, ending, lanes, fail)
    # Faust opens this at its first assignment, which never comes; closed, agents of channels wait for ever
    app.flow_control.resume()
    await app.start()
    asked = asyncio.create_task(end())
    finished = asyncio.gather(*(polls.finished.wait() for polls in app.polls))
    endings: list[asyncio.Future[Any]] = [asyncio.create_task(app.wait_until_stopped()), finished]
    try:
        await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiting in (asked, *endings):
            waiting.cancel()
        await app.stop()
    if app.crash_reason is not None:
        raise app.crash_reason
    if failed.done():
        failed.result()
