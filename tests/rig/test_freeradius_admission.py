"""A real FreeRADIUS that asks the product before it lets anybody in, by the configuration in deploy/freeradius (behaviour 4.8)."""

import asyncio
import contextlib
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.broker import pick_free_port
from schemas.topics import ACCOUNTING, REJECTED
from tests.rig.rigs import Rig
from tests.support.kafka import Kafka
from tests.support.product import eventually, running
from tests.support.projector import TOKEN, Projector, of, product_with, projecting, small_nas

PHONE, LAPTOP, TABLET = "02-00-00-00-00-01", "02-00-00-00-00-02", "02-00-00-00-00-03"
POLICY = '[[limit]]\nname = "two-devices"\napplies_to = "user"\nmax_sessions = 2\n'
SECRET = "loginsecret"
ANSWER_WITHIN_S = 60
ACCEPT, REJECT = "Access-Accept", "Access-Reject"

pytestmark = pytest.mark.skipif(
    not Path("/usr/lib/freeradius/rlm_rest.so").exists(), reason="FreeRADIUS has no rlm_rest (freeradius-rest, deploy/apt-packages.txt)"
)


class LoginServer(Rig):
    """FreeRADIUS with rlm_rest."""

    def __init__(self, directory: Path, projector: Projector, when_silent: str) -> None:
        self.port = pick_free_port()
        super().__init__(directory, AUTH_PORT=self.port, HTTP_PORT=projector.port, TOKEN=TOKEN, SECRET=SECRET, WHEN_SILENT=when_silent)
        self._silences = directory / "raddb" / "curfew.log"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["LoginServer"]:
        """It, ready; torn down at the end."""
        try:
            await self.script("freeradius_admission_start.sh")
            yield self
        finally:
            await self.stop()

    async def login(self, user: str, mac: str, password: str = "password") -> tuple[str, str | None]:
        """Log in, as a NAS asks for somebody: Access-Accept or -Reject, and the Reply-Message."""
        quoted = user.replace("\\", "\\\\").replace('"', '\\"')
        packet = f'User-Name = "{quoted}"\nUser-Password = "{password}"\nCalling-Station-Id = "{mac}"\n'
        radclient = await asyncio.create_subprocess_exec(
            *("radclient", "-x", "-r", "1", "-t", str(ANSWER_WITHIN_S), f"127.0.0.1:{self.port}", "auth", SECRET),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await radclient.communicate(packet.encode()))[0].decode()
        answer = said[said.rindex("Received ") :] if "Received " in said else said
        message = re.search(r'Reply-Message = "(.*)"', answer)
        return answer.split()[1], message[1] if message else None

    def silences(self) -> list[str]:
        """What it said of logins that the product had no answer to."""
        return self._silences.read_text().splitlines() if self._silences.exists() else []


async def test_the_third_device_is_refused_before_it_is_online_with_the_reason(kafka: Kafka, prefix: str, tmp_path: Path):
    """4.8, 4.9: N are let in, the N+1st is not, and reads why; a slot that is free again is given; names are passed on as they are.

    3.6: so is the Session-Timeout of who has to go then.
    """
    async with small_nas() as nas:
        product = product_with(tmp_path, kafka.bootstrap, prefix, nas)
        projector = Projector(product)
        server = LoginServer(tmp_path / "rig", projector, "closed")
        async with running(product, POLICY), projecting(projector), server.running():
            assert await server.login("ann", PHONE) == (ACCEPT, None)
            nas.account("Start", of("ann", "a1", PHONE))
            assert await server.login("ann", LAPTOP) == (ACCEPT, None)
            # The laptop has not started yet: its reservation keeps the slot
            _, reason = refused = await server.login("ANN", TABLET)
            assert refused[0] == REJECT
            assert reason.startswith("user limit two-devices: 2 open of 2 allowed; ")
            nas.account("Start", of("ann", "a2", LAPTOP))
            await eventually(lambda: server.login("Ann", TABLET), lambda said: said[1] == "user limit two-devices: 2 open of 2 allowed")
            assert await server.login("ann", PHONE) == (ACCEPT, None)  # it is on already: a re-authentication

            nas.account("Stop", of("ann", "a1", PHONE))
            await eventually(lambda: server.login("ann", TABLET), lambda said: said == (ACCEPT, None))
            for odd in ('o"neill', "corp\\odd", "ünïcödé"):
                assert await server.login(odd, PHONE) == (ACCEPT, None)
                status, known = await projector.get(f"/v1/sessions?user={odd.replace(chr(92), '%5C')}")
                assert (status, known["sessions"]) == (200, [])
            assert await server.login("dot1x", PHONE) == await server.login("guest", PHONE) == (ACCEPT, None)
            promises = [
                (stored.key, stored.value["session_timeout_s"]) for stored in await product.records(ACCOUNTING) if stored.kind == "promise"
            ]
            assert promises == [("guest", 3600)]
            assert (await server.login("bob", PHONE, password="wrong"))[0] == REJECT
            assert server.silences() == []
            assert await product.commands() == []
            assert not await product.records(REJECTED)


async def test_where_the_product_does_not_answer_it_is_open_or_closed_and_the_log_says_so(kafka: Kafka, prefix: str, tmp_path: Path):
    """4.8: frozen or gone; and when it is back it decides again."""
    refused = (REJECT, "user limit two-devices: 0 open of 0 allowed")
    async with small_nas() as nas:
        product = product_with(tmp_path, kafka.bootstrap, prefix, nas)
        projector = Projector(product)
        let_in, shut = (LoginServer(tmp_path / when, projector, when) for when in ("open", "closed"))
        async with running(product, POLICY.replace("= 2", "= 0")), projecting(projector), let_in.running(), shut.running():
            assert await let_in.login("ann", PHONE) == await shut.login("ann", PHONE) == refused
            projector.send(signal.SIGSTOP)
            assert await let_in.login("ann", PHONE) == (ACCEPT, None)
            assert await shut.login("ann", PHONE) == (REJECT, "logins cannot be checked at the moment")
            projector.send(signal.SIGCONT)
            projector.kill()
            assert (await let_in.login("bob", PHONE))[0] == ACCEPT
            assert (await shut.login("bob", PHONE))[0] == REJECT
            for server, said in ((let_in, "let in"), (shut, "refused")):
                assert [line.split(": ")[-1] for line in server.silences()] == [f"{user} at ap is {said}" for user in ("ann", "bob")]
            await projector.start()
            for server in (let_in, shut):
                await eventually(lambda server=server: server.login("ann", PHONE), lambda seen: seen == refused)
