"""The way `poll`: a device that comes by over HTTP (behaviours 5.6, 5.7). No Kafka is needed."""

import asyncio
import contextlib
import time

import aiohttp
import pytest

from agents.broker import pick_free_port
from agents.ways import poll
from agents.ways.poll import CannotServeError, Poll
from schemas.configuration import Configuration, Disconnect, Nas, Pickup
from schemas.disconnect import DisconnectCommand
from schemas.ways import NoListError

TOKEN = "hut-token"
WITHIN_S = 60


def the_nas(**changes):
    way = {"via": "poll", "node": "hut", "secret": TOKEN, "poll_interval_s": 60, **changes}
    return Nas(name="hut", addresses=("192.0.2.1",), secret="s", disconnect=Disconnect(**way))


def command(number=0):
    session = {"acct_session_id": f"s{number}", "calling_station_id": "02-00-5E-10-00-01"}
    return DisconnectCommand(id=f"3-{number}-0-b@b", time_ms=1, expires_ms=2, nas="hut", identity="bob", session=session, reason="limit")


def configuration(listen="127.0.0.1:0", **changes):
    return Configuration(pickup=Pickup(listen=listen), nas=(the_nas(**changes),))


@contextlib.asynccontextmanager
async def serving(settings):
    driver, stop = Poll(settings), asyncio.Event()
    task = asyncio.create_task(driver.serve(stop))
    try:
        async with asyncio.timeout(WITHIN_S):
            while not driver.url:
                assert not task.done(), task.result()
                await asyncio.sleep(0.01)
        yield driver
    finally:
        stop.set()
        await task


class Device:
    """What the device's script does, with no other knowledge than the addresses in the documentation."""

    def __init__(self, session, url, token=TOKEN, node="hut"):
        self.session, self.base, self.headers = session, f"{url}/v1/pickup/{node}", {"Authorization": f"Bearer {token}"}

    async def fetch(self):
        async with self.session.get(self.base, headers=self.headers) as response:
            return response.status, (await response.json()).get("items")

    async def until_told(self):
        async with asyncio.timeout(WITHIN_S):
            while True:
                if items := (await self.fetch())[1]:
                    return items
                await asyncio.sleep(0.02)

    async def report(self, number, body):
        async with self.session.post(f"{self.base}/{number}", headers=self.headers, data=body) as response:
            return response.status


@pytest.fixture
async def browser():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize("answer", ["accepted", "gone", "refused"])
async def test_a_device_comes_by_fetches_and_reports(browser, answer):
    """5.6."""
    async with serving(configuration()) as driver:
        asking = asyncio.create_task(driver.disconnect(the_nas(), command()))
        device = Device(browser, driver.url)
        (item,) = await device.until_told()
        assert (item["mac"], item["acct_session_id"]) == ("02-00-5E-10-00-01", "s0")
        assert await device.report(item["id"], f'{{"answer": "{answer}", "detail": "as told"}}') == 200
        said = await asking
        assert await device.fetch() == (200, [])
    assert (said.answer, said.detail) == (answer, f"the device reports {answer}: as told")


async def test_a_device_that_does_not_come_by_in_time_is_unanswered_and_its_slip_is_gone(browser, monkeypatch):
    """5.6, 5.7: RADIUSdesk's one minute; here one second."""
    monkeypatch.setattr(poll, "GRACE_S", 0.5)
    async with serving(configuration()) as driver:
        device, began_s = Device(browser, driver.url), time.monotonic()
        absent = await driver.disconnect(the_nas(poll_interval_s=1), command())
        fetching = asyncio.create_task(driver.disconnect(the_nas(poll_interval_s=1), command(1)))
        (item,) = await device.until_told()
        silent = await fetching
        late = await device.report(item["id"], '{"answer": "accepted"}')
        assert await device.fetch() == (200, [])
    assert (absent.answer, silent.answer) == ("unanswered", "unanswered")
    assert "did not come by" in absent.detail
    assert "did not report" in silent.detail
    assert late == 404
    assert time.monotonic() - began_s < WITHIN_S


async def test_only_the_node_itself_is_let_in(browser):
    """5.6: a wrong token, another node's, none; and which of them was wrong is not told."""
    async with serving(configuration()) as driver:
        asking = asyncio.create_task(driver.disconnect(the_nas(), command()))
        await Device(browser, driver.url).until_told()
        for device in (Device(browser, driver.url, "wrong"), Device(browser, driver.url, node="other"), Device(browser, driver.url, "ü")):
            assert await device.fetch() == (401, None)
            assert await device.report(command().id, '{"answer": "accepted"}') == 401
        async with browser.get(f"{driver.url}/v1/pickup/hut") as bare:
            assert bare.status == 401
        assert not asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert await Device(browser, driver.url).fetch() == (200, [])


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"{", 400), (b'{"answer": "maybe"}', 400), (b"\xff\xfe", 400), (b"x" * 10_000, 413)]
)
async def test_a_report_that_is_none_changes_nothing(browser, body, status):
    """5.7: garbage, or too long."""
    async with serving(configuration()) as driver:
        asking = asyncio.create_task(driver.disconnect(the_nas(), command()))
        device = Device(browser, driver.url)
        (item,) = await device.until_told()
        assert await device.report(item["id"], body) == status
        assert await device.report("invented", '{"answer": "gone"}') == 404
        assert await device.report(item["id"], '{"answer": "gone"}') == 200
        assert (await asking).answer == "gone"


async def test_another_configuration_brings_another_token(browser):
    """2.6: what SIGHUP brings."""
    async with serving(configuration()) as driver:
        driver.change(configuration(secret="new"))
        assert (await Device(browser, driver.url).fetch())[0] == 401
        assert await Device(browser, driver.url, "new").fetch() == (200, [])


@pytest.mark.parametrize(("settings", "nas"), [(configuration(listen=""), the_nas()), (configuration(), the_nas(secret=None))])
async def test_what_is_not_configured_is_unsupported(settings, nas):
    """5.7."""
    assert (await Poll(settings).disconnect(nas, command())).answer == "unsupported"


async def test_the_connection_test_says_when_the_device_last_came_by(browser):
    """5.6: asked of the kicker that runs, since nobody can call the device; each wrong thing has its own sentence."""
    settings = configuration(f"127.0.0.1:{pick_free_port()}")

    async def found(nas):
        (finding,) = await Poll(settings).test(nas)
        return finding.ok, finding.sentence

    assert "No kicker serves pick-up at" in (await found(the_nas()))[1]
    async with serving(settings) as driver:
        assert "has not come by" in (await found(the_nas()))[1]
        await Device(browser, driver.url).fetch()
        assert await found(the_nas()) == (True, "hut came by 0 s ago with the right token.")
        assert "knows another secret" in (await found(the_nas(secret="other")))[1]
        driver._board.last_visit_s["hut"] -= 1000
        assert "it is away" in (await found(the_nas()))[1]
    assert "has no `node`" in (await found(the_nas(node=None)))[1]
    (without,) = await Poll(configuration(listen="")).test(the_nas())
    assert not without.ok


async def test_it_has_no_list_and_an_address_that_is_taken_is_told():
    """5.6."""
    with pytest.raises(NoListError):
        await Poll(configuration()).sessions(the_nas())
    async with serving(configuration()) as driver:
        taken = driver.url.removeprefix("http://")
        with pytest.raises(CannotServeError, match="Address already in use"):
            await Poll(configuration(taken)).serve(asyncio.Event())
        await driver.close()
