"""The flow driver: the whole pipeline in memory, without broker and without sleep; time moves only when a test says so.

Law of this file: it wires what the agents wire (ingest step, duplicates, talking, session cores, dispatcher) and decides nothing. Kafka is
a list for each partition here; what is written is durable at once, so an answer follows its record immediately.

    datagram -> IngestStep -> journal partitions -> SessionCore -> commands -> Dispatcher -> Disconnect-Request
                                   ^   ^               |   |                       |
                                   |   +-- results ----|---|-----------------------+
                                   +------ verdicts ---|-- | -- GroupCore <- group.slots
                                                       |   +------------------------^
                                                       +--> events

What came out is unread until a test takes it, and `nothing_else` asserts that nothing is left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from schemas.codec import decoder, encode
from schemas.configuration import Disconnect, Identity, Nas
from schemas.disconnect import COMMAND_KIND, DisconnectCommand, DisconnectResult, SessionNotice
from schemas.event import SessionEvent
from schemas.journal import MembershipOrder, OperatorCommand, PolicyVersion, QuotaOrder, Rejected
from schemas.sighting import Probe, Sighting, Sightings
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, PROBES, REJECTED, SLOTS
from streams.dispatcher import Datagram, Dispatcher, Ignored, Outputs, targets
from streams.duplicates import Duplicates
from streams.group_core import GroupCore
from streams.ingest_step import EVERY_PARTITION, IngestStep
from streams.kick import Now
from streams.partitioner import partition_of
from streams.profiles import packaged
from streams.radius.fields import Value
from streams.radius.respond import STATUS_SERVER, accounting_response
from streams.radius.simulated import RefusedRequest, build_accounting_request, build_disconnect_reply, parse_disconnect_request
from streams.session_core import SessionCore
from streams.step import Output
from streams.talking import Talking
from tests.support.journal import Rule, policy_of

T0_MS = 1_795_199_831_000
TICK_MS = 1_000
ANSWER_KEPT_MS = 15_000
T = TypeVar("T")
Source = tuple[str, int]

_read_event = decoder(SessionEvent).decode
_read_command = decoder(DisconnectCommand).decode
_read_notice = decoder(SessionNotice).decode
_read_rejected = decoder(Rejected).decode
_read_probe = decoder(Probe).decode


class Packet(NamedTuple):
    """A Disconnect-Request, or a CoA-Request, on the wire.

    Attributes:
        datagram: as the dispatcher gave it. at_s: when, in seconds since the driver began.
        attributes: by the record's field names.
    """

    datagram: Datagram
    at_s: float
    identifier: int
    attributes: dict[str, Value]


class Answer(NamedTuple):
    """An Accounting-Response: whereto, and the octets."""

    to: Source
    octets: bytes


class JournalRecord(NamedTuple):
    """A record as it lies in a partition of `radius.accounting`."""

    kind: str
    key: bytes | None
    value: bytes


class SimulatedAccess:
    """A NAS's side of accounting: a name, an address, secrets, and packets with Identifiers in turn."""

    def __init__(self, name: str, address: str = "192.0.2.1", secret: str = "testing123", disconnect_secret: str = "testing456") -> None:
        self.name = name
        self.source: Source = (address, 49152)
        self.secret = secret.encode()
        self.disconnect_secret = disconnect_secret.encode()
        self._identifier = -1

    def configuration(self, interim_interval_s: int | None = None) -> Nas:
        """How `curfew.toml` would name it."""
        return Nas(
            name=self.name,
            addresses=(f"{self.source[0]}/32",),
            secret=self.secret.decode(),
            disconnect=Disconnect(address=self.source[0], secret=self.disconnect_secret.decode()),
            interim_interval_s=interim_interval_s,
        )

    def packet(
        self,
        status: int,
        *,
        user: str = "",
        session: str = "",
        mac: str = "",
        ip: str = "",
        at_ms: int = T0_MS,
        session_time_s: int = 0,
        more: Sequence[tuple[int, bytes]] = (),
    ) -> bytes:
        """An Accounting-Request (RFC 2866): status 1 Start, 2 Stop, 3 Interim-Update, 7 Accounting-On."""
        self._identifier = (self._identifier + 1) % 256
        attributes = [(40, status.to_bytes(4)), (55, (at_ms // 1000).to_bytes(4))]
        attributes += [(number, text.encode()) for number, text in ((1, user), (44, session), (31, mac)) if text]
        attributes += [(8, bytes(map(int, ip.split("."))))] if ip else []
        attributes += [(46, session_time_s.to_bytes(4))] if status in (2, 3) else []
        attributes += more
        return build_accounting_request(identifier=self._identifier, secret=self.secret, attributes=attributes)


class FlowDriver:
    """One Curfew in memory.

    Attributes:
        now_s: seconds since it began. journal: the partitions of `radius.accounting`. cores: a session core for each.
        slots: the partitions of `group.slots`. group_cores: a group core for each.
        refused: reasons why packets got no answer.
    """

    def __init__(self, *nases: Nas, rules: Identity | None = None, partitions: int = 4, jitter: Callable[[], float] = lambda: 0.0) -> None:
        self.now_s = 0.0
        self.partitions = partitions
        self.journal: list[list[JournalRecord]] = [[] for _ in range(partitions)]
        self.cores = [SessionCore(partition, partitions, ACCOUNTING.name) for partition in range(partitions)]
        self.slots: list[list[JournalRecord]] = [[] for _ in range(partitions)]
        self.group_cores = [GroupCore(partition, partitions, SLOTS.name) for partition in range(partitions)]
        self.refused: list[str] = []
        self._step = IngestStep(nases, rules or Identity(), partitions, "flow")
        self._talking = Talking("flow", TICK_MS, 60_000)
        self._talking.configure({nas.name: nas.interim_interval_s for nas in nases if nas.interim_interval_s is not None})
        self._duplicates: Duplicates[None] = Duplicates(ANSWER_KEPT_MS, 1_000)
        self._dispatcher = Dispatcher(targets(nases, packaged()), ports=4, in_flight_per_nas=32, jitter=jitter)
        self._secrets = {nas.disconnect.address: nas.disconnect.secret for nas in nases if nas.disconnect is not None}
        self._unread: dict[str, list[object]] = defaultdict(list)
        self._next_tick_ms = 0.0

    # -- in -----------------------------------------------------------------------------------------------------------------------

    def pipe(self, datagram: bytes, source: Source) -> None:
        """A datagram comes in on the accounting port, now."""
        now = self._now()
        self._duplicates.expire(int(now.mono_ms))
        admitted = self._step.admit(datagram, source[0])
        if isinstance(admitted, str):
            self.refused.append(admitted)
            return
        packet, secret = admitted
        key = (0, source, packet[1:20])
        answer = self._duplicates.answer_to(key)
        if answer is None:
            proxy_states: list[bytes] = []
            if packet[0] != STATUS_SERVER:
                filed = self._step.file(packet, source[0], now.wall_ms)
                if isinstance(filed, str):
                    self.refused.append(filed)
                    return
                proxy_states = filed.proxy_states
                self._talking.heard(filed.nas, int(now.mono_ms), filed.interim)
                if filed.topic == REJECTED.name:
                    self._put("rejected", _read_rejected(filed.value))
                else:
                    self._write("accounting", filed.partition, filed.key, filed.value)
            answer = accounting_response(packet, secret, proxy_states)
            self._duplicates.answered(key, answer)
        self._put("answers", Answer(source, answer))

    def publish(self, *rules: Rule, version: int) -> None:
        """A version of the policy is applied."""
        value = PolicyVersion(version=version, time_ms=self._now().wall_ms, policy=policy_of(*rules))
        self._write("policy", EVERY_PARTITION, None, encode(value))

    def order_of_group(self, order: QuotaOrder) -> None:
        """An operator's word about a whole group's quota."""
        self._write_slots("quota", partition_of(order.group, self.partitions), order.group.encode(), encode(order))

    def member(self, identity: str, *groups: str) -> None:
        """An operator says who belongs where (`curfew groups set`)."""
        value = MembershipOrder(identity=identity, groups=groups, time_ms=self._now().wall_ms)
        self._write("membership", partition_of(identity, self.partitions), identity.encode(), encode(value))

    def order(self, command: OperatorCommand) -> None:
        """A person's order."""
        self._write("operator", partition_of(command.identity, self.partitions), command.identity.encode(), encode(command))

    def advance(self, seconds: float) -> None:
        """Let time pass: ticks each second, and what the dispatcher wants to be woken for, in order."""
        until_ms = (self.now_s + seconds) * 1000
        while True:
            wake_ms = self._dispatcher.next_wake_ms
            is_tick = wake_ms is None or self._next_tick_ms <= wake_ms - 1
            at_ms = self._next_tick_ms if is_tick or wake_ms is None else wake_ms - 1
            if at_ms > until_ms:
                break
            self.now_s = max(self.now_s, at_ms / 1000)
            if is_tick:
                self._next_tick_ms += TICK_MS
                now = self._now()
                self._write("tick", EVERY_PARTITION, None, encode(self._talking.tick(int(now.mono_ms), now.wall_ms)))
            else:
                self._carry_out(self._dispatcher.wake(self._now()))
        self.now_s = until_ms / 1000

    def answer(self, packet: Packet, *, nak: int | None = None) -> None:
        """The NAS answers a Disconnect-Request: ACK, or NAK with this Error-Cause."""
        request = packet.datagram
        secret = (self._secrets[request.endpoint[0]] or "").encode()
        octets = build_disconnect_reply(request.octets, secret, ack=nak is None, error_cause=nak)
        self.reply(packet, octets)

    def reply(self, packet: Packet, octets: bytes) -> None:
        """Any octets come from where a Disconnect-Request was sent."""
        request = packet.datagram
        self._carry_out(self._dispatcher.datagram(request.port, request.endpoint, octets, self._now()))

    # -- out ----------------------------------------------------------------------------------------------------------------------

    def events(self) -> list[SessionEvent]:
        """Session events since this was last asked."""
        return self._take("events", SessionEvent)

    def types(self) -> list[str]:
        """Their types."""
        return [event.type for event in self.events()]

    def commands(self) -> list[DisconnectCommand]:
        """Disconnect commands since this was last asked."""
        return self._take("commands", DisconnectCommand)

    def notices(self) -> list[SessionNotice]:
        """What the kicker was told since this was last asked."""
        return self._take("notices", SessionNotice)

    def probes(self) -> list[Probe]:
        """What the prober was asked since this was last asked."""
        return self._take("probes", Probe)

    def see(self, *seen: Sighting) -> None:
        """Somebody was seen: the door lets it into every partition."""
        self._write("sighting", EVERY_PARTITION, None, encode(Sightings(seen=list(seen))))

    def packets(self) -> list[Packet]:
        """Disconnect-Requests on the wire since this was last asked."""
        return self._take("packets", Packet)

    def packet(self) -> Packet:
        """The one Disconnect-Request since this was last asked."""
        (packet,) = self.packets()
        return packet

    def results(self) -> list[DisconnectResult]:
        """Disconnect results since this was last asked."""
        return self._take("results", DisconnectResult)

    def outcomes(self) -> list[str]:
        """Their outcomes."""
        return [result.outcome for result in self.results()]

    def answers(self) -> list[Answer]:
        """Accounting-Responses since this was last asked."""
        return self._take("answers", Answer)

    def rejected(self) -> list[Rejected]:
        """What was rejected since this was last asked."""
        return self._take("rejected", Rejected)

    def ignored(self) -> list[Ignored]:
        """Datagrams that were no answer to a Disconnect-Request, since this was last asked."""
        return self._take("ignored", Ignored)

    def nothing_else(self) -> None:
        """Nothing came out that the test has not asked for."""
        assert {name: unread for name, unread in self._unread.items() if unread} == {}
        assert self.refused == []

    # -- the wires ----------------------------------------------------------------------------------------------------------------

    def _now(self) -> Now:
        return Now(T0_MS + round(self.now_s * 1000), self.now_s * 1000 + 1)

    def _put(self, name: str, value: object) -> None:
        self._unread[name].append(value)

    def _take(self, name: str, kind: type[T]) -> list[T]:
        taken = self._unread.pop(name, [])
        assert all(isinstance(one, kind) for one in taken)
        return taken  # type: ignore[return-value]  # just asserted

    def _write(self, kind: str, partition: int, key: bytes | None, value: bytes) -> None:
        for number in range(self.partitions) if partition == EVERY_PARTITION else (partition,):
            out: list[Output] = []
            self.cores[number].apply(len(self.journal[number]), kind, key, value, out)
            self.journal[number].append(JournalRecord(kind, key, value))
            for output in out:
                self._deliver(output)
        if kind in ("policy", "tick"):
            self._write_slots(kind, EVERY_PARTITION, None, value)

    def _write_slots(self, kind: str, partition: int, key: bytes | None, value: bytes) -> None:
        for number in range(self.partitions) if partition == EVERY_PARTITION else (partition,):
            out: list[Output] = []
            self.group_cores[number].apply(len(self.slots[number]), kind, key, value, out)
            self.slots[number].append(JournalRecord(kind, key, value))
            for output in out:
                self._deliver(output)

    def _deliver(self, output: Output) -> None:
        if output.topic == EVENTS.name:
            self._put("events", _read_event(output.value))
        elif output.topic == ACCOUNTING.name:
            self._write(output.kind, output.partition, output.key, output.value)
        elif output.topic == REJECTED.name:
            self._put("rejected", _read_rejected(output.value))
        elif output.topic == SLOTS.name:
            self._write_slots(output.kind, output.partition, output.key, output.value)
        elif output.topic == PROBES.name:
            self._put("probes", _read_probe(output.value))
        elif output.kind == COMMAND_KIND:
            command = _read_command(output.value)
            self._put("commands", command)
            self._carry_out(self._dispatcher.command(command, self._now()))
        else:
            assert output.topic == COMMANDS.name
            notice = _read_notice(output.value)
            self._put("notices", notice)
            self._carry_out(self._dispatcher.notice(notice, self._now()))

    def _carry_out(self, outputs: Outputs) -> None:
        for output in outputs:
            if isinstance(output, Datagram):
                secret = (self._secrets[output.endpoint[0]] or "").encode()
                parsed = parse_disconnect_request(output.octets, secret, output.octets[0])
                assert not isinstance(parsed, RefusedRequest)
                self._put("packets", Packet(output, self.now_s, *parsed))
            elif isinstance(output, DisconnectResult):
                self._put("results", output)
                value = encode(output)
                assert msgspec.json.decode(value, type=DisconnectResult) == output
                self._write("result", partition_of(output.identity, self.partitions), output.identity.encode(), value)
            else:
                self._put("ignored", output)
