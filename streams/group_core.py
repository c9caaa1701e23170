"""The group agent's step: one partition of `group.slots` in, verdicts and rows out. It counts a group across all session agents, exactly.

The law of every core holds (`partition_core`): the order of `group.slots` is the order of the decisions. A session agent's message that it
repeats after a crash is known by where it came from and passed over; a verdict that is repeated has the same id.

Theory of operation. A take is decided by `group_limits` on the tallies of `group_table` and answered; a refused one holds nothing. Slots go
by the session agent's word (an end, a disconnect, another group), silently by a counter time limit on this partition's own clock, and by
eviction. So that no slot outlives its session, whatever was lost, a slot of which nothing was heard for long is asked for: what the session
agent does not have it says, and that is counted as drift. What a group uses and how often somebody begins in it is added up by
`group_usage`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from msgspec.structs import replace

from schemas.codec import decoder, encode
from schemas.event import RecordRef
from schemas.group import (
    GROUP_ROW,
    SLOT_ROW,
    SOURCES_ROW,
    VERDICT_KIND,
    GroupRow,
    GroupVerdict,
    SlotMessage,
    SlotRow,
    SourcesRow,
    Standing,
    slot_key,
    sources_key,
)
from schemas.journal import PolicyVersion, QuotaOrder, Tick
from schemas.policy import Limit
from schemas.topics import ACCOUNTING, SLOTS, policy_row_key
from streams import clock, group_usage
from streams.group_limits import Decision, decide, is_stricter, surplus
from streams.group_table import GroupTable, Tally, row_of
from streams.ids import decision_id
from streams.partition_core import Handler, PartitionCore, newer_version
from streams.partitioner import partition_of
from streams.rulebook import Rulebook
from streams.step import Output, RecordRefused
from streams.table import ROWS_AT_ONCE

CHECK_AFTER_MS = 30 * 60_000
"""A slot of which nothing was heard for so long, on this partition's clock, is asked for."""
CHECKED_PER_TICK_MAX = 1_000
CHECKED_PER_VERDICT_MAX = 200
EVICTED_PER_TICK_MAX = 1_000
COUNTED_MAX = 18
"""So many of the sessions that were counted a verdict names."""
NEVER = (-1, -1)

TO_ALL = ("spent", "freed")
"""What every partition hears."""

Verdict = Literal["answer", "evict", "check", "spent", "warned", "exceeded", "freed"]

_MESSAGE = decoder(SlotMessage).decode
_ORDER = decoder(QuotaOrder).decode
_TICK = decoder(Tick).decode


