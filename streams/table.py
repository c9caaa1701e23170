"""The rows of one partition in memory, with their indexes, and a change to them that is applied whole or not at all.

Sessions rest as packed bytes (`schemas.session`). Whoever handles a record works on a `Change`: it reads rows through it and puts rows into
it; `Table.commit` then stores them, updates the indexes and remembers them for the next checkpoint. A change that is dropped never was:
so a raise in the middle of a record leaves nothing behind.

Indexes, all derived from the rows: open sessions by identity and by NAS, and by MAC and address where sightings are taken; how many ended
sessions an identity has in the table; one deadline per session, by NAS (re-armed when it fires, not at each record); the ends of their
times; closed sessions by the time of their end. These come up in the order of their true times (`streams.timers`), whether the index has
grown with the journal or was built from the rows.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from schemas.session import SESSION_ROW, IdentityRow, NasRow, SessionRow
from schemas.topics import identity_key, nas_key, session_key
from streams.identities import Identities
from streams.key_index import KeyIndex
from streams.merge import text_key
from streams.timers import Timers
from streams.whereabouts import Whereabouts

_pack = SESSION_ROW.packed
_unpack_session = SESSION_ROW.unpacked


NO_CLAIM = (-1, -1)
ROWS_AT_ONCE = 500
"""Rows of a piece of what is done to very many of them: some milliseconds."""
NAS_SLOT_MS = 60_000
"""How wide the slots of deadlines are, on a NAS's talking clock: it has some hundreds of sessions, and their intervals are minutes."""
PARTITION_SLOT_MS = 4_000
"""The same on the partition's clock, which all its sessions share."""


def key_of(row: SessionRow) -> str:
    """The key of a session's row."""
    return session_key(row.nas, text_key(row.acct_session_id))


At = tuple[str | None, str | None, str | list[str] | None]
"""MAC, Framed-IP-Address, Framed-IPv6-Prefix."""
TimeGiven = tuple[int | None, int | str | None, int, tuple[str, ...]]
"""Session-Timeout, Termination-Action, when it began on the partition's clock, the groups that its records told."""
DueGiven = tuple[int, int, int, int]
"""Interim interval in seconds (0: none), probes, the last signs of life of client and session."""
Was = tuple[str, bool, DueGiven, At | None, TimeGiven | None]
"""What the indexes know of a row as it lay in the table: identity, open, what its deadline follows from, where its client is (None: not
open), and what its time follows from."""
NEW: Was = ("", False, (0, 0, 0, 0), None, None)


class Change:
    """What one record does to the table, until it is committed or dropped."""

    __slots__ = ("claims", "identities", "nases", "sessions", "table", "was")

    def __init__(self, table: Table) -> None:
        self.table = table
        self.sessions: dict[str, SessionRow | None] = {}
        self.was: dict[str, Was] = {}
        self.claims: dict[str, tuple[int, int]] = {}  # as in the row: claim_offset and claim_batch, where it has any
        self.identities: dict[str, IdentityRow | None] = {}
        self.nases: dict[str, NasRow] = {}

    def session(self, key: str) -> SessionRow | None:
        """A session's row by its key, to be changed in place; None: there is none."""
        if key in self.sessions:
            return self.sessions[key]
        packed = self.table.rows.get(key)
        if packed is None:
            return None
        self.sessions[key] = row = _unpack_session(packed)
        is_open = row.state != "ended"
        at = (row.device, row.framed_ip_address, row.framed_ipv6_prefix) if is_open else None
        self.was[key] = (row.identity, is_open, _due_given(row), at, _time_given(row))
        if row.claim_offset >= 0 or row.claim_batch >= 0:
            self.claims[key] = (row.claim_offset, row.claim_batch)
        return row

    def put(self, key: str, row: SessionRow | None) -> None:
        """A session's new row, or None to forget it."""
        if key not in self.sessions:
            self.session(key)
        self.sessions[key] = row

    def identity(self, identity: str, offset: int) -> IdentityRow:
        """An identity's row, to be replaced and never changed in place; born with this record if there is none."""
        return self.identities.get(identity) or self.table.identities.get(identity) or IdentityRow(identity, 0, offset)

    def next_seq(self, identity: str, offset: int) -> IdentityRow:
        """The identity's row with the next sequence number given out."""
        row = self.identity(identity, offset)
        kept = (row.holds, row.groups, row.windows, row.recent, row.lingers_ms, row.promises)
        self.identities[identity] = row = IdentityRow(identity, row.seq + 1, row.seq_epoch, *kept)
        return row

    def nas(self, name: str) -> NasRow | None:
        """What is known of a NAS; rows of NASes are replaced, never changed in place."""
        return self.nases.get(name) or self.table.nases.get(name)

    def open_of(self, identity: str) -> list[SessionRow]:
        """The open sessions of an identity as this change sees them, oldest record first."""
        for key in self.table.open_of.keys_of(identity):
            self.session(key)
        rows = [row for row in self.sessions.values() if row is not None and row.identity == identity and row.state != "ended"]
        if len(rows) > 1:
            rows.sort(key=lambda row: row.opened_offset)
        return rows


