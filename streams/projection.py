"""What the projection in Redis holds, and which commands bring it there (behaviour 7.4). Pure: (live view, what was written) -> commands.

Law of this file: every key and field of the projection is made here, `docs/admission.md` describes them, and `admission.lua` reads them. A
command may be carried out any number of times.

    s:NAS/SESSION    string   the session's row, as JSON, as in `session.table`
    u:IDENTITY       hash     NAS/SESSION -> what decides about it, as JSON; `identity` -> groups, holds, spent quotas
    m:MAC, n:NAS     set      NAS/SESSION
    policy           string   the limits in force, as JSON
    state            hash     up to when all this is true

Theory of operation. What is to be written is a set of names, not of changes: each is written as the view has it at that moment. Beside a
session's name stand the places (identity, MAC, NAS) at which it may have been written before, so that it is taken away where it is not any
more; a write that failed half way only adds to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from schemas.codec import display, encode
from schemas.policy import Limit
from schemas.session import SESSION_ROW, IdentityRow, PartitionRow, SessionRow
from streams import limits, quotas
from streams.live_view import LiveView, Moved
from streams.merge import text_key
from streams.rulebook import Rulebook

IDENTITY_FIELD = "identity"
"""Beside the sessions in an identity's hash; a session's name holds a slash."""
PATTERNS = (("s:*", "string"), ("u:*", "hash"), ("m:*", "set"), ("n:*", "set"))
"""What is taken away before all is written anew: keys of our names and of our types. Others are not ours."""

Command = tuple[str | bytes | int, ...]


class Place(NamedTuple):
    """Where a session is written beside its own key."""

    identity: str
    device: str | None
    nas: str


class Piece(NamedTuple):
    """Commands that belong together, and what is to be written again if one of them fails.

    Attributes:
        session: the key in `session.table`; empty for an identity. places: at which it may be written then.
        identity: empty for a session.
    """

    commands: list[Command]
    session: str = ""
    places: frozenset[Place] = frozenset()
    identity: str = ""


class Projection:
    """What is not written yet.

    Attributes:
        policy_version: the policy that was written; None: none.
    """

    def __init__(self, prefix: str) -> None:
        self.policy_version: int | None = None
        self._prefix = prefix
        self._sessions: dict[str, set[Place]] = {}
        self._identities: set[str] = set()
        self._books: dict[int, Rulebook] = {}

    def __len__(self) -> int:
        return len(self._sessions) + len(self._identities)

    def moved(self, moved: Moved) -> None:
        """A session is not as it was."""
        places = self._sessions.setdefault(moved.key, set())
        if moved.before is not None:
            places.add(_place(moved.before))

    def touched(self, identities: Iterable[str]) -> None:
        """What is kept of these beside their sessions may not be as it was."""
        self._identities.update(identities)

    def everything(self, view: LiveView) -> None:
        """Nothing is written: all of the view is to be."""
        self.policy_version = None
        for partition in view.partitions:
            for key in partition.keys(nas=""):
                self._sessions.setdefault(key, set())
            self._identities.update(partition.identities())

    def take(self, view: LiveView, now_ms: int, pieces_max: int) -> list[Piece]:
        """Some of what is to be written, as it is now; `again` takes back what could not be.

        Args:
            view: what is open.
            now_ms: wall clock, milliseconds since the epoch: the clocks of partitions mean nothing to others.
            pieces_max: at most so many.
        """
        keys = list(islice(self._sessions, pieces_max))
        identities = list(islice(self._identities, pieces_max - len(keys)))
        self._identities.difference_update(identities)
        return [
            *(self._session(view, key, self._sessions.pop(key), now_ms) for key in keys),
            *(self._identity(view, identity, now_ms) for identity in identities),
        ]

    def again(self, piece: Piece) -> None:
        """It could not be written, or nobody knows."""
        if piece.session:
            self._sessions.setdefault(piece.session, set()).update(piece.places)
        else:
            self._identities.add(piece.identity)

    def policy(self, view: LiveView) -> list[Command]:
        """The newest policy that is in force anywhere, if it is not what was written."""
        version = max((partition.policy for partition in view.partitions), key=lambda each: each.version)
        if version.version == self.policy_version:
            return []
        self.policy_version = version.version
        for partition in view.partitions:
            self._identities.update(partition.identities())  # what is spent depends on it
        value = {"version": version.version, "limit": [_limit(limit) for limit in version.policy.limits]}
        return [("SET", self.key("policy"), encode(value))]

    def key(self, name: str) -> str:
        """A key of this installation."""
        return self._prefix + name

    def _session(self, view: LiveView, key: str, places: set[Place], now_ms: int) -> Piece:
        name = key.removeprefix("s:")
        everywhere = [(row, part.row) for part in view.partitions if (row := part.session(key)) is not None]
        found = everywhere[0] if everywhere else None  # one that changes its identity stands in two partitions for a moment
        here = None if found is None else _place(found[0])
        places.update(_place(row) for row, _ in everywhere[1:])
        commands: list[Command] = []
        for place in sorted(places - {here}, key=repr):
            commands.append(("HDEL", self.key(f"u:{place.identity}"), name))
            if here is None or place.device != here.device:
                commands += [("SREM", self.key(f"m:{place.device}"), name)] if place.device else []
            if here is None or place.nas != here.nas:
                commands.append(("SREM", self.key(f"n:{place.nas}"), name))
        if found is None or here is None:
            commands.append(("DEL", self.key(key)))
            return Piece(commands, key, frozenset(places))
        row, partition = found
        commands += [
            ("SET", self.key(key), SESSION_ROW.named(row)),
            ("HSET", self.key(f"u:{here.identity}"), name, encode(_deciding(row, partition, now_ms))),
            *([("SADD", self.key(f"m:{here.device}"), name)] if here.device else []),
            ("SADD", self.key(f"n:{here.nas}"), name),
        ]
        return Piece(commands, key, frozenset({*places, here}))

    def _identity(self, view: LiveView, identity: str, now_ms: int) -> Piece:
        home = view.home_of(identity)
        known = home.identity(identity)
        if home.policy.version not in self._books:
            self._books = {home.policy.version: Rulebook(home.policy.policy)}
        book = self._books[home.policy.version]
        spent = quotas.spent(known, book.questions(known.groups).quotas, home.row.wall_ms)
        value = _known(known, home.row, now_ms) | {
            "spent": [
                {"rule": stand.quota.name, "text": quotas.sentence(stand), "until_ms": stand.window.until_ms}
                for stand in spent
                if stand.quota.action == "disconnect"
            ]
        }
        key = self.key(f"u:{identity}")
        command: Command = ("HSET", key, IDENTITY_FIELD, encode(value)) if any(value.values()) else ("HDEL", key, IDENTITY_FIELD)
        return Piece([command], identity=identity)


def _place(row: SessionRow) -> Place:
    return Place(row.identity, row.device, row.nas)


def _deciding(row: SessionRow, partition: PartitionRow, now_ms: int) -> dict[str, object]:
    """What the question before a login asks of a session; times on the wall clock."""
    joined = row.acct_multi_session_id or row.audit_session_id
    return {
        "nas": row.nas,
        "acct_session_id": display(row.acct_session_id),
        "device": row.device or "",
        "roams_as": "" if joined is None else text_key(joined),
        "cannot_go": limits.cannot_go(row),
        "audit_session_id": row.audit_session_id or "",
        "groups": row.groups,
        "breached": row.breached,
        "counts": limits.counts(row),
        "going": row.kick_state in limits.IN_FLIGHT,
        "order_ms": row.order_ms,
        "opened_offset": row.opened_offset,
        "began_ms": now_ms - (partition.clock_ms - row.opened_clock_ms),
    }


def _known(known: IdentityRow, partition: PartitionRow, now_ms: int) -> dict[str, object]:
    holds = [
        {"device": hold.device, "rule": hold.rule, "until_ms": now_ms + hold.until_ms - partition.clock_ms}
        for hold in known.holds
        if hold.until_ms > partition.clock_ms
    ]
    return {"groups": known.groups, "holds": holds}


def _limit(limit: Limit) -> dict[str, object]:
    """A limit as the script asks it."""
    return {
        "name": limit.name,
        "applies_to": limit.applies_to,
        "group": limit.group,
        "max_sessions": limit.max_sessions,
        "count": limit.count,
        "victim": limit.victim,
        "acts": limits.acts(limit),
        "counter_time_limit_s": limit.counter_time_limit_s,
        "except": limit.exempt,
    }
