"""FreeRADIUS 3.2 beside the product: in front of it in the ways in which a site attaches it, and as the server of Disconnect-Requests."""

import asyncio
import signal
from pathlib import Path

from schemas.topics import REJECTED
from tests.rig.rigs import FreeRadius
from tests.support.kafka import Kafka
from tests.support.nas import ACCT_SESSION_ID, ACCT_SESSION_TIME, ACK, CALLING_STATION_ID, USER_NAME, Attribute, Sent, SmallNas
from tests.support.product import Nas, Product, eventually, running

SECRET = "acctsecret"
DAE_SECRET = FreeRadius.SECRET
CONFIRM_WITHIN_S = 6
LATE_AFTER_S = 2
POLICY = f"""
confirm_within_s = {CONFIRM_WITHIN_S}
late_after_s = {LATE_AFTER_S}
[[limit]]
name = "one-at-a-time"
applies_to = "user"
max_sessions = 1
count = "sessions"
victim = "oldest"
"""


def session(user: str, number: int, time_s: int = 0) -> list[Attribute]:
    """What a NAS says of a user's n-th session."""
    return [
        (USER_NAME, user.encode()),
        (ACCT_SESSION_ID, f"{user}/{number}".encode()),
        (CALLING_STATION_ID, f"02-00-00-00-00-{number:02X}".encode()),
        (ACCT_SESSION_TIME, time_s.to_bytes(4)),
    ]


async def answered(*packets: Sent) -> None:
    """Return when all of them are."""

    async def waiting() -> list[Sent]:
        return [packet for packet in packets if packet.answered_s is None]

    await eventually(waiting, lambda left: not left)


def small_nas(front: FreeRadius) -> SmallNas:
    """A NAS without a clock that sends to FreeRADIUS and acknowledges what it is asked."""
    return SmallNas("ap", FreeRadius.SECRET.encode(), DAE_SECRET.encode(), lambda _: ACK, ("127.0.0.1", front.in_port), has_clock=False)


def product_behind(kafka: Kafka, prefix: str, tmp_path: Path, nas: SmallNas) -> Product:
    """The product, which knows that NAS through the proxy's address, and disconnects it directly."""
    return Product(tmp_path, kafka.bootstrap, prefix, [Nas("ap", SECRET, nas.dae_port, DAE_SECRET, identifier="ap")])


async def test_through_a_proxy_the_nas_is_answered_only_when_the_record_is_durable(kafka: Kafka, prefix: str, tmp_path: Path):
    """1.1, 1.4, 1.5: FreeRADIUS takes our answers for its own requests, a frozen ingest answers nobody, and copies are one session."""
    front = FreeRadius(tmp_path / "rig", "proxy")
    async with (
        small_nas(front) as nas,
        running(product_behind(kafka, prefix, tmp_path, nas), POLICY) as product,
        front.running(product.port),
    ):
        await answered(nas.account("Start", session("ann", 1)))
        product.ingest.send(signal.SIGSTOP)
        second = nas.account("Start", session("bob", 1))
        await eventually(lambda: _sends(second), lambda sends: sends >= 4)
        assert second.answered_s is None
        product.ingest.send(signal.SIGCONT)
        await answered(second)
        await eventually(product.states, lambda states: states == {"ann/1": ("open", None), "bob/1": ("open", None)})
        assert [event["type"] for event in await product.events()] == ["session.started"] * 2
        assert await product.commands() == []
        assert not await product.records(REJECTED)


