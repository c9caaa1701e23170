"""What is fuzzed: each target takes arbitrary octets and raises only if the product is wrong.

Law of this file: a target knows what must hold, nothing of how octets are found (`__main__`, tests/pure/test_fuzz_targets.py), and has no
state that outlives a call.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import orjson
from pyrad.packet import PacketError

from agents.http_api import RefusedRequest, read_question
from schemas.admission import Question
from schemas.codec import UNREADABLE, decoder, encode
from schemas.configuration import Identity
from schemas.configuration_check import check_configuration
from schemas.journal import KINDS
from schemas.policy import Duration, Limit, Liveness, Membership, Quota, Rate
from schemas.policy_check import check_policy
from schemas.session import SESSION_ROW, SessionRow
from schemas.sighting import Sighting
from schemas.topics import ACCOUNTING, SLOTS
from streams.admission import Desk, Reservations
from streams.group_core import GroupCore
from streams.identity import IdentityRules
from streams.kick_records import Refusal, read_record, read_result
from streams.live_view import LiveView
from streams.partition_core import PartitionCore
from streams.radius.authenticator import BadAuthenticator, verify_keyed_request, verify_response, verify_status_server
from streams.radius.decode import Decoded, decode_accounting
from streams.radius.disconnect import RefusedReply, read_reply
from streams.radius.framing import Malformed, check_framing
from streams.radius.respond import accounting_response
from streams.radius.simulated import parse_disconnect_request
from streams.rulebook import Rulebook
from streams.session_core import SessionCore
from streams.sighting_gate import Gate
from streams.step import Output
from tests.support.journal import T0_MS, Record, groups, policy, start, tick
from tests.support.pyrad_view import compare

SECRET = b"fuzz"
GROUP_KINDS = ("slot", "policy", "quota", "tick")
RULES = (
    Limit("one", "user", 1, victim="oldest", hold_s=60),
    Limit("many", "group", 1, group="staff"),
    Quota("day", "user", "day", octets=1000, warn_at=(80,)),
    Quota("all", "group", "month", time_s=100, group="staff"),
    Rate("often", "user", 2, 60),
    Duration("hour", "user", 3600),
    Liveness("handshake", times=3, period_s=100, probe="arp"),
    Membership("Class", "^(?P<group>[a-z]+)$"),
)
BEFORE = (
    tick(0, began=[("ap1", 60_000)]),
    policy(*RULES),
    groups("bob", "staff"),
    start("s1", "bob", at_s=1, framed_ip_address="10.0.0.1", class_="guests"),
    tick(2, heard=[("ap1", 0)]),
)
"""What the partition knows before the strange records come."""
AFTER = (start("s2", "bob", at_s=60), tick(3000, heard=[("ap1", 0)]), tick(100_000, heard=[("ap1", 0)]))
"""And what it is told after them."""


def take_in(datagram: bytes, key: bytes) -> Decoded | None:
    """Do with a datagram all that is done to one; give what it was decoded to."""
    read_reply(datagram, b"\x28" + bytes(19), key)
    parse_disconnect_request(datagram, key)
    length = check_framing(datagram)
    if isinstance(length, Malformed):
        return None
    packet = datagram[:length]
    for answer in (verify_keyed_request(packet, key), verify_status_server(packet, key), verify_response(packet, packet, key)):
        assert answer is None or isinstance(answer, BadAuthenticator)
    decoded = decode_accounting(packet)
    whole = {"fields": decoded.fields, "attributes": decoded.attributes, "dropped": decoded.dropped, "status": decoded.status}
    assert orjson.loads(orjson.dumps(whole)) == whole
    response = accounting_response(packet, key, decoded.proxy_states)
    assert verify_response(response, packet, key) is None
    return decoded


def packet(octets: bytes) -> None:
    """A datagram at the accounting port: decoded as pyrad decodes it, where pyrad can."""
    if take_in(octets, SECRET) is None:
        return
    length = check_framing(octets)
    try:
        compare(octets[:length], SECRET, strange=True)
    except (PacketError, ValueError, struct.error, IndexError, KeyError):
        return  # pyrad does not take it


def reply(octets: bytes) -> None:
    """A datagram at the port that a Disconnect-Request went out from."""
    request = b"\x28" + octets[1:2] + (20).to_bytes(2) + bytes(16)
    read = read_reply(octets, request, SECRET)
    if not isinstance(read, RefusedReply):
        assert verify_response(octets[: int.from_bytes(octets[2:4])], request, SECRET) is None


def journal(octets: bytes) -> None:
    """Records of the journal, an octet 0 between them and the kind's number before each: none does harm, and a restore knows the same."""
    core = SessionCore(0, 1, ACCOUNTING.name)
    feed(core, BEFORE)
    assert not core.rejected_reasons
    feed(core, [Record(KINDS[text[0] % len(KINDS)], b"k", text[1:]) for text in octets.split(b"\0") if text])
    feed(core, AFTER)
    if "policy" in {KINDS[text[0] % len(KINDS)] for text in octets.split(b"\0") if text}:
        core.rejected_reasons.pop("poison", None)  # the door lets only checked versions in
    assert "poison" not in core.rejected_reasons, core.rejected_reasons
    again = SessionCore(0, 1, ACCOUNTING.name)
    for key, value in core.checkpoint():
        again.restore(key, value)
    again.restored()
    assert again.table.rows == core.table.rows
    assert again.table.identities == core.table.identities
    assert again.row == core.row


