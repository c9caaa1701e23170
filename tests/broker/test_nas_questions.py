"""A NAS that sends no accounting is asked whether it talks, by Kafka, ingest, worker, prober and kicker (3.4, 3.5)."""

import asyncio
import os
import signal
from pathlib import Path

from agents.nas_asking import NasAsking
from agents.reloading import reloading
from agents.tasks import end
from schemas.configuration import Configuration, Disconnect, Kicker
from schemas.configuration import Nas as ConfiguredNas
from schemas.errors import CurfewError
from schemas.sighting import Probe
from schemas.topics import ACCOUNTING, PROBES, REJECTED
from tests.support.kafka import Kafka
from tests.support.nas import ACCT_SESSION_ID, CALLING_STATION_ID, USER_NAME, Answer, Decide, SmallNas
from tests.support.product import Nas, Product, eventually, running

INTERIM_S = 5
NOBODY = "curfew-connection-test"
QUERY = """
[[liveness]]
rule = "interim"
times = 3
probe = "query"
"""


def small(name: str, decide: Decide) -> tuple[SmallNas, Nas]:
    nas = SmallNas(name, b"accounting", b"disconnect", decide)
    return nas, Nas(name, "accounting", nas.dae_port, "disconnect", identifier=name, interim_s=INTERIM_S)


async def test_the_lost_session_of_a_nas_that_answers_is_found_dead_and_that_of_a_silent_one_waits(
    kafka: Kafka, prefix: str, tmp_path: Path
) -> None:
    """3.3, 3.4, 3.5: no accounting comes from either; one answers Disconnect-Requests for nobody, the other nothing."""
    alive, known_alive = small("alive", lambda _: Answer(ack=False, error_cause=503))
    mute, known_mute = small("mute", lambda _: None)
    made = Product(tmp_path, kafka.bootstrap, prefix, [known_alive, known_mute], tick_s=0.5, prober="")
    async with running(made, QUERY) as product, alive, mute:
        for nas, user in ((alive, "bob"), (mute, "eve")):
            nas.server = ("127.0.0.1", product.port)
            session = [(USER_NAME, user.encode()), (ACCT_SESSION_ID, f"s-{user}".encode()), (CALLING_STATION_ID, b"02-AA-00-00-00-01")]
            nas.account("Start", session)
        (result,) = await product.wait_for_results(1, within_s=90)
        assert (result["acct_session_id"], result["outcome"]) == ("s-bob", "gone")
        await product.wait_for_events(1, "nas.silent", within_s=90)
        await eventually(product.states, lambda states: states == {"s-bob": ("ended", "stale"), "s-eve": ("open", None)})

        events = await product.events()
        assert [event["nas"] for event in events if event["type"] == "nas.silent"] == ["mute"]
        bobs = [event["type"] for event in events if event.get("identity") == "bob"]
        assert [kind for kind in bobs if kind.startswith("session.")] == [
            *("session.started", "session.suspect", "session.stale", "session.ended")
        ]
        assert [event["type"] for event in events if event.get("identity") == "eve"] == ["session.started"]

        probes = [stored.value for stored in await product.records(PROBES)]
        assert {(probe["kind"], probe["nas"], probe.get("identity", "")) for probe in probes} == {
            ("query", "alive", ""),
            ("query", "mute", ""),
        }
        answers = [one for stored in await product.records(ACCOUNTING) if stored.kind == "sighting" for one in stored.value["seen"]]
        assert {(one["nas"], one["by"], one.get("mac"), one.get("acct_session_id")) for one in answers} == {("alive", "prober", None, None)}
        asked = [str(attributes["acct_session_id"]) for _, attributes in alive.requests]
        assert [session for session in asked if not session.startswith(NOBODY)] == ["s-bob"]
        assert len(asked) >= 3
        assert mute.requests
        assert all(str(attributes["acct_session_id"]).startswith(NOBODY) for _, attributes in mute.requests)
        assert not await product.records(REJECTED)


async def test_sighup_brings_the_prober_another_secret_and_a_configuration_that_is_wrong_changes_nothing() -> None:
    """3.4, 2.6: NASes are read again in one way by every part that knows some; one that is gone is not asked."""
    nas = SmallNas("alive", b"accounting", b"disconnect", lambda _: Answer(ack=False, error_cause=503))
    answered: list[str] = []

    def configured(secret: str, name: str = "alive") -> Configuration:
        way = Disconnect(address="127.0.0.1", port=nas.dae_port, secret=secret)
        return Configuration(kicker=Kicker(source="127.0.0.1"), nas=(ConfiguredNas(name=name, addresses=("127.0.0.1",), disconnect=way),))

    asking = NasAsking(configured("wrong"), lambda probes: answered.extend(probe.id for probe, _ in probes))
    files: list[Configuration | None] = [None, configured("disconnect"), configured("disconnect", "other")]
    read: list[str] = []

    def reread() -> Configuration:
        configuration = files.pop(0)
        if configuration is None:
            read.append("wrong")
            raise CurfewError("line 3: no such key")
        return configuration

    async def times_read() -> int:
        return len(read)

    async def refused() -> int:
        return len(nas.refused)

    async def hang_up(times: int) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(times_read, lambda count: count == times, within_s=120)

    async with nas:
        running = asyncio.create_task(asking.run())
        with reloading(reread, asking.change, lambda _: read.append("taken")):
            await hang_up(1)
            assert asking.ask(Probe(id="0-1-0-", kind="query", nas="alive", asked_ms=0))
            await eventually(refused, bool, within_s=120)
            nas.refused.clear()
            await hang_up(2)
            async with asyncio.timeout(60):
                while "0-2-0-" not in answered:
                    assert asking.ask(Probe(id="0-2-0-", kind="query", nas="alive", asked_ms=0))
                    await asyncio.sleep(0.2)
            await hang_up(3)
            assert not asking.ask(Probe(id="0-3-0-", kind="query", nas="alive", asked_ms=0))
        await end(running)
        nas.refused.clear()
    assert (read, files) == (["wrong", "taken", "taken"], [])
    assert "0-3-0-" not in answered