class GroupCore(PartitionCore):
    """One partition's groups and the step over its journal.

    Attributes:
        table: its rows. book: the policy in force, for its quotas and rates.
        open_sessions: how many slots are held. touched: rows changed since the last checkpoint.
    """

    def __init__(self, partition: int, partitions: int, journal_topic: str) -> None:
        handlers: dict[str, Handler] = {"slot": _slot, "policy": _policy, "quota": _order}
        self.table = GroupTable()
        super().__init__(partition, partitions, journal_topic, handlers, self.table)
        self.accounting_topic = journal_topic.removesuffix(SLOTS.name) + ACCOUNTING.name
        self.book = Rulebook(self.policy.policy)
        self.seen: tuple[tuple[int, int], ...] = (NEVER,) * partitions

    # -- restore and checkpoint ---------------------------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take a row of `group.table` as it was written; later rows of a key replace earlier ones, None is a tombstone.

        Raises:
            msgspec.ValidationError: the row is not what this version writes.
        """
        name = key.decode()
        if name.startswith("s:"):
            if value is None:
                self.table.rows.pop(name, None)
            else:
                self.table.rows[name] = SLOT_ROW.repacked(value)
        elif name.startswith("g:"):
            if value is None:
                self.table.groups.pop(name[2:], None)
            else:
                self.table.groups[name[2:]] = GROUP_ROW.read(value)
        elif name == sources_key(self.partition) and value is not None:
            self.seen = SOURCES_ROW.read(value).seen
        else:
            self._restore_own(name, value)

    def indexing(self) -> Iterator[None]:
        """All rows are back: build the indexes."""
        self.table.clock_ms = self.row.clock_ms
        self.book = Rulebook(self.policy.policy)
        yield from self.table.indexing(self.policy.policy.limits)

    @property
    def open_sessions(self) -> int:
        """Sessions that hold a slot in this partition, once for each of their groups here."""
        return len(self.table.rows)

    def _named(self, key: str) -> bytes | None:
        if key == policy_row_key(self.partition):
            return encode(self.policy)
        if key == sources_key(self.partition):
            return SOURCES_ROW.named(SourcesRow(self.partition, self.seen))
        if key.startswith("g:"):
            group = self.table.groups.get(key[2:])
            return None if group is None else GROUP_ROW.named(group)
        row = self.table.row(key)
        return None if row is None else SLOT_ROW.named(row)

    # -- the step -----------------------------------------------------------------------------------------------------------------

    def _step(self, offset: int, handler: Handler, value: bytes, out: list[Output]) -> None:
        step = GroupStep(self, offset)
        handler(step, value)
        step.commit(out)

    def _tick(self, offset: int, value: bytes, out: list[Output]) -> None:
        """Time goes on: counters run out, what is stricter is brought down, slots of long ago are asked for."""
        self.row, _ = clock.advanced(self.row, _TICK(value))
        self.table.advance(self.row.clock_ms)
        nth = 0
        for work in (_enforce, _check, _let_go):
            step = GroupStep(self, offset, nth)
            work(step)
            step.commit(out)
            nth = step.nth

    def policy_changed(self, version: PolicyVersion, offset: int) -> None:
        """A newer version holds from this offset on; limits that it makes stricter are enforced with the next tick, if they say so."""
        before = self.policy.policy.limits
        self.book = Rulebook(version.policy)
        self._in_force(version, offset)
        self.table.touched[policy_row_key(self.partition)] = None
        self._leave(self._counting_anew(before, version.policy.limits))

    def _counting_anew(self, before: tuple[Limit, ...], limits: tuple[Limit, ...]) -> Iterator[None]:
        table = self.table
        yield from table.indexing(limits)
        for number, group in enumerate(table.names()):
            if number % ROWS_AT_ONCE == 0:
                yield
            stricter = (t for t in table.tallies(group) if t.current > t.limit.max_sessions and is_stricter(t.limit, before))
            names = tuple(tally.limit.name for tally in stricter)
            known = table.groups.get(group) or GroupRow(group)
            if names != known.enforcing:
                table.put_group(replace(known, enforcing=names))

    def standings(self, group: str) -> list[Standing]:
        """How the limits of a group stand."""
        return [Standing(tally.limit.name, tally.current, tally.limit.max_sessions) for tally in self.table.tallies(group)]


class GroupStep:
    """One record on its way through: what it does to the table and the verdicts that go with it, committed together.

    Attributes:
        core: the partition. offset: the record's. nth: verdicts of this record so far.
        slots: rows to be put by key, None to be forgotten. asked: rows that were only asked for.
        groups: rows of groups, None to be forgotten. source: the session agent's message that was taken: (partition, offset, nth).
    """

    def __init__(self, core: GroupCore, offset: int, nth: int = 0) -> None:
        self.core = core
        self.offset = offset
        self.nth = nth
        self.slots: dict[str, SlotRow | None] = {}
        self.asked: dict[str, SlotRow] = {}
        self.groups: dict[str, GroupRow | None] = {}
        self.source: tuple[int, int, int] | None = None
        self.new_policy: PolicyVersion | None = None
        self._out: list[Output] = []
        self._told: list[str] = []

    def commit(self, out: list[Output]) -> None:
        """Everything of it, at once."""
        core, table = self.core, self.core.table
        for key, row in self.slots.items():
            table.store(key, row)
        for key, asked in self.asked.items():
            table.asked_for(key, asked)
        for name, group in self.groups.items():
            if group is None:
                table.forget_group(name)
            else:
                table.put_group(group)
        if self.source is not None:
            partition, *place = self.source
            core.seen = (*core.seen[:partition], (place[0], place[1]), *core.seen[partition + 1 :])
            table.touched[sources_key(core.partition)] = None
        if self.new_policy is not None:
            core.policy_changed(self.new_policy, self.offset)
        for told in self._told:
            core.event_types[told] = core.event_types.get(told, 0) + 1
        out += self._out

    def tell(self, what: str) -> None:
        """Count what was decided, for the metrics."""
        self._told.append(what)

    def ref(self) -> RecordRef:
        """The record of `group.slots`."""
        return RecordRef(self.core.journal_topic, self.core.partition, self.offset)

    def source_ref(self, row: SlotRow) -> RecordRef:
        """The record of `radius.accounting` that a slot rests on."""
        return RecordRef(self.core.accounting_topic, row.partition, row.offset)

    def slot_ref(self, row: SlotRow) -> RecordRef:
        """The record of `group.slots` by which a session came in."""
        offset = row.slot_offset
        return self.source_ref(row) if offset < 0 else RecordRef(self.core.journal_topic, self.core.partition, offset)

    def verdict(
        self, op: Verdict, group: str, identity: str, session: str, time_ms: int, *, partitions: Sequence[int] = (), **more: Any
    ) -> None:
        """Say something to the session agent of an identity, or to those of all these partitions."""
        core = self.core
        policy = core.policy
        verdict = GroupVerdict(
            id="g" + decision_id(core.partition, self.offset, self.nth, identity),
            op=op,
            group=group,
            identity=identity,
            session=session,
            policy_version=policy.version,
            time_ms=time_ms,
            expires_ms=time_ms + policy.policy.confirm_within_s * 1000,
            **more,
        )
        self.nth += 1
        key, value = identity.encode(), encode(verdict)
        for partition in partitions or (partition_of(identity, core.partitions),):
            self._out.append(Output(ACCOUNTING.name, partition, key, value, VERDICT_KIND))

    def evict(self, key: str, row: SlotRow, standing: Standing, time_ms: int, because: list[RecordRef]) -> None:
        """A session loses its slot and has to go."""
        self.slots[key] = None
        self.tell("evicted")
        self.verdict(
            "evict",
            row.group,
            row.identity,
            row.session,
            time_ms,
            limit=standing.limit,
            current=standing.current,
            max=standing.max,
            because=[*because, self.source_ref(row)],
            text=_text(standing, row.group),
        )


def _policy(step: GroupStep, value: bytes) -> None:
    """A version of the policy: taken when it is newer than the one in force."""
    step.new_policy = newer_version(value, step.core.policy)


def _slot(step: GroupStep, value: bytes) -> None:
    """A session agent's message.

    Raises:
        RecordRefused: it cannot have come from a session agent.
    """
    message = _MESSAGE(value)
    if not 0 <= message.partition < step.core.partitions:
        raise RecordRefused("lacks-fields", f"there is no partition {message.partition}")
    if (message.offset, message.nth) <= step.core.seen[message.partition]:
        return  # a repeat
    step.source = message.partition, message.offset, message.nth
    key = slot_key(message.group, message.identity, message.session)
    if message.op == "take":
        _take(step, key, message)
    elif message.op == "hold":
        step.slots[key] = _row(step, message)
    elif message.op in ("use", "start"):
        _add(step, message)
    elif key in step.core.table.rows:
        step.slots[key] = None
        if message.op == "gone":
            known = step.core.table.groups.get(message.group) or GroupRow(message.group)
            step.groups[message.group] = replace(known, drift=known.drift + 1, drift_ms=step.core.row.wall_ms)
            step.tell("drift")


def _take(step: GroupStep, key: str, message: SlotMessage) -> None:
    core, table = step.core, step.core.table
    row = _row(step, message)
    leaving = {own for session in message.frees if (own := slot_key(message.group, message.identity, session)) in table.rows}
    is_late = core.row.wall_ms > message.time_ms + core.policy.policy.confirm_within_s * 1000
    # What is old news evicts nobody: its verdict is overdue, and the session agent asks again
    held = None if is_late else message.held
    decision = decide(table.tallies(message.group), table.rows, (key, row), leaving, held)
    for own in sorted(leaving):
        step.slots[own] = None
    because = [step.ref(), step.source_ref(row), *message.because]
    if decision.refused is None:
        step.slots[key] = replace(row, breached=tuple(standing.limit for standing in decision.reported))
        for victim, standing in decision.evicted.items():
            going = table.row(victim)
            if going is not None:
                step.evict(victim, going, standing, message.time_ms, [*because, *_counted(step, message.group, decision, standing)])
    elif key in table.rows:
        step.slots[key] = None
    _answer(step, message, decision, because)


def _add(step: GroupStep, message: SlotMessage) -> None:
    """Usage of the group, or a Start in it. What is spent all partitions hear, the rest the one of the session."""
    core, group = step.core, message.group
    known = core.table.groups.get(group) or GroupRow(group)
    if message.op == "use":
        row, told = group_usage.used(known, message, core.book, core.row.wall_ms or message.time_ms)
    else:
        row, told = group_usage.began(known, core.book, core.row.clock_ms)
    if row is not known:
        step.groups[group] = row
    source = RecordRef(core.accounting_topic, message.partition, message.offset)
    _tell(step, group, told, (message.identity, message.session, message.time_ms), [step.ref(), source])


def _order(step: GroupStep, value: bytes) -> None:
    """An operator's top-up or reset of the window of a group's quota that is open."""
    core, order = step.core, _ORDER(value)
    known = core.table.groups.get(order.group) or GroupRow(order.group)
    row, told = group_usage.ordered(known, order, core.book, core.row.wall_ms or order.time_ms)
    if row is not known:
        step.groups[order.group] = row
    _tell(step, order.group, told, ("", "", order.time_ms), [step.ref()])


def _tell(step: GroupStep, group: str, told: list[group_usage.News], of: tuple[str, str, int], because: list[RecordRef]) -> None:
    """Say it; `of`: the identity and the session that led to it, and when."""
    for news in told:
        step.tell(news.op)
        step.verdict(
            news.op,
            group,
            *of,
            partitions=range(step.core.partitions) if news.op in TO_ALL else (),
            limit=news.rule,
            current=news.current,
            max=news.max,
            text=news.text,
            until_ms=news.until_ms if news.op == "spent" else 0,
            extra=news.extra if news.op == "spent" else 0,
            because=because,
        )


def _answer(step: GroupStep, message: SlotMessage, decision: Decision, because: list[RecordRef]) -> None:
    refused = decision.refused
    more: dict[str, Any] = {}
    if refused is not None:
        more = {"limit": refused.limit, "current": refused.current, "max": refused.max, "text": _text(refused, message.group)}
    step.tell("granted" if refused is None else "refused")
    step.verdict(
        "answer",
        message.group,
        message.identity,
        message.session,
        message.time_ms,
        granted=refused is None,
        reported=decision.reported,
        passed=decision.passed,
        offset=message.offset,
        nth=message.nth,
        because=[*because, *_counted(step, message.group, decision, refused or next(iter(decision.reported), None))],
        **more,
    )


def _counted(step: GroupStep, group: str, decision: Decision, breached: Standing | None) -> list[RecordRef]:
    """The records of `group.slots` by which those came in whom a breached limit counts; none where they are too many to be named."""
    if breached is None:
        return []
    table = step.core.table
    tally = next(tally for tally in table.tallies(group) if tally.limit.name == breached.limit)
    if len(tally.slot_of) > COUNTED_MAX:
        return []  # the count rests on all of `group.slots` up to here
    rows = (table.row(key) for key in sorted(tally.slot_of.keys() - decision.gone[breached.limit]))  # a restored table names the same
    return [step.slot_ref(row) for row in rows if row is not None]


def _row(step: GroupStep, message: SlotMessage) -> SlotRow:
    return row_of(message, step.offset, step.core.row.clock_ms)


def _enforce(step: GroupStep) -> None:
    """Bring down what a stricter policy left over its limit: some of it at each tick, one limit of a group at a time."""
    table = step.core.table
    most = EVICTED_PER_TICK_MAX
    for group in sorted(name for name, row in table.groups.items() if row.enforcing):
        left = list(table.groups[group].enforcing)
        for tally in table.tallies(group):
            if tally.limit.name in left:
                going = surplus(tally, table.rows, most)
                _bring_down(step, tally, going)
                most -= len(going)
                if most > 0:
                    left.remove(tally.limit.name)  # once: who cannot be disconnected is back, and nobody goes in his place
                if going:
                    break
        else:
            left = []
        step.groups[group] = replace(table.groups[group], enforcing=tuple(left))
        if most <= 0:
            return


def _bring_down(step: GroupStep, tally: Tally, going: list[str]) -> None:
    standing = Standing(tally.limit.name, tally.current, tally.limit.max_sessions)
    for key in going:
        row = step.core.table.row(key)
        if row is not None:
            step.evict(key, row, standing, step.core.row.wall_ms, [step.ref()])


def _let_go(step: GroupStep) -> None:
    """Forget windows that have closed, and Starts that have slid out."""
    now = step.core.row
    for group, known in sorted(step.core.table.groups.items()):
        row = group_usage.left(known, now.wall_ms, now.clock_ms) if known.windows or known.recent else known
        if row is not known:
            step.groups[group] = row


def _check(step: GroupStep) -> None:
    """Ask for the slots of which nothing was heard for long."""
    clock_ms = step.core.row.clock_ms
    asked: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for key, row in step.core.table.unheard(clock_ms - CHECK_AFTER_MS, CHECKED_PER_TICK_MAX):
        step.asked[key] = replace(row, heard_ms=clock_ms)
        asked.setdefault((row.group, partition_of(row.identity, step.core.partitions)), []).append((row.identity, row.session))
    for (group, _), sessions in asked.items():
        for begin in range(0, len(sessions), CHECKED_PER_VERDICT_MAX):
            some = sessions[begin : begin + CHECKED_PER_VERDICT_MAX]
            step.tell("checked")
            step.verdict("check", group, *some[0], step.core.row.wall_ms, sessions=some, because=[step.ref()])


def _text(standing: Standing, group: str) -> str:
    return f"group limit {standing.limit} in {group}: {standing.current} open of {standing.max} allowed"
