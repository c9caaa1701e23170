"""The question before a login against the running product: packets in, the live view up to the millisecond, kills in between."""

from pathlib import Path

import pytest

from schemas.codec import loads
from schemas.topics import ACCOUNTING, REJECTED
from tests.support.kafka import Kafka
from tests.support.nas import EVENT_TIMESTAMP
from tests.support.product import eventually, running
from tests.support.projector import Projector, of, product_with, projecting, small_nas

PHONE, LAPTOP, TABLET = "02-00-00-00-00-01", "02-00-00-00-00-02", "02-00-00-00-00-03"
POLICY = '[[limit]]\nname = "two-devices"\napplies_to = "user"\nmax_sessions = 2\n'

pytestmark = pytest.mark.slow


async def test_who_is_online_counts_before_the_next_login_and_a_killed_projector_knows_it_again(kafka: Kafka, prefix: str, tmp_path: Path):
    """4.8, 7.2, 7.4: a reservation becomes a session, the third device is refused, also after kill -9, and let in when one has gone."""
    async with small_nas() as nas:
        product = product_with(tmp_path, kafka.bootstrap, prefix, nas)
        projector = Projector(product)
        async with running(product, POLICY), projecting(projector):
            assert (await projector.ask("Ann", PHONE))["reservation"]
            assert (await projector.ask("ann", LAPTOP))["reason"] == "two-devices: 1 open of 2 allowed"
            assert not (await projector.ask("ann", TABLET))["allowed"]

            nas.account("Start", of("ANN", "a1", PHONE))
            nas.account("Start", of("ann", "a2", LAPTOP))
            _, ann = await eventually(lambda: projector.get("/v1/users/ann"), lambda said: said[0] == 200 and len(said[1]["sessions"]) == 2)
            assert ann["reservations"] == []
            refused = await projector.ask("ann", TABLET)
            assert (refused["allowed"], refused["rule"]) == (False, "two-devices")
            assert refused["reason"] == "user limit two-devices: 2 open of 2 allowed"
            again = await projector.ask("ann", PHONE)
            assert (again["allowed"], again["reservation"], again["reason"]) == (True, None, "this session is open already, as ap/a1")

            projector.kill()
            nas.account("Stop", of("ann", "a2", LAPTOP))
            nas.account("Start", of("ann", "a3", TABLET))
            await product.wait_for_events(3, "session.started")
            await projector.start()
            assert not (await projector.ask("ann", LAPTOP))["allowed"]
            nas.account("Stop", of("ann", "a1", PHONE))
            await eventually(lambda: projector.ask("ann", LAPTOP), lambda answer: answer["allowed"])

            status, page = await projector.get("/v1/sessions?nas=ap")
            assert (status, [row["acct_session_id"] for row in page["sessions"]]) == (200, ["a3"])
            await eventually(lambda: projector.metric("curfew_view_behind_records"), lambda behind: behind < 20)
            await eventually(lambda: projector.metric("curfew_view_sessions_open"), lambda count: count == 1)
            assert await product.commands() == []
            assert not await product.records(REJECTED)
            assert await projector.stop() == 0


async def test_a_login_that_tells_its_session_timeout_is_disconnected_when_that_is_over(kafka: Kafka, prefix: str, tmp_path: Path):
    """3.6: the NAS's records tell none, and the NAS forgets; what was promised is in the journal when the login is answered."""
    async with small_nas() as nas:
        product = product_with(tmp_path, kafka.bootstrap, prefix, nas)
        projector = Projector(product)
        async with running(product), projecting(projector):
            asked = lambda: projector.try_to_ask("Ann", PHONE, session_timeout_s=2)  # noqa: E731 - the first has to wait for a connection
            _, answer = await eventually(asked, lambda said: said[0] == 200)
            promise = [stored for stored in await product.records(ACCOUNTING) if stored.kind == "promise"][-1]
            assert (promise.key, promise.value["id"], promise.value["session_timeout_s"]) == ("ann", answer["reservation"], 2)
            assert (await projector.ask("eve", LAPTOP))["reservation"]
            nas.account("Start", of("ann", "a1", PHONE))
            nas.account("Start", of("eve", "e1", LAPTOP))
            (command,) = await eventually(product.commands, bool)
            assert (command["identity"], command["reason"]) == ("ann", "session-timeout")
            assert command["text"] == "its Session-Timeout of 2 s is over"
            rows = await eventually(product.rows, lambda rows: len(rows) == 2)
            assert "session_timeout_s" not in rows["s:ap/e1"]
            assert not await product.records(REJECTED)


