"""Slot messages for tests, a partition of `group.slots` fed to a group core, and a slow, obvious model of the same."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from schemas.codec import decoder, encode
from schemas.group import VERDICT_KIND, GroupVerdict, SlotMessage, slot_key
from schemas.journal import PolicyVersion, Rejected, Tick
from schemas.policy import Limit
from schemas.topics import ACCOUNTING, REJECTED, SLOTS
from streams.group_core import TO_ALL, GroupCore
from streams.partitioner import partition_of
from streams.step import Output
from tests.support.journal import Rule, policy_of
from tests.support.schemas import validate

T0_MS = 1_795_199_831_000

_read_verdict = decoder(GroupVerdict).decode
_read_rejected = decoder(Rejected).decode


def group_limit(most: int, name: str = "total", **fields: Any) -> Limit:
    """A limit on a group's total."""
    return Limit(name=name, applies_to="group", max_sessions=most, **fields)


class Stored(NamedTuple):
    """A record of `group.slots`."""

    kind: str
    key: bytes | None
    value: bytes


class Slots:
    """One partition of `group.slots`, with the group core that reads it and the rows that its checkpoints have left.

    Attributes:
        journal: its records. core: the group agent's. table: rows by key, as `group.table` has them. outputs: all of them, ever.
    """

    def __init__(self, *rules: Rule, partitions: int = 1) -> None:
        self.partitions = partitions
        self.journal: list[Stored] = []
        self.table: dict[bytes, bytes | None] = {}
        self.outputs: list[Output] = []
        self.core = GroupCore(0, partitions, SLOTS.name)
        self.core.restored()
        self.now_s = 0
        self._version = 0
        self._offset = 0
        self._unread: list[Output] = []
        self.tick(0)
        if rules:
            self.publish(*rules)

    def write(self, kind: str, value: bytes, key: bytes | None = None) -> None:
        """Append a record and let the core apply it."""
        self.journal.append(Stored(kind, key, value))
        out: list[Output] = []
        self.core.apply(len(self.journal) - 1, kind, key, value, out)
        for output in out:
            validate(output.topic, output.key, output.kind, output.value)
        self.outputs += out
        self._unread += out

    def publish(self, *rules: Rule) -> None:
        """A version of the policy."""
        self._version += 1
        version = PolicyVersion(version=self._version, time_ms=T0_MS, policy=policy_of(*rules))
        self.write("policy", encode(version))

    def tick(self, seconds: int = 1) -> None:
        """Time goes on, a tick for each second."""
        for second in range(max(1, seconds)):
            self.now_s += bool(seconds)
            at_ms = self.now_s * 1000
            assert second <= self.now_s
            self.write("tick", encode(Tick(ingest="i-1", wall_ms=T0_MS + at_ms, mono_ms=at_ms)))

    def send(self, op: str, identity: str, session: str, group: str = "staff", **more: Any) -> SlotMessage:
        """A session agent says something; where it came from grows from message to message."""
        self._offset += 1
        fields: dict[str, Any] = {"partition": partition_of(identity, self.partitions), "offset": self._offset, "nth": 0}
        fields |= {"time_ms": T0_MS + self.now_s * 1000, "order_ms": self._offset, "groups": [group]} | more
        message = SlotMessage(op=op, group=group, identity=identity, session=f"s:ap1/{session}", **fields)  # type: ignore[arg-type]
        self.repeat(message)
        return message

    def repeat(self, message: SlotMessage) -> None:
        """The same message (again)."""
        value = encode(message)
        validate(SLOTS, message.group, "slot", value)
        self.write("slot", value, message.group.encode())

    def take(self, identity: str, session: str, group: str = "staff", **more: Any) -> GroupVerdict:
        """A session asks; the answer, which is the last verdict."""
        message = self.send("take", identity, session, group, **more)
        answer = self.verdicts()[-1]
        assert (answer.op, answer.identity, answer.session) == ("answer", identity, message.session)
        assert (answer.offset, answer.nth) == (message.offset, message.nth)
        return answer

    def checkpoint(self) -> None:
        """Write the rows; as in a compacted topic, a key's place is that of its last row."""
        for key, value in self.core.checkpoint():
            validate("group.table", key, "", value)
            self.table.pop(key, None)
            self.table[key] = value

    def restored(self) -> GroupCore:
        """A core from the rows of the last checkpoint that has caught up; what followed is the same as before, to the octet."""
        core = GroupCore(0, self.partitions, SLOTS.name)
        for key, value in self.table.items():
            core.restore(key, value)
        core.restored()
        again: list[Output] = []
        for offset in range(core.next_offset, len(self.journal)):
            stored = self.journal[offset]
            core.apply(offset, stored.kind, stored.key, stored.value, again)
        assert again == self.outputs[len(self.outputs) - len(again) :]
        return core

    # -- out ----------------------------------------------------------------------------------------------------------------------

    def verdicts(self) -> list[GroupVerdict]:
        """Verdicts since this was last asked; nothing but verdicts came out."""
        taken, self._unread = self._unread, []
        assert all((output.topic, output.kind) == (ACCOUNTING.name, VERDICT_KIND) for output in taken), taken
        verdicts = [_read_verdict(output.value) for output in taken]
        for output, verdict in zip(taken, verdicts, strict=True):
            assert output.key == verdict.identity.encode()
            assert verdict.op in TO_ALL or output.partition == partition_of(verdict.identity, self.partitions)
        to_all = [(verdict.id, output.partition) for output, verdict in zip(taken, verdicts, strict=True) if verdict.op in TO_ALL]
        assert to_all == [(id_, partition) for id_ in dict(to_all) for partition in range(self.partitions)], "to every partition, once"
        return [verdict for output, verdict in zip(taken, verdicts, strict=True) if verdict.op not in TO_ALL or output.partition == 0]

    def rejected(self) -> Rejected:
        """The one record that was rejected."""
        (output,), self._unread = self._unread, []
        assert output.topic == REJECTED.name
        return _read_rejected(output.value)

    def sessions(self, group: str = "staff") -> list[str]:
        """Who holds a slot, in the order of the alphabet."""
        rows = map(self.core.table.row, self.core.table.rows)
        return sorted(row.session.split("/")[1] for row in rows if row is not None and row.group == group)

    def nothing_else(self) -> None:
        """Nothing came out that the test has not asked for; and from the table and the journal the same core comes again."""
        assert self._unread == []
        restored = self.restored()
        assert holdings(restored) == holdings(self.core)


