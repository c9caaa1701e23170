"""What a NAS is like, learned from its records (behaviours 2.11, 3.5), and values that cannot be."""

from __future__ import annotations

import pytest

from schemas.session import NAS_ROW, NasRow
from streams import habits
from streams.live_view import LiveView
from tests.support.journal import T0_MS, Journal, Record, interim, play, policy, start, stop, tick, user_limit

HOUR_S = 3600


def nas(journal: Journal) -> NasRow:
    return journal.core.table.nases.get("ap1") or NasRow("ap1")


def test_a_nas_that_sends_no_interims_is_known_by_its_long_sessions() -> None:
    """2.11: three of them in a row, which began and ended without one; an Interim proves the contrary."""
    journal = play(*[record for n in range(3) for record in (start(f"s{n}"), stop(f"s{n}", at_s=HOUR_S))])
    assert habits.is_mute(nas(journal))
    journal.feed(interim("s9", at_s=2 * HOUR_S))
    assert (habits.is_mute(nas(journal)), nas(journal).interims) == (False, True)
    assert len(journal.types()) == 7
    journal.nothing_else()


def learned(*rows: tuple[int, NasRow]) -> habits.Habits:
    """What partitions wrote, one after the other."""
    known = habits.Habits()
    for partition, row in rows:
        known.take(partition, row)
    return known


def test_what_each_partition_learned_is_reported_of_the_nas_together() -> None:
    """2.11: three long sessions without an Interim, in whatever partitions; one Interim anywhere proves the contrary."""
    mute = learned((0, NasRow("ap1", mute_sessions=2)), (3, NasRow("ap1", mute_sessions=1)), (0, NasRow("ap2", mute_sessions=2)))
    assert mute.of("ap1") == {"no-interims": "sends no Interims: a session whose Stop is lost cannot be told from a living one"}
    assert (mute.of("ap2"), mute.of("never seen"), +mute.counts) == ({}, {}, {"no-interims": 1})
    mute.take(7, NasRow("ap1", interims=True))
    assert (mute.of("ap1"), +mute.counts) == ({}, {})


def test_a_clock_beyond_belief_and_one_that_is_behind_are_reported_until_better_is_heard() -> None:
    """2.11: each as a sentence, and counted for the metric; a row of which only the clock moved changes nothing."""
    known = learned((0, NasRow("ap1", stamps="disbelieved")), (1, NasRow("ap1", late_ms=600_000)), (0, NasRow("ap2", late_ms=70_000)))
    known.take(1, NasRow("ap1", late_ms=600_000, clock_ms=5))
    assert known.of("ap1") == {
        "clock-disbelieved": "its Event-Timestamps are beyond belief: the arrival counts instead",
        "clock-behind": "its clock is 600 s behind: its records are taken as of now all the same",
    }
    assert +known.counts == {"clock-disbelieved": 1, "clock-behind": 2}
    known.take(0, NasRow("ap1", stamps="believed"))
    known.take(1, NasRow("ap1"))
    assert (known.of("ap1"), +known.counts) == ({}, {"clock-behind": 1})


def test_the_live_view_knows_what_is_reported_of_the_nases() -> None:
    """2.11, 7.2: for the metric; from the rows of all partitions, and a row that cannot be read hides no other."""
    view = LiveView(2)
    view.partitions[0].take_row(b"n:ap1", NAS_ROW.named(NasRow("ap1", mute_sessions=2)))
    view.partitions[1].take_row(b"n:ap1", b"{")
    view.partitions[1].take_row(b"n:ap1", NAS_ROW.named(NasRow("ap1", mute_sessions=2)))
    assert (+view.habits.counts, view.unreadable, len(view)) == ({"no-interims": 1}, 1, 0)


def test_short_sessions_show_nothing() -> None:
    """2.11: nothing was due yet."""
    journal = play(*[stop(f"s{n}", at_s=60) for n in range(5)])
    assert not habits.is_mute(nas(journal))
    assert len(journal.types()) == 5
    journal.nothing_else()


@pytest.mark.parametrize(
    ("records", "stamps"),
    [
        ([start()], ""),
        ([start(event_source="arrival")], ""),
        ([start(event_source="arrival", disbelieved=["Event-Timestamp"])], "disbelieved"),
        ([start(event_source="arrival", disbelieved=["Event-Timestamp"]), interim(at_s=60)], "believed"),
    ],
)
def test_a_clock_beyond_belief_is_told(records: list[Record], stamps: str) -> None:
    """2.11."""
    journal = play(*records)
    assert nas(journal).stamps == stamps
    journal.events()
    journal.nothing_else()


