"""`curfew nas test` against NASes on the loopback, of which each has another thing wrong (behaviours 5.6, 5.7). No Kafka is needed."""

import pytest

from agents.broker import pick_free_port
from agents.connection_test import try_connection
from schemas.configuration import Configuration, Disconnect, Kicker, Nas
from streams.radius.authenticator import sign_response
from streams.radius.respond import STATUS_SERVER
from streams.radius.simulated import build_disconnect_reply
from tests.support.curfew import Curfew
from tests.support.udp_peer import udp_peer

SECRET = b"testing456"
SILENT_S = 2
"""For peers that never answer; those that answer are waited for until they do."""
PATIENT_S = 30


def answers(secret=SECRET, *, ack=False, error_cause=503, status=False):
    """A NAS that refuses or acknowledges everything, and perhaps speaks Status-Server."""

    def answer(octets):
        if octets[0] != STATUS_SERVER:
            return [build_disconnect_reply(octets, secret, ack=ack, error_cause=error_cause)]
        return [sign_response(5, octets, b"", secret)] if status else []

    return answer


def silent(_octets):
    return []


def the_nas(port, **changes):
    way = {"address": "127.0.0.1", "port": port, "secret": SECRET.decode(), **changes}
    return Nas(name="campus", addresses=("127.0.0.1/32",), secret="testing123", disconnect=Disconnect(**way))


async def found(nas, wait_s=SILENT_S):
    configuration = Configuration(kicker=Kicker(source="127.0.0.1"), nas=(nas,))
    return [(one.way, one.ok, one.sentence) for one in await try_connection(configuration, nas, wait_s)]


async def test_a_nas_that_says_503_is_alive_and_has_the_right_secret():
    """5.6: asked in the field's way; nobody is hit, since such a session cannot exist."""
    async with udp_peer(answers(status=True)) as peer:
        (disconnect, status) = await found(the_nas(peer.port), PATIENT_S)
    assert disconnect[:2] == ("radius", True)
    assert "503 Session-Context-Not-Found" in disconnect[2]
    assert status[:2] == ("status-server", True)
    assert "answered Status-Server" in status[2]
    assert len(peer.heard) == 2


async def test_a_nas_need_not_speak_status_server():
    """5.6."""
    async with udp_peer(answers()) as peer:
        (disconnect, status) = await found(the_nas(peer.port))
    assert disconnect[1] is status[1] is True
    assert "does not answer Status-Server" in status[2]


async def test_an_ack_for_nobody_is_called_dangerous():
    """5.6: it would acknowledge anything."""
    async with udp_peer(answers(ack=True, error_cause=None, status=True)) as peer:
        ((_, ok, sentence), _) = await found(the_nas(peer.port), PATIENT_S)
    assert not ok
    assert "dangerous" in sentence


async def test_the_attribute_sets_are_tried_as_the_kicker_would():
    """5.3: 401 leads to the next one; the sentence names the one that it took."""

    def picky(octets):
        error_cause = 401 if b"\x1f" in octets[20:] and b"02-" in octets else 503
        return answers(error_cause=error_cause, status=True)(octets)

    async with udp_peer(picky) as peer:
        ((_, ok, sentence), _) = await found(the_nas(peer.port), PATIENT_S)
    assert ok
    assert "by Acct-Session-Id + User-Name:" in sentence


async def test_a_nas_that_refuses_every_set_is_told_by_its_error_cause():
    """5.3."""
    async with udp_peer(answers(error_cause=402, status=True)) as peer:
        ((_, ok, sentence), _) = await found(the_nas(peer.port), PATIENT_S)
    assert not ok
    assert "refuses every attribute set of its profile; The NAS needs an attribute that was not sent." in sentence


async def test_a_reply_with_another_secret_is_told_apart_from_silence():
    """5.1, 5.6: something is there, and the secret is wrong."""
    async with udp_peer(answers(b"another")) as peer:
        ((_, ok, sentence),) = await found(the_nas(peer.port))
    assert not ok
    assert "the secret is wrong" in sentence