def slots(octets: bytes) -> None:
    """Records of the group agent's journal, as `journal`."""
    core = GroupCore(0, 1, SLOTS.name)
    feed(core, BEFORE[:2])
    assert not core.rejected_reasons
    feed(core, [Record(GROUP_KINDS[text[0] % len(GROUP_KINDS)], b"staff", text[1:]) for text in octets.split(b"\0") if text])
    feed(core, AFTER[1:])
    if "policy" in {GROUP_KINDS[text[0] % len(GROUP_KINDS)] for text in octets.split(b"\0") if text}:
        core.rejected_reasons.pop("poison", None)
    assert "poison" not in core.rejected_reasons, core.rejected_reasons


def feed(core: PartitionCore, records: list[Record] | tuple[Record, ...]) -> None:
    """Apply some records; each is applied or refused, and the next one comes."""
    out: list[Output] = []
    for record in records:
        offset = core.next_offset
        core.apply(offset, record.kind, record.key, record.value, out)
        assert core.next_offset == offset + 1


def topics(octets: bytes) -> None:
    """A record of any other topic: read, or refused by one of the exceptions that its readers know."""
    key, _, value = octets.partition(b"\0")
    view = LiveView(1).partitions[0]
    view.take_row(key, value)
    view.take_event(value)
    assert read_result(value) is None or value
    for kind in ("command", "notice"):
        assert isinstance(read_record(kind, value), Refusal) or value
    core = SessionCore(0, 1, ACCOUNTING.name)
    try:
        core.restore(key, value)
    except UNREADABLE:
        return
    core.restored()
    feed(core, AFTER)


def policy_file(octets: bytes) -> None:
    """A policy file: a policy that can be put in force, or problems with their lines."""
    text = octets.decode(errors="replace")
    checked = check_policy(text, "policy.toml")
    assert checked.value is not None or checked.problems
    if checked.value is not None:
        Rulebook(checked.value)


def configuration_file(octets: bytes) -> None:
    """A configuration file: a configuration, or problems with their lines."""
    checked = check_configuration(octets.decode(errors="replace"), "curfew.toml")
    assert checked.value is not None or checked.problems


def http_body(octets: bytes) -> None:
    """The body of a question before a login, and a sighting: answered, or refused with a word."""
    view = LiveView(1)
    view.partitions[0].take_row(b"s:ap1/s1", SESSION_ROW.named(SessionRow("ap1", "s1", "bob", "open")))
    try:
        question: Question | None = read_question(octets)
    except RefusedRequest:
        question = None
    if question is not None:
        answer = Desk(view, IdentityRules(Identity()), Reservations(60_000, 8)).ask(question, 0, "r1")
        assert encode(answer)
    try:
        sighting = _SIGHTING(octets)
    except UNREADABLE:
        return
    Gate().refuses(sighting, T0_MS, 0)


_SIGHTING = decoder(Sighting).decode

TARGETS: dict[str, Callable[[bytes], None]] = {
    "packet": packet,
    "reply": reply,
    "journal": journal,
    "slots": slots,
    "topics": topics,
    "policy": policy_file,
    "configuration": configuration_file,
    "http": http_body,
}
