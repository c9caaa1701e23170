"""A NAS that no ingest hears is asked whether it talks, and only its answer makes its sessions' silence count (behaviours 3.4, 3.5)."""

import pytest

from schemas.codec import decoder, encode
from schemas.policy import Liveness
from schemas.sighting import Probe, Sighting, Sightings
from schemas.topics import PROBES
from streams.questions import FEW_SESSIONS
from tests.support.journal import T0_MS, Journal, Record, interim, play, policy, start, tick

WINDOW_MS = 22_000
QUERY = Liveness(rule="handshake", period_s=20, times=3, probe="query")
END = ["session.stale", "session.ended", "disconnect.requested"]

_read = decoder(Probe).decode


def silent(rule: Liveness = QUERY, *, sessions: int = 1, partitions: int = 1) -> Journal:
    """ap1 was heard for 5 s, and not for its window since; the log stands at 28 s, where its ingest says that."""
    journal = Journal(0, partitions).feed(policy(rule), tick(0, began=[("ap1", WINDOW_MS)])).pass_time(5, "ap1")
    journal.feed(*(start(f"s{number}", f"u{number}", at_s=5) for number in range(1, sessions + 1))).pass_time(22)
    journal.events()
    journal.now_s += 1
    return journal.feed(tick(28, ceased=[("ap1", 23_000)]))


def asked(journal: Journal) -> list[Probe]:
    return [_read(output.value) for output in journal.take(PROBES.name)]


def answer(probe: Probe) -> Record:
    seen = Sighting(time_ms=probe.asked_ms + 1500, by="prober", probe_id=probe.id, nas=probe.nas)
    return Record("sighting", None, encode(Sightings(seen=[seen])))


def story(journal: Journal, seconds: int, *, answers: bool) -> list[tuple[float, str]]:
    """What happened, by the second of the log; the NAS answers at once, or never."""
    told: list[tuple[float, str]] = []
    for second in range(seconds):
        if second:
            journal.pass_time(1)
        for probe in asked(journal):
            assert (probe.kind, probe.nas, probe.identity, probe.rule) == ("query", "ap1", "", "handshake")
            told.append((journal.now_s, "query"))
            if answers:
                journal.feed(answer(probe))
        told += [(journal.now_s, event.type) for event in journal.events()]
    return told


def test_the_lost_session_of_a_nas_that_answers_is_found_dead_though_no_accounting_came() -> None:
    """3.4, 3.5: asked once in its window; each answer vouches for the time up to its question."""
    journal = silent()
    told = story(journal, 60, answers=True)
    assert told[:2] == [(28, "query"), (29, "session.suspect")]
    assert told[2:] == [(50, "query"), (72, "query"), *[(73, kind) for kind in END]]
    assert journal.core.table.nases["ap1"].clock_ms == 5_000 + 67_000
    assert journal.command().reason == "stale"
    journal.nothing_else()


def test_the_sessions_of_a_nas_that_does_not_answer_wait() -> None:
    """3.5: it is called silent once its time to answer is over."""
    journal = silent()
    told = story(journal, 200, answers=False)
    assert [kind for _, kind in told if kind != "query"] == ["nas.silent"]
    assert (5 + 22 + 10, "nas.silent") in told
    times = [at_s for at_s, kind in told if kind == "query"]
    assert times == [28 + 22 * nth for nth in range(len(times))]
    assert len(times) == 10
    assert journal.core.table.nases["ap1"].clock_ms == 5_000
    journal.nothing_else()


def test_what_was_asked_in_vain_is_no_time_in_which_it_talked() -> None:
    """3.5: after an hour without an answer one answer vouches for one window, not for the hour."""
    journal = silent()
    story(journal, 3600, answers=False)
    before_ms = journal.core.table.nases["ap1"].clock_ms
    told = story(journal, 23, answers=True)
    assert [kind for _, kind in told] == ["query", "session.suspect"]
    assert 0 < journal.core.table.nases["ap1"].clock_ms - before_ms <= WINDOW_MS + 1000
    assert not journal.core.table.nases["ap1"].silent


def test_an_answer_says_nothing_of_a_session_that_was_heard_since_the_question() -> None:
    """3.5: its record lies in the journal between question and answer, before any tick says that the NAS is back."""
    journal = silent()
    (probe,) = asked(journal)
    journal.feed(interim("s1", "u1", at_s=28, input_octets=9), answer(probe)).pass_time(1)
    journal.feed(tick(30, began=[("ap1", WINDOW_MS)]))
    journal.now_s = 30
    assert journal.types() == ["session.updated"]
    assert journal.pass_time(17, "ap1").types() == []
    assert journal.pass_time(5, "ap1").types() == ["session.suspect"]
    journal.nothing_else()


