"""Every pinned name: topics with their settings, keys, headers, consumer groups, transactional ids, the Faust app and its agent.

Nothing derives a name from an import path. A prefix (`[kafka] topic_prefix`) goes before each, for several installations on one cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Topic:
    """A topic as it has to be.

    Attributes:
        name: without the installation's prefix.
        key: what its records are keyed by, for the documentation.
        retention_ms: how long records stay; None for a compacted topic.
        doc: one sentence for `curfew topics list` and AsyncAPI.
    """

    name: str
    key: str
    retention_ms: int | None
    doc: str

    @property
    def cleanup_policy(self) -> str:
        """Kafka's `cleanup.policy`."""
        return "compact" if self.retention_ms is None else "delete"

    def settings(self) -> dict[str, str]:
        """Kafka's topic configuration. Compacted topics keep tombstones a day, longer than a worker's longest outage should be."""
        if self.retention_ms is None:
            return {
                "cleanup.policy": "compact",
                "min.cleanable.dirty.ratio": "0.3",
                "segment.ms": str(6 * 3_600_000),
                "delete.retention.ms": str(DAY_MS),
            }
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_ms)}


ACCOUNTING = Topic("radius.accounting", "identity", 7 * DAY_MS, "The journal: all that a session agent may know, in order.")
EVENTS = Topic("session.events", "identity", 7 * DAY_MS, "What happened to sessions, for everybody.")
TABLE = Topic("session.table", "row", None, "The live directory: a row per session (s:), per identity (i:), and the agent's own (n:, p:).")
SLOTS = Topic("group.slots", "group", 7 * DAY_MS, "An identity takes or frees a slot of a group: the group agent's journal.")
GROUPS = Topic("group.table", "row", None, "The group agent's state: a row per slot (s:), per group (g:), and its own (p:).")
COMMANDS = Topic(
    "disconnect.commands", "NAS name", 7 * DAY_MS, "Disconnect commands, and what a kicker must know of the sessions they are about."
)
RESULTS = Topic("disconnect.results", "NAS name", 30 * DAY_MS, "What became of each disconnect command; one result of each is final.")
SIGHTINGS = Topic("presence.sightings", "MAC or address", DAY_MS, "Somebody was seen (ARP watcher, DHCP server, switch).")
PROBES = Topic("presence.probes", "NAS name", DAY_MS, "Questions to the prober: is a silent session's device still there?")
POLICY = Topic("policy", "name@version", None, "Every version of the policy.")
REJECTED = Topic("accounting.rejected", "source", 30 * DAY_MS, "What could not be understood: the reason, and the original bytes.")

TOPICS = (ACCOUNTING, EVENTS, TABLE, SLOTS, GROUPS, COMMANDS, RESULTS, SIGHTINGS, PROBES, POLICY, REJECTED)
"""All topics. They have one partition count, fixed for good: the identity's partition is the same number in each of them."""

KIND_HEADER = "kind"
"""The header that says what a record of `radius.accounting`, `group.slots` or `disconnect.commands` is."""

FAUST_APP = "curfew-worker"
SESSION_AGENT = "curfew.session"
GROUP_AGENT = "curfew.group"
WORKER_GROUP = "curfew-worker"
GROUPS_GROUP = "curfew-groups"
KICKER_GROUP = "curfew-kicker"
DOOR_GROUP = "curfew-door"
SIGHTINGS_DOOR_GROUP = "curfew-sightings"
PROBER_GROUP = "curfew-prober"
POLICY_TRANSACTIONAL_ID = "curfew-policy"


def checkpoint_transactional_id(prefix: str, group: str, partition: int) -> str:
    """The transactional.id that fences the former owner of a partition in a consumer group of workers."""
    return f"{prefix}{group}-{partition}"


def session_key(nas: str, acct_session_id: str) -> str:
    """The key of a session's row in `session.table`. NAS names hold no slash (the configuration's check), so it splits at the first."""
    return f"s:{nas}/{acct_session_id}"


def identity_key(identity: str) -> str:
    """The key of an identity's row in `session.table`."""
    return f"i:{identity}"


def nas_key(nas: str) -> str:
    """The key of what a partition knows of a NAS (an agent's own row)."""
    return f"n:{nas}"


def partition_key(partition: int) -> str:
    """The key of what a partition itself must remember (an agent's own row)."""
    return f"p:{partition}"


def fence_key(partition: int) -> str:
    """The key of the tombstone by which a new owner fences the former one: never a row, readers pass it over."""
    return f"p:{partition}/fence"


def policy_row_key(partition: int) -> str:
    """The key of the policy in force in a partition (an agent's own row)."""
    return f"p:{partition}/policy"
