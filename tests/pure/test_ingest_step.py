"""What the ingest decides about a packet."""

import base64
import json
import struct
from pathlib import Path

import msgspec
import pytest

from schemas.accounting import AccountingRecord
from schemas.codec import decoder, loads
from schemas.configuration import Identity, Nas
from schemas.journal import Rejected
from schemas.topics import ACCOUNTING, REJECTED
from streams.ingest_step import EVERY_PARTITION, IngestStep
from streams.partitioner import partition_of
from streams.radius.authenticator import ZEROS, message_authenticator, sign_request
from streams.radius.respond import STATUS_SERVER
from streams.radius.simulated import build_accounting_request

SECRET = b"testing123"
NASES = (
    Nas(name="campus", addresses=("192.0.2.0/24",), secret="testing123", interim_interval_s=600),
    Nas(name="strict", addresses=("192.0.2.9",), secret="other", require_message_authenticator=True),
    Nas(name="ap-1", addresses=("2001:db8::/64",), secret="testing123", nas_identifier="ap-1"),
    Nas(name="ap-2", addresses=("2001:db8::/64",), secret="testing123", nas_identifier="ap-2"),
)
PARTITIONS = 8
NOW_MS = 1_795_000_000_123
START, STOP, INTERIM, ON = 1, 2, 3, 7
DEFAULTS = [("identity", ""), ("event_source", "arrival")]
CORPORA = sorted((Path(__file__).parents[1] / "corpus").glob("*.jsonl"))


def step(nases=NASES, identity=None) -> IngestStep:
    return IngestStep(nases, identity or Identity(), PARTITIONS, "ingest-1")


def number(value: int) -> bytes:
    return struct.pack("!I", value)


def request(*attributes, status=START, session=b"s-1", secret=SECRET) -> bytes:
    first = [(40, number(status))] if status else []
    first += [(44, session)] if session is not None else []
    return build_accounting_request(identifier=7, secret=secret, attributes=[*first, *attributes])


def filed(packet, source="192.0.2.1", **kwargs):
    made = step(**kwargs)
    admitted = made.admit(packet, source)
    assert admitted == (packet, SECRET)
    return made.file(packet, source, NOW_MS)


def record_of(*attributes, **kwargs) -> AccountingRecord:
    found = filed(request(*attributes, **kwargs))
    assert found.topic == ACCOUNTING.name
    return decoder(AccountingRecord).decode(found.value)


def status_server(secret=SECRET, *, signed=True) -> bytes:
    authenticator = bytes(range(16))
    header = bytes((STATUS_SERVER, 1, 0, 38 if signed else 20))
    if not signed:
        return header + authenticator
    digest = message_authenticator(header, authenticator, bytes((80, 18)) + ZEROS, secret)
    return header + authenticator + bytes((80, 18)) + digest


