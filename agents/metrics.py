"""Every metric, once. Bumped per batch on hot paths, never per record.

prometheus-client's multiprocess mode adds the processes of one machine up: `curfew up` sets PROMETHEUS_MULTIPROC_DIR for its children.
"""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import Counter, Gauge, Histogram

_LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 90)

PACKETS = Counter("curfew_packets", "Packets received on the accounting ports.")
ANSWERED = Counter("curfew_packets_answered", "Accounting-Responses sent.", ["why"])
"""why: `record` (durable in Kafka), `duplicate` (from the cache), `status-server`."""
REFUSED = Counter("curfew_packets_refused", "Packets that got no answer, by reason.", ["reason"])
UNANSWERED = Gauge("curfew_packets_unanswered", "Packets whose record is not acknowledged by Kafka yet.", multiprocess_mode="livesum")
BATCHES = Counter("curfew_batches", "Batches sent to the journal.", ["outcome"])
"""outcome: `acknowledged`, `failed`."""
BATCH_ACK_S = Histogram("curfew_batch_acknowledged_seconds", "From a batch's send to Kafka's acknowledgement.", buckets=_LATENCY_BUCKETS)
RECEIVE_BUFFER_DROPS = Gauge(
    "curfew_receive_buffer_drops", "Datagrams that the kernel dropped before us (SO_MEMINFO).", multiprocess_mode="livesum"
)
RADSEC_ENDED = Counter(
    "curfew_radsec_connections_ended", "Connections over TLS that were refused, or ended for a reason, by that.", ["reason"]
)
RADSEC_OPEN = Gauge("curfew_radsec_connections", "Connections over TLS that stand.", multiprocess_mode="livesum")

APPLIED = Counter("curfew_records_applied", "Journal records applied by the session agent, by kind.", ["kind"])
REJECTED = Counter("curfew_records_rejected", "Records that went to accounting.rejected, by reason.", ["reason"])
LAG = Gauge("curfew_lag_records", "Journal records not applied yet.", ["partition"], multiprocess_mode="mostrecent")
OPEN = Gauge("curfew_sessions_open", "Open sessions.", ["partition"], multiprocess_mode="mostrecent")
EVENTS = Counter("curfew_events", "Session events sent, by type.", ["type"])
CHECKPOINT_S = Histogram("curfew_checkpoint_seconds", "How long a partition's checkpoint took.", buckets=_LATENCY_BUCKETS)
CHECKPOINT_MS = Gauge(
    "curfew_checkpoint_time_ms", "When a partition's last checkpoint was committed.", ["partition"], multiprocess_mode="mostrecent"
)
RESTORE_S = Histogram("curfew_restore_seconds", "How long a partition's restore took.", buckets=_LATENCY_BUCKETS)

ADMISSIONS = Counter("curfew_admission_answers", "Questions before a login, by answer.", ["answer"])
"""answer: `allowed`, `open-already`, `refused`, `not-ready`, `not-kept` (its Session-Timeout could not be written)."""
RESERVED = Gauge("curfew_admission_reservations", "Reservations that stand.", multiprocess_mode="livesum")
VIEW_OPEN = Gauge("curfew_view_sessions_open", "Open sessions in the view that look-ups are answered from.", multiprocess_mode="livemax")
VIEW_BEHIND = Gauge("curfew_view_behind_records", "Rows and events that the view has not taken in yet.", multiprocess_mode="livemax")
NAS_HABITS = Gauge(
    "curfew_nas_habits", "NASes of which something is reported (`curfew nas list`), by what.", ["habit"], multiprocess_mode="livemax"
)
"""habit: `no-interims`, `clock-disbelieved`, `clock-behind`."""
PROJECTION_BEHIND_S = Gauge(
    "curfew_projection_behind_seconds", "For how long the projection in Redis has not been what the view is.", multiprocess_mode="livemax"
)
PROJECTION_BEHIND = Gauge(
    "curfew_projection_behind_records", "Sessions and identities whose keys in Redis are not written yet.", multiprocess_mode="livemax"
)
PROJECTED = Counter("curfew_projection_writes", "Keys written to Redis or taken away there.")
PROJECTION_REBUILT = Counter("curfew_projection_rebuilt", "How often the projection was written anew as a whole.")

