"""The ingest: RADIUS accounting in over UDP and TLS, the journal in Kafka out, answers once that is durable.

What lives here: the wiring of one process, and what happens to each packet in order. What may not: any decision about a packet (that is
`streams.ingest_step`), Kafka itself (`agents.journal_writer`), sockets (`agents.udp`) and connections (`agents.radsec`).

Theory of operation. A wake-up takes what a socket holds; each packet is judged, looked up among the duplicates, filed, and appended to
its partition's lane: no task and no future for a packet. When a batch is acknowledged its packets are answered. Everything that waits for
Kafka is in one ordered table (`Duplicates.pending`) with `max_unanswered` entries at most: beyond it the one that has waited longest is
dropped, and is new when its NAS sends it again. A Status-Server waits in the same way, for a tick written on its behalf: it is answered
if and only if Kafka acknowledged something after it came. Several processes share the port and nothing else.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from agents import metrics
from agents.garbage import settle
from agents.health import Health
from agents.journal_writer import ACCOUNTING_KIND, TICK_KIND, Headers, Item, JournalWriter, Lane
from agents.radsec import Radsec
from agents.reloading import Reread, reloading
from agents.tasks import end
from agents.udp import Address, Receiver, SampledLog
from schemas.codec import encode
from schemas.configuration import Configuration, Nas
from schemas.errors import CurfewError
from schemas.topics import ACCOUNTING
from streams.duplicates import Duplicates, Key
from streams.ingest_step import EVERY_PARTITION, UNKNOWN_SOURCE, IngestStep
from streams.radius.respond import STATUS_SERVER, accounting_response
from streams.talking import Talking

log = logging.getLogger(__name__)

ANSWERS_KEPT_MAX: Final = 131_072
FLUSH_WITHIN_S: Final = 5.0

DUPLICATE_PENDING: Final = "duplicate-pending"
KAFKA_AWAY: Final = "kafka-away"
SEND_FAILED: Final = "send-failed"
INTERNAL_ERROR: Final = "internal-error"

REJECTED_HEADERS: Final[Headers] = []


class Origin(Protocol):
    """Where packets come from and answers go to: a UDP socket, or one connection over TLS.

    Attributes:
        number: which one, for a duplicate's key. step: judges what comes; None where it is gone.
    """

    number: int
    step: IngestStep | None

    @property
    def sendto(self) -> Callable[[bytes, Address], object]:
        """Sends an answer; raises OSError where that cannot be done."""
        ...

    def given_up(self) -> None:
        """A request of it will never be answered."""
        ...


Request = tuple[Key, bytes, bytes, list[bytes], Origin, tuple[Lane, ...], list[int] | None]
"""(key, packet, secret, Proxy-States, origin, lanes, copies not acknowledged where there are several): a bare tuple for each packet."""


class Ingest:
    """One process's worth of ingest.

    Attributes:
        id: of this ingest, new at each start.
        addresses: where it listens, with the ports that the system chose. radsec_addresses: where over TLS.
    """

    def __init__(self, configuration: Configuration, health: Health) -> None:
        """Bind the sockets; nothing is read before `start`.

        Raises:
            CurfewError: an address cannot be bound, or a certificate cannot be used.
            ValueError: a NAS without secret.
        """
        ingest = configuration.ingest
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._configuration = configuration
        self._max_unanswered = ingest.max_unanswered
        self._tick_s = ingest.tick_s
        self._duplicates: Duplicates[Request] = Duplicates(round(ingest.duplicate_cache_s * 1000), ANSWERS_KEPT_MAX)
        self._talking = Talking(self.id, round(ingest.tick_s * 1000), round(ingest.talk_window_s * 1000))
        self._log = SampledLog()
        self.writer = JournalWriter(configuration, health, self._acknowledged, self._failed)
        step = self._take_over(configuration)
        self._receivers: list[Receiver] = []
        self._radsec: Radsec | None = None
        try:
            for number, listen in enumerate(ingest.listen):
                self._receivers.append(Receiver(number, listen, ingest.receive_buffer_bytes, step))
            if ingest.radsec:
                self._radsec = Radsec(configuration, len(ingest.listen), self._step_of)
        except CurfewError:
            self.close()
            raise
        self.addresses = [receiver.address for receiver in self._receivers]
        self.radsec_addresses = [] if self._radsec is None else self._radsec.addresses

    def start(self) -> None:
        """Take packets from now on."""
        for receiver in self._receivers:
            receiver.start(self._take)
        if self._radsec is not None:
            self._radsec.start(self._take)

    def stop(self) -> None:
        """Take no more packets; what waits can still be answered."""
        for receiver in self._receivers:
            receiver.stop()
        if self._radsec is not None:
            self._radsec.stop()

    def close(self) -> None:
        """Give the ports back."""
        for receiver in self._receivers:
            receiver.close()
        if self._radsec is not None:
            self._radsec.close()

    def reload(self, configuration: Configuration) -> bool:
        """Take over the NASes of another configuration at once, or keep those in force and say why.

        Returns:
            Whether they were taken over.
        """
        try:
            step = self._take_over(configuration)
            if self._radsec is not None:
                self._radsec.reload(configuration)
        except (CurfewError, ValueError) as wrong:
            log.error("the configuration in force stays: %s", wrong)  # noqa: TRY400 - a person's mistake needs no stack
            return False
        for receiver in self._receivers:
            receiver.step = step
        log.info("configuration read again: %d NASes", len(configuration.nas))
        return True

    def _take_over(self, configuration: Configuration) -> IngestStep:
        """The step for these NASes. Identity rules and partitions stay as they were at start: a change under way would tear sessions."""
        step = self._step_of(tuple(nas for nas in configuration.nas if nas.secret or nas.tls_name is None))
        self._talking.configure({nas.name: nas.interim_interval_s for nas in configuration.nas if nas.interim_interval_s is not None})
        return step

    def _step_of(self, nases: tuple[Nas, ...]) -> IngestStep:
        return IngestStep(nases, self._configuration.identity, self._configuration.kafka.partitions, self.id)

    async def tick(self) -> None:
        """Write a tick into every partition of both journals each `tick_s`, and keep the figures current; until cancelled."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            tick = self._talking.tick(_mono_ms(), _wall_ms())
            item: Item = (None, encode(tick), TICK_KIND, tick.wall_ms, None)
            for lane in self.writer.journal:
                if any(waiting[4] is None for waiting in lane.waiting):
                    self._talking.repeat()  # Kafka is slow or away: one tick waits in each lane, not a row of them
                else:
                    lane.append(item)
            bare: Item = (None, encode(self._talking.bare_tick(tick.mono_ms, tick.wall_ms)), TICK_KIND, tick.wall_ms, None)
            for lane in self.writer.slots:
                if not lane.waiting:
                    lane.append(bare)
            self.writer.look_at_the_clock()
            metrics.UNANSWERED.set(len(self._duplicates.pending))
            metrics.RECEIVE_BUFFER_DROPS.set(sum(receiver.drops for receiver in self._receivers))
            due_s = max(due_s + self._tick_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    def _take(self, receiver: Origin, datagrams: list[tuple[bytes, Address]]) -> Counter[str]:
        """Take what a socket held at one wake-up.

        Returns:
            How many of these get no answer, by reason.
        """
        mono_ms, wall_ms = _mono_ms(), _wall_ms()
        self._duplicates.expire(mono_ms)
        refused: Counter[str] = Counter()
        for datagram, address in datagrams:
            try:
                reason = self._take_packet(receiver, datagram, address, mono_ms, wall_ms)
            except Exception:
                log.exception("a packet from %s was not understood by us: %s", address[0], datagram[:64].hex())
                reason = INTERNAL_ERROR
            if reason is not None:
                refused[reason] += 1
                if reason != DUPLICATE_PENDING:
                    self._log.refused(str(address[0]), reason, datagram, mono_ms / 1000)
        metrics.PACKETS.inc(len(datagrams))
        pending = self._duplicates.pending
        while len(pending) > self._max_unanswered:
            self._drop_oldest()
            metrics.REFUSED.labels(KAFKA_AWAY).inc()
        for reason, count in refused.items():
            metrics.REFUSED.labels(reason).inc(count)
        return refused

    def _take_packet(self, receiver: Origin, datagram: bytes, address: Address, mono_ms: int, wall_ms: int) -> str | None:
        """Take one packet as far as its lane, or answer it from the cache.

        Returns:
            None, or the reason why it gets no answer.
        """
        source: str = address[0]  # type: ignore[assignment]  # the first of a socket address is its host
        step = receiver.step
        if step is None:
            return UNKNOWN_SOURCE
        admitted = step.admit(datagram, source)
        if isinstance(admitted, str):
            return admitted
        packet, secret = admitted
        key = (receiver.number, address, packet[1:20])
        if key in self._duplicates.pending:
            return DUPLICATE_PENDING
        # A Status-Server that is sent again asks anew: RFC 5997 section 4.2 lets us be silent while nothing can be recorded
        answer = self._duplicates.answer_to(key) if packet[0] != STATUS_SERVER else None
        if answer is not None:
            return _answer_again(receiver, answer, address)
        if packet[0] == STATUS_SERVER:
            lane = self.writer.journal[step.partition_of_source(source)]
            status_request: Request = (key, packet, secret, [], receiver, lane.alone, None)
            self._duplicates.begin(key, status_request)
            lane.append((None, encode(self._talking.bare_tick(mono_ms, wall_ms)), TICK_KIND, wall_ms, status_request))
            return None
        filed = step.file(packet, source, wall_ms)
        if isinstance(filed, str):
            return filed
        nas, topic, partition, record_key, value, proxy_states, interim = filed
        self._talking.heard(nas, mono_ms, interim)
        journal = topic == ACCOUNTING.name
        lanes: tuple[Lane, ...]
        if partition == EVERY_PARTITION:
            lanes = self.writer.journal
            copies: list[int] | None = [len(lanes)]
        else:
            lanes = (self.writer.journal if journal else self.writer.rejected)[partition].alone
            copies = None
        request = (key, packet, secret, proxy_states, receiver, lanes, copies)
        self._duplicates.begin(key, request)
        item = (record_key, value, ACCOUNTING_KIND if journal else REJECTED_HEADERS, wall_ms, request)
        for lane in lanes:
            lane.append(item)
        return None

    def _acknowledged(self, items: list[Item]) -> None:
        """Answer what is durable now."""
        pending = self._duplicates.pending
        answered = self._duplicates.answered
        records = statuses = unsent = 0
        for item in items:
            request: Request = item[4]  # type: ignore[assignment]  # the writer does not look into it
            if request is None:
                continue
            key, packet, secret, proxy_states, receiver, _, copies = request
            if pending.get(key) is not request:
                continue  # dropped while it was in flight: the NAS sends it again
            if copies is not None:
                copies[0] -= 1
                if copies[0]:
                    continue
            answer = accounting_response(packet, secret, proxy_states)
            answered(key, answer)
            if packet[0] == STATUS_SERVER:
                statuses += 1
            else:
                records += 1
            try:
                receiver.sendto(answer, key[1])
            except OSError:
                unsent += 1  # the answer is in the cache, and the NAS asks again
        metrics.ANSWERED.labels("record").inc(records - unsent)
        if statuses:
            metrics.ANSWERED.labels("status-server").inc(statuses)
        if unsent:
            metrics.REFUSED.labels(SEND_FAILED).inc(unsent)

    def _failed(self, items: list[Item]) -> None:
        """Drop what may never be durable: the same packet coming again is new."""
        self._talking.repeat()
        dropped = 0
        for item in items:
            request: Request = item[4]  # type: ignore[assignment]  # the writer does not look into it
            if request is not None and self._duplicates.pending.get(request[0]) is request:
                self._duplicates.forget(request[0])
                request[4].given_up()
                dropped += 1
        metrics.REFUSED.labels(KAFKA_AWAY).inc(dropped)

    def _is_awaited(self, request: tuple[object, ...]) -> bool:
        return self._duplicates.pending.get(request[0]) is request  # type: ignore[call-overload]  # the first is its key

    def _drop_oldest(self) -> None:
        oldest = self._duplicates.oldest()
        for lane in oldest[5]:
            lane.withdraw(self._is_awaited)
        oldest[4].given_up()
        self._talking.repeat()  # a tick before it may have gone with it


async def run_ingest(
    configuration: Configuration,
    health: Health,
    stop: asyncio.Event,
    *,
    reread: Reread | None = None,
    on_listening: Callable[[Ingest], None] | None = None,
) -> None:
    """Run one process's worth of ingest until `stop` is set and everything that can be answered was.

    Args:
        configuration: checked, secret files read.
        health: ready while Kafka takes what is written.
        stop: ends it.
        reread: see `agents.reloading`.
        on_listening: is given the ingest once its sockets are bound.

    Raises:
        CurfewError: an address cannot be bound, or the topics are otherwise than wanted.
        ValueError: a NAS without secret.
    """
    ingest, hang_up = Ingest(configuration, health), contextlib.ExitStack()
    health.not_ready("connecting to Kafka")
    tasks = [asyncio.create_task(ingest.writer.run()), asyncio.create_task(ingest.tick()), asyncio.create_task(_set(stop))]
    settle()
    try:
        ingest.start()
        for address in ingest.addresses:
            log.info("accounting is received at %s port %s", *address[:2])
        for address in ingest.radsec_addresses:
            log.info("accounting over TLS is received at %s port %s", *address[:2])
        hang_up.enter_context(reloading(reread, ingest.reload))
        if on_listening is not None:
            on_listening(ingest)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # what ended the writer or the ticks ends the process
        ingest.stop()
        health.not_ready("stopping")
        tasks[1].cancel()
        try:
            async with asyncio.timeout(FLUSH_WITHIN_S):
                await ingest.writer.flush()
        except TimeoutError:
            log.warning("stopped with packets unanswered, since Kafka did not acknowledge them; their NASes send them again")
    finally:
        hang_up.close()
        ingest.stop()
        await end(*tasks)
        ingest.close()


async def _set(stop: asyncio.Event) -> None:
    await stop.wait()


def _answer_again(receiver: Origin, answer: bytes, address: Address) -> str | None:
    """Send an answer from the cache."""
    try:
        receiver.sendto(answer, address)
    except OSError:
        return SEND_FAILED
    metrics.ANSWERED.labels("duplicate").inc()
    return None


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
