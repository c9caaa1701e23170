"""The log of a part while Kafka is away: a person can read it."""

import logging
from typing import Any

from agents.library_log import EVERY_S, MESSAGES_MAX, Measured


def said(name: str, message: str, *gaps: Any) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, gaps, None)


def test_a_library_says_a_thing_once_in_ten_seconds_and_then_how_often_it_was() -> None:
    """Whatever address stands in it; another message is another thing."""
    now_s = [100.0]
    measured = Measured(lambda: now_s[0])
    shown = [measured.filter(said("aiokafka.client", "Unable connect to %s", port)) for port in range(1000)]
    assert shown == [True] + [False] * 999
    assert measured.filter(said("aiokafka.client", "Unable to update metadata from %s", [1]))
    assert measured.filter(said("aiokafka.conn", "Unable connect to %s", 1))
    now_s[0] += EVERY_S
    later = said("aiokafka.client", "Unable connect to %s", 7)
    assert measured.filter(later)
    assert later.getMessage() == "Unable connect to 7 (and 999 times more since it was last shown)"
    now_s[0] += EVERY_S
    alone = said("aiokafka.client", "Unable connect to %s", 7)
    assert measured.filter(alone)
    assert alone.getMessage() == "Unable connect to 7"


def test_our_own_lines_are_all_shown() -> None:
    measured = Measured(lambda: 0.0)
    assert all(measured.filter(said("agents.poll", "the same")) for _ in range(10))


def test_messages_without_end_do_not_fill_the_memory() -> None:
    measured = Measured(lambda: 0.0)
    assert all(measured.filter(said("aiokafka", f"message {number}")) for number in range(10 * MESSAGES_MAX))
    assert len(measured._said) <= MESSAGES_MAX
