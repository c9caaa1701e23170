"""A RADIUSdesk node or access point with CoovaChilli, written from what its firmware does; it shares no code with the driver.

It hears its own topic, leaves alone what bears another MAC address, says `fetched`, runs the command in a shell of pretence, and says
`replied` with what that printed. It misbehaves as a test tells it to.
"""

import asyncio
import contextlib
import json
import shlex
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiomqtt

from tests.support.mosquitto import USERS

RESPONSE = "/RD/NODE/COMMAND/RESPONSE"


@dataclass
class MeshNode:
    """The node.

    Attributes:
        mac: its own, in capitals with hyphens. stations: who is logged in: MAC to line of the list.
        mood: `honest`; `silent`; `fetches` and says no more; `broken`: its chilli does not run; `garbage`; `other`: it answers for another
            command; `twice`: it says everything twice.
        commands: what it was told to run.
    """

    mac: str
    stations: dict[str, str] = field(default_factory=dict)
    mood: str = "honest"
    commands: list[str] = field(default_factory=list)

    def shell(self, line: str) -> str:
        """What a shell would print for the one line that it is ever given."""
        command, _, rest = line.partition(";")
        words = shlex.split(command.removesuffix(" 2>&1"))
        assert words[0] == "chilli_query", line
        assert rest.strip() == 'echo "exit status $?"', line
        if self.mood == "broken":
            return "connect: No such file or directory\nexit status 1\n"
        if words[1:] == ["list"]:
            return "".join(f"{one}\n" for one in self.stations.values()) + "exit status 0\n"
        assert words[1:3] == ["logout", "mac"], line
        self.stations.pop(words[3], None)
        return "exit status 0\n"

    def replies(self, payload: bytes) -> list[dict]:
        """What it says to a message."""
        told = json.loads(payload)
        if told["mac"].upper() != self.mac or self.mood == "silent":
            return []
        assert told["action"] == "execute_and_reply"
        self.commands.append(told["cmd"])
        same = {key: told.get(key) for key in ("mode", "node_id", "mesh_id", "ap_id", "mac", "cmd_id") if key in told}
        if self.mood == "other":
            same["cmd_id"] += 1
        said = [{**same, "status": "fetched"}]
        if self.mood != "fetches":
            said.append({**same, "status": "replied", "reply": self.shell(told["cmd"])})
        return said * (2 if self.mood == "twice" else 1)


@contextlib.asynccontextmanager
async def connected(node: MeshNode, port: int, topic: str) -> AsyncIterator[MeshNode]:
    """The node at its broker, as long as the block runs."""
    subscribed = asyncio.Event()

    async def live() -> None:
        async with aiomqtt.Client("127.0.0.1", port, username="node", password=USERS["node"]) as client:
            await client.subscribe(topic, qos=1)
            subscribed.set()
            async for message in client.messages:
                if node.mood == "garbage":
                    for junk in (b"", b"{", b"\xff" * 500, b'{"mac": 5}'):
                        await client.publish(RESPONSE, junk, qos=1)
                    continue
                for reply in node.replies(message.payload):
                    await client.publish(RESPONSE, json.dumps(reply).encode(), qos=1)

    living = asyncio.create_task(live())
    try:
        async with asyncio.timeout(30):
            await subscribed.wait()
        yield node
    finally:
        while not living.done():  # aiomqtt waits by `wait_for`, which before Python 3.12 can swallow a cancellation
            living.cancel()
            await asyncio.wait({living}, timeout=1)
        assert living.cancelled(), living.exception()