GROUP_APPLIED = Counter("curfew_group_records_applied", "Records of group.slots applied by the group agent, by kind.", ["kind"])
GROUP_LAG = Gauge("curfew_group_lag_records", "Records of group.slots not applied yet.", ["partition"], multiprocess_mode="mostrecent")
GROUP_SLOTS = Gauge("curfew_group_slots", "Sessions that hold a slot in a group.", ["partition"], multiprocess_mode="mostrecent")
GROUP_DECISIONS = Counter("curfew_group_decisions", "What the group agent said and found, by what.", ["what"])
"""what: `granted`, `refused`, `evicted`, `checked` (old slots asked for), `drift` (slots without a session: there should be none),
`spent`, `freed`, `warned` (quotas of groups), `exceeded` (their rates)."""
GROUP_CHECKPOINT_MS = Gauge(
    "curfew_group_checkpoint_time_ms", "When a partition's last checkpoint was committed.", ["partition"], multiprocess_mode="mostrecent"
)


class LaneMetrics(NamedTuple):
    """What is measured of the partitions of one of the worker's agents.

    Attributes:
        applied: records, by kind. told: what followed from them. lag, open, checkpoint_ms: by partition.
    """

    applied: Counter
    told: Counter
    lag: Gauge
    open: Gauge
    checkpoint_ms: Gauge


SESSION_LANE = LaneMetrics(APPLIED, EVENTS, LAG, OPEN, CHECKPOINT_MS)
GROUP_LANE = LaneMetrics(GROUP_APPLIED, GROUP_DECISIONS, GROUP_LAG, GROUP_SLOTS, GROUP_CHECKPOINT_MS)

PROBES = Counter("curfew_probes", "Probes read by the prober, frames sent and answers, by outcome.", ["outcome"])
SIGHTINGS = Counter("curfew_sightings", "Sightings in the journal, counted in each partition, by outcome.", ["outcome"])

COMMANDS = Counter("curfew_disconnect_commands", "Disconnect commands read by the kicker, by reason.", ["reason"])
OUTCOMES = Counter("curfew_disconnect_outcomes", "Final outcomes of disconnect commands.", ["outcome"])
DISCONNECT_SENDS = Counter("curfew_disconnect_requests_sent", "Disconnect-Requests put on the wire, retransmissions included.")
REPLIES_REFUSED = Counter(
    "curfew_disconnect_replies_refused", "Replies on the kicker's ports that were not accepted, by reason.", ["reason"]
)
IN_FLIGHT = Gauge("curfew_disconnects_in_flight", "Commands without a final outcome.", multiprocess_mode="livesum")
DECISION_TO_REQUEST_S = Histogram(
    "curfew_packet_to_disconnect_seconds", "From the accounting packet's arrival to its Disconnect-Request.", buckets=_LATENCY_BUCKETS
)
DISCONNECT_ACCEPTED = Gauge(
    "curfew_disconnect_accepted",
    "NASes that said yes last to a request of this kind with these attributes.",
    ["request", "attributes"],
    multiprocess_mode="livesum",
)
DISCONNECT_NAS_SILENT = Gauge(
    "curfew_disconnect_nas_silent", "NASes that answer no Disconnect-Request at the moment.", multiprocess_mode="livesum"
)
PICKUPS = Counter("curfew_pickup_requests", "Visits of devices that poll, and what they report.", ["what"])
"""what: `visit`, `report`, `late-report`, `bad-report`, `unauthorized`."""
PORTAL = Counter("curfew_portal_packets", "Packets at the portal's port (NTF_LOGOUT), by what became of them.", ["what"])
"""what: `logout`, `unknown-user`, `repeat`, `full`, `not-written`, `unknown-source`, or why it was refused."""
