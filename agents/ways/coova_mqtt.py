"""CoovaChilli by MQTT, as RADIUSdesk reaches its nodes and access points (behaviour 5.6).

What lives here: asking a node and waiting for what it says. What may not: topics, commands and replies (`streams.mesh_messages`), and the
connection to the broker (`agents.ways.mqtt_line`).

A node that has the command has made a promise: it runs it in its shell. What the command came to follows as a reply; where that does not
come in time, the promise stands, and the Stop is the proof as always.
"""

from __future__ import annotations

import asyncio
import secrets
import time

from agents.ways.mqtt_line import Broker, BrokerError, Lines
from schemas.configuration import Configuration, Disconnect, Nas
from schemas.disconnect import DisconnectCommand
from schemas.ways import DeviceSession, Finding, NoListError, WayAnswer
from streams.mesh_messages import (
    COMMAND_IDS,
    LIST_COMMAND,
    RESPONSE_TOPIC,
    NodeReply,
    listed,
    logout_command,
    message,
    read_reply,
    topic_of,
)

WAY = "coova-mqtt"
TIMEOUT_S = 8.0


class CoovaMqtt:
    """The way `coova-mqtt`."""

    def __init__(self, configuration: Configuration, *, timeout_s: float = TIMEOUT_S) -> None:
        """Opens nothing.

        Args:
            configuration: not needed: all that is said of a node stands in its `[[nas]]`.
            timeout_s: of one disconnect, test or list, the connection included.
        """
        del configuration
        self._timeout_s = timeout_s
        self._lines = Lines(RESPONSE_TOPIC)

    async def disconnect(self, nas: Nas, command: DisconnectCommand) -> WayAnswer:
        """Have the node log the session's device out."""
        way = nas.disconnect
        if way is None or way.node is None or way.node_mac is None:
            return WayAnswer("unsupported", "the NAS has no `node` or no `node_mac` in `disconnect`")
        line = logout_command(command.session)
        if line is None:
            return WayAnswer(
                "unsupported", "the session's Calling-Station-Id is no MAC address, and chilli_query knows devices by nothing else"
            )
        began_s = time.monotonic()
        try:
            reply = await self._run(way, line)
        except BrokerError as failed:
            return WayAnswer("unanswered", str(failed))
        took_ms = (time.monotonic() - began_s) * 1000
        if reply is None:
            return WayAnswer("unanswered", self._unanswered(way))
        if reply.exit_status:
            return WayAnswer("refused", f"chilli_query ended with exit status {reply.exit_status}: {reply.shown or 'no word'}", took_ms)
        return WayAnswer("accepted", _said(way, reply), took_ms)

    async def test(self, nas: Nas) -> list[Finding]:
        """Have the node list its sessions."""
        way = nas.disconnect
        if way is None or way.node is None or way.node_mac is None:
            return [Finding(WAY, ok=False, sentence="`disconnect` has no `node` or no `node_mac`: nobody can be asked. Add them.")]
        began_s = time.monotonic()
        try:
            broker = Broker.of(way)
            reply = await self._run(way, LIST_COMMAND)
        except BrokerError as failed:
            return [Finding(WAY, ok=False, sentence=f"{failed}.")]
        took_ms = (time.monotonic() - began_s) * 1000
        secured = "by TLS" if way.tls else "without TLS"
        findings = [Finding(WAY, ok=True, sentence=f"{broker} takes {way.user!r} in {secured}, and the command.")]
        if reply is None:
            return [*findings, Finding(WAY, ok=False, sentence=f"{self._unanswered(way)}.")]
        if reply.status == "fetched":
            return [*findings, Finding(WAY, ok=False, sentence=f"{_said(way, reply)}.")]
        if reply.exit_status:
            sentence = f"Node {way.node} answered, and chilli_query ended there with exit status {reply.exit_status}: {reply.shown}"
            return [*findings, Finding(WAY, ok=False, sentence=sentence)]
        count = sum(1 for _ in listed(reply.text))
        sentence = f"Node {way.node} answered within {took_ms:.0f} ms: {count} logged in; {reply.shown or 'an empty list'}"
        return [*findings, Finding(WAY, ok=True, sentence=sentence)]

    async def sessions(self, nas: Nas) -> list[DeviceSession]:
        """Who is logged in at the node, by `chilli_query list`.

        Raises:
            NoListError: it cannot be asked; the text says why.
        """
        way = nas.disconnect
        if way is None or way.node is None or way.node_mac is None:
            raise NoListError("the NAS has no `node` or no `node_mac` in `disconnect`")
        try:
            reply = await self._run(way, LIST_COMMAND)
        except BrokerError as failed:
            raise NoListError(str(failed)) from failed
        if reply is None or reply.status == "fetched":
            raise NoListError(self._unanswered(way) if reply is None else _said(way, reply))
        if reply.exit_status:
            raise NoListError(f"chilli_query ended with exit status {reply.exit_status}: {reply.shown}")
        return list(listed(reply.text))

    async def close(self) -> None:
        """End the connections."""
        await self._lines.close()

    async def _run(self, way: Disconnect, command: str) -> NodeReply | None:
        """Have a node run a command; its last word, or None if it said nothing in time.

        Raises:
            BrokerError: the broker cannot be had.
        """
        command_id = COMMAND_IDS[secrets.randbelow(len(COMMAND_IDS))]

        def read(payload: bytes) -> NodeReply | None:
            reply = read_reply(payload, way)
            return reply if reply is not None and reply.command_id == command_id else None

        last: NodeReply | None = None
        try:
            async with asyncio.timeout(self._timeout_s), self._lines.to(Broker.of(way)) as line:
                with line.listening(read) as heard:
                    await line.publish(topic_of(way), message(way, command_id, command))
                    while last is None or last.status != "replied":
                        word = await heard.get()
                        if isinstance(word, BrokerError):
                            raise word
                        last = word
        except TimeoutError:
            return last
        return last

    def _unanswered(self, way: Disconnect) -> str:
        who = f"node {way.node} with the MAC address {way.node_mac}"
        return f"{who} said nothing within {self._timeout_s:g} s: it is not connected to the broker, or has another number or address"


def _said(way: Disconnect, reply: NodeReply) -> str:
    if reply.status == "fetched":
        return f"node {way.node} has fetched the command, and has not said what became of it"
    return f"node {way.node} ran chilli_query: {reply.shown or 'no word'}"
