"""Debian's radclient and kcat against the whole product, with a NAS of a few lines at the disconnect port."""

import shutil
from pathlib import Path

import pytest

from schemas.codec import loads
from schemas.topics import EVENTS, REJECTED, TABLE
from tests.support.kafka import Kafka
from tests.support.nas import ACK, Answer, SmallNas
from tests.support.product import Nas, Product, eventually, run, running

SECRET = "testing123"
DAE_SECRET = "testing456"
CONFIRM_WITHIN_S = 6
POLICY = f"""
confirm_within_s = {CONFIRM_WITHIN_S}
[[limit]]
name = "one-at-a-time"
applies_to = "user"
max_sessions = 1
count = "sessions"
victim = "oldest"
"""
OUTCOMES = {"ann": "confirmed", "bob": "gone", "cem": "refused", "dot": "unanswered", "eve": "unconfirmed"}
ANSWERS = {"ann": ACK, "bob": Answer(ack=False, error_cause=503), "cem": Answer(ack=False, error_cause=404), "dot": None, "eve": ACK}

pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("radclient", "kcat")), reason="needs radclient (freeradius-utils) and kcat"
)


async def test_a_start_from_radclient_is_in_the_directory_and_kcat_reads_it(
    kafka: Kafka, prefix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """1.1, 7.1, 7.2: answered, shown by `curfew sessions --json`, and in session.events for any Kafka client."""
    async with running(Product(tmp_path, kafka.bootstrap, prefix, [Nas("lab", SECRET)]), POLICY) as product:
        await radclient(product, "Start", "ann", "s-1")
        (session,) = await eventually(lambda: sessions(product), lambda found: found)
        (row,) = [stored for stored in await product.records(TABLE) if stored.key == "s:lab/s-1"]
        with capsys.disabled():
            print(f"\n  radclient: {row.time_ms - session['last_seen_ms']} ms from the Start's arrival to its row in session.table")  # noqa: T201
        assert (session["nas"], session["user_name"], session["acct_session_id"], session["state"]) == ("lab", "ann", "s-1", "open")

        read = await run("kcat", "-C", "-q", "-e", "-b", kafka.bootstrap, "-t", prefix + EVENTS.name, "-f", "%k %s\n")
        key, value = read.strip().split(" ", 1)
        event = loads(value)
        assert (key, event["type"], event["acct_session_id"], event["seq"]) == ("ann", "session.started", "s-1", 1)
        assert await product.commands() == []
        assert not await product.records(REJECTED)


async def test_a_second_start_leads_to_a_disconnect_request_and_each_answer_to_its_outcome(kafka: Kafka, prefix: str, tmp_path: Path):
    """5.1, 5.3, 5.4, 5.7: ACK and Stop, NAK 503, NAK 404, silence, and an ACK without a Stop."""
    async with SmallNas("lab", SECRET.encode(), DAE_SECRET.encode(), lambda attributes: ANSWERS[str(attributes["user_name"])]) as port:
        product = Product(tmp_path, kafka.bootstrap, prefix, [Nas("lab", SECRET, port.dae_port, DAE_SECRET)])
        async with running(product, POLICY):
            for user in OUTCOMES:
                await radclient(product, "Start", user, f"{user}-1")
                await radclient(product, "Start", user, f"{user}-2")
            await eventually(lambda: product.results(final=False), lambda results: {r["identity"] for r in results} == {"ann", "eve"})
            await radclient(product, "Stop", "ann", "ann-1")

            results = await product.wait_for_results(len(OUTCOMES), within_s=CONFIRM_WITHIN_S + 60)
            assert {result["identity"]: result["outcome"] for result in results} == OUTCOMES
            assert {result["acct_session_id"] for result in results} == {f"{user}-1" for user in OUTCOMES}
            by_user = {result["identity"]: result for result in results}
            assert (by_user["bob"]["error_cause"], by_user["bob"]["error_cause_name"]) == (503, "Session-Context-Not-Found")
            assert (by_user["cem"]["error_cause"], by_user["cem"]["error_cause_name"]) == (404, "Invalid-Request")
            assert len(by_user["dot"]["attempts"][0]["sent_ms"]) > 1

            states = {
                "ann": ("ended", "nas-stop"),
                "bob": ("ended", "kicked"),
                "cem": ("open", None),
                "dot": ("open", None),
                "eve": ("open", None),
            }
            wanted = {f"{user}-1": state for user, state in states.items()} | {f"{user}-2": ("open", None) for user in OUTCOMES}
            await eventually(product.states, lambda seen: seen == wanted)
            assert {attributes["acct_session_id"] for _, attributes in port.requests} == {f"{user}-1" for user in OUTCOMES}
            sent = sum(len(attempt["sent_ms"]) for result in results for attempt in result["attempts"])
            assert len(port.requests) == sent
            assert len(await product.commands()) == len(OUTCOMES)
            assert len(await product.results()) == len(OUTCOMES) + len({"ann", "eve"})
            assert not await product.records(REJECTED)


async def radclient(product: Product, status: str, user: str, session: str) -> None:
    """Send an Accounting-Request; fails unless it is answered."""
    attributes = {"Acct-Status-Type": status, "User-Name": user, "Acct-Session-Id": session, "NAS-IP-Address": "127.0.0.1"}
    packet = product.directory / "packet"
    packet.write_text(",".join(f'{name} = "{value}"' for name, value in attributes.items()))
    await run("radclient", "-r", "5", "-t", "2", "-f", str(packet), f"127.0.0.1:{product.port}", "acct", SECRET)


async def sessions(product: Product) -> list[dict]:
    """What `curfew sessions --json` prints."""
    return [loads(line) for line in (await product.curfew("sessions", "--json")).splitlines()]
