"""Behaviour 7.1: every topic has a name, a key, a JSON Schema and an entry in one AsyncAPI document; the files say what the types say."""

import msgspec
import pytest
from jsonschema import Draft202012Validator

from schemas.accounting import AccountingRecord
from schemas.codec import Octets, encode
from schemas.disconnect import Attempt, DisconnectCommand, DisconnectResult, SessionNotice
from schemas.documents import MESSAGES, asyncapi, message_of, topic_schema
from schemas.event import RecordRef, SessionEvent
from schemas.group import (
    GROUP_ROW,
    SLOT_ROW,
    SOURCES_ROW,
    GroupRow,
    GroupVerdict,
    SlotMessage,
    SlotRow,
    SourcesRow,
    Standing,
    group_key,
    slot_key,
    sources_key,
)
from schemas.journal import KINDS, Claim, Claims, MembershipOrder, OperatorCommand, PolicyVersion, Promise, QuotaOrder, Rejected, Tick
from schemas.policy import Limit, Policy, Quota
from schemas.session import IDENTITY_ROW, NAS_ROW, PARTITION_ROW, SESSION_ROW, IdentityRow, IngestClock, NasRow, PartitionRow, SessionRow
from schemas.sighting import Probe, Sighting, Sightings
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, GROUPS, POLICY, PROBES, REJECTED, RESULTS, SIGHTINGS, SLOTS, TABLE, TOPICS, Topic
from tests.support.schemas import DOCS, documents, validate

POLICY_VERSION = PolicyVersion(
    version=3,
    time_ms=1,
    who="root",
    policy=Policy(
        limits=(Limit(name="two", applies_to="user", max_sessions=2, exempt=("guest:*",)),),
        quotas=(Quota(name="daily", applies_to="user", per="day", octets=2**31),),
    ),
)
RECORD = AccountingRecord(
    status="Start",
    nas="campus",
    source="192.0.2.1",
    ingest="i-1",
    received_ms=1_700_000_000_000,
    event_ms=1_700_000_000_000,
    identity="alice",
    user_name=Octets("/w=="),
    framed_ipv6_prefix=["2001:db8::/64"],
    class_="group=staff",
    attributes=msgspec.Raw(b'{"26.9.1":["x"]}'),
    dropped=["Framed-MTU"],
)
SESSION = SessionRow("campus", "a-1", "alice", "open", user_name="Alice", framed_ipv6_prefix=["2001:db8::/64"], kick_state="requested")
COMMAND = DisconnectCommand(
    id="0-7-1-alice",
    time_ms=1,
    expires_ms=2,
    nas="campus",
    identity="alice",
    session={"user_name": {"base64": "/w=="}},
    reason="limit",
    because=[RecordRef(topic="radius.accounting", partition=0, offset=7)],
)
RESULT = DisconnectResult(
    command_id="0-7-1-alice",
    time_ms=1,
    nas="campus",
    identity="alice",
    acct_session_id="a-1",
    final=True,
    outcome="refused",
    error_cause=404,
    error_cause_name="Invalid-Request",
    attempts=[Attempt(attributes=["User-Name"], port=50000, identifier=7, sent_ms=[1, 2], answer="Disconnect-NAK", round_trip_ms=0.5)],
)
EVENT = SessionEvent(
    id="0-7-0-alice", type="session.started", seq=1, seq_epoch=7, time_ms=1, because=COMMAND.because, passed=["two: 1 of 2"]
)
NOTICE = SessionNotice(command_id="0-7-1-alice", nas="campus", identity="alice", acct_session_id="a-1", said_by="nas-stop", time_ms=1)
ORDER = OperatorCommand(id="k-0", identity="alice", nas="campus", acct_session_id="a-1", time_ms=1, expires_ms=2, who="root", text="why")
SIGHTING = Sighting(time_ms=1, by="prober", mac="02:aa:00:00:00:01", address="192.0.2.7", probe_id="0-9-0-alice", nas="campus")
PROBE = Probe(id="0-9-0-alice", kind="arp", nas="campus", addresses=["192.0.2.7"], rule="handshake", asked_ms=1)
CLAIM = Claim("campus", "a-1", "alice", "open", None, False, True, 1, True, 1, 1, True, True, 1, None, None, None, None, None)
CLAIMS = Claims(op="ask", partition=3, batch=9, time_ms=1, sessions=[CLAIM])
SLOT = SlotMessage(op="take", group="staff", identity="alice", session="s:campus/a-1", partition=0, offset=7, nth=1, time_ms=1)
VERDICT = GroupVerdict(
    id="g1-9-0-alice",
    op="answer",
    group="staff",
    identity="alice",
    session="s:campus/a-1",
    reported=[Standing("told", 2, 2)],
    sessions=[("alice", "s:campus/a-1")],
    time_ms=1,
    expires_ms=2,
)
EXAMPLES = [
    (ACCOUNTING, "claim", "claim", encode(CLAIMS)),
    (ACCOUNTING, "alice", "accounting", encode(RECORD)),
    (ACCOUNTING, None, "tick", encode(Tick(ingest="i-1", wall_ms=1, mono_ms=2, full=True, began=[("campus", 60_000)]))),
    (ACCOUNTING, None, "policy", encode(POLICY_VERSION)),
    (ACCOUNTING, "alice", "result", encode(RESULT)),
    (ACCOUNTING, "alice", "operator", encode(ORDER)),
    (ACCOUNTING, "alice", "sighting", encode(Sightings(seen=[SIGHTING]))),
    (ACCOUNTING, "alice", "verdict", encode(VERDICT)),
    (ACCOUNTING, "alice", "membership", encode(MembershipOrder(identity="alice", groups=("staff", "guest:day")))),
    (SLOTS, "staff", "quota", encode(QuotaOrder(id="q-2", op="reset", identity="", rule="daily", group="staff", time_ms=1))),
    (ACCOUNTING, "alice", "quota", encode(QuotaOrder(id="q-1", op="topup", identity="alice", rule="daily", amount=1, time_ms=1))),
    (ACCOUNTING, "alice", "promise", encode(Promise(id="r", identity="alice", nas="ap", session_timeout_s=60, time_ms=1, expires_ms=2))),
    (SLOTS, "staff", "slot", encode(SLOT)),
    (SLOTS, None, "tick", encode(Tick(ingest="i-1", wall_ms=1, mono_ms=2))),
    (SLOTS, None, "policy", encode(POLICY_VERSION)),
    (GROUPS, slot_key("staff", "alice", "s:campus/a-1"), "", SLOT_ROW.named(SlotRow("staff", "alice", "s:campus/a-1", breached=("told",)))),
    (GROUPS, group_key("staff"), "", GROUP_ROW.named(GroupRow("staff", drift=1))),
    (GROUPS, sources_key(1), "", SOURCES_ROW.named(SourcesRow(1, ((7, 1), (-1, -1))))),
    (GROUPS, "p:1", "", PARTITION_ROW.named(PartitionRow(1, next_offset=8))),
    (GROUPS, "p:1/policy", "", encode(POLICY_VERSION)),
    (EVENTS, "alice", "", encode(EVENT)),
    (TABLE, "s:campus/a-1", "", SESSION_ROW.named(SESSION)),
    (TABLE, "i:alice", "", IDENTITY_ROW.named(IdentityRow("alice", seq=3, seq_epoch=7))),
    (TABLE, "n:campus", "", NAS_ROW.named(NasRow("campus", talks={"i-1": 5}))),
    (TABLE, "p:0", "", PARTITION_ROW.named(PartitionRow(0, next_offset=8, ingests={"i-1": IngestClock(1, 2, 3, 4)}, policies=[(3, 5)]))),
    (TABLE, "p:0/policy", "", encode(POLICY_VERSION)),
    (TABLE, "s:campus/a-1", "", None),
    (COMMANDS, "campus", "command", encode(COMMAND)),
    (COMMANDS, "campus", "notice", encode(NOTICE)),
    (RESULTS, "campus", "", encode(RESULT)),
    (SIGHTINGS, "192.0.2.7", "", encode(SIGHTING)),
    (PROBES, "campus", "", encode(PROBE)),
    (POLICY, "default@3", "", encode(POLICY_VERSION)),
    (
        REJECTED,
        "campus",
        "",
        encode(Rejected(reason="not-json", time_ms=1, topic="policy", partition=0, offset=7, bytes="e30=")),
    ),
]


