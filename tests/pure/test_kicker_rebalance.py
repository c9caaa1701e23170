"""What a kicker goes on with after a rebalance, and after records it cannot use; Kafka is in the hands of the test."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import TopicPartition

from agents import kicker as module
from agents.health import Health
from agents.kicker import Kicker
from schemas.codec import encode
from schemas.configuration import Configuration, Disconnect, Nas
from schemas.configuration import Kicker as Settings
from schemas.disconnect import COMMAND_KIND, NOTICE_KIND, DisconnectCommand, SessionNotice
from schemas.topics import COMMANDS
from streams.open_commands import OpenCommands

PLACE = TopicPartition(COMMANDS.name, 0)


class Consumer:
    """The group's; what is paused is told."""

    def __init__(self) -> None:
        self.paused: set[TopicPartition] = set()

    def pause(self, *places: TopicPartition) -> None:
        self.paused.update(places)

    def resume(self, *places: TopicPartition) -> None:
        self.paused.difference_update(places)

    def seek(self, place: TopicPartition, offset: int) -> None:
        pass


class Writer:
    """Keeps deliveries until the test says that they are durable."""

    def __init__(self) -> None:
        self.deliveries: list[Any] = []

    def put(self, delivery: Any) -> None:
        self.deliveries.append(delivery)

    def write(self) -> None:
        for delivery in self.deliveries:
            delivery.done([0])
        self.deliveries.clear()


@pytest.fixture
async def kicker(monkeypatch: pytest.MonkeyPatch):
    """One whose sockets send nothing, whose parts are restored at once, and empty."""

    async def restore(_configuration: Configuration, numbers: Any, _observe: object) -> dict[int, OpenCommands]:
        return {number: OpenCommands(number, 0) for number in numbers}

    monkeypatch.setattr(module, "restore", restore)
    nas = Nas(name="campus", addresses=("127.0.0.1",), secret="s", disconnect=Disconnect(address="127.0.0.1", secret="s"))
    made = Kicker(Configuration(nas=(nas,), kicker=Settings(in_flight_per_nas=1)), Health("kicker"))
    await made._consumer.stop()
    made._consumer, made._writer = Consumer(), Writer()
    made._ports = SimpleNamespace(sent=[], send=lambda *datagram: made._ports.sent.append(datagram), close=lambda: None)
    yield made
    made._end_kicks()


async def assign(kicker: Kicker, *places: TopicPartition) -> None:
    await kicker.on_partitions_assigned(places)
    for _ in range(10):
        await asyncio.sleep(0)


def read(kicker: Kicker, *records: tuple[bytes | None, bytes]) -> None:
    """The kind header's value and the record's value, from the next offset on."""
    part = kicker._parts[0]
    polled = [
        SimpleNamespace(topic=COMMANDS.name, partition=0, offset=offset, headers=(("kind", kind),), key=b"campus", value=value)
        for offset, (kind, value) in enumerate(records, part.next_offset)
    ]
    kicker._take_records(part, polled)


def command(number: int = 1) -> tuple[bytes, bytes]:
    now_ms = module._now().wall_ms
    more = {"time_ms": now_ms, "expires_ms": now_ms + 60_000, "confirm_within_s": 60}
    more |= {"id": f"0-{number}-0-bob", "session": {"acct_session_id": f"s{number}"}}
    said = DisconnectCommand(nas="campus", identity="bob", reason="limit", **more)
    return COMMAND_KIND.encode(), encode(said)


async def test_what_is_worked_on_goes_with_its_partition_also_before_it_was_read_again(kicker: Kicker):
    """5.4: two rebalances in a row, as at a rolling restart; the kicker went on, and told a final result beside its successor's."""
    await assign(kicker, PLACE)
    read(kicker, command())
    assert len(kicker._dispatcher) == 1
    await assign(kicker, PLACE)
    assert len(kicker._dispatcher) == 1
    await assign(kicker)
    assert (len(kicker._dispatcher), kicker._homes) == (0, {})


async def test_who_waited_for_a_turn_has_it_when_the_command_before_is_somebody_elses(kicker: Kicker):
    """5.5: it waited until something else happened, and expired where nothing did."""
    await assign(kicker, PLACE)
    read(kicker, command(1), command(2))
    assert len(kicker._ports.sent) == 1
    kicker._forget(["0-1-0-bob"])
    assert len(kicker._ports.sent) == 2


@pytest.mark.parametrize(("is_alive", "taken"), [(True, []), (False, [0, 1])])
async def test_that_a_session_lives_is_believed_once_and_that_it_ended_always(
    kicker: Kicker, monkeypatch: pytest.MonkeyPatch, taken: list[int], *, is_alive: bool
):
    """5.4: read again after a rebalance, an old "alive" refuted a promise that had been given since."""
    notices: list[SessionNotice] = []
    monkeypatch.setattr(kicker, "_take_notice", lambda _part, notice: notices.append(notice))
    await assign(kicker, PLACE)
    kicker._parts[0] = OpenCommands(0, 0, commands_end=2)
    said = [
        SessionNotice(command_id="0-1-0-bob", nas="campus", identity="bob", acct_session_id="s1", alive=is_alive, time_ms=number)
        for number in range(3)
    ]
    read(kicker, *[(NOTICE_KIND.encode(), encode(notice)) for notice in said])
    assert [notice.time_ms for notice in notices] == [*taken, 2]


async def test_a_kind_without_a_value_is_an_unknown_kind(kicker: Kicker):
    """Bad input: a stranger's record with such a header ended the kicker, and each one that was started after it."""
    await assign(kicker, PLACE)
    read(kicker, (None, b"{}"), command())
    assert len(kicker._writer.deliveries) == 1
    assert len(kicker._dispatcher) == 1


async def test_a_partition_that_was_full_of_what_is_rejected_goes_on_once_that_is_durable(kicker: Kicker, monkeypatch: pytest.MonkeyPatch):
    """5.7: nothing else would have told it to."""
    monkeypatch.setattr("streams.open_commands.WINDOW_MAX", 10)
    await assign(kicker, PLACE)
    read(kicker, *[(b"strange", b"x")] * 20)
    assert kicker._consumer.paused == {PLACE}
    kicker._writer.write()
    assert kicker._consumer.paused == set()
