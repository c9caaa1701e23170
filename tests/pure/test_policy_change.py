"""Whom a new policy would hit at once, shown before it is applied (behaviour 4.9)."""

import pytest

from schemas.policy import Limit, Policy
from schemas.session import IdentityRow, SessionRow
from streams.policy_change import hit_by
from tests.support.journal import groups, play, policy, start, user_limit


def session(number: int, identity: str = "bob", **fields: object) -> SessionRow:
    return SessionRow("ap1", f"s{number}", identity, "open", order_ms=number, opened_offset=number, **fields)  # type: ignore[arg-type]


def hit(*after: Limit, before: tuple[Limit, ...] = (), sessions: list[SessionRow], of: tuple[str, ...] = ()) -> dict[str, list[str]]:
    identities = {"bob": IdentityRow("bob", groups=of), "eve": IdentityRow("eve", groups=of)}
    found = hit_by(Policy(limits=before), Policy(limits=after), sessions, identities, {})
    return {name: [str(row.acct_session_id) for row in rows] for name, rows in found.items()}


def test_only_limits_that_are_enforced_and_new_hit_those_who_are_in() -> None:
    """4.9: `on_change = "leave"` hits nobody, nor does a rule that stays as it was."""
    rows = [session(1), session(2), session(3, "eve")]
    rule = user_limit(1, on_change="enforce")
    assert hit(user_limit(0), sessions=rows) == {}
    assert hit(rule, before=(rule,), sessions=rows) == {}
    assert hit(rule, before=(user_limit(2, "max-1", on_change="enforce"),), sessions=rows) == {"max-1": ["s2"]}


def test_a_session_stands_under_the_first_limit_that_takes_it() -> None:
    rows = [session(number) for number in range(4)]
    rules = (user_limit(3, "three", on_change="enforce"), user_limit(2, "two", on_change="enforce"))
    assert hit(*rules, sessions=rows) == {"three": ["s3"], "two": ["s2"]}


def test_a_groups_limit_counts_over_all_its_users() -> None:
    rows = [session(1), session(2, "eve"), session(3), session(4, "carol"), session(5, kick_state="requested")]
    rule = Limit("all", "group", 1, victim="oldest", on_change="enforce")
    assert hit(rule, sessions=rows, of=("g",)) == {"all": ["s1", "s2"]}


@pytest.mark.parametrize("victim", ["newest", "oldest", "all-others", "least-recently-active"])
def test_what_is_shown_is_what_the_session_agent_then_does(victim: str) -> None:
    """4.9."""
    rule = Limit("in", "user-in-group", 2, victim=victim, on_change="enforce")  # type: ignore[arg-type]
    journal = play(groups("bob", "g"), *(start(f"s{number}", at_s=number) for number in range(5)), start("e1", "eve"))
    rows = [row for name in (*(f"s{n}" for n in range(5)), "e1") if (row := journal.row(name)) is not None]
    shown = hit_by(Policy(), Policy(limits=(rule,)), rows, journal.core.table.identities, {})
    journal.feed(policy(rule))
    assert [row.acct_session_id for row in shown["in"]] == [command.session["acct_session_id"] for command in journal.commands()]
    assert len(shown["in"]) == 3
    journal.events()
    journal.nothing_else()
