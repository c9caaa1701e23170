"""Which rules touch whom, and in which order they are asked (behaviour 4.1)."""

import pytest

from schemas.policy import Limit, Policy, Quota
from streams.rulebook import REMEMBERED_MAX, Rulebook, fits


def asked(policy: Policy, *groups: str) -> list[tuple[str, str]]:
    questions = Rulebook(policy).questions(groups)
    return [(each.limit.name, each.group) for each in (*questions.first, *questions.group, *questions.last)]


def test_rules_are_asked_by_kind_and_then_in_the_policys_order() -> None:
    """4.1: user, user in group, group, guest type; a user in several groups is asked in each."""
    policy = Policy(
        limits=(
            Limit("guests", "guest-type", 1),
            Limit("in-b", "user-in-group", 1, group="b"),
            Limit("all", "group", 1),
            Limit("in", "user-in-group", 1),
            Limit("user", "user", 1),
        )
    )
    assert asked(policy, "a", "b", "guest:day") == [
        *(("user", ""), ("in-b", "b"), ("in", "a"), ("in", "b")),
        *(("all", "a"), ("all", "b"), ("guests", "day")),
    ]
    assert asked(policy) == [("user", "")]


def test_what_a_rule_excepts_is_not_asked() -> None:
    """4.1."""
    policy = Policy(limits=(Limit("user", "user", 1, exempt=("guest:*",)), Limit("in", "user-in-group", 1, exempt=("b",))))
    assert asked(policy, "a") == [("user", ""), ("in", "a")]
    assert asked(policy, "a", "b") == [("user", "")]
    assert asked(policy, "guest:day") == []


def test_quotas_too_are_found_by_group() -> None:
    policy = Policy(quotas=(Quota("day", "user-in-group", "day", octets=1, group="a"),))
    assert [(quota.name, group) for quota, group in Rulebook(policy).questions(("a", "b")).quotas] == [("day", "a")]


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [("*", "a b", True), ("a*", "abc", True), ("a", "ab", False), ("[a]", "a", False), ("?", "a", False), ("a.c", "abc", False)],
)
def test_an_asterisk_is_any_text_and_nothing_else_is_special(pattern: str, name: str, *, expected: bool) -> None:
    assert fits(pattern, name) is expected


def test_what_is_remembered_is_bounded() -> None:
    book = Rulebook(Policy())
    for number in range(REMEMBERED_MAX + 10):
        book.questions((str(number),))
    assert len(book._known) == 10
