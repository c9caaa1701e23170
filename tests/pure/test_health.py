"""What a part says of its health over HTTP (INTERFACES "HTTP")."""

import multiprocessing
from pathlib import Path

import aiohttp
import pytest

from agents import metrics
from agents.health import AddressTakenError, Health, ask_ready, metrics_text, serve_health
from schemas.configuration import Configuration, Http

ANY_PORT = Configuration(http=Http("127.0.0.1:0"))


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for variable in ("CURFEW_STATUS_SOCKET", "PROMETHEUS_MULTIPROC_DIR"):
        monkeypatch.delenv(variable, raising=False)


async def _get(url):
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text(), response.content_type


async def test_a_part_is_alive_and_not_ready_until_it_says_so():
    health = Health("ingest")
    async with serve_health(ANY_PORT, health) as where:
        assert (await _get(f"{where}/healthz"))[0] == 200
        assert await _get(f"{where}/readyz") == (503, '{"ready":false,"part":"ingest","reason":"starting"}\n', "application/json")

        health.ready()
        assert await _get(f"{where}/readyz") == (200, '{"ready":true,"part":"ingest"}\n', "application/json")

        health.not_ready("Kafka does not answer")
        assert await _get(f"{where}/readyz") == (
            503,
            '{"ready":false,"part":"ingest","reason":"Kafka does not answer"}\n',
            "application/json",
        )
        assert (await _get(f"{where}/healthz"))[0] == 200
        assert (await _get(f"{where}/v1/sessions"))[0] == 404


async def test_not_ready_without_a_reason_is_still_not_ready():
    health = Health("worker")
    health.ready()
    health.not_ready("")

    assert not health.is_ready
    assert health.reason


async def test_metrics_are_prometheus_text():
    metrics.PACKETS.inc(3)
    async with serve_health(ANY_PORT, Health("ingest")) as where:
        status, text, kind = await _get(f"{where}/metrics")

    assert (status, kind) == (200, "text/plain")
    assert "curfew_packets_total" in text


def _count_in_a_child():
    metrics.PACKETS.inc(2)


def test_metrics_of_several_processes_are_added_up(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    context = multiprocessing.get_context("spawn")
    for _ in range(2):
        child = context.Process(target=_count_in_a_child)
        child.start()
        child.join(30)
        assert child.exitcode == 0

    assert b"curfew_packets_total 4.0" in metrics_text(tmp_path)


async def test_a_taken_address_is_one_sentence_and_a_remedy():
    async with serve_health(ANY_PORT, Health("up")) as where:
        address = where.removeprefix("http://")
        with pytest.raises(AddressTakenError) as refused:
            async with serve_health(Configuration(http=Http(address)), Health("up")):
                pass

    assert str(refused.value).startswith(f"The HTTP address {address} is taken by another program. Give [http] listen another address")
    assert "\n" not in str(refused.value)


async def test_an_empty_address_turns_http_off():
    async with serve_health(Configuration(http=Http("")), Health("up")) as where:
        assert where == ""


async def test_ipv6_is_listened_on_with_brackets():
    async with serve_health(Configuration(http=Http("[::1]:0")), Health("up")) as where:
        assert where.startswith("http://[::1]:")
        assert (await _get(f"{where}/healthz"))[0] == 200


async def test_under_up_a_part_answers_on_its_unix_socket_alone(tmp_path: Path, monkeypatch):
    status_socket = tmp_path / "s"
    monkeypatch.setenv("CURFEW_STATUS_SOCKET", str(status_socket))
    health = Health("worker")
    assert await ask_ready(status_socket) == "does not answer"
    async with serve_health(Configuration(http=Http("")), health) as where:
        assert where == f"unix:{status_socket}"
        assert await ask_ready(status_socket) == "starting"
        health.ready()
        assert await ask_ready(status_socket) == ""
    assert await ask_ready(status_socket) == "does not answer"
