"""The live directory in memory: `session.table` as it was read, kept up to the millisecond by `session.events` (behaviours 4.8, 7.2, 7.4).

Law of this file: rows and events in, what is open out; no topic is read here and nothing is decided.

Theory of operation. The table lags behind the journal by a checkpoint, the events do not; but an event knows less than a row. So what
stands here of a session is its last row with the later events put over it. What is later is no guess: a checkpoint's rows come in one
transaction that ends with the partition's own row, whose `next_offset` is the journal offset up to which they speak, and an event's id
holds the offset of the record that led to it. Rows are therefore held back until their checkpoint is whole; then each of them replaces what
stood here, the events it knows of are let go, and the later ones are put over it again. An event that is delivered twice, as after a crash,
is recognised by (offset, n-th), which only grow.

Rows rest as packed bytes. Of ended sessions nothing is kept.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from schemas.codec import UNREADABLE, decoder
from schemas.event import EventType, Told
from schemas.journal import PolicyVersion
from schemas.policy import GUEST, Policy
from schemas.session import IDENTITY_ROW, NAS_ROW, PARTITION_ROW, SESSION_ROW, IdentityRow, KickState, PartitionRow, SessionRow
from schemas.topics import partition_key, policy_row_key, session_key
from streams.habits import Habits
from streams.ids import parse_decision_id
from streams.merge import device_of, text_key
from streams.partitioner import partition_of

NO_POLICY = PolicyVersion(version=0, time_ms=0, policy=Policy())

_KICKS: dict[EventType, KickState] = {
    "disconnect.requested": "requested",
    "disconnect.acknowledged": "acknowledged",
    "disconnect.refused": "refused",
    "disconnect.unanswered": "unanswered",
    "disconnect.unconfirmed": "unconfirmed",
    "disconnect.confirmed": "confirmed",
}
_BEGINS: tuple[EventType, ...] = ("session.started", "session.reopened")
_ENDS: tuple[EventType, ...] = ("session.ended",)
_TELLING = frozenset((*_BEGINS, *_ENDS, *_KICKS))
"""Events that change what is open; of the others the next row tells soon enough."""


class Moved(NamedTuple):
    """A session that is not as it was.

    Attributes:
        key: its row's key in `session.table`.
        before, after: what stood here; None: it was not open, or is not any more.
    """

    key: str
    before: SessionRow | None
    after: SessionRow | None


class _Later(NamedTuple):
    """An event that the table may not know of yet."""

    offset: int
    told: Told


_event = decoder(Told).decode
_policy_version = decoder(PolicyVersion).decode
_pack = SESSION_ROW.packed
_unpack = SESSION_ROW.unpacked


class PartitionView:
    """What is open in one partition.

    Attributes:
        row: what the partition says of itself, as of the last whole checkpoint. policy: the version in force then.
        heard: (journal offset, n-th) of the newest event that was put in.
        unreadable: rows and events that could not be read; one of them must not hide all others.
        touched: identities whose rows were put in, for whoever writes them elsewhere and takes them out; None: nobody does.
    """

    def __init__(self, partition: int, habits: Habits | None = None) -> None:
        self.row = PartitionRow(partition)
        self._habits = Habits() if habits is None else habits
        self.policy = NO_POLICY
        self.heard = (-1, -1)
        self.unreadable = 0
        self.touched: set[str] | None = None
        self._own_key = partition_key(partition).encode()
        self._policy_key = policy_row_key(partition).encode()
        self._rows: dict[str, bytes] = {}
        self._identities: dict[str, bytes] = {}
        self._keys_of: dict[str, tuple[str, ...]] = {}
        self._keys_with: dict[str, tuple[str, ...]] = {}
        self._keys_on: dict[str, dict[str, None]] = {}
        self._held_back: dict[str, SessionRow | None] | None = None
        self._later: dict[str, list[_Later]] = {}

    # -- in -----------------------------------------------------------------------------------------------------------------------

    def restored(self) -> None:
        """The table was read to its end: from here on events come too, and rows wait for their checkpoint to be whole."""
        self._held_back = {}

    def take_row(self, key: bytes, value: bytes | None) -> list[Moved]:
        """Put in one record of `session.table`, in the order of the topic; what is otherwise now."""
        return list(self.taking_row(key, value))

    def taking_row(self, key: bytes, value: bytes | None) -> Iterator[Moved]:
        """As `take_row`, a session at each step: a checkpoint may have thousands, and somebody waits for an answer meanwhile.

        Events may be put in between the steps; no other row before the last one.
        """
        try:
            yield from self._row(key, value)
        except UNREADABLE:
            self.unreadable += 1

    def take_event(self, value: bytes | None) -> Moved | None:
        """Put in one record of `session.events`, in the order of the topic; what is otherwise now, if anything is."""
        try:
            told = _event(value or b"")
            _, offset, nth, _ = parse_decision_id(told.id)
        except (*UNREADABLE, ValueError):
            self.unreadable += 1
            return None
        if (offset, nth) <= self.heard:
            return None
        self.heard = (offset, nth)
        if offset < self.row.next_offset or told.type not in _TELLING or told.acct_session_id is None:
            return None
        key = session_key(told.nas, text_key(told.acct_session_id))
        later = _Later(offset, told)
        self._later.setdefault(key, []).append(later)
        before = self.session(key)
        return self._put(key, self._after(before, later))

    def _row(self, key: bytes, value: bytes | None) -> Iterator[Moved]:
        if key == self._own_key:
            if value is not None:
                self.row = PARTITION_ROW.read(value)
            yield from self._whole()
            return
        name = key.decode()
        if name.startswith("s:"):
            row = None if value is None else SESSION_ROW.read(value)
            if row is not None and row.state == "ended":
                row = None
            if self._held_back is None:
                moved = self._put(name, row)
                if moved is not None:
                    yield moved
            else:
                self._held_back[name] = row
        elif name.startswith("i:"):
            if self.touched is not None:
                self.touched.add(name[2:])
            if value is None:
                self._identities.pop(name[2:], None)
            else:
                self._identities[name[2:]] = IDENTITY_ROW.repacked(value)
        elif name.startswith("n:") and value is not None:
            self._habits.take(self.row.partition, NAS_ROW.read(value))
        elif key == self._policy_key and value is not None:
            self.policy = _policy_version(value)

    def _whole(self) -> Iterator[Moved]:
        """A checkpoint is whole: its rows speak up to `next_offset`."""
        known = self.row.next_offset
        held_back, self._held_back = self._held_back or {}, None if self._held_back is None else {}
        for key, later in list(self._later.items()):
            left = [each for each in later if each.offset >= known]
            if left:
                self._later[key] = left
            else:
                del self._later[key]
        for key, base in held_back.items():
            row = base
            for each in self._later.get(key, ()):
                row = self._after(row, each)
            moved = self._put(key, row)
            if moved is not None:
                yield moved

    def _after(self, row: SessionRow | None, later: _Later) -> SessionRow | None:
        """The row as it is after an event; a session of which only an event is known has no more than the event says."""
        told = later.told
        if told.type in _ENDS:
            return None
        if told.type in _BEGINS and told.acct_session_id is not None:
            row = SessionRow(told.nas, told.acct_session_id, told.identity, "open") if row is None else msgspec.structs.replace(row)
            row.user_name, row.calling_station_id = told.user_name, told.calling_station_id
            row.device = device_of(told.calling_station_id)
            row.framed_ip_address, row.acct_multi_session_id = told.framed_ip_address, told.acct_multi_session_id
            row.order_ms, row.opened_offset, row.started_ms = told.time_ms, later.offset, told.started_ms
            row.last_seen_ms = told.last_seen_ms or told.time_ms
            row.opened_clock_ms = self.row.clock_ms
            row.slots = tuple(group for group in self.identity(told.identity).groups if not group.startswith(GUEST))
            row.counts = not self._is_old_news(told)
        elif row is not None and told.command_id is not None and (told.type == "disconnect.requested" or told.command_id == row.kick_id):
            row = msgspec.structs.replace(row)
            row.kick_id, row.kick_state = told.command_id, _KICKS[told.type]  # type: ignore[index]  # one of _TELLING
        return row

    def _is_old_news(self, told: Told) -> bool:
        """A Start from a NAS that empties its backlog counts nothing; what an Interim opened (it has a cause) began long ago and counts."""
        if told.type != "session.started" or told.cause is not None or told.started_ms is None:
            return False
        return told.time_ms - told.started_ms > self.policy.policy.late_after_s * 1000

    def _put(self, key: str, row: SessionRow | None) -> Moved | None:
        packed, known = None if row is None else _pack(row), self._rows.get(key)
        if packed == known:
            return None
        before = None if known is None else _unpack(known)
        if before is not None:
            del self._rows[key]
            _without(self._keys_of, before.identity, key)
            if before.device is not None:
                _without(self._keys_with, before.device, key)
            on_nas = self._keys_on[before.nas]
            del on_nas[key]
            if not on_nas:
                del self._keys_on[before.nas]
        if row is not None and packed is not None:
            self._rows[key] = packed
            self._keys_of[row.identity] = (*self._keys_of.get(row.identity, ()), key)
            if row.device is not None:
                self._keys_with[row.device] = (*self._keys_with.get(row.device, ()), key)
            self._keys_on.setdefault(row.nas, {})[key] = None
        return Moved(key, before, row)

    # -- out ----------------------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._rows)

    def session(self, key: str) -> SessionRow | None:
        """An open session by its row's key."""
        packed = self._rows.get(key)
        return None if packed is None else _unpack(packed)

    def identity(self, identity: str) -> IdentityRow:
        """What is kept of an identity beside its sessions."""
        packed = self._identities.get(identity)
        return IdentityRow(identity) if packed is None else IDENTITY_ROW.unpacked(packed)

    def identities(self) -> Iterable[str]:
        """All identities of which something is kept beside their sessions."""
        return self._identities

    def keys(self, *, identity: str = "", nas: str = "", device: str = "") -> Iterable[str]:
        """The keys of the open sessions that are of this identity, else on this NAS, else of this device, else of all."""
        if identity:
            return self._keys_of.get(identity, ())
        if device:
            return self._keys_with.get(device, ())
        return self._keys_on.get(nas, {}) if nas else self._rows


