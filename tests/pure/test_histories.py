"""Recorded journals give what they gave when they were recorded: the same log, the same out (DESIGN "The law")."""

import pytest

from schemas.topics import COMMANDS, EVENTS, REJECTED
from tests.histories import FOLDER, Line, play, read
from tests.histories.record import HISTORIES
from tests.support.journal import Journal, read_event


def history(name: str) -> list[Line]:
    return read(FOLDER / f"{name}.jsonl")


def test_every_history_is_recorded_and_nothing_else() -> None:
    """A file that nobody replays proves nothing."""
    assert {file.stem for file in FOLDER.glob("*.jsonl")} == set(HISTORIES)


@pytest.mark.parametrize("name", HISTORIES)
def test_a_recorded_journal_leads_to_the_same_outputs(name: str) -> None:
    """Octet for octet. If a difference is wanted, record anew (`tests.histories`) and say why."""
    recorded = history(name)
    for offset, (told, line) in enumerate(zip(recorded, play(line.record for line in recorded), strict=True)):
        assert line.out == told.out, f"record {offset} of {name}"


@pytest.mark.parametrize("name", HISTORIES)
def test_a_recorded_journal_cut_at_any_record_and_restored_leads_to_the_same_outputs(name: str) -> None:
    """2.8: nothing is forgotten at a restart, wherever it comes."""
    recorded = history(name)
    journal = Journal()
    for offset, told in enumerate(recorded):
        before = len(journal.outputs)
        journal.restart().feed(told.record)
        assert journal.outputs[before:] == told.out, f"record {offset} of {name}"


@pytest.mark.parametrize("name", HISTORIES)
def test_a_recorded_journal_is_what_the_ingest_still_writes(name: str) -> None:
    """The way from packets to records is part of the history."""
    assert [line.record for line in history(name)] == [line.record for line in HISTORIES[name][1]()]


def test_the_histories_show_what_they_are_there_for() -> None:
    """An empty history replays well: these went through all that this version does."""
    outputs = [output for name in HISTORIES for line in history(name) for output in line.out]
    assert {output.topic for output in outputs} == {EVENTS.name, COMMANDS.name, REJECTED.name}
    types = {read_event(output.value).type for output in outputs if output.topic == EVENTS.name}
    assert types >= {
        *(
            "session.started",
            "session.updated",
            "session.ended",
            "session.reopened",
            "session.superseded",
            "session.moved",
            "session.stale",
        ),
        *("limit.breached", "disconnect.requested", "disconnect.acknowledged", "disconnect.confirmed", "disconnect.refused"),
        *("disconnect.unanswered", "nas.up", "nas.down"),
    }