async def test_while_kafka_is_away_the_login_that_tells_a_session_timeout_is_not_answered(own_kafka: Kafka, prefix: str, tmp_path: Path):
    """3.6, 4.8: others are, from what is known; and all are when it is back."""
    async with small_nas() as nas:
        product = product_with(tmp_path, own_kafka.bootstrap, prefix, nas)
        projector = Projector(product)
        async with running(product, POLICY.replace("= 2", "= 1")), projecting(projector):
            asked = lambda: projector.try_to_ask("ann", PHONE, session_timeout_s=60)  # noqa: E731 - asked again and again
            await eventually(asked, lambda said: said[0] == 200)
            await own_kafka.pause()
            assert await asked() == (503, {"error": "Kafka does not take the session_timeout_s", "field": "session_timeout_s"})
            assert (await projector.ask("ann", LAPTOP))["reservation"]
            await own_kafka.resume()
            eve = lambda: projector.try_to_ask("eve", TABLET, session_timeout_s=60)  # noqa: E731 - likewise
            await eventually(eve, lambda said: said[0] == 200, within_s=120)
            assert await product.commands() == []
            assert not await product.records(REJECTED)


async def test_while_the_worker_stands_still_questions_are_answered_from_what_is_known(kafka: Kafka, prefix: str, tmp_path: Path):
    """4.8: and a policy that is published counts from when it is in force."""
    async with small_nas() as nas:
        product = product_with(tmp_path, kafka.bootstrap, prefix, nas)
        projector = Projector(product)
        async with running(product), projecting(projector):
            nas.account("Start", of("ann", "a1", PHONE))
            await eventually(lambda: projector.get("/v1/users/ann"), lambda said: said[0] == 200)
            assert (await projector.ask("ann", LAPTOP))["reason"] == "no limit applies"
            await product.publish(POLICY.replace("= 2", "= 1"))
            await eventually(lambda: projector.ask("ann", TABLET), lambda answer: not answer["allowed"])
            product.worker.kill()
            assert (await projector.ask("ann", TABLET))["policy_version"] == 1
            assert (await projector.ask("ann", PHONE))["allowed"]
            assert not await product.records(REJECTED)


async def test_a_nas_whose_clock_is_beyond_belief_is_reported(kafka: Kafka, prefix: str, tmp_path: Path):
    """2.11: in a sentence of `curfew nas list`, and in a metric; until its Event-Timestamps can be believed again."""
    async with small_nas() as nas:
        product = product_with(tmp_path, kafka.bootstrap, prefix, nas)
        projector = Projector(product)
        async with running(product), projecting(projector):
            metric = lambda: projector.metric('curfew_nas_habits{habit="clock-disbelieved"}')  # noqa: E731 - asked again and again
            nas.has_clock = False
            nas.account("Start", [*of("ann", "a1", PHONE), (EVENT_TIMESTAMP, (1).to_bytes(4))])
            await eventually(metric, lambda count: count == 1)
            (listed,) = (loads(line) for line in (await product.curfew("nas", "list", "--json")).splitlines())
            assert listed["habits"] == {"clock-disbelieved": "its Event-Timestamps are beyond belief: the arrival counts instead"}
            nas.has_clock = True
            nas.account("Interim-Update", of("ann", "a1", PHONE))
            await eventually(metric, lambda count: count == 0)
            assert not await product.records(REJECTED)
