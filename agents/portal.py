"""What NASes of Huawei's Portal protocol tell: NTF_LOGOUT in, the session ends in the journal, ACK_NTF_LOGOUT out (behaviour 5.6).

What lives here: the socket, the table that is followed, the writing. What may not: packets and authenticators (`streams.huawei_portal`),
what was told already and whose session it is (`streams.portal_logouts`), and what becomes of the order (the session agent).

Theory of operation: `session.table` is followed for the sessions of these NASes alone, by address. A notification of a known user is an
order in the journal; it is answered when that is durable. One of an unknown user is answered at once, as the protocol wants it; the NAS's
Stop will say what there is to say. Nothing in a packet says when it was made, so the same octets are acted on once, and answered always.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NamedTuple

from aiokafka.errors import KafkaError

from agents import metrics
from agents.journal_orders import Order, write_orders
from agents.tasks import end
from agents.topic_admin import KafkaUnreachableError
from agents.topic_reader import reading
from agents.udp import SampledLog
from schemas.configuration import Configuration, endpoint
from schemas.errors import CurfewError
from schemas.journal import OperatorCommand
from schemas.topics import TABLE
from streams.huawei_portal import ACK_NTF_LOGOUT, NTF_LOGOUT, Packet, Refused, build_response, read_request
from streams.portal_logouts import PortalNas, PortalSessions, Repeats, order_for, order_id, portal_nases

WAITING_MAX = 1_000
"""Notifications that wait to be written; what comes beyond is not answered, and the NAS tells it again."""
BATCH_MAX = 200
RETRY_S = 1.0

log = logging.getLogger(__name__)


class CannotListenError(CurfewError):
    """The address for NTF_LOGOUT cannot be had."""


class _Waiting(NamedTuple):
    """An order that is not durable yet, and what its sender is answered then."""

    order: OperatorCommand
    answer: bytes
    sender: tuple[str, int]


class Portal(asyncio.DatagramProtocol):
    """One listener.

    Attributes:
        address: where it listens, with the port that the system chose for 0.
    """

    def __init__(self, configuration: Configuration) -> None:
        """Listens when `serve` runs."""
        self.address: tuple[str, int] = ("", 0)
        self._configuration = configuration
        self._nases = portal_nases(configuration.nas)
        self._sessions = self._of_these()
        self._is_changed = False
        self._repeats = Repeats()
        self._waiting: asyncio.Queue[_Waiting] = asyncio.Queue(WAITING_MAX)
        self._transport: asyncio.DatagramTransport | None = None
        self._refusals = SampledLog()

    async def serve(self, stop: asyncio.Event) -> None:
        """Listen until `stop` is set; without `portal.listen` only wait.

        Raises:
            CannotListenError: the address cannot be had.
            CurfewError: there is no session.table.
        """
        if not self._configuration.portal.listen:
            await stop.wait()
            return
        place = endpoint(self._configuration.portal.listen)
        try:
            transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(place.address, place.port))
        except OSError as error:
            remedy = "Give [portal] listen an address of this machine and a port that is free."
            raise CannotListenError(f"NTF_LOGOUT cannot be received at {self._configuration.portal.listen}: {error}. {remedy}") from error
        tasks = [asyncio.create_task(work) for work in (self._follow(), self._write(), _set(stop))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            transport.close()
            await end(*tasks)

    def change(self, configuration: Configuration) -> None:
        """Take over the NASes of another configuration; where it listens stays."""
        self._nases = portal_nases(configuration.nas)
        self._is_changed = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no DatagramTransport by name
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A packet; whatever is in it, nothing is raised."""
        nases = self._nases.get(addr[0], ())
        if not nases:
            self._refuse("unknown-source", data, addr)
            return
        read = Refused.AUTHENTICATOR
        for nas in nases:  # several behind one address are told apart by their secret
            packet = read_request(data, NTF_LOGOUT, nas.secret)
            if isinstance(packet, Packet):
                self._take(nas, packet, data, addr)
                return
            read = packet
        self._refuse(read, data, addr)

    def _take(self, nas: PortalNas, packet: Packet, data: bytes, addr: tuple[str, int]) -> None:
        answer = build_response(Packet(ACK_NTF_LOGOUT, packet.serial, packet.user_ip, request_id=packet.request_id), data, nas.secret)
        session = self._sessions.at(nas.name, packet)
        if session is None or self._repeats.is_known(order_id(nas.name, data), time.monotonic()):
            metrics.PORTAL.labels("unknown-user" if session is None else "repeat").inc()
            self._answer(answer, addr)
            return
        try:
            self._waiting.put_nowait(_Waiting(order_for(session, nas.name, packet, data, time.time_ns() // 1_000_000), answer, addr))
        except asyncio.QueueFull:
            metrics.PORTAL.labels("full").inc()

    async def _write(self) -> None:
        """Write what waits, then answer it."""
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH_MAX and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            try:
                await write_orders(self._configuration, (Order("operator", one.order.identity, one.order) for one in batch))
            except (KafkaError, CurfewError) as failed:
                metrics.PORTAL.labels("not-written").inc(len(batch))
                log.warning("%d logouts are not written, and not answered: %s", len(batch), failed)
                continue
            metrics.PORTAL.labels("logout").inc(len(batch))
            for one in batch:
                self._repeats.remember(one.order.id, time.monotonic())
                self._answer(one.answer, one.sender)

    async def _follow(self) -> None:
        """Follow the table for as long as this runs; begin anew when Kafka was away or the NASes are others.

        Until it is read to its end again, what was known is asked.
        """
        while True:
            try:
                async with reading(self._configuration, TABLE) as reader:
                    self._is_changed, sessions = False, self._of_these()
                    async for record in reader.to_end():
                        sessions.apply(record.partition, record.key or b"", record.value)
                    self._sessions = sessions
                    async for coming in reader.as_they_come():
                        if coming is not None:
                            sessions.apply(coming.partition, coming.key or b"", coming.value)
                        if self._is_changed:
                            break
            except (KafkaUnreachableError, KafkaError) as away:
                log.warning("session.table is not followed: %s", away)
                await asyncio.sleep(RETRY_S)

    def _of_these(self) -> PortalSessions:
        """None is known yet of the NASes that there are."""
        return PortalSessions(nas.name for nases in self._nases.values() for nas in nases)

    def _answer(self, octets: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(octets, addr)

    def _refuse(self, reason: str, data: bytes, addr: tuple[str, int]) -> None:
        metrics.PORTAL.labels(str(reason)).inc()
        self._refusals.refused(addr[0], str(reason), data, time.monotonic())


async def _set(stop: asyncio.Event) -> None:
    await stop.wait()
