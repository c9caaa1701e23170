"""The live directory for people's questions: `session.table` read from its start to its end, folded by key, and followed.

What a row means is not decided here; which sessions a person asks for is: by user (the ingest's own rule of identity), NAS, MAC or session.
Rows that cannot be read are counted and left out: one bad row must not hide all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import msgspec
from aiokafka.structs import ConsumerRecord

from agents.topic_reader import reading
from schemas.codec import UNREADABLE, display
from schemas.configuration import Configuration
from schemas.journal import PolicyVersion
from schemas.session import IDENTITY_ROW, PARTITION_ROW, SESSION_ROW, IdentityRow, PartitionRow, SessionRow
from schemas.topics import TABLE, partition_key, policy_row_key
from streams import limits
from streams.identity import IdentityRules
from streams.mac import normal_mac
from streams.memberships import groups_of
from streams.partitioner import partition_of
from streams.rulebook import Rulebook

_POLICY_VERSION = msgspec.json.Decoder(PolicyVersion).decode


class Selection(NamedTuple):
    """Which sessions are meant; what is empty is not asked for.

    Attributes:
        identities: under which the user's records may be filed.
        nas: the NAS's name.
        device: a MAC address in the table's notation.
        session: Acct-Session-Id, or NAS/Acct-Session-Id.
        ended: ended sessions in their grace period too.
    """

    identities: frozenset[str] = frozenset()
    nas: str = ""
    device: str = ""
    session: str = ""
    ended: bool = False

    @classmethod
    def of(
        cls, configuration: Configuration, *, user: str = "", nas: str = "", mac: str = "", session: str = "", ended: bool = False
    ) -> Self:
        """The selection that a person's words mean.

        Raises:
            ValueError: `mac` is no MAC address.
        """
        device = normal_mac(mac)
        if mac and device is None:
            raise ValueError(f"{mac!r} is no MAC address: write twelve hexadecimal digits, as in 02:00:5e:10:00:01")
        return cls(identities_of(configuration, user) if user else frozenset(), nas, device or "", session, ended)

    def matches(self, row: SessionRow) -> bool:
        """Whether a row is meant."""
        return (
            (self.ended or row.state != "ended")
            and (not self.identities or row.identity in self.identities)
            and (not self.nas or row.nas == self.nas)
            and (not self.device or row.device == self.device)
            and (not self.session or self.session in (display(row.acct_session_id), session_name(row)))
        )

    def partitions(self, count: int) -> frozenset[int] | None:
        """Where such sessions lie; None: anywhere."""
        return home_of(self.identities, count)


def identities_of(configuration: Configuration, user: str) -> frozenset[str]:
    """Under what a person's records may be filed.

    As the ingest files that User-Name, with and without a device that bears it out, and what is shown as the identity itself.
    """
    rules = IdentityRules(configuration.identity)
    return frozenset({rules.user_of(user), rules.user_of(user, normal_mac(user)), user} - {""})


def home_of(identities: frozenset[str], count: int) -> frozenset[int] | None:
    """The partitions in which these identities are at home; None: all, when none is named."""
    return frozenset(partition_of(identity, count) for identity in identities) or None


def session_name(row: SessionRow) -> str:
    """`NAS/Acct-Session-Id`, as people name a session."""
    return f"{row.nas}/{display(row.acct_session_id)}"


class Directory:
    """Rows folded by key. Only what `wanted` lets through is kept, so that memory is bounded by the answer.

    Attributes:
        sessions: by partition and key: a session that changed its partition may stand in two for a moment.
        identities: what is kept of the identities that are asked for.
        partitions: what each partition says of itself.
        policies: the policy in force in each partition.
        unreadable: rows that could not be read.
    """

    def __init__(self, wanted: Callable[[SessionRow], bool], identities: Callable[[str], bool] = lambda _: False) -> None:
        self.sessions: dict[tuple[int, bytes], SessionRow] = {}
        self.identities: dict[str, IdentityRow] = {}
        self.partitions: dict[int, PartitionRow] = {}
        self.policies: dict[int, PolicyVersion] = {}
        self.unreadable = 0
        self._wanted = wanted
        self._wanted_identity = identities
        self._homes: dict[str, int] = {}
        self._books: dict[int, Rulebook] = {}

    def apply(self, record: ConsumerRecord[Any, Any]) -> None:
        """Take one record of `session.table`."""
        try:
            self._fold(record.partition, record.key or b"", record.value)
        except UNREADABLE:
            self.unreadable += 1

    def rows(self) -> list[SessionRow]:
        """The sessions, by NAS and then in the order in which they were opened."""
        return sorted(self.sessions.values(), key=lambda row: (row.nas, row.order_ms, session_name(row)))

    def rows_in(self, group: str) -> list[SessionRow]:
        """Those that are in a group (a guest type is `guest:NAME`), by an operator's word or by what their records told."""
        return [row for row in self.rows() if group in groups_of(self.identities.get(row.identity) or IdentityRow(row.identity), row)]

    def homes(self) -> Iterable[tuple[str, int]]:
        """The partition of each identity that has a session here."""
        return self._homes.items()

    def scopes_of(self, row: SessionRow) -> list[str]:
        """In which limits a session counts, as of the last checkpoint: their names, and the group where they count in one."""
        partition = self._homes.get(row.identity, -1)
        if partition not in self.policies or partition not in self.partitions or not limits.counts(row):
            return []
        if partition not in self._books:
            self._books[partition] = Rulebook(self.policies[partition].policy)
        known = self.identities.get(row.identity) or IdentityRow(row.identity)
        scene = limits.Scene(self._books[partition], known, self.partitions[partition].clock_ms)
        asked = scene.book.questions(groups_of(known, row))
        counted = [each for each in (*asked.first, *asked.last) if limits.counts_in(scene, each, row)]
        counted += [each for each in asked.group if each.group in row.slots]
        return [f"{each.limit.name} in {each.group}" if each.group else each.limit.name for each in counted]

    def _fold(self, partition: int, key: bytes, value: bytes | None) -> None:
        if key.startswith(b"s:"):
            row = None if value is None else SESSION_ROW.read(value)
            if row is not None and self._wanted(row):
                self.sessions[partition, key] = row
                self._homes[row.identity] = partition
            else:
                self.sessions.pop((partition, key), None)
        elif key.startswith(b"i:"):
            identity = key[2:].decode()
            if value is not None and self._wanted_identity(identity):
                self.identities[identity] = IDENTITY_ROW.read(value)
            else:
                self.identities.pop(identity, None)
        elif value is not None and key == partition_key(partition).encode():
            self.partitions[partition] = PARTITION_ROW.read(value)
        elif value is not None and key == policy_row_key(partition).encode():
            self.policies[partition] = _POLICY_VERSION(value)


def nothing(_: SessionRow) -> bool:
    """No session is wanted: for questions about partitions and policies."""
    return False


async def read_directory(configuration: Configuration, selection: Selection) -> Directory:
    """The table as it stands now, for one selection.

    Raises:
        KafkaUnreachableError: Kafka does not answer.
        TopicsMissingError: there is no such topic.
    """
    directory = Directory(selection.matches, lambda identity: not selection.identities or identity in selection.identities)
    async with reading(configuration, TABLE, partitions=selection.partitions) as reader:
        async for record in reader.to_end():
            directory.apply(record)
    return directory
