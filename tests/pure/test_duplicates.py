"""Duplicates by header."""

import pytest

from streams.duplicates import Duplicates

KEY = (0, ("192.0.2.1", 1024), b"header")
OTHERS = [
    (1, ("192.0.2.1", 1024), b"header"),
    (0, ("192.0.2.1", 1025), b"header"),
    (0, ("192.0.2.2", 1024), b"header"),
    (0, ("192.0.2.1", 1024), b"other"),
]


def test_a_request_is_pending_until_it_is_answered_and_then_has_its_answer():
    """1.4: the same packet is answered again from a cache."""
    duplicates = Duplicates(15_000, 100)
    assert duplicates.answer_to(KEY) is None
    duplicates.begin(KEY, "request")
    assert duplicates.pending == {KEY: "request"}
    assert duplicates.answer_to(KEY) is None
    duplicates.answered(KEY, b"answer")
    assert duplicates.answer_to(KEY) == b"answer"
    assert not duplicates.pending


@pytest.mark.parametrize("other", OTHERS)
def test_another_socket_sender_or_authenticator_is_another_request(other):
    """1.4, RFC 5080 section 2.2.2: the receiving socket is part of the key, and another authenticator is a new request."""
    duplicates = Duplicates(15_000, 100)
    duplicates.answered(KEY, b"answer")
    assert duplicates.answer_to(other) is None
    assert other not in duplicates.pending


def test_an_answer_is_kept_for_its_time_and_at_most_for_twice_that():
    duplicates = Duplicates(1000, 100)
    duplicates.expire(10_000)
    duplicates.answered(KEY, b"answer")
    duplicates.expire(10_999)
    duplicates.expire(11_000)
    assert duplicates.answer_to(KEY) == b"answer"
    duplicates.expire(12_000)
    assert duplicates.answer_to(KEY) is None


def test_the_answers_kept_are_bounded_and_the_oldest_go():
    duplicates = Duplicates(1_000_000, 10)
    keys = [(0, ("192.0.2.1", n), b"header") for n in range(1000)]
    for key in keys:
        duplicates.answered(key, b"answer")
        duplicates.expire(0)
    kept = [key for key in keys if duplicates.answer_to(key)]
    assert 5 <= len(kept) <= 10
    assert kept == keys[-len(kept) :]


def test_the_oldest_pending_is_forgotten_first_and_is_new_again():
    """1.1: beyond the bound the oldest unanswered is dropped, and taken when its NAS sends it again."""
    duplicates = Duplicates(1000, 10)
    for other in OTHERS:
        duplicates.begin(other, other)
    assert [duplicates.oldest() for _ in OTHERS] == OTHERS
    with pytest.raises(KeyError):
        duplicates.oldest()


def test_a_forgotten_request_is_new_and_forgetting_twice_is_nothing():
    duplicates = Duplicates(1000, 10)
    duplicates.begin(KEY, "request")
    duplicates.forget(KEY)
    duplicates.forget(KEY)
    assert not duplicates.pending
    assert duplicates.answer_to(KEY) is None


def test_a_time_of_zero_keeps_no_answers():
    duplicates = Duplicates(0, 10)
    duplicates.answered(KEY, b"answer")
    assert duplicates.answer_to(KEY) is None
