"""What the projection in Redis holds, and which commands bring it there (behaviour 7.4). Pure: (live view, what was written) -> commands.

Law of this file: every key and field of the projection is made here, `docs/admission.md` describes them, and `admission.lua` reads them. A
command may be carried out any number of times.

    s:NAS/SESSION    string   the session's row, as JSON, as in `session.table`
    u:IDENTITY       hash     NAS/SESSION -> what decides about it, as JSON; `identity` -> groups, holds, spent quotas, last Starts
    m:MAC, n:NAS     set      NAS/SESSION
    g:GROUP          string   by limit of the group: how many slots are taken, whether one of them can be made free; as JSON
    policy           string   the limits and rates in force, and the quotas of whole groups that are spent, as JSON
    state            hash     up to when all this is true

Theory of operation. What is to be written is a set of names, not of changes: each is written as the view has it at that moment. Beside a
session's name stand the places (identity, MAC, NAS) at which it may have been written before, so that it is taken away where it is not any
more; a write that failed half way only adds to them. Groups are counted by the rows that are written (`admission_groups`), so that a
group's figures are those of the sessions that stand there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from msgspec.structs import replace

from schemas.codec import display, encode
from schemas.policy import GUEST, Limit, Policy, Rate
from schemas.session import SESSION_ROW, IdentityRow, PartitionRow, SessionRow
from streams import limits, quotas
from streams.admission_groups import GroupCounts
from streams.live_view import LiveView, Moved
from streams.memberships import groups_of
from streams.merge import text_key
from streams.rulebook import fits

IDENTITY_FIELD = "identity"
"""Beside the sessions in an identity's hash; a session's name holds a slash."""
PATTERNS = (("s:*", "string"), ("u:*", "hash"), ("m:*", "set"), ("n:*", "set"), ("g:*", "string"))
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
        identity, group: empty for a session. begun: it has just begun.
    """

    commands: list[Command]
    session: str = ""
    places: frozenset[Place] = frozenset()
    identity: str = ""
    group: str = ""
    begun: bool = False


