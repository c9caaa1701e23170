"""Every packet of the corpora, which real NASes, servers and radclient sent: as its line says, and field by field as pyrad reads it."""

import ipaddress
import json
from pathlib import Path

import pytest
from pyrad.packet import AcctPacket, CoAPacket

from streams.radius.authenticator import verify_keyed_request, verify_response, verify_status_server
from streams.radius.decode import decode_accounting
from streams.radius.disconnect import RefusedReply, Reply, read_reply
from streams.radius.framing import Malformed, check_framing
from streams.radius.respond import ACCOUNTING_REQUEST, STATUS_SERVER, accounting_response
from streams.radius.simulated import RefusedRequest, parse_disconnect_request
from tests.support.pyrad_view import compare, pyrad_dictionary

FOLDER = Path(__file__).parent.parent / "corpus"
FILES = ("edge-crafted", "edge-radclient", "rigA-dm", "rigA-hostapd", "rigC-dm", "rigC-freeradius")


def lines(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


CORPUS = [line for name in FILES for line in lines(name)]
EDGE = lines("edge-crafted") + lines("edge-radclient")
REAL = lines("rigA-hostapd") + lines("rigC-freeradius")


def octets(line):
    return bytes.fromhex(line["hex"])


def secret(line):
    return line["secret"].encode()


def name_of(line):
    return line["source"]


def verdict(line):
    """Say about a datagram on the accounting port what the corpus says in `expect`."""
    datagram = octets(line)
    length = check_framing(datagram)
    if isinstance(length, Malformed):
        return "malformed"
    packet = datagram[:length]
    if packet[0] != ACCOUNTING_REQUEST:
        return "other-code"
    if verify_keyed_request(packet, secret(line)):
        return "bad-auth"
    return "bad-value" if decode_accounting(packet).dropped else "ok"


def test_no_packet_of_the_corpora_was_skipped():
    assert len(CORPUS) == 517
    assert len(EDGE) == 154
    assert len(REAL) == 191


@pytest.mark.parametrize("line", EDGE, ids=name_of)
def test_an_edge_case_is_taken_or_refused_as_the_corpus_says(line):
    """1.2, 1.3"""
    assert verdict(line) == line["expect"]


@pytest.mark.parametrize("line", REAL, ids=name_of)
def test_a_real_record_is_authentic_and_loses_nothing(line):
    """1.3, 1.7"""
    assert verdict(line) == "ok"
    decoded = decode_accounting(octets(line))
    names = {1: "Start", 2: "Stop", 3: "Interim-Update", 7: "Accounting-On", 8: "Accounting-Off"}
    assert decoded.status == names[line["status_type"]]


@pytest.mark.parametrize("line", [line for line in EDGE if octets(line)[:1] == bytes([STATUS_SERVER])], ids=name_of)
def test_status_server_is_authentic_by_its_message_authenticator(line):
    """1.5"""
    assert verify_status_server(octets(line), secret(line)) is None


@pytest.mark.parametrize("line", EDGE + REAL, ids=name_of)
def test_each_attribute_is_read_as_pyrad_reads_it(line):
    """1.3, 1.7: name by name, over every packet whose framing is right."""
    length = check_framing(octets(line))
    if isinstance(length, Malformed):
        return
    datagram = octets(line)[:length]

    packet, decoded, compared = compare(datagram, secret(line))

    assert set(decoded.fields) - {"audit_session_id"} <= compared
    assert packet.VerifyAcctRequest() == (verify_keyed_request(datagram, secret(line)) != "authenticator") or datagram[0] == STATUS_SERVER


def test_addresses_of_the_corpora_are_addresses():
    """1.7"""
    seen = 0
    for line in REAL:
        fields = decode_accounting(octets(line)).fields
        for name in ("nas_ip_address", "framed_ip_address", "nas_ipv6_address"):
            if name in fields:
                assert str(ipaddress.ip_address(fields[name])) == fields[name]
                seen += 1
    assert seen == 229


@pytest.mark.parametrize("line", [line for line in EDGE + REAL if verdict(line) in ("ok", "bad-value")], ids=name_of)
def test_a_response_is_what_pyrad_answers(line):
    """1.5: Proxy-State included."""
    packet = octets(line)[: check_framing(octets(line))]
    reply = AcctPacket(packet=packet, secret=secret(line), dict=pyrad_dictionary()).CreateReply()

    response = accounting_response(packet, secret(line), decode_accounting(packet).proxy_states)

    assert response == reply.ReplyPacket()
    assert verify_response(response, packet, secret(line)) is None


def exchanges(name):
    """Pair each reply of a corpus with the request that it answers."""
    requests = {}
    pairs = []
    for line in lines(name):
        if "request_authenticator" in line:
            pairs.append((requests[line["request_authenticator"]], line))
        else:
            requests[octets(line)[4:20].hex()] = line
    return pairs


# FreeRADIUS 3.2.1 as a relay passes on a Message-Authenticator that is not right for its own packet (its issue 5212); the Response
# Authenticator is. RFC 5176 section 3.4 has such a reply discarded.
RELAYED = {"rigC/relay/reply", "rigC/relay-strip/reply"}
EXCHANGES = exchanges("rigA-dm") + exchanges("rigC-dm")


def test_every_reply_of_the_corpora_has_its_request():
    assert len(EXCHANGES) == 81


@pytest.mark.parametrize(("request_line", "reply_line"), EXCHANGES, ids=name_of)
def test_a_real_reply_verifies_and_says_what_pyrad_reads(request_line, reply_line):
    """5.1"""
    request, reply = octets(request_line), octets(reply_line)
    theirs = CoAPacket(packet=reply, secret=secret(reply_line), dict=pyrad_dictionary())

    ours = read_reply(reply, request, secret(reply_line))

    assert isinstance(ours, Reply) == CoAPacket(packet=request, secret=secret(reply_line)).VerifyReply(theirs, reply)
    if name_of(reply_line) in RELAYED:
        assert ours == RefusedReply.MESSAGE_AUTHENTICATOR
        return
    cause = int.from_bytes(dict.__getitem__(theirs, 101)[0]) if dict.__contains__(theirs, 101) else None
    timestamp_s = theirs["Event-Timestamp"][0] if dict.__contains__(theirs, 55) else None
    assert ours == Reply(acknowledged=reply[0] in (41, 44), error_cause=cause, event_timestamp_s=timestamp_s)


REQUESTS = [line for name in ("rigA-dm", "rigC-dm") for line in lines(name) if "request_authenticator" not in line]


@pytest.mark.parametrize("line", REQUESTS, ids=name_of)
def test_a_request_that_a_real_nas_answered_is_read_as_a_nas_does(line):
    """5.1"""
    parsed = parse_disconnect_request(octets(line), secret(line))

    if octets(line)[0] != 40:
        assert parsed == RefusedRequest.OTHER_CODE
    elif not CoAPacket(packet=octets(line), secret=secret(line), dict=pyrad_dictionary()).VerifyCoARequest():
        assert parsed == RefusedRequest.AUTHENTICATOR
    elif name_of(line).endswith("/badma/request"):
        assert parsed == RefusedRequest.MESSAGE_AUTHENTICATOR
    else:
        assert parsed[0] == octets(line)[1]