def behind(journal: Journal, seconds: int, *, minutes: int, late_s: int) -> Journal:
    """Interims of one session each minute, all of them so late; ticks in between."""
    for _ in range(minutes):
        journal.pass_time(60, "ap1")
        journal.feed(interim("old", at_s=journal.now_s - late_s, session_time_s=seconds + int(journal.now_s), late_s=late_s))
    return journal


def test_the_sessions_of_a_nas_whose_clock_is_behind_all_the_time_take_part_in_limits() -> None:
    """3.5: when all its records are equally late, they are fresh."""
    journal = behind(play(policy(user_limit(1)), tick(0)), HOUR_S, minutes=12, late_s=600)
    assert nas(journal).late_ms == 600_000
    journal.feed(start("s1", "eve", at_s=journal.now_s - 600, late_s=600), start("s2", "eve", at_s=journal.now_s - 595, late_s=601))
    assert [event.type for event in journal.events() if event.identity == "eve"][-2:] == ["limit.breached", "disconnect.requested"]
    assert len(journal.commands()) == 1
    journal.nothing_else()


def test_a_clock_that_is_set_right_is_believed_again_at_once() -> None:
    """3.5: what is late from then on is old news."""
    journal = behind(play(tick(0)), HOUR_S, minutes=12, late_s=600)
    journal.feed(start("s1", at_s=journal.now_s))
    assert (nas(journal).late_ms, nas(journal).late_since_ms) == (0, -1)
    journal.feed(start("s2", at_s=journal.now_s - 600, late_s=600))
    assert (journal.open_row("s1").counts, journal.open_row("s2").counts) == (True, False)
    journal.events()
    journal.nothing_else()


def test_a_backlog_is_not_taken_for_a_clock_that_is_behind() -> None:
    """3.5: it is handed in at once, comes nearer to the present, or says how late it is."""
    at_once = play(tick(0)).pass_time(5)
    at_once.feed(*[interim(f"s{n}", at_s=-HOUR_S, late_s=HOUR_S, session_time_s=5) for n in range(50)])
    nearer = play(tick(0))
    says_so = play(tick(0))
    for n in range(30):
        nearer.pass_time(60, "ap1").feed(interim("s1", at_s=60 * n - HOUR_S * (30 - n), late_s=HOUR_S * (30 - n), session_time_s=n))
        late = {"late_s": HOUR_S, "acct_delay_s": HOUR_S}
        says_so.pass_time(60, "ap1").feed(interim("s1", at_s=60 * n - HOUR_S, session_time_s=n, **late))
    for journal in (at_once, nearer, says_so):
        assert nas(journal).late_ms == 0
        assert not any(journal.open_row(event.acct_session_id).counts for event in journal.events())
        journal.nothing_else()


def test_a_nas_whose_habits_are_known_costs_no_row() -> None:
    """3.8: nothing is written again for it."""
    journal = play(tick(0), start(), interim(at_s=60))
    journal.core.checkpoint()
    journal.feed(interim(at_s=120), stop(at_s=180))
    assert b"n:ap1" not in dict(journal.core.checkpoint())
    journal.events()
    journal.nothing_else()


def test_an_acct_session_time_that_contradicts_the_clock_is_not_believed() -> None:
    """1.6: the record stays, its octets count, the value is marked."""
    journal = play(start(), interim(at_s=60, session_time_s=86_400, input_octets=7), interim(at_s=120, input_octets=9))
    row = journal.open_row()
    assert (row.session_time_s, row.input_octets, row.disbelieved) == (120, 9, ("Acct-Session-Time",))
    assert row.started_ms == T0_MS
    assert [event.session_time_s for event in journal.events()] == [None, None, 120]
    journal.nothing_else()


def test_a_clock_that_was_put_back_does_not_make_acct_session_time_a_lie() -> None:
    """1.6: by arrival the session has lasted for so long."""
    journal = play(start(at_s=HOUR_S), interim(at_s=HOUR_S + 30, late_s=870, session_time_s=900))
    assert (journal.open_row().session_time_s, journal.open_row().disbelieved) == (900, ())
    assert journal.types() == ["session.started", "session.updated"]
    journal.nothing_else()


def test_what_the_ingest_did_not_believe_is_marked_on_the_session() -> None:
    """1.8: people see it in the directory."""
    journal = play(start(disbelieved=["Session-Timeout"]), interim(at_s=60, disbelieved=["Idle-Timeout", "Session-Timeout"]))
    assert journal.open_row().disbelieved == ("Idle-Timeout", "Session-Timeout")
    journal.events()
    journal.nothing_else()