async def test_garbage_is_no_answer():
    """5.1: whatever comes, and however often, the test ends in its time."""
    async with udp_peer(lambda _: [b"", b"x" * 4096, b"\x2a\x00\x00\x14" + bytes(16)] * 40) as peer:
        ((_, ok, sentence),) = await found(the_nas(peer.port))
    assert not ok
    assert "what is no answer to a Disconnect-Request (malformed)" in sentence


async def test_a_closed_port_is_told_by_the_systems_word():
    """5.6: ICMP port unreachable."""
    ((_, ok, sentence),) = await found(the_nas(pick_free_port()), PATIENT_S)
    assert not ok
    assert "is closed (ICMP port unreachable)" in sentence


async def test_silence_names_all_that_looks_like_it():
    """5.6: the secret, the NAS's list of clients, a firewall."""
    async with udp_peer(silent) as peer:
        ((_, ok, sentence),) = await found(the_nas(peer.port))
    assert not ok
    assert f"No answer from 127.0.0.1 port {peer.port} within {SILENT_S:g} s, asked from 127.0.0.1." in sentence
    assert "firewall" in sentence


async def test_the_secret_of_accounting_is_tried_where_the_other_one_is_not_believed():
    """5.6: a frequent slip of the pen has its own sentence."""

    def strict(octets):
        from streams.radius.authenticator import verify_keyed_request

        believed = octets[0] != STATUS_SERVER and verify_keyed_request(octets, b"testing123") is None
        return answers(b"testing123")(octets) if believed else []

    async with udp_peer(strict) as peer:
        (silence, hint) = await found(the_nas(peer.port))
    assert "No answer" in silence[2]
    assert hint == ("radius", False, "With the secret of accounting it answers: write that one as `secret` of `disconnect` too.")


async def test_no_way_there_is_told_in_the_systems_words():
    """5.6: a source address that is not ours."""
    nas = the_nas(3799)
    configuration = Configuration(kicker=Kicker(source="192.0.2.50"), nas=(nas,))
    (finding, *more) = await try_connection(configuration, nas, SILENT_S)
    assert not finding.ok
    assert "Cannot assign requested address" in finding.sentence
    assert more == []


@pytest.mark.parametrize(
    ("nas", "words"),
    [
        (Nas(name="campus", addresses=("127.0.0.1/32",), secret="s"), "it has no `disconnect`"),
        (the_nas(1, via="none"), "its `via` is none"),
        (the_nas(1, secret=None), "has no `secret`"),
        (the_nas(1, address=None), "has no `address`"),
    ],
)
async def test_what_is_not_configured_is_not_asked(nas, words):
    """5.6, 5.7."""
    ((_, ok, sentence),) = await found(nas)
    assert not ok
    assert words in sentence


async def test_the_exit_status_says_whether_it_works(tmp_path):
    """INTERFACES: 0 done, 1 it failed, 2 no such NAS; one JSON object a line."""
    async with udp_peer(answers(status=True)) as good, udp_peer(answers(b"another")) as bad:
        config = tmp_path / "curfew.toml"
        config.write_text(
            '[kicker]\nsource = "127.0.0.1"\n'
            + "".join(
                f'[[nas]]\nname = "{name}"\naddresses = ["127.0.0.{number}"]\nsecret = "s"\n'
                f'disconnect = {{ address = "127.0.0.1", port = {peer.port}, secret = "testing456" }}\n'
                for number, (name, peer) in enumerate({"good": good, "bad": bad}.items(), 1)
            )
        )
        curfew = Curfew(config)
        works = await curfew("nas", "test", "good", "--json", "--wait", "30")
        fails = await curfew("nas", "test", "bad", "--wait", "1")
        unknown = await curfew("nas", "test", "nobody")
    assert (works.status, [(one["way"], one["ok"]) for one in works.objects]) == (0, [("radius", True), ("status-server", True)])
    assert fails.status == 1
    assert "wrong" in fails.out
    assert (unknown.status, unknown.out) == (2, "")
    assert "there is no NAS 'nobody'; the configuration has good, bad" in unknown.err
