"""The prober's frames and its open questions (behaviour 3.4; RFC 826, RFC 4861)."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.sighting import Probe
from streams.asking import (
    PENDING_MAX,
    PER_SECOND_MAX,
    SEND_EVERY_MS,
    SENDS_MAX,
    Asking,
    Question,
    Seen,
    arp_answer,
    arp_request,
    mac_octets,
    neighbour_advertisement,
    neighbour_solicitation,
)

MAC, OTHER = "02:aa:00:00:00:01", "02:ff:00:00:00:02"
OWN = mac_octets("02:00:00:00:00:fe")
ADDRESS = "192.0.2.7"


def probe(number: int = 0, address: str = ADDRESS) -> Probe:
    return Probe(
        id=f"0-{number}-0-bob", kind="arp", nas="ap1", identity="bob", acct_session_id="s1", addresses=[address], mac=MAC, asked_ms=1000
    )


def reply(mac: str = MAC, address: bytes = bytes((192, 0, 2, 7))) -> bytes:
    body = bytes.fromhex("0001080006040002") + mac_octets(mac) + address + OWN + bytes(4)
    return OWN + mac_octets(mac) + b"\x08\x06" + body


def test_an_arp_request_asks_the_device_itself() -> None:
    """3.4: RFC 826; unicast where the MAC address is known."""
    frame = arp_request(ADDRESS, MAC, OWN, "192.0.2.1")
    assert frame.hex() == (
        "02aa00000001" + "0200000000fe" + "0806" + "0001080006040001" + "0200000000fe" + "c0000201" + "000000000000" + "c0000207"
    )
    assert arp_request(ADDRESS, None, OWN, None)[:6] == b"\xff" * 6
    assert arp_answer(frame) is None


def test_an_arp_reply_says_who_has_the_address() -> None:
    """3.4; one whose two senders differ is forged or broken."""
    assert arp_answer(reply()) == Seen(MAC, ADDRESS)
    assert arp_answer(reply()[:41]) is None
    forged = bytearray(reply())
    forged[6:12] = mac_octets(OTHER)
    assert arp_answer(bytes(forged)) is None


def test_a_neighbour_solicitation_goes_to_the_targets_group() -> None:
    """3.4: RFC 4861 section 4.3, RFC 4291 section 2.7.1."""
    message, group = neighbour_solicitation("2001:db8::12:3456", OWN)
    assert group == "ff02::1:ff12:3456"
    assert message.hex() == "8700000000000000" + "20010db8000000000000000000123456" + "0101" + "0200000000fe"


def test_a_neighbour_advertisement_names_the_mac_address() -> None:
    """3.4: RFC 4861 section 4.4; without the option nobody is named."""
    target = bytes.fromhex("20010db8000000000000000000123456")
    head = bytes((136, 0, 0, 0)) + bytes(4) + target
    assert neighbour_advertisement(head + b"\x02\x01" + mac_octets(MAC)) == Seen(MAC, "2001:db8::12:3456")
    assert neighbour_advertisement(head + b"\x0e\x01" + bytes(6) + b"\x02\x01" + mac_octets(MAC)) == Seen(MAC, "2001:db8::12:3456")
    assert neighbour_advertisement(head) is None
    assert neighbour_advertisement(head + bytes(8)) is None


@given(st.binary(max_size=120))
def test_whatever_is_on_the_wire_is_an_answer_or_none(octets: bytes) -> None:
    """3.4: never an exception."""
    arp_answer(octets)
    neighbour_advertisement(octets)
    arp_answer(reply()[:20] + octets)
    neighbour_advertisement(bytes((136, 0)) + octets)


def sent(asking: Asking, until_ms: int, from_ms: int = 0) -> list[tuple[int, Question]]:
    return [(now_ms, question) for now_ms in range(from_ms, until_ms, 20) for question in asking.wake(now_ms)]


def test_a_question_is_sent_three_times_and_then_given_up() -> None:
    """3.4: devices that save power miss one."""
    asking = Asking()
    asking.ask(probe(), "eth0", 0)
    assert [at_ms for at_ms, _ in sent(asking, 10_000)] == [0, SEND_EVERY_MS, 2 * SEND_EVERY_MS]
    assert (asking.given_up, len(asking)) == (1, 0)
    assert asking.answered("eth0", Seen(MAC, ADDRESS), 10_000) == []


def test_an_answer_ends_the_question_and_says_when_on_the_logs_clock() -> None:
    """3.4."""
    asking = Asking()
    asking.ask(probe(), "eth0", 5000)
    sent(asking, 6500, 5000)
    ((asked, sighting),) = asking.answered("eth0", Seen(MAC, ADDRESS), 6500)
    assert (asked.id, sighting.probe_id, sighting.mac, sighting.time_ms) == ("0-0-0-bob", "0-0-0-bob", MAC, 2500)
    assert (sighting.nas, sighting.acct_session_id, sighting.by) == ("ap1", "s1", "prober")
    assert sent(asking, 20_000, 6500) == []
    assert asking.answered("eth0", Seen(MAC, ADDRESS), 20_000) == []
    assert asking.given_up == 0


def test_what_nobody_asked_for_is_no_answer() -> None:
    """3.4: other addresses, other segments, and what came before the question went out."""
    asking = Asking()
    asking.ask(probe(), "eth0", 0)
    assert asking.answered("eth0", Seen(MAC, ADDRESS), 0) == []
    sent(asking, 100)
    assert asking.answered("eth1", Seen(MAC, ADDRESS), 100) == []
    assert asking.answered("eth0", Seen(MAC, "192.0.2.8"), 100) == []
    assert len(asking.answered("eth0", Seen(MAC, ADDRESS), 100)) == 1


def test_many_questions_are_spread_and_bounded() -> None:
    """3.4: limits on every queue."""
    asking = Asking()
    for number in range(PENDING_MAX + 5):
        asking.ask(probe(number), "eth0", 0)
    assert (len(asking), asking.given_up) == (PENDING_MAX, 5)
    in_a_second = len(sent(asking, 1000))
    assert 0.9 * PER_SECOND_MAX <= in_a_second <= 1.2 * PER_SECOND_MAX
    assert SENDS_MAX == 3