class Projection:
    """What is not written yet.

    Attributes:
        policy_version: the policy that was written; None: none.
    """

    def __init__(self, prefix: str, script: str = "") -> None:
        """Nothing is written yet.

        Args:
            prefix: of all keys.
            script: the digest of `admission.lua`, by which a session takes the reservation that was for it; empty: nobody reserves there.
        """
        self.policy_version: int | None = None
        self._prefix = prefix
        self._script = script
        self._groups = GroupCounts()
        self._counted: dict[str, SessionRow] = {}
        self._changed: dict[str, None] = {}
        self._figures: dict[str, dict[str, tuple[int, bool]]] = {}
        self._begun: set[str] = set()
        self._spent: list[dict[str, object]] = []
        self._sessions: dict[str, set[Place]] = {}
        self._identities: set[str] = set()

    def __len__(self) -> int:
        return len(self._sessions) + len(self._identities) + len(self._changed)

    def moved(self, moved: Moved) -> None:
        """A session is not as it was."""
        places = self._sessions.setdefault(moved.key, set())
        before, after = moved.before, moved.after
        if before is not None:
            places.add(_place(before))
        if before is None or (after is not None and before.identity != after.identity):
            self._begun.add(moved.key)

    def touched(self, identities: Iterable[str]) -> None:
        """What is kept of these beside their sessions may not be as it was."""
        self._identities.update(identities)

    def everything(self, view: LiveView) -> None:
        """Nothing is written: all of the view is to be."""
        self.forget()
        for partition in view.partitions:
            self._sessions.update((key, set()) for key in partition.keys(nas=""))
            self._identities.update(partition.identities())

    def forget(self) -> None:
        """Nothing is written by us, and nothing is to be: another projector writes, and its are the reservations that Starts consume."""
        self.policy_version = None
        self._groups = GroupCounts()
        for kept in (self._counted, self._changed, self._figures, self._begun, self._sessions, self._identities):
            kept.clear()

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
        pieces = [
            *(self._session(view, key, self._sessions.pop(key), now_ms) for key in keys),
            *(self._identity(view, identity, now_ms) for identity in identities),
        ]
        groups = list(islice(self._changed, pieces_max))
        for group in groups:
            del self._changed[group]
        return [*(self._group(group, now_ms) for group in groups), *pieces]

    def again(self, piece: Piece) -> None:
        """It could not be written, or nobody knows."""
        if piece.session:
            self._sessions.setdefault(piece.session, set()).update(piece.places)
            self._begun.update([piece.session] if piece.begun else [])
        elif piece.group:
            self._changed[piece.group] = None
        else:
            self._identities.add(piece.identity)

    def policy(self, view: LiveView, now_ms: int) -> list[Command]:
        """The newest policy that is in force anywhere, if it is not what was written; to be asked for now and then, as time goes on."""
        version = max((partition.policy for partition in view.partitions), key=lambda each: each.version)
        self._count_by(tuple(limit for limit in version.policy.limits if limit.applies_to == "group"), now_ms)
        spent = _spent_of_groups(version.policy, [partition.row for partition in view.partitions])
        if (version.version, spent) == (self.policy_version, self._spent):
            return []
        if version.version != self.policy_version:
            for partition in view.partitions:
                self._identities.update(partition.identities())  # what is spent depends on it
        self.policy_version, self._spent = version.version, spent
        value = {
            "version": version.version,
            "limit": [_limit(limit) for limit in version.policy.limits],
            "rate": [_rate(rate) for rate in version.policy.rates if rate.action == "disconnect" and rate.applies_to != "group"],
            "spent": spent,
        }
        return [("SET", self.key("policy"), encode(value))]

    def key(self, name: str) -> str:
        """A key of this installation."""
        return self._prefix + name

    def _session(self, view: LiveView, key: str, places: set[Place], now_ms: int) -> Piece:
        name = key.removeprefix("s:")
        everywhere = [(row, part.row) for part in view.partitions if (row := part.session(key)) is not None]
        found = everywhere[0] if everywhere else None  # one that changes its identity stands in two partitions for a moment
        self._count(view, key, found, now_ms)
        begun = found is not None and key in self._begun
        self._begun.discard(key)
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
            *(self._taken(here) if begun else []),
        ]
        return Piece(commands, key, frozenset({*places, here}), begun=begun)

    def _taken(self, place: Place) -> list[Command]:
        """Have the script give the reservation to the session that has begun there."""
        if not self._script:
            return []
        keys = [self.key(name) for name in (f"u:{place.identity}", f"r:{place.identity}", "policy", "state")]
        return [("EVALSHA", self._script, len(keys), *keys, place.nas, place.device or "", *[""] * 4, 0, 0, 0)]

    def _count(self, view: LiveView, key: str, found: tuple[SessionRow, PartitionRow] | None, now_ms: int) -> None:
        """Put a session's slots of groups to the figures, as it is written."""
        before = self._counted.pop(key, None)
        if before is not None:
            self._groups.free(key, before.identity, before.slots)
            self._changed.update(dict.fromkeys(before.slots))
        if found is not None and found[0].slots:
            row, partition = found
            row = replace(row, groups=groups_of(view.home_of(row.identity).identity(row.identity), row))
            self._groups.hold(key, row, row.slots, now_ms - (partition.clock_ms - row.opened_clock_ms))
            self._counted[key] = row
            self._changed.update(dict.fromkeys(row.slots))

    def _count_by(self, of_groups: tuple[Limit, ...], now_ms: int) -> None:
        """By these limits groups are counted; with time sessions grow too old for some."""
        if self._groups.under(of_groups):
            self._changed.update(dict.fromkeys([*self._groups.names(), *self._figures]))
        if any(limit.counter_time_limit_s for limit in of_groups):
            aged = (group for group in self._groups.names() if self._groups.figures(group, now_ms) != self._figures.get(group))
            self._changed.update(dict.fromkeys(aged))

    def _group(self, group: str, now_ms: int) -> Piece:
        figures, key = self._groups.figures(group, now_ms), self.key(f"g:{group}")
        if not figures:
            self._figures.pop(group, None)
            return Piece([("DEL", key)], group=group)
        self._figures[group] = figures
        value = {name: {"current": current, "evicts": evicts} for name, (current, evicts) in figures.items()}
        return Piece([("SET", key, encode(value))], group=group)

    def _identity(self, view: LiveView, identity: str, now_ms: int) -> Piece:
        home = view.home_of(identity)
        value = _known(home.identity(identity), home.row, home.policy.policy, now_ms)
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
        "slots": row.slots,
        "breached": row.breached,
        "counts": limits.counts(row),
        "going": row.kick_state in limits.IN_FLIGHT,
        "opened_offset": row.opened_offset,
        "began_ms": now_ms - (partition.clock_ms - row.opened_clock_ms),
    }


