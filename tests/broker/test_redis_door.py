"""Redis with a password and with TLS: the projector shows the one, and wants the other's proof (docs/security.md)."""

import shutil
import subprocess
import time

import pytest
import redis

from agents.admission import Admission
from agents.broker import pick_free_port
from agents.projector import _Projector
from schemas.configuration import Configuration, Redis
from tests.support.certificates import authority, vouched_for

PASSWORD = "Mark-redis-77d0"
ANSWER_WITHIN_S = 60


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Redis with a password, on a plain port and one with TLS: (plain port, TLS port, who vouches for it, a stranger)."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed (deploy/apt-packages.txt)")
    directory, plain, tls = tmp_path_factory.mktemp("redis"), pick_free_port(), pick_free_port()
    own, stranger = authority(directory, "authority"), authority(directory, "stranger")
    shown = vouched_for(own, "redis", "IP:127.0.0.1")
    files = ("--tls-cert-file", shown.certificate, "--tls-key-file", shown.key, "--tls-ca-cert-file", own.certificate)
    more = ("--tls-auth-clients", "no", "--requirepass", PASSWORD, "--save", "", "--appendonly", "no", "--dir", directory)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["redis-server", "--bind", "127.0.0.1", "--port", str(plain), "--tls-port", str(tls), *map(str, (*files, *more))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while "Ready to accept connections" not in (directory / "log").read_text():
            assert time.monotonic() < deadline, (directory / "log").read_text()
            assert process.poll() is None, (directory / "log").read_text()
            time.sleep(0.05)
        yield plain, tls, own.certificate, stranger.certificate
    finally:
        process.kill()
        process.wait(20)


async def asked(**settings):
    """What a Redis with these settings says to a PING, as the projector connects to it; or why there is no answer."""
    configuration = Configuration(redis=Redis(timeout_s=60, **settings))
    try:
        async with _Projector(configuration, Admission(configuration))._connected() as client:
            return await client.ping()
    except redis.RedisError as refused:
        return f"{refused!r} {refused} {refused.__cause__!r}"


async def test_a_redis_that_wants_a_password_gets_it_and_a_wrong_one_is_refused_without_being_shown(server):
    """7.4: in `password`, which may come from a file, or in the URL."""
    plain, *_ = server
    url = f"redis://127.0.0.1:{plain}/0"
    assert await asked(url=url, password=PASSWORD) is True
    assert await asked(url=url.replace("//", f"//:{PASSWORD}@")) is True
    wrong = f"{PASSWORD}-wrong"
    for said in (await asked(url=url, password=wrong), await asked(url=url.replace("//", f"//:{wrong}@")), await asked(url=url)):
        assert any(part in said for part in ("Authentication required", "invalid username-password pair", "HELLO must be called"))
        assert PASSWORD not in said


async def test_a_redis_by_tls_has_to_prove_itself(server):
    """7.4: by an authority that is trusted, for the name that it is called by; else it gets no password."""
    _, tls, own, stranger = server
    url = f"rediss://127.0.0.1:{tls}/0"
    assert await asked(url=f"{url}?ssl_ca_certs={own}", password=PASSWORD) is True
    for case, reason in (
        (f"{url}?ssl_ca_certs={stranger}", "certificate verify failed"),
        (url, "certificate verify failed"),
        (f"{url}?ssl_ca_certs={own}".replace("127.0.0.1", "localhost"), "Hostname mismatch"),
    ):
        said = await asked(url=case, password=PASSWORD)
        assert reason in str(said)
        assert PASSWORD not in said
