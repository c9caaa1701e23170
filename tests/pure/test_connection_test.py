"""The connection test's questions and sentences (issue D, behaviours 5.6 and 5.7)."""

import pytest

from schemas.configuration import PACKAGED_PROFILES, Disconnect, Nas
from schemas.disconnect import ERROR_CAUSES
from streams.connection_test import (
    Place,
    answers_status,
    asks_for_the_next_set,
    finding_of_no_answer,
    finding_of_refused,
    finding_of_reply,
    finding_of_status,
    is_reply,
    not_configured,
    not_tested,
    other_ports,
    packet_of,
    questions,
    status_server,
    would_answer,
)
from streams.profiles import configured
from streams.radius.authenticator import sign_response, verify_status_server
from streams.radius.disconnect import RefusedReply, Reply
from streams.radius.framing import check_framing
from streams.radius.simulated import build_disconnect_reply, parse_disconnect_request

SECRET = b"testing456"
NONCE = "0123456789abcdef"
HERE = Place("192.0.2.1", 3799, "192.0.2.50", 5)
PROFILES = configured(())


def nas(**disconnect):
    return Nas(name="campus", addresses=("192.0.2.1",), secret="s", disconnect=Disconnect(**{"address": "192.0.2.1", **disconnect}))


def asked(profile="default", **more):
    (first, *_) = questions(nas(profile=profile), PROFILES[profile], NONCE)
    return packet_of(first, PROFILES[profile], SECRET, 7, 1_795_199_831, **more)


def reply(*, ack=False, error_cause=503):
    return Reply(ack, error_cause, None)


def said(found):
    (request, *_) = questions(nas(), PROFILES["default"], NONCE)
    finding = finding_of_reply(found, request, 3.4)
    return finding.ok, finding.sentence


@pytest.mark.parametrize("profile", PACKAGED_PROFILES)
def test_every_profile_is_asked_for_a_session_that_cannot_exist(profile):
    """5.6: its ids are the test's, its MAC address is a locally administered one, its address is assigned to nobody."""
    for question in questions(nas(profile=profile), PROFILES[profile], NONCE):
        for one in question.attributes:
            value = one.octets.replace(b"-", b"").replace(b":", b"").replace(b".", b"")
            assert (
                b"curfewconnectiontest" in value
                or value.lower() == b"020123456789"
                or one.octets in (bytes((240, 0, 0, 1)), bytes((192, 0, 2, 1)))
                or one.name == "Cisco-AVPair"  # a command that the profile sends, beside what names the session
            ), one
    assert questions(nas(profile=profile), PROFILES[profile], NONCE)


def test_the_nas_is_named_only_as_the_configuration_names_it():
    """5.6: a guess would be refused with 403."""
    named = Nas(
        name="a", addresses=("192.0.2.1",), nas_identifier="ap-12", nas_ip_address="192.0.2.9", disconnect=Disconnect(address="192.0.2.1")
    )
    without, with_names = ({one.name for one in questions(who, PROFILES["default"], NONCE)[0].attributes} for who in (nas(), named))
    assert with_names - without == {"NAS-Identifier", "NAS-IP-Address"}


def test_the_question_is_one_that_a_nas_understands():
    """5.1, RFC 5176 section 3."""
    identifier, fields = parse_disconnect_request(asked(), SECRET)
    assert (identifier, fields["acct_session_id"]) == (7, f"curfew-connection-test-{NONCE}")


@pytest.mark.parametrize(
    ("found", "ok", "words"),
    [
        (reply(), True, "answered NAK 503 Session-Context-Not-Found within 3 ms to a Disconnect-Request by Acct-Session-Id + User-Name"),
        (reply(ack=True, error_cause=201), True, "the secret is right"),
        (reply(ack=True, error_cause=None), False, "dangerous"),
        (reply(ack=True, error_cause=404), False, "dangerous"),
        (reply(error_cause=None), True, "it never says why"),
        (reply(error_cause=401), False, "refuses every attribute set"),
        (reply(error_cause=403), False, "The NAS attributes sent are not its own."),
        (reply(error_cause=501), False, "The NAS is configured to refuse this."),
        (reply(error_cause=999), False, "Curfew does not know this Error-Cause."),
    ],
)
def test_each_answer_has_its_sentence(found, ok, words):
    """5.3 and 5.6: 503 is alive with the right secret; an ACK for nobody is dangerous; other refusals say what is wrong."""
    is_ok, sentence = said(found)
    assert is_ok is ok
    assert words in sentence


def test_every_error_cause_has_a_sentence_and_only_that_of_a_session_gone_is_well():
    """5.3."""
    for number, row in ERROR_CAUSES.items():
        assert said(reply(error_cause=number))[0] is (row.follows == "gone")
        assert asks_for_the_next_set(reply(error_cause=number)) is (row.follows == "next-set")
        assert not asks_for_the_next_set(reply(ack=True, error_cause=number))


def test_each_wrong_thing_has_a_sentence_of_its_own():
    """5.6, 5.7: secret, port, route, firewall, not configured."""
    findings = [
        finding_of_refused(RefusedReply.AUTHENTICATOR, HERE),
        finding_of_refused(RefusedReply.MALFORMED, HERE),
        finding_of_no_answer("closed", HERE),
        finding_of_no_answer("unreachable", HERE, "No route to host"),
        finding_of_no_answer("silent", HERE),
        would_answer(1700, 3799),
        would_answer(3799, 3799),
        not_configured(Nas(name="a", addresses=("192.0.2.1",))),
        not_configured(nas(via="none")),
        not_configured(Nas(name="a", addresses=("192.0.2.1",), disconnect=Disconnect())),
        not_configured(nas()),
        not_tested("radsec"),
    ]
    words = [
        "secret is wrong",
        "malformed",
        "closed",
        "No route",
        "firewall",
        "port = 1700",
        "accounting",
        "it has no",
        "`via`",
        "`address`",
    ]
    for finding, word in zip(findings, [*words, "`secret`", "radsec"], strict=True):
        assert finding is not None
        assert not finding.ok
        assert word in finding.sentence
    assert len({finding.sentence for finding in findings if finding}) == len(findings)
    assert not_configured(nas(secret="x")) is None
    assert not_configured(nas(via="poll")) is None


def test_status_server_is_signed_as_rfc_5997_wants_it_and_its_answer_is_verified():
    """5.6, RFC 5997 section 3."""
    request = status_server(SECRET, 9, bytes(range(16)))
    assert check_framing(request) == len(request)
    assert verify_status_server(request, SECRET) is None
    answer = sign_response(5, request, b"", SECRET)
    assert answers_status(answer, request, SECRET)
    for wrong in (sign_response(5, request, b"", b"other"), answer[:-1], b"", answer[:1] + b"\x00" + answer[2:]):
        assert not answers_status(wrong, request, SECRET)
    assert finding_of_status(3.2).sentence.startswith("It answered Status-Server within 3 ms")
    assert finding_of_status(None).ok


def test_only_an_authentic_answer_is_a_reply():
    """5.1."""
    request = asked()
    assert is_reply(build_disconnect_reply(request, SECRET, ack=False, error_cause=503), request, SECRET)
    assert not is_reply(build_disconnect_reply(request, b"other", ack=False, error_cause=503), request, SECRET)
    assert not is_reply(b"", request, SECRET)


def test_the_ports_of_the_field_are_tried_where_the_configured_one_is_silent():
    """5.2: 3799 and 1700."""
    assert [other_ports(port) for port in (3799, 1700, 4000)] == [(1700,), (3799,), (3799, 1700)]
