"""A device's own list of sessions, and the end of those that only the device knows.

What lives here: asking the device and the table, and the kicks that no session agent can order, since the journal knows no such session:
the way is asked directly, and its final result goes on record in `disconnect.results` with who and why. What may not: which session is
which (`streams.device_sessions`).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence

from agents.directory import Selection, read_directory
from agents.kafka_client import close, idempotent_producer, topic_name
from agents.kick_orders import ORDER_VALID_MS, PROVEN, Fate
from agents.topic_admin import kafka_answers, require_topics
from agents.ways import Way, ways
from schemas.codec import encode
from schemas.configuration import Configuration, Nas
from schemas.disconnect import Attempt, DisconnectCommand, DisconnectResult, Outcome
from schemas.topics import RESULTS
from schemas.ways import DeviceSession, NoListError, WayAnswer
from streams.device_sessions import Held, attributes_of, hold
from streams.identity import IdentityRules
from streams.mac import normal_mac
from streams.partitioner import partition_of

AT_ONCE = 8
"""Kicks under way at one device; a driver may let fewer through."""


async def look(configuration: Configuration, nas: Nas) -> list[Held]:
    """What the device lists, held against the open sessions of the table.

    Raises:
        NoListError: the way to this NAS cannot list, or the device does not answer.
        KafkaUnreachableError: the table cannot be read.
    """
    drivers = ways(configuration)
    try:
        listed = await _way_to(drivers, nas).sessions(nas)
    finally:
        await _close(drivers)
    return hold(listed, (await read_directory(configuration, Selection(nas=nas.name))).rows())


async def end_strangers(configuration: Configuration, nas: Nas, strangers: Sequence[DeviceSession], who: str, why: str) -> list[Fate]:
    """End sessions that only the device knows, look whether they are gone, and put that on record.

    Args:
        configuration: where Kafka is.
        nas: the device.
        strangers: as the device listed them.
        who: for the record.
        why: likewise.

    Raises:
        NoListError: the way to this NAS cannot list.
        KafkaUnreachableError: Kafka does not answer; before anything was ended, or before the results were written.
        TopicsMissingError: a topic is not there.
    """
    await require_topics(configuration)
    rules, now_ms, drivers = IdentityRules(configuration.identity), _now_ms(), ways(configuration)
    invocation = f"device-{now_ms}-{secrets.token_hex(4)}"
    commands = [
        DisconnectCommand(
            id=f"{invocation}-{nth}",
            time_ms=now_ms,
            expires_ms=now_ms + ORDER_VALID_MS,
            nas=nas.name,
            identity=_identity(rules, nas, stranger),
            session=attributes_of(stranger),
            reason="operator",
            who=who,
            text=why,
        )
        for nth, stranger in enumerate(strangers)
    ]
    places = asyncio.Semaphore(AT_ONCE)
    try:
        way = _way_to(drivers, nas)

        async def ask(command: DisconnectCommand) -> WayAnswer:
            async with places:
                return await way.disconnect(nas, command)

        answers = await asyncio.gather(*map(ask, commands))
        left = await _left(way, nas)
    finally:
        await _close(drivers)
    results = [
        _result(command, stranger, answer, seen_gone=left is not None and name_of(stranger) not in left)
        for command, stranger, answer in zip(commands, strangers, answers, strict=True)
    ]
    await _record(configuration, results)
    return [
        Fate(
            order_id=result.command_id,
            nas=nas.name,
            acct_session_id=result.acct_session_id,
            user_name=stranger.user_name,
            command_id=result.command_id,
            decided=True,
            proven=result.outcome in PROVEN,
            outcome=f"{result.outcome} ({answer.detail})",
        )
        for result, stranger, answer in zip(results, strangers, answers, strict=True)
    ]


def name_of(device: DeviceSession) -> str:
    """As a person names a session of a device: its kind and the device's own handle, which is only one's own within the kind."""
    return f"{device.kind}/{device.device_id}"


def _way_to(drivers: dict[str, Way], nas: Nas) -> Way:
    via = "none" if nas.disconnect is None else nas.disconnect.via
    if via not in drivers:
        how = "has no `disconnect`" if via == "none" else "is disconnected by RADIUS (RFC 5176), which has no way to list sessions"
        raise NoListError(f'{nas.name} {how}: only a NAS with an API of its own can say who is on it, like via = "routeros"')
    return drivers[via]


async def _left(way: Way, nas: Nas) -> set[str] | None:
    """Who is listed now; None: it does not say any more."""
    try:
        return {name_of(one) for one in await way.sessions(nas)}
    except NoListError:
        return None


async def _close(drivers: dict[str, Way]) -> None:
    for driver in drivers.values():
        await driver.close()


def _identity(rules: IdentityRules, nas: Nas, device: DeviceSession) -> str:
    """Under which it would be filed, had accounting told of it (DESIGN: user, else MAC, else NAS and session)."""
    mac = normal_mac(device.calling_station_id or "")
    return rules.user_of(device.user_name or "", mac) or mac or f"{nas.name}/{name_of(device)}"


def _result(command: DisconnectCommand, device: DeviceSession, answer: WayAnswer, *, seen_gone: bool) -> DisconnectResult:
    """No Stop is awaited of a session that accounting never told of: the device's own list is the proof."""
    outcomes: dict[str, Outcome] = {"refused": "refused", "unanswered": "unanswered", "unsupported": "unsupported"}
    outcome = outcomes.get(answer.answer) or ("gone" if seen_gone else "unconfirmed")
    return DisconnectResult(
        command_id=command.id,
        time_ms=_now_ms(),
        nas=command.nas,
        identity=command.identity,
        acct_session_id=device.acct_session_id or name_of(device),
        final=True,
        outcome=outcome,
        attempts=[
            Attempt(
                attributes=[],
                port=0,
                identifier=0,
                sent_ms=[command.time_ms],
                answer=answer.answer,
                round_trip_ms=answer.round_trip_ms,
                request="device",
            )
        ],
        detail=f"Known to the device alone; ended by {command.who}{f', {command.text}' if command.text else ''}: {answer.detail}",
    )


async def _record(configuration: Configuration, results: Sequence[DisconnectResult]) -> None:
    producer, topic = idempotent_producer(configuration), topic_name(configuration, RESULTS)
    try:
        async with kafka_answers(configuration):
            await producer.start()
            written = [
                await producer.send(
                    topic, encode(one), key=one.nas.encode(), partition=partition_of(one.nas, configuration.kafka.partitions)
                )
                for one in results
            ]
            await asyncio.gather(*written)
    finally:
        await close(producer)


def _now_ms() -> int:
    return round(time.time() * 1000)