@pytest.mark.parametrize("restart", [False, True])
def test_only_the_answer_to_the_open_question_counts_and_only_once(*, restart: bool) -> None:
    """3.4: late ones, invented ones and repeats are worth nothing."""
    journal = silent()
    (first,) = asked(journal)
    journal.pass_time(22)
    (second,) = asked(journal)
    journal.events()
    before_ms = journal.core.table.nases["ap1"].clock_ms
    forged = Probe(id="0-1-0-ap1", kind="query", nas="ap1", asked_ms=T0_MS + 49_000)
    journal.feed(answer(first), answer(forged), answer(Probe(id="nonsense", kind="query", nas="ap1", asked_ms=T0_MS + 49_000)))
    journal.feed(answer(Probe(id="0-1-0-ap9", kind="query", nas="ap9", asked_ms=T0_MS + 49_000)))
    assert journal.core.sightings == {"again": 3, "nobody": 1}
    assert journal.pass_time(1).core.table.nases["ap1"].clock_ms == before_ms
    journal.feed(answer(second), answer(second))
    if restart:
        journal.restart()
    journal.pass_time(1).feed(answer(second)).pass_time(2)
    assert journal.core.table.nases["ap1"].clock_ms == before_ms + 22_000
    assert journal.types() == ["session.suspect"]
    journal.nothing_else()


def test_no_question_where_the_rule_does_not_say_so() -> None:
    """3.4."""
    journal = silent(Liveness(rule="handshake", period_s=20))
    assert [kind for _, kind in story(journal, 60, answers=True)] == ["nas.silent"]
    journal.nothing_else()


@pytest.mark.parametrize(("sessions", "is_asked"), [(0, False), (1, True), (FEW_SESSIONS, True), (FEW_SESSIONS + 1, False)])
def test_a_nas_is_asked_where_it_has_few_sessions_and_not_where_all_of_many_fell_silent_at_once(sessions: int, *, is_asked: bool) -> None:
    """3.5: then it is the way that is cut, and an answer from the NAS would kick them all."""
    journal = silent(sessions=sessions)
    assert bool(asked(journal)) == is_asked
    assert journal.types() == []
    journal.nothing_else()


def test_nobody_is_asked_after_the_ingest_that_heard_the_nas_is_gone() -> None:
    """3.5: where nobody listens to the NAS, its silence is ours."""
    journal = play(policy(QUERY), tick(0, began=[("ap1", WINDOW_MS)]), tick(0, ingest="b")).pass_time(5, "ap1").feed(start())
    journal.events()
    journal.now_s = 5
    journal.pass_time(120, ingest="b")
    assert "a" not in journal.core.row.ingests
    assert journal.types() == ["nas.silent"]
    journal.nothing_else()


def test_the_questions_end_with_the_ingest_that_ceased_to_hear_it() -> None:
    """3.5: as above; an answer would say nothing of accounting that nobody was there to take."""
    journal = silent()
    assert len(asked(journal)) == 1
    journal.pass_time(60, ingest="b")
    assert set(journal.core.row.ingests) == {"b"}
    assert len(asked(journal)) <= 1
    assert journal.types() == ["nas.silent"]
    journal.pass_time(120, ingest="b").nothing_else()


def test_a_partition_that_has_none_of_its_sessions_hears_that_the_nas_answers_another_and_calls_it_silent_no_more() -> None:
    """3.5: the home partition is told too."""
    journal = silent(sessions=0)
    for number in range(20):
        journal.feed(answer(Probe(id=f"7-{number}-0-ap1", kind="query", nas="ap1", asked_ms=T0_MS + round(1000 * journal.now_s))))
        journal.pass_time(20)
    assert journal.types() == []
    assert journal.pass_time(60).types() == ["nas.silent"]
    assert journal.core.table.nases["ap1"].clock_ms == 5_000
    journal.nothing_else()


def test_a_restart_between_question_and_answer_changes_nothing() -> None:
    """2.8."""
    told = [story(silent(), 60, answers=True)]
    journal = silent().restart()
    again: list[tuple[float, str]] = []
    for _ in range(60):
        again += story(journal, 1, answers=True)
        journal.restart().pass_time(1).restart()
    assert [entry for entry in again if entry[0] < 88] == told[0]