def test_a_record_goes_under_its_identity_to_that_identitys_partition():
    """1.1: the record as it stands in the journal, and the interval stamped onto it from the configuration."""
    found = filed(request((1, b"Alice"), (4, bytes((10, 0, 0, 1))), (55, number(NOW_MS // 1000 - 3)), (77, b"11g")))
    assert (found.nas, found.topic, found.key) == ("campus", ACCOUNTING.name, b"alice")
    assert found.partition == partition_of("alice", PARTITIONS)
    assert loads(found.value) == {
        "identity": "alice",
        "status": "Start",
        "nas": "campus",
        "source": "192.0.2.1",
        "ingest": "ingest-1",
        "received_ms": NOW_MS,
        "event_ms": (NOW_MS // 1000 - 3) * 1000,
        "event_source": "event-timestamp",
        "interim_interval_s": 600,
        "acct_session_id": "s-1",
        "user_name": "Alice",
        "nas_ip_address": "10.0.0.1",
        "attributes": {"Connect-Info": "11g"},
    }
    assert found.proxy_states == []


def test_every_accounting_request_of_the_corpora_becomes_a_record_that_the_schema_knows_in_full():
    """1.7: what NASes really send decodes into AccountingRecord, and nothing of it is lost on the way there and back."""
    seen = 0
    for line in (json.loads(line) for corpus in CORPORA for line in corpus.read_text().splitlines()):
        nas = Nas(name="nas", addresses=("127.0.0.0/8",), secret=line["secret"] or "none")
        made = step((nas,))
        admitted = made.admit(bytes.fromhex(line["hex"]), "127.0.0.1")
        if isinstance(admitted, str) or admitted[0][0] == STATUS_SERVER:
            continue
        found = made.file(admitted[0], "127.0.0.1", NOW_MS)
        if found.topic == REJECTED.name:
            assert base64.b64decode(decoder(Rejected).decode(found.value).bytes) == admitted[0]
            continue
        record = decoder(AccountingRecord).decode(found.value)
        again = loads(msgspec.json.encode(record))
        original = loads(found.value)
        assert again == {key: value for key, value in original.items() if (key, value) not in DEFAULTS}, line["source"]
        assert decoder(AccountingRecord).decode(msgspec.json.encode(record)) == record
        seen += 1
    assert seen > 100


def test_every_packet_of_the_corpora_that_must_be_silent_is_refused_by_name():
    """1.2: malformed and unauthentic packets get no answer, and a reason."""
    reasons = set()
    for line in (json.loads(line) for corpus in CORPORA for line in corpus.read_text().splitlines()):
        if line.get("expect", "ok") == "ok" or "expect" not in line:
            continue
        outcome = step((Nas(name="nas", addresses=("127.0.0.1",), secret=line["secret"]),)).admit(bytes.fromhex(line["hex"]), "127.0.0.1")
        if line["expect"] in {"malformed", "bad-auth", "bad-ma"}:
            assert isinstance(outcome, str), line["source"]
            reasons.add(outcome)
    assert {"authenticator", "attribute-length", "attribute-overrun", "length-field"} <= reasons


@pytest.mark.parametrize(
    ("packet", "source", "reason"),
    [
        (request()[:-1], "192.0.2.1", "length-beyond-datagram"),
        (b"", "192.0.2.1", "too-short"),
        (request(), "198.51.100.1", "unknown-source"),
        (request(), "192.0.2.9", "authenticator"),
        (request(secret=b"other"), "192.0.2.9", "message-authenticator-missing"),
        (sign_request(1, 1, b"", SECRET), "192.0.2.1", "code"),
        (status_server(signed=False), "192.0.2.1", "message-authenticator-missing"),
        (status_server(b"wrong"), "192.0.2.1", "message-authenticator"),
    ],
)
def test_what_is_not_admitted_has_a_reason(packet, source, reason):
    """1.2: framing before anything else, then the source's secret."""
    assert step().admit(packet, source) == reason


def test_padding_is_ignored_and_a_status_server_is_admitted():
    """1.5, RFC 2866 section 3: octets beyond Length are padding."""
    packet = request()
    assert step().admit(packet + b"padding", "192.0.2.1") == (packet, SECRET)
    assert step().admit(status_server(), "192.0.2.1") == (status_server(), SECRET)


@pytest.mark.parametrize("status", [ON, 8])
def test_accounting_on_and_off_go_to_every_partition_without_identity(status):
    """2.4: every partition may hold sessions of that NAS."""
    found = filed(request((1, b"alice"), status=status))
    assert (found.partition, found.key) == (EVERY_PARTITION, None)
    assert decoder(AccountingRecord).decode(found.value).identity == ""


def test_a_record_without_any_identity_goes_to_every_partition():
    found = filed(request(status=9, session=None))
    assert (found.topic, found.partition, found.key) == (ACCOUNTING.name, EVERY_PARTITION, None)
    assert decoder(AccountingRecord).decode(found.value).status == "Tunnel-Start"


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({"status": 0}, "no-status-type"),
        ({"session": None}, "no-session-id"),
        ({"session": b"", "status": STOP}, "no-session-id"),
        ({"session": None, "status": INTERIM}, "no-session-id"),
    ],
)
def test_an_authentic_packet_without_what_a_record_needs_is_rejected_with_its_bytes(kwargs, reason):
    packet = request((1, b"alice"), (33, b"proxy"), **kwargs)
    found = filed(packet)
    assert (found.topic, found.partition, found.key) == (REJECTED.name, partition_of("192.0.2.1", PARTITIONS), b"192.0.2.1")
    rejected = decoder(Rejected).decode(found.value)
    assert (rejected.reason, rejected.time_ms, rejected.source, rejected.kind) == (reason, NOW_MS, "192.0.2.1", "accounting")
    assert base64.b64decode(rejected.bytes) == packet
    assert found.proxy_states == [b"proxy"]


def test_event_time_is_the_timestamp_else_arrival_less_delay_else_arrival():
    """1.8: both times are kept."""
    now_s = NOW_MS // 1000
    stamped = record_of((55, number(now_s - 86_399)), (41, number(5)))
    assert (stamped.event_ms, stamped.event_source, stamped.received_ms) == ((now_s - 86_399) * 1000, "event-timestamp", NOW_MS)
    delayed = record_of((41, number(5)))
    assert (delayed.event_ms, delayed.event_source, delayed.acct_delay_s) == (NOW_MS - 5000, "acct-delay-time", 5)
    bare = record_of()
    assert (bare.event_ms, bare.event_source) == (NOW_MS, "arrival")


@pytest.mark.parametrize("stamp_s", [0, NOW_MS // 1000 - 86_401, NOW_MS // 1000 + 86_402, 2**32 - 1])
def test_a_timestamp_beyond_belief_is_seen_but_not_believed(stamp_s):
    """1.8: NAS clocks lie."""
    record = record_of((55, number(stamp_s)), (41, number(5)))
    assert (record.event_ms, record.event_source) == (NOW_MS - 5000, "acct-delay-time")
    assert loads(bytes(record.attributes)) == {"Event-Timestamp": stamp_s}


def test_a_delay_that_reaches_back_beyond_1970_is_garbage():
    record = record_of((41, number(2**32 - 1)))
    assert (record.event_ms, record.event_source) == (NOW_MS, "arrival")


def test_an_attribute_of_the_wrong_size_is_dropped_by_name_and_the_record_goes_in():
    """1.3: RFC 6929 section 2.8."""
    record = record_of((1, b"alice"), (46, b"\1\2\3"), (52, number(1)), (42, number(5)))
    assert (record.dropped, record.session_time_s) == (["Acct-Session-Time"], None)
    assert (record.input_octets, record.gigawords) == (2**32 + 5, True)


def test_several_nases_behind_one_address_are_told_apart_by_their_attributes():
    """1.2: the secret is the address's, the name is the record's."""
    for name in ("ap-1", "ap-2"):
        assert filed(request((1, b"alice"), (32, name.encode())), "2001:db8::1").nas == name
    assert filed(request((1, b"alice"), (32, b"ap-3")), "2001:db8::1") == "unknown-nas"
    assert filed(request((1, b"alice"), (32, b"\xff")), "2001:db8::1") == "unknown-nas"
    assert filed(request((1, b"alice")), "2001:db8::1") == "unknown-nas"


def test_proxy_states_come_with_what_is_filed_in_order():
    """1.5: they go back unchanged and in order."""
    assert filed(request((33, b"one"), (1, b"alice"), (33, b"\0two"))).proxy_states == [b"one", b"\0two"]


def test_the_largest_packet_makes_a_record_far_below_the_brokers_limit():
    attributes = [(26, number(99999) + bytes((n % 256, 3, 0xFF))) for n in range(440)]
    assert len(filed(request(*attributes)).value) < 100_000
    assert len(filed(request(*[(1, b"\x01" * 253)] * 15)).value) < 100_000


@pytest.mark.parametrize(
    ("number_of", "value", "name", "field"),
    [
        (55, 0, "Event-Timestamp", None),  # 1970
        (55, 2**32 - 1, "Event-Timestamp", None),  # 2106
        (46, 2**32 - 1, "Acct-Session-Time", "session_time_s"),
        (41, 2**32 - 1, "Acct-Delay-Time", "acct_delay_s"),
        (41, 10**9, "Acct-Delay-Time", "acct_delay_s"),  # before RADIUS accounting was there
        (27, 0, "Session-Timeout", "session_timeout_s"),
        (27, 2**32 - 1, "Session-Timeout", "session_timeout_s"),
        (28, 0, "Idle-Timeout", "idle_timeout_s"),
    ],
)
def test_a_value_that_cannot_be_is_marked_and_the_record_stays(number_of, value, name, field):
    """1.3, 1.8: it stands in `attributes` as it was sent, and nothing follows from it."""
    record = record_of((number_of, number(value)), status=INTERIM)
    assert record.disbelieved == [name]
    assert loads(bytes(record.attributes))[name] == value
    assert field is None or getattr(record, field) is None
    assert (record.event_ms, record.event_source) == (NOW_MS, "arrival")


def test_values_that_can_be_are_believed():
    """1.8."""
    stamp = number(NOW_MS // 1000)
    record = record_of((55, stamp), (46, number(10**8)), (41, number(5)), (27, number(86_400)), (28, number(1)), status=INTERIM)
    assert record.disbelieved == []
    assert (record.session_time_s, record.acct_delay_s, record.session_timeout_s, record.idle_timeout_s) == (10**8, 5, 86_400, 1)