def _without(index: dict[str, tuple[str, ...]], name: str, key: str) -> None:
    left = tuple(each for each in index[name] if each != key)
    if left:
        index[name] = left
    else:
        del index[name]


class Page(NamedTuple):
    """Some sessions of many.

    Attributes:
        rows: by partition and key. after: what to go on with for the next page; empty: there is none.
    """

    rows: list[SessionRow]
    after: str


class LiveView:
    """What is open in all partitions.

    Attributes:
        partitions: by number.
        habits: what is reported of the NASes.
    """

    def __init__(self, partitions: int) -> None:
        self.habits = Habits()
        self.partitions = [PartitionView(number, self.habits) for number in range(partitions)]

    def __len__(self) -> int:
        return sum(map(len, self.partitions))

    @property
    def unreadable(self) -> int:
        """Rows and events that could not be read."""
        return sum(view.unreadable for view in self.partitions)

    def home_of(self, identity: str) -> PartitionView:
        """The partition of an identity."""
        return self.partitions[partition_of(identity, len(self.partitions))]

    def of_identity(self, identity: str) -> list[SessionRow]:
        """The open sessions of an identity, oldest first."""
        home = self.home_of(identity)
        rows = [row for key in home.keys(identity=identity) if (row := home.session(key)) is not None]
        return sorted(rows, key=lambda row: row.opened_offset)

    def session(self, nas: str, acct_session_id: str) -> SessionRow | None:
        """An open session by the name that its NAS gave it (octets that are not UTF-8 as `base64:...`)."""
        key = session_key(nas, acct_session_id)
        return next((row for view in self.partitions if (row := view.session(key)) is not None), None)

    def page(self, *, identities: Iterable[str] = (), nas: str = "", device: str = "", after: str = "", rows_max: int) -> Page:
        """Open sessions that match everything asked for, a page at a time.

        Args:
            identities: of one of these; none: of anybody.
            nas: on this NAS; empty: on any.
            device: of this device, a MAC as in the table; empty: of any.
            after: where the page before ended; empty: the first page.
            rows_max: at most so many.

        Raises:
            ValueError: `after` is not what a page gave.
        """
        first, last_key = _place(after)
        found: list[tuple[str, SessionRow]] = []
        for number, view in list(enumerate(self.partitions))[first:]:
            last = last_key if number == first else ""
            keys = (key for key in _matching(view, frozenset(identities), nas, device) if key > last)
            for key in heapq.nsmallest(rows_max + 1 - len(found), keys):
                row = view.session(key)
                if row is not None:
                    found.append((f"{number}:{key}", row))
            if len(found) > rows_max:
                return Page([row for _, row in found[:rows_max]], found[rows_max - 1][0])
        return Page([row for _, row in found], "")


def _matching(view: PartitionView, identities: frozenset[str], nas: str, device: str) -> Iterator[str]:
    """The keys of the open sessions that match; of many sessions (a NAS's, all) no row is decoded."""
    if not identities and not device:
        yield from view.keys(nas=nas)
        return
    few = [key for identity in identities for key in view.keys(identity=identity)] if identities else view.keys(device=device)
    for key in few:
        row = view.session(key)
        if row is not None and (not nas or row.nas == nas) and (not device or row.device == device):
            yield key


def _place(after: str) -> tuple[int, str]:
    if not after:
        return 0, ""
    number, _, key = after.partition(":")
    if not number.isdecimal() or not key:
        raise ValueError("`after` is not what a page gave")
    return int(number), key