def _known(known: IdentityRow, partition: PartitionRow, policy: Policy, now_ms: int) -> dict[str, object]:
    """What is kept of an identity beside its sessions, as the script asks it."""
    past_ms = now_ms - partition.clock_ms
    holds = [
        {"device": hold.device, "rule": hold.rule, "until_ms": past_ms + hold.until_ms}
        for hold in known.holds
        if hold.until_ms > partition.clock_ms
    ]
    rates = {rate.name for rate in policy.rates if rate.action == "disconnect"}
    recent = [
        {"rule": each.rule, "group": each.group, "at_ms": [past_ms + start_ms for start_ms in each.starts_ms]}
        for each in known.recent
        if each.rule in rates
    ]
    return {"groups": known.groups, "holds": holds, "recent": recent, "spent": list(_spent(known, policy, partition.wall_ms))}


def _spent(known: IdentityRow, policy: Policy, wall_ms: int) -> Iterator[dict[str, object]]:
    """The quotas that somebody has nothing left of, in whatever groups: which of them count is the question's."""
    rules = {quota.name: quota for quota in policy.quotas if quota.action == "disconnect" and quota.applies_to != "group"}
    for window in known.windows:
        quota = rules.get(window.rule)
        if quota is None or wall_ms >= window.until_ms or not quotas.is_spent(quota, window):
            continue
        stand = quotas.Stand(quota, window.group, window)
        if _means(stand):
            yield _told(stand, GUEST + window.group if quota.applies_to == "guest-type" else window.group)


def _spent_of_groups(policy: Policy, partitions: list[PartitionRow]) -> list[dict[str, object]]:
    """The quotas of whole groups that nothing is left of, as the partitions have heard."""
    rules = {quota.name: quota for quota in policy.quotas if quota.action == "disconnect" and quota.applies_to == "group"}
    told = {(each.rule, each.group): each for partition in partitions for each in partition.spent if partition.wall_ms < each.until_ms}
    stands = [quotas.stand_of(rules[rule], spent) for (rule, _), spent in sorted(told.items()) if rule in rules]
    return [_told(stand, stand.group) for stand in stands if quotas.is_spent(stand.quota, stand.window) and _means(stand)]


def _means(stand: quotas.Stand) -> bool:
    """Whether a newer policy still means the user, or the group, by a quota of this name."""
    return not stand.group if stand.quota.applies_to == "user" else stand.group != "" and fits(stand.quota.group, stand.group)


def _told(stand: quotas.Stand, group: str) -> dict[str, object]:
    return {"rule": stand.quota.name, "group": group, "text": quotas.sentence(stand), "until_ms": stand.window.until_ms}


def _rate(rate: Rate) -> dict[str, object]:
    """A rate as the script asks it."""
    return {
        "name": rate.name,
        "applies_to": rate.applies_to,
        "group": rate.group,
        "starts": rate.starts,
        "within_s": rate.within_s,
        "except": (),
    }


def _limit(limit: Limit) -> dict[str, object]:
    """A limit as the script asks it."""
    return {
        "name": limit.name,
        "applies_to": limit.applies_to,
        "group": limit.group,
        "max_sessions": limit.max_sessions,
        "count": limit.count,
        "victim": limit.victim,
        "victim_scope": limit.victim_scope,
        "acts": limits.acts(limit),
        "counter_time_limit_s": limit.counter_time_limit_s,
        "except": limit.exempt,
    }