def holdings(core: GroupCore) -> dict[str, object]:
    """All that a core knows, for comparison."""
    tallies = {
        group: [(tally.limit.name, sorted(map(sorted, tally.slots.values()))) for tally in core.table.tallies(group)]
        for group in core.table.names()
    }
    rows = {key: core.table.row(key) for key in core.table.rows}
    return {"rows": rows, "tallies": tallies, "groups": core.table.groups, "row": core.row, "policy": core.policy, "seen": core.seen}


class Held(NamedTuple):
    """A slot as the model has it."""

    message: SlotMessage
    began_ms: int
    breached: frozenset[str]


class Model:
    """Who is in, by counting everybody anew at each question. One partition; no repeats."""

    def __init__(self) -> None:
        self.limits: tuple[Limit, ...] = ()
        self.clock_ms = 0
        self.held: dict[str, Held] = {}

    def counted(self, limit: Limit, group: str) -> dict[str, set[str]]:
        """Slot -> the keys of its sessions."""
        slots: dict[str, set[str]] = {}
        for key, held in self.held.items():
            message = held.message
            if message.group != group or limit.name in held.breached or _left_alone(limit, message.groups):
                continue
            if limit.counter_time_limit_s and self.clock_ms - held.began_ms >= limit.counter_time_limit_s * 1000:
                continue
            slots.setdefault(_slot(limit, message), set()).add(key)
        return slots

    def take(self, message: SlotMessage) -> tuple[str | None, set[str]]:
        """The limit that refuses, if any; and who was evicted."""
        before = dict(self.held)
        key = slot_key(message.group, message.identity, message.session)
        for session in message.frees:
            self.held.pop(slot_key(message.group, message.identity, session), None)
        left = dict(self.held)
        breached, evicted = set(), set()
        for limit in self.limits:
            if not _touches(limit, message):
                continue
            slots = self.counted(limit, message.group)
            if key in self.held and _slot(limit, self.held[key].message) != _slot(limit, message):
                slots = {slot: others for slot, keys in slots.items() if (others := keys - {key})}
            if len(slots) < limit.max_sessions or _slot(limit, message) in slots:
                continue
            if limit.action == "report" or limit.victim == "none":
                breached.add(limit.name)
                continue
            going = self._victims(limit, slots, message) if limit.victim_scope == "group" and limit.name not in message.held else set()
            if not going:
                self.held = left
                self.held.pop(key, None)
                assert before.keys() >= self.held.keys()
                return limit.name, set()
            evicted |= going
            for victim in going:
                del self.held[victim]
        self.held[key] = Held(message, self.clock_ms - message.age_ms, frozenset(breached))
        return None, evicted

    def hold(self, message: SlotMessage) -> None:
        """In, whatever the limits say."""
        key = slot_key(message.group, message.identity, message.session)
        self.held[key] = Held(message, self.clock_ms - message.age_ms, frozenset())

    def free(self, message: SlotMessage) -> None:
        """Out."""
        self.held.pop(slot_key(message.group, message.identity, message.session), None)

    def _victims(self, limit: Limit, slots: dict[str, set[str]], message: SlotMessage) -> set[str]:
        slots = {slot: keys for slot, keys in slots.items() if not any(self.held[key].message.stays for key in keys)}
        if limit.victim == "newest" or not slots:
            return set()
        every = set().union(*slots.values())
        if limit.victim == "all-others":
            return every
        oldest = min(
            every, key=lambda key: (self.held[key].message.order_ms, self.held[key].message.partition, self.held[key].message.offset)
        )
        return next(keys for keys in slots.values() if oldest in keys)


def _touches(limit: Limit, message: SlotMessage) -> bool:
    return limit.group in ("*", message.group) and not _left_alone(limit, message.groups)


def _left_alone(limit: Limit, groups: Iterable[str]) -> bool:
    return any(group in limit.exempt for group in groups)


def _slot(limit: Limit, message: SlotMessage) -> str:
    if limit.count == "devices" and message.device is not None:
        return f"{message.identity} {message.device}"
    return f"{message.identity} {message.session}"
