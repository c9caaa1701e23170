"""What the kicker's process serves beside its kicks: pick-up over HTTP, and the portal's port (behaviour 5.6)."""

import asyncio
import signal

import aiohttp

from agents.settings import load_settings
from agents.topic_admin import ensure_topics
from tests.support.curfew import Curfew
from tests.support.portal_bas import PortalBas
from tests.support.udp_peer import closed_port

WITHIN_S = 60
CONFIGURATION = """
[kafka]
bootstrap_servers = "{bootstrap}"
partitions = 2
topic_prefix = "{prefix}"
[http]
listen = ""
[kicker]
source = "127.0.0.1"
[pickup]
listen = "127.0.0.1:{pickup}"
[portal]
listen = "127.0.0.1:{portal}"
[[nas]]
name = "hut"
addresses = ["127.0.0.2"]
secret = "s"
disconnect = {{ via = "poll", node = "hut", secret = "{token}" }}
[[nas]]
name = "bras"
addresses = ["127.0.0.1"]
secret = "s"
disconnect = {{ via = "huawei-portal", address = "127.0.0.1", secret = "portal-key" }}
"""


async def test_the_kicker_serves_both_reads_tokens_again_and_ends_as_told(kafka, prefix, tmp_path):
    """5.6: one process; SIGHUP brings another token, SIGTERM ends it with status 0."""
    config, pickup, portal = tmp_path / "curfew.toml", closed_port(), closed_port()

    def write(token):
        places = {"bootstrap": kafka.bootstrap, "prefix": prefix, "pickup": pickup, "portal": portal}
        config.write_text(CONFIGURATION.format(**places, token=token))

    write("first")
    await ensure_topics(load_settings(config, {}))
    kicker = await Curfew(config).start("kicker")
    transport, bas = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: PortalBas(b"portal-key", set()), local_addr=("127.0.0.1", 0)
    )
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(WITHIN_S):

            async def until_let_in(token):
                while True:
                    try:
                        async with session.get(
                            f"http://127.0.0.1:{pickup}/v1/pickup/hut", headers={"Authorization": f"Bearer {token}"}
                        ) as response:
                            if response.status == 200:
                                return await response.json()
                    except aiohttp.ClientError:
                        assert kicker.returncode is None
                    await asyncio.sleep(0.05)

            assert await until_let_in("first") == {"items": []}
            write("second")
            kicker.send_signal(signal.SIGHUP)
            assert await until_let_in("second") == {"items": []}
            while not bas.acknowledged:
                bas.notify("192.0.2.7", 5, ("127.0.0.1", portal))
                await asyncio.sleep(0.1)
        kicker.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            _, talk = await kicker.communicate()
        assert kicker.returncode == 0, talk
        assert b"Traceback" not in talk
    finally:
        transport.close()
        if kicker.returncode is None:
            kicker.kill()
            await kicker.wait()
