"""The ingest's parts that need neither Kafka nor a socket: lanes, and the log of refusals."""

import logging

from agents.journal_writer import Lane
from agents.udp import LOG_EVERY_S, LOGGED_MAX, SampledLog


def item(request):
    return (None, b"{}", [], 0, request)


def test_a_lane_lets_go_of_what_nobody_waits_for_and_of_ticks_before_it():
    """1.1: the oldest unanswered are dropped; an item left over from a failed broadcast holds up none of them."""
    lane = Lane("radius.accounting", 0)
    for request in [(1,), None, (2,), (3,), None]:
        lane.append(item(request))
    lane.withdraw(lambda request: request not in {(1,), (2,)})
    assert [waiting[4] for waiting in lane.waiting] == [(3,), None]
    lane.withdraw(lambda request: request == (3,))
    assert [waiting[4] for waiting in lane.waiting] == [(3,), None]
    lane.withdraw(lambda _: False)
    assert lane.is_idle


def test_a_refusal_is_logged_once_a_minute_for_each_source_and_reason(caplog):
    """1.2: sampled in the log, with the packet's first octets."""
    sampled = SampledLog()
    with caplog.at_level(logging.WARNING):
        for now_s in (100.0, 101.0, 100.0 + LOG_EVERY_S - 0.1):
            sampled.refused("192.0.2.1", "authenticator", b"\x04\x01" * 40, now_s)
        sampled.refused("192.0.2.1", "code", b"", 102.0)
        sampled.refused("192.0.2.1", "authenticator", b"\x04", 100.0 + LOG_EVERY_S)
    assert [record.getMessage() for record in caplog.records] == [
        "refused a packet from 192.0.2.1: authenticator; 80 octets: " + "0401" * 16,
        "refused a packet from 192.0.2.1: code; 0 octets: ",
        "refused a packet from 192.0.2.1: authenticator; 1 octets: 04",
    ]


def test_a_flood_of_sources_fills_neither_the_log_nor_memory(caplog):
    """1.2: forged sources are counted only, beyond a bound."""
    sampled = SampledLog()
    with caplog.at_level(logging.WARNING):
        for n in range(LOGGED_MAX * 3):
            sampled.refused(f"source-{n}", "unknown-source", b"", 100.0)
    assert len(caplog.records) == LOGGED_MAX + 1
    assert len(sampled._logged) == LOGGED_MAX + 1