class Table:
    """One partition's rows.

    Attributes:
        rows: packed rows of sessions by their key in `session.table`. identities, nases: the other rows, by name.
        deadline: (open session) -> deadline on its NAS's talking clock, or None. Handed in: it depends on the policy in force.
        time_over: (open session) -> when its time is over, on the partition's clock, or None. is_sighted: (session) -> whether sightings
            say anything of it. Likewise. whereabouts: the sessions of which they do, by MAC and address.
        open_count: open sessions.
        lingering: identities without sessions that are remembered for a while, by the time on the partition's clock at which they are
            looked at again.
        to_claim: sessions to be asked about in the other partitions, by the offset since which they are. claimed: those asked about by
            question (`streams.claims`). unclaimed: NASes with sessions that nobody else holds, and that are dead so.
        touched: keys to be written at the next checkpoint.
    """

    def __init__(
        self,
        deadline: Callable[[SessionRow], int | None],
        time_over: Callable[[SessionRow], int | None] = lambda _: None,
        is_sighted: Callable[[SessionRow], bool] = lambda _: False,
    ) -> None:
        self.rows: dict[str, bytes] = {}
        self.identities = Identities()
        self.nases: dict[str, NasRow] = {}
        self.open_of: KeyIndex[str] = KeyIndex()
        self.open_on: dict[str, dict[str, None]] = {}
        self.open_count = 0
        self.ended_of: dict[str, int] = {}
        self.deadlines: dict[str, Timers] = {}
        self.closed = Timers(PARTITION_SLOT_MS)
        self.lingering: list[tuple[int, str]] = []
        self.to_claim: list[tuple[int, str]] = []
        self.claimed: dict[int, dict[str, None]] = {}
        self.unclaimed: dict[str, None] = {}
        self.touched: dict[str, None] = {}
        self.deadline = deadline
        self.time_over = time_over
        self.is_sighted = is_sighted
        self.times = Timers(PARTITION_SLOT_MS)
        self.whereabouts = Whereabouts()
        self._deadline_of, self._time_over_of, self._closed_of = self._of_key(deadline), self._of_key(time_over), self._of_key(_closed_ms)

    def _of_key(self, true_ms: Callable[[SessionRow], int | None]) -> Callable[[str], int | None]:
        def of_key(key: str) -> int | None:
            packed = self.rows.get(key)
            return None if packed is None else true_ms(_unpack_session(packed))

        return of_key

    def commit(self, change: Change) -> None:
        """Store what the change holds, update the indexes, remember the rows for the checkpoint.

        Raises:
            OverflowError: a number in a row has more than 64 bits; nothing is stored.
        """
        packed = [None if row is None else _pack(row) for row in change.sessions.values()]
        for (key, row), octets in zip(change.sessions.items(), packed, strict=True):
            self._store(key, row, octets, change.was.get(key))
            self._index_claim(key, row, change.claims.get(key, NO_CLAIM))
        for identity, known in change.identities.items():
            before = self.identities.get(identity)
            if known is not None:
                self.identities[identity] = known
                if known.lingers_ms >= 0:
                    heapq.heappush(self.lingering, (known.lingers_ms, identity))
                if before is not None and before.groups != known.groups:
                    self._arm_times_of(identity)
            elif before is None:
                continue
            else:
                del self.identities[identity]
            self.touched[identity_key(identity)] = None
        for name, nas in change.nases.items():
            self.nases[name] = nas
            self.touched[nas_key(name)] = None

    def renew(self, key: str, row: SessionRow, was_interval_s: int, known: IdentityRow) -> None:
        """As `commit`, of an open session and its identity in whose rows nothing is new that an index knows but the interim interval.

        Raises:
            OverflowError: as `commit`.
        """
        self.rows[key] = _pack(row)
        self.touched[key] = None
        interval_s = row.interim_interval_s or row.observed_s or 0
        if interval_s < was_interval_s or (interval_s and not was_interval_s):
            self._arm(key, row)
        self.identities[known.identity] = known
        self.touched[identity_key(known.identity)] = None

    def indexing(self) -> Iterator[None]:
        """Build every index from the rows, a piece at each step; nobody may change the table meanwhile."""
        self.open_of, self.open_on, self.open_count, self.ended_of = KeyIndex(), {}, 0, {}
        self.deadlines, self.closed, self.times = {}, Timers(PARTITION_SLOT_MS), Timers(PARTITION_SLOT_MS)
        self.to_claim, self.claimed, self.unclaimed = [], {}, {}
        self.whereabouts = Whereabouts()
        names = {identity: identity for identity in self.identities}  # one string for all that name it
        for number, (key, packed) in enumerate(self.rows.items()):
            if number % ROWS_AT_ONCE == 0:
                yield
            row = _unpack_session(packed)
            identity = names.get(row.identity, row.identity)
            if row.state != "ended":
                self._opened(key, identity, row.nas)
                self._watch(key, row)
            else:
                self._ended(key, identity, row)
            self._index_claim(key, row, NO_CLAIM)
        self.lingering = self.identities.lingering()
        heapq.heapify(self.lingering)

    def watching_anew(self) -> Iterator[None]:
        """Index deadlines, times and places of open sessions once more, in pieces: the rules that they follow from have changed."""
        self.deadlines, self.times, self.whereabouts = {}, Timers(PARTITION_SLOT_MS), Whereabouts()
        number = 0
        for keys in self.open_on.values():
            for key in keys:
                if number % ROWS_AT_ONCE == 0:
                    yield
                number += 1
                self._watch(key, _unpack_session(self.rows[key]))

    def lingered(self, clock_ms: int) -> str | None:
        """Take an identity that has lingered long enough, not after this time on the partition's clock; None: there is none."""
        while self.lingering and self.lingering[0][0] <= clock_ms:
            lingers_ms, identity = heapq.heappop(self.lingering)
            known = self.identities.get(identity)
            if known is not None and known.lingers_ms == lingers_ms:
                return identity
        return None

    def due(self, nas: str, clock_ms: int) -> str | None:
        """Take the key of the NAS's session whose deadline was over first on its talking clock; None: there is none."""
        timers = self.deadlines.get(nas)
        return None if timers is None else timers.take(clock_ms, self._deadline_of)

    def time_is_over(self, clock_ms: int) -> str | None:
        """Take the key of the session whose time was over first on the partition's clock; None: there is none."""
        return self.times.take(clock_ms, self._time_over_of)

    def arm(self, key: str) -> None:
        """Set the deadline and the time of a session anew that was taken from their heaps, if it is open."""
        packed = self.rows.get(key)
        row = None if packed is None else _unpack_session(packed)
        if row is not None and row.state != "ended":
            self._arm(key, row)
            self._arm_time(key, row)

    def past_grace(self, closed_before_ms: int) -> str | None:
        """Take the key of the session that was closed first, not after this time on the partition's clock; None: there is none."""
        return self.closed.take(closed_before_ms, self._closed_of)

    def next_to_claim(self) -> str | None:
        """Take the key of the session that was first to be asked about in the other partitions; None: there is none."""
        while self.to_claim:
            offset, key = heapq.heappop(self.to_claim)
            packed = self.rows.get(key)
            row = None if packed is None else _unpack_session(packed)
            if row is not None and row.claim_offset == offset and row.claim_batch < 0:
                return key
        return None

    def _store(self, key: str, row: SessionRow | None, packed: bytes | None, was: Was | None) -> None:
        was_identity, was_open, was_due, was_at, was_time = was or NEW
        if packed is None:
            self.rows.pop(key, None)
        elif packed == self.rows.get(key):
            return  # it was only read
        else:
            self.rows[key] = packed
        self.touched[key] = None
        is_identity, is_open = ("", False) if row is None else (row.identity, row.state != "ended")
        if was is not None and not was_open and (is_open or was_identity != is_identity):
            self._ended_no_more(was_identity)
        if was_open and (not is_open or was_identity != is_identity):
            self._closed(key, was_identity)
        is_at = (row.device, row.framed_ip_address, row.framed_ipv6_prefix) if row is not None and is_open else None
        if is_at != was_at:
            self._move(key, row if is_open else None, was_at)
        if row is None:
            return
        if is_open:
            if not was_open or was_identity != is_identity:
                self._opened(key, is_identity, row.nas)
            if not was_open or _may_be_sooner(was_due, _due_given(row)):
                self._arm(key, row)
            if not was_open or was_identity != is_identity or _time_given(row) != was_time:
                self._arm_time(key, row)
        elif was_open or was_identity != is_identity:
            self._ended(key, is_identity, row)

    def _index_claim(self, key: str, row: SessionRow | None, was: tuple[int, int]) -> None:
        now = NO_CLAIM if row is None else (row.claim_offset, row.claim_batch)
        if now == was:
            return
        was_batch, (offset, batch) = was[1], now
        if was_batch >= 0 and was_batch != batch:
            of_batch = self.claimed[was_batch]
            del of_batch[key]
            if not of_batch:
                del self.claimed[was_batch]
        if batch >= 0 and was_batch != batch:
            self.claimed.setdefault(batch, {})[key] = None
        if offset >= 0 and batch < 0:
            heapq.heappush(self.to_claim, (offset, key))
        if now == NO_CLAIM and row is not None and row.state != "ended":
            self._arm(key, row)  # it had no deadline while it was asked about
            if row.claimed_ms >= 0 and row.claimed_ms == row.heard_ms:
                self.unclaimed[row.nas] = None

    def sessions_of(self, identity: str) -> int:
        """How many sessions an identity has in the table, open and ended."""
        return len(self.open_of.keys_of(identity)) + self.ended_of.get(identity, 0)

    def _ended(self, key: str, identity: str, row: SessionRow) -> None:
        self.ended_of[identity] = self.ended_of.get(identity, 0) + 1
        self.closed.add(row.closed_ms or 0, key)

    def _ended_no_more(self, identity: str) -> None:
        left = self.ended_of[identity] - 1
        if left:
            self.ended_of[identity] = left
        else:
            del self.ended_of[identity]

    def _opened(self, key: str, identity: str, nas: str) -> None:
        self.open_of.add(identity, key)
        self.open_on.setdefault(nas, {})[key] = None
        self.open_count += 1

    def _closed(self, key: str, identity: str) -> None:
        self.open_of.remove(identity, key)
        nas = key[2:].split("/", 1)[0]
        on_nas = self.open_on[nas]
        del on_nas[key]
        self.open_count -= 1
        if not on_nas:
            del self.open_on[nas]

    def _watch(self, key: str, row: SessionRow) -> None:
        self._arm(key, row)
        self._arm_time(key, row)
        if self.is_sighted(row):
            self.whereabouts.add(key, row)

    def _arm(self, key: str, row: SessionRow) -> None:
        deadline_ms = self.deadline(row)
        if deadline_ms is not None:
            timers = self.deadlines.get(row.nas)
            if timers is None:
                timers = self.deadlines[row.nas] = Timers(NAS_SLOT_MS)
            timers.add(deadline_ms, key)

    def _arm_time(self, key: str, row: SessionRow) -> None:
        over_ms = self.time_over(row)
        if over_ms is not None:
            self.times.add(over_ms, key)

    def _arm_times_of(self, identity: str) -> None:
        for key in self.open_of.keys_of(identity):
            self._arm_time(key, _unpack_session(self.rows[key]))

    def _move(self, key: str, row: SessionRow | None, was_at: At | None) -> None:
        """Keep up whose a MAC address and an IP address are; None: it is open no more, it was not open before."""
        if was_at is not None and len(self.whereabouts):
            self.whereabouts.remove(key, *was_at)
        if row is not None and self.is_sighted(row):
            self.whereabouts.add(key, row)


def _time_given(row: SessionRow) -> TimeGiven:
    """What a session's time follows from, identity and policy apart (`streams.timeouts`): where it changes, the time may be nearer."""
    return row.session_timeout_s, row.termination_action, row.opened_clock_ms, row.groups


def _due_given(row: SessionRow) -> DueGiven:
    """What a session's deadline follows from, the policy apart (`streams.liveness`)."""
    return row.interim_interval_s or row.observed_s or 0, row.probes, row.alive_ms, row.heard_ms


def _may_be_sooner(was: DueGiven, now: DueGiven) -> bool:
    """Whether a deadline may be before the one that there was: a shorter interval, a first one, or a sign of life after a miss."""
    return (now[0] > 0 and was[0] == 0) or now[0] < was[0] or now[1] < was[1] or now[2] < was[2] or now[3] < was[3]


def _closed_ms(row: SessionRow) -> int | None:
    return None if row.state != "ended" else row.closed_ms or 0