async def test_replicated_records_are_taken_from_ever_new_ports_and_breaches_are_acted_on(kafka: Kafka, prefix: str, tmp_path: Path):
    """1.1, 4.4: a copy of the accounting suffices to see a breach and to disconnect the NAS itself."""
    front = FreeRadius(tmp_path / "rig", "replicate")
    async with (
        small_nas(front) as nas,
        running(product_behind(kafka, prefix, tmp_path, nas), POLICY) as product,
        front.running(product.port),
    ):
        await answered(nas.account("Start", session("ann", 1)))
        await product.wait_for_events(1, "session.started")
        await answered(nas.account("Start", session("ann", 2)))
        await eventually(lambda: product.results(final=False), lambda results: [r["outcome"] for r in results] == ["acknowledged"])
        await answered(nas.account("Stop", session("ann", 1, 3)))
        (result,) = await product.wait_for_results(1)
        assert (result["outcome"], result["acct_session_id"]) == ("confirmed", "ann/1")
        await eventually(product.states, lambda states: states == {"ann/1": ("ended", "nas-stop"), "ann/2": ("open", None)})
        assert [attributes["acct_session_id"] for _, attributes in nas.requests] == ["ann/1"]
        assert len(await product.commands()) == 1
        assert not await product.records(REJECTED)


async def test_a_detail_file_that_is_read_late_changes_the_table_and_kicks_nobody(kafka: Kafka, prefix: str, tmp_path: Path):
    """DESIGN "Old news", 1.8: records older than late_after_s are no reason to disconnect; fresh ones are."""
    front = FreeRadius(tmp_path / "rig", "detail")
    async with (
        small_nas(front) as nas,
        running(product_behind(kafka, prefix, tmp_path, nas), POLICY) as product,
        front.running(product.port),
    ):
        product.ingest.send(signal.SIGSTOP)
        # FreeRADIUS answers for us; the two wait in its file
        await answered(nas.account("Start", session("ann", 1)), nas.account("Start", session("ann", 2)))
        await asyncio.sleep(LATE_AFTER_S + 2)  # time itself is what is tested
        product.ingest.kill()  # with what was in its socket
        await product.ingest.restart()
        await eventually(product.states, lambda states: states == {"ann/1": ("open", None), "ann/2": ("open", None)})
        delays_s = {record["acct_session_id"]: record["acct_delay_s"] for record in await product.journal()}
        assert min(delays_s["ann/1"], delays_s["ann/2"]) > LATE_AFTER_S
        assert await product.commands() == []

        # A fresh one of a third is measured by what is known freshly: nobody else yet
        await answered(nas.account("Start", session("ann", 3)))
        await product.wait_for_events(3, "session.started")
        assert await product.commands() == []
        assert nas.requests == []
        assert not await product.records(REJECTED)


async def test_each_way_in_which_freeradius_answers_a_disconnect_request_has_its_outcome(kafka: Kafka, prefix: str, tmp_path: Path):
    """5.1, 5.3, 5.4, 5.7: NAK with and without Error-Cause, silence, a slow ACK without a Stop, and one that says 201: already gone."""
    outcomes = {
        "nak-503": ("gone", 503),
        "nak-404": ("refused", 404),
        "nak-none": ("refused", None),
        "drop": ("unanswered", None),
        "slow-2": ("unconfirmed", None),
        "ack-201": ("gone", 201),
    }
    server = FreeRadius(tmp_path / "rig", "coa")
    product = Product(tmp_path, kafka.bootstrap, prefix, [Nas("ap", SECRET, server.dae_port, DAE_SECRET, identifier="ap")])
    nas = SmallNas("ap", SECRET.encode(), b"", lambda _: None, ("127.0.0.1", product.port))
    async with nas, running(product, POLICY), server.running(product.port):
        for user in outcomes:
            await answered(nas.account("Start", session(user, 1)))
            await answered(nas.account("Start", session(user, 2)))
        results = await product.wait_for_results(len(outcomes), within_s=CONFIRM_WITHIN_S + 60)
        assert {result["identity"]: (result["outcome"], result.get("error_cause")) for result in results} == outcomes
        acknowledged = await product.results(final=False)
        assert [result["identity"] for result in acknowledged] == ["slow-2"]
        sends = {result["identity"]: len(result["attempts"][0]["sent_ms"]) for result in results}
        assert sends["drop"] > 1
        assert len(await product.commands()) == len(outcomes)
        assert not await product.records(REJECTED)


async def _sends(packet: Sent) -> int:
    return packet.sends
