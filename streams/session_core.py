"""The session agent's step: one partition's journal in, events, commands and rows out. It owns a session's fate alone.

The law of every core holds (`partition_core`). What happens to a session is said elsewhere: `session_records`, `deaths` (time),
`limiting` (limits), `outcomes` (results and orders), each on a `Step`. Here is the partition: its rows, its clock, its policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from schemas.accounting import AccountingRecord
from schemas.codec import encode
from schemas.journal import PolicyVersion
from schemas.policy import Liveness
from schemas.session import (
    IDENTITY_ROW,
    NAS_ROW,
    SESSION_ROW,
    NasRow,
    PartitionRow,
    SessionRow,
    Spent,
)
from schemas.topics import policy_row_key
from streams import (
    claims,
    clock,
    group_meters,
    group_slots,
    limiting,
    liveness,
    membership_records,
    memberships,
    metering,
    outcomes,
    passing,
    plain_interim,
    promises,
    session_records,
    sightings,
    timeouts,
)
from streams.partition_core import Handler, PartitionCore, newer_version
from streams.rulebook import Rulebook
from streams.step import Output, Step
from streams.table import ROWS_AT_ONCE, Change, Table


class SessionCore(PartitionCore):
    """One partition's state and the step over its journal.

    Attributes:
        table: its rows. book: the policy in force, ready to be asked.
        open_sessions: how many are open. touched: rows changed since the last checkpoint.
    """

    def __init__(self, partition: int, partitions: int, journal_topic: str) -> None:
        handlers: dict[str, Handler] = {
            "accounting": session_records.accounting,
            "policy": _policy,
            "result": outcomes.result,
            "operator": outcomes.operator,
            "membership": membership_records.membership,
            "quota": metering.order,
            "verdict": group_meters.verdict,
            "claim": claims.claims,
            "promise": promises.promise,
            "sighting": sightings.sighting,
        }
        self.table = Table(self._deadline, self._time_over, self._is_sighted)
        super().__init__(partition, partitions, journal_topic, handlers, self.table)
        self.book = Rulebook(self.policy.policy)
        self._rules: dict[str, Liveness | None] = {}
        self._heard: dict[str, int] = {}
        self.unheard: dict[str, int] = {}
        self.ceased: dict[str, int] = {}

    # -- restore ------------------------------------------------------------------------------------------------------------------

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take a row of `session.table` as it was written; later rows of a key replace earlier ones, None is a tombstone.

        Raises:
            msgspec.ValidationError: the row is not what this version writes.
        """
        name = key.decode()
        kind = name[:2]
        if kind == "s:":
            if value is None:
                self.table.rows.pop(name, None)
            else:
                self.table.rows[name] = SESSION_ROW.repacked(value)
        elif kind == "i:":
            if value is None:
                self.table.identities.pop(name[2:], None)
            else:
                identity = IDENTITY_ROW.read(value)
                self.table.identities[identity.identity] = identity
        elif kind == "n:" and value is not None:
            nas = NAS_ROW.read(value)
            self.table.nases[nas.nas] = nas
        else:
            self._restore_own(name, value)

    def indexing(self) -> Iterator[None]:
        """All rows are back: build the indexes."""
        self._rules.clear()
        self.book = Rulebook(self.policy.policy)
        yield from self.table.indexing()
        self.table.unclaimed, self.row = dict.fromkeys(self.row.unclaimed), replace(self.row, unclaimed=())
        passing.index(self)

    @property
    def open_sessions(self) -> int:
        """Open sessions in this partition."""
        return self.table.open_count

    def _own_row(self) -> PartitionRow:
        return replace(self.row, unclaimed=tuple(self.table.unclaimed))

    def _named(self, key: str) -> bytes | None:
        if key.startswith("n:"):
            return NAS_ROW.named(self.table.nases[key[2:]])
        if key == policy_row_key(self.partition):
            return encode(self.policy)
        if key[0] == "i":
            identity = self.table.identities.get(key[2:])
            return None if identity is None else IDENTITY_ROW.named(identity)
        packed = self.table.rows.get(key)
        return None if packed is None else SESSION_ROW.named(SESSION_ROW.unpacked(packed))

    # -- the step -----------------------------------------------------------------------------------------------------------------

    def _step(self, offset: int, handler: Handler, value: bytes, out: list[Output]) -> None:
        said: AccountingRecord | bytes = value
        if handler is session_records.accounting:
            said = session_records.read(value)
            if said.status == "Interim-Update" and plain_interim.taken(self, offset, said, out):
                return
        step = Step(self, offset)
        handler(step, said)
        before = self.policy.policy
        self._commit(step, out)
        if step.new_policy is not None and (least := limiting.concerned_from(before, self.policy.policy)) is not None:
            enforced, version = limiting.enforced_by(before, self.policy.policy), self.policy
            self._leave(self._sweeping(step, "policy", lambda step, identity: limiting.sweep(step, identity, enforced, version), least))
        if (spent := step.spent) is not None and spent.until_ms:  # and is not taken back
            self._leave(self._sweeping(step, "verdict", lambda step, identity: group_meters.sweep(step, identity, spent)))

    def _commit(self, step: Step, out: list[Output]) -> None:
        if self.book.has_group_limits:
            group_slots.settle(step)
        step.commit(out)

    def _sweeping(self, after: Step, kind: str, do: Callable[[Step, str], None], least: int = 1) -> Iterator[None]:
        """Put what is new to identities with so many open sessions, in pieces, each identity as a change of its own.

        In an order that no index decides.
        """
        offset, nth, open_of = after.offset, after.nth, self.table.open_of
        for number, identity in enumerate(sorted([identity for identity in open_of if len(open_of.keys_of(identity)) >= least])):
            if number % ROWS_AT_ONCE == 0:
                yield
            step = Step(self, offset, nth)
            try:
                do(step, identity)
                group_slots.settle(step)
                step.commit(self.following)
            except Exception as poison:  # noqa: BLE001 - as for a tick's deaths
                self._reject(offset, kind, None, None, self.following, reason="poison", detail=f"{type(poison).__name__}: {poison}")
                continue
            nth = step.nth

    def _tick(self, offset: int, value: bytes, out: list[Output]) -> None:
        """Time goes on."""
        self._heard.clear()
        passing.tick(self, offset, value, out)

    def atomically(self, offset: int, nth: int, out: list[Output], key: str, do: Callable[[Step, SessionRow], None]) -> int:
        """Do something to a session as a change of its own, so that one bad row does not stop the clock.

        Args:
            offset: the tick that it follows from.
            nth: decisions of that tick so far.
            out: takes what follows.
            key: the session's.
            do: gets its row.

        Returns:
            Decisions of that tick, with those made now.
        """
        step = Step(self, offset, nth)
        try:
            row = step.change.session(key)
            if row is not None:
                do(step, row)
        except Exception as poison:  # noqa: BLE001 - as above
            self._reject(offset, "tick", None, None, out, reason="poison", detail=f"{type(poison).__name__}: {poison}")
            return nth
        self._commit(step, out)
        return step.nth

    def rule_of(self, nas: str) -> Liveness | None:
        """The liveness rule for a NAS; None: nobody dies there."""
        if nas not in self._rules:
            self._rules[nas] = liveness.rule_for(self.policy.policy, nas)
        return self._rules[nas]

    def _deadline(self, row: SessionRow) -> int | None:
        return None if claims.is_open_question(row) else liveness.deadline_ms(self.rule_of(row.nas), row)

    def _time_over(self, row: SessionRow) -> int | None:
        if row.session_timeout_s is None and not self.book.has_durations:
            return None
        known = self.table.identities.get(row.identity)
        return timeouts.due_ms(self.book, row.groups if known is None else memberships.groups_of(known, row), row)

    def _is_sighted(self, row: SessionRow) -> bool:
        return liveness.takes_sightings(self.rule_of(row.nas))

    def heard_now_ms(self, nas: NasRow) -> int:
        """As `heard_ms`, on a NAS that some ingest hears."""
        heard_ms = self._heard.get(nas.nas)
        if heard_ms is None:
            heard_ms = self._heard[nas.nas] = clock.heard_now_ms(nas, self.row)
        return heard_ms

    def heard_ms(self, nas: str, change: Change) -> int:
        """Where a session heard of now stands on its NAS's talking clock: the same for all of them between two ticks."""
        heard_ms = self._heard.get(nas)
        if heard_ms is None:
            known = change.nas(nas)
            heard_ms = clock.heard_now_ms(known, self.row)
            if known is None or not known.ceased_by:
                self._heard[nas] = heard_ms
            elif known.since_ms != self.row.clock_ms:
                change.nases[nas] = clock.dated(known, self.row)
        return heard_ms

    def group_spent(self, spent: Spent) -> None:
        """Nothing is left of a group's quota from this record on."""
        self.row = replace(self.row, spent=group_meters.kept(self.row, spent))

    def policy_changed(self, version: PolicyVersion, offset: int) -> None:
        """A newer version holds from this offset on."""
        self.book = Rulebook(version.policy)
        before = self.policy.policy
        rearm = (version.policy.liveness, version.policy.durations) != (before.liveness, before.durations)
        self._in_force(version, offset)
        self.table.touched[policy_row_key(self.partition)] = None
        self._rules.clear()
        if rearm:
            self._leave(self.table.watching_anew())
            passing.index(self)


def _policy(step: Step, value: bytes) -> None:
    """A version of the policy: taken when it is newer than the one in force."""
    step.new_policy = newer_version(value, step.core.policy)
