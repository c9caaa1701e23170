"""The transition table: every pair is there, and sameness decides which row of it holds (behaviours 2.1, 2.2, 2.6)."""

from typing import get_args

import pytest

from schemas.event import SaidBy
from schemas.session import SessionRow
from streams.transitions import TRANSITIONS, Action, Input, Sameness, State, action_for, state_of


def row(said_by: SaidBy | None) -> SessionRow:
    return SessionRow("ap1", "s1", "bob", "open" if said_by is None else "ended", said_by=said_by)


def test_every_pair_of_state_and_input_has_its_action() -> None:
    """A missing entry would be a silent pass."""
    assert set(TRANSITIONS) == {(state, status) for state in get_args(State) for status in get_args(Input)}
    assert set(TRANSITIONS.values()) < set(get_args(Action))


@pytest.mark.parametrize(
    ("said_by", "state"),
    [
        (None, "open"),
        ("nas-stop", "ended"),
        ("nas-reboot", "rebooted"),
        ("user-logout", "ended"),
        ("stale", "presumed"),
        ("kicked", "presumed"),
        ("expired", "presumed"),
        ("superseded", "presumed"),
        ("operator", "presumed"),
        ("moved", "presumed"),
    ],
)
def test_a_nas_s_word_is_told_from_our_conclusion(said_by: SaidBy | None, state: State) -> None:
    """2.7: only our own conclusions, and a boot told of late, can be corrected by an Interim."""
    assert state_of(row(said_by)) == state
    reopens = {"presumed": "reopen-if-newer", "rebooted": "reopen-if-after-boot"}
    assert TRANSITIONS[state, "Interim-Update"] == reopens.get(state, "update" if state == "open" else "fill-in")


def test_every_one_who_can_say_that_it_ended_is_sorted_in() -> None:
    """2.7: a new word has to be sorted in here."""
    assert {state_of(row(said_by)) for said_by in get_args(SaidBy)} == {"ended", "rebooted", "presumed"}


@pytest.mark.parametrize("status", get_args(Input))
@pytest.mark.parametrize("said_by", [None, "nas-stop", "stale"])
def test_another_session_under_the_same_id_replaces_or_is_ignored(said_by: SaidBy | None, status: Input) -> None:
    """2.1."""
    assert action_for(row(said_by), status, "later") == "replace"
    assert action_for(row(said_by), status, "earlier") == "ignore"
    assert action_for(row(said_by), status, "same") == TRANSITIONS[state_of(row(said_by)), status]


@pytest.mark.parametrize("sameness", get_args(Sameness))
def test_without_a_row_there_is_nothing_to_be_the_same_as(sameness: Sameness) -> None:
    """2.2: a Stop alone makes a closed session."""
    assert [action_for(None, status, sameness) for status in get_args(Input)] == ["open", "open", "open-closed"]