@pytest.mark.parametrize(("topic", "key", "kind", "value"), EXAMPLES, ids=lambda part: getattr(part, "name", None))
def test_what_the_types_write_is_what_the_schemas_say(topic, key, kind, value):
    """7.1"""
    validate(topic, key, kind, value)


def test_every_kind_of_message_has_been_tried_above():
    """7.1"""
    tried = {(topic.name, message_of(topic, key or "", kind)) for topic, key, kind, value in EXAMPLES if value is not None}
    assert tried == {(topic.name, message) for topic, messages in MESSAGES.items() for message in messages}


def test_a_wrong_type_a_missing_field_and_an_unknown_one_are_found():
    """7.1"""
    for broken in (b'{"id":7}', encode(EVENT).replace(b'"seq":1', b'"seq":"one"'), encode(EVENT)[:-1] + b',"invented":1}'):
        with pytest.raises(AssertionError, match=r"session\.events SessionEvent"):
            validate("session.events", "alice", "", broken)


def test_a_kind_that_a_topic_does_not_have_is_no_message_of_it():
    """7.1"""
    assert set(KINDS) == {message.kind for message in MESSAGES[ACCOUNTING]}
    for kind in ("slot", "", "invented"):
        with pytest.raises(KeyError):
            message_of(ACCOUNTING, "alice", kind)
    with pytest.raises(KeyError):
        message_of(TABLE, "x:1", "")


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_every_topic_has_a_schema_that_is_one(topic):
    """7.1"""
    schema = topic_schema(topic)
    Draft202012Validator.check_schema(schema)
    assert schema["title"] == topic.name
    assert ("not" in schema) == (topic not in MESSAGES)


def test_a_reserved_topic_allows_nothing():
    """7.1"""
    schema = topic_schema(Topic("reserved.name", "nobody", None, "Not yet."))
    assert list(Draft202012Validator(schema).iter_errors({}))


def test_asyncapi_names_every_topic_with_its_key_and_settings_and_every_reference_leads_somewhere():
    """7.1"""
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert list(document["channels"]) == [topic.name for topic in TOPICS]
    for topic in TOPICS:
        channel = document["channels"][topic.name]
        settings = channel["bindings"]["kafka"]["topicConfiguration"]
        assert settings["cleanup.policy"] == [topic.cleanup_policy]
        assert settings.get("retention.ms") == topic.retention_ms
        assert set(channel["messages"]) == {message.type.__name__ for message in MESSAGES.get(topic, ())}
        assert all(message["bindings"]["kafka"]["key"]["description"] == topic.key for message in channel["messages"].values())
    references = list(_references(document))
    assert references
    for reference in references:
        found = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_the_committed_documents_are_what_the_types_say_and_there_are_no_others():
    """7.1: `python -m tests.support.schemas` writes them anew."""
    wanted = dict(documents())
    stale = [path.name for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    assert not stale, f"{stale} differ from the types: python -m tests.support.schemas writes them anew (compatible changes only)"
    assert set((DOCS / "schemas").iterdir()) <= set(wanted)


def _references(part):
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)
