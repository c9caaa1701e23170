"""Records into one truth about a session: which session a record is about, and what it does to it (behaviours 1.6, 2.1, 2.2, 2.4, 2.6)."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.policy import Liveness
from streams.partitioner import partition_of
from tests.support.journal import T0_MS, Journal, Record, interim, on, play, policy, start, stop, tick

UNBELIEVED: dict[str, Any] = {"event_source": "arrival"}


# -- 2.1: which session -------------------------------------------------------------------------------------------------------------------


def test_a_later_start_under_the_same_id_is_a_new_session() -> None:
    """2.1: a NAS reuses ids after a reboot."""
    journal = play(start(at_s=0), start(at_s=6))
    assert journal.types() == ["session.started", "session.superseded", "session.ended", "session.started"]
    assert journal.open_row().started_ms == T0_MS + 6000
    journal.nothing_else()


def test_the_session_that_was_replaced_ends_at_its_own_last_sign_of_life() -> None:
    """2.1, 2.7: the row is the new session's, the event tells the end of the old one."""
    journal = play(start(at_s=0), interim(at_s=300, input_octets=7), start(at_s=900))
    superseded, ended = journal.events()[2:4]
    assert superseded.type == "session.superseded"
    assert (ended.type, ended.said_by, ended.ended_ms, ended.input_octets) == ("session.ended", "superseded", T0_MS + 300_000, 7)
    row = journal.open_row()
    assert (row.input_octets, row.interims) == (None, 0)
    journal.nothing_else()


@pytest.mark.parametrize("again_at_s", [0, 3, 5])
def test_a_start_within_the_tolerance_is_the_same_one_again(again_at_s: int) -> None:
    """2.1: a retransmission whose clock was read anew is no new session."""
    journal = play(start(at_s=0), start(at_s=again_at_s))
    assert journal.types() == ["session.started"]
    assert journal.open_row().started_ms == T0_MS
    journal.nothing_else()


@pytest.mark.parametrize("again_at_s", [30, 60])
def test_without_event_timestamp_a_start_may_come_again_for_a_minute(again_at_s: int) -> None:
    """2.1: arrival times of a retransmission without Acct-Delay-Time wander."""
    journal = play(start(at_s=0, **UNBELIEVED), start(at_s=again_at_s, **UNBELIEVED))
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_without_event_timestamp_a_start_after_a_minute_is_a_new_session() -> None:
    """2.1."""
    journal = play(start(at_s=0, **UNBELIEVED), start(at_s=61, **UNBELIEVED))
    assert journal.types()[1:] == ["session.superseded", "session.ended", "session.started"]
    journal.nothing_else()


def test_a_start_long_before_the_known_one_is_of_a_session_replaced_since() -> None:
    """2.1: it comes too late to matter."""
    journal = play(start(at_s=0), start(at_s=900))
    journal.events()
    before = journal.row()
    journal.feed(start(at_s=0, late_s=901))
    assert journal.row() == before
    journal.nothing_else()


def test_a_late_stop_of_the_session_before_does_not_end_the_one_that_runs() -> None:
    """2.1: what happened before this session began is not about it."""
    journal = play(start(at_s=0), start(at_s=900))
    journal.events()
    journal.feed(stop(at_s=600, late_s=400))
    assert journal.open_row().started_ms == T0_MS + 900_000
    journal.nothing_else()


def test_an_interim_whose_start_lies_after_the_whole_old_session_opens_a_new_one() -> None:
    """2.1: also where the new session's Start was lost."""
    journal = play(start(at_s=0), interim(at_s=900), interim(at_s=2000, session_time_s=100))
    assert journal.types() == ["session.started", "session.updated", "session.superseded", "session.ended", "session.started"]
    assert journal.open_row().started_ms == T0_MS + 1_900_000
    journal.nothing_else()


def test_an_old_interim_that_comes_after_one_of_the_session_that_has_its_id_now_is_not_merged_into_it() -> None:
    """2.1: also where the Start of the session that runs is not in, and its Interim alone tells when it began."""
    journal = play(
        interim(at_s=1000, session_time_s=100, input_octets=5), interim(at_s=700, session_time_s=700, input_octets=900, late_s=400)
    )
    assert journal.types() == ["session.started"]
    row = journal.open_row()
    assert (row.started_ms, row.session_time_s, row.input_octets) == (T0_MS + 900_000, 100, 5)
    journal.nothing_else()


def test_without_believed_clocks_an_interim_of_a_longer_session_than_the_one_that_runs_is_not_merged_into_it() -> None:
    """2.1: Acct-Session-Time and the partition's clock tell, however the clocks of ingests stand to each other."""
    journal = play(interim(at_s=1000, session_time_s=100, **UNBELIEVED), interim(at_s=700, session_time_s=700, **UNBELIEVED))
    assert journal.types() == ["session.started"]
    assert journal.open_row().session_time_s == 100
    journal.nothing_else()


def test_without_believed_clocks_what_is_known_of_the_session_before_is_not_merged_into_the_one_that_has_its_id_now() -> None:
    """2.1: an outage put another ingest's copies of its Interims behind the Start that replaced it; a living one says more each time."""
    journal = play(start(at_s=0, **UNBELIEVED), interim(at_s=60, input_octets=900, **UNBELIEVED), start(at_s=200, **UNBELIEVED))
    journal.events()
    journal.feed(interim(at_s=63, session_time_s=60, input_octets=900, **UNBELIEVED))
    row = journal.open_row()
    assert (row.started_ms, row.session_time_s, row.input_octets) == (T0_MS + 200_000, None, None)
    journal.nothing_else()
    journal.feed(interim(at_s=260, session_time_s=60, input_octets=5, **UNBELIEVED))
    assert journal.open_row().input_octets == 5
    assert journal.types() == ["session.updated"]
    journal.nothing_else()


@pytest.mark.parametrize(("fields", "wait_s"), [({}, 1), (UNBELIEVED, 121)])
def test_no_living_session_is_taken_for_the_one_before_it_because_an_ingests_clock_was_set_by_their_difference(
    fields: dict[str, Any], wait_s: int
) -> None:
    """2.1, 3.5: by arrival its Interims are of a session that began when the one before it did."""
    journal = play(tick(0), start(at_s=0, **fields), interim(at_s=600, **fields), start(at_s=700, **fields)).pass_time(wait_s, "ap1")
    journal.events()
    said = {} if fields else {"event_ms": T0_MS + 760_000}
    journal.feed(interim(at_s=60, session_time_s=60, **{**fields, **said}))
    assert journal.open_row().session_time_s == 60
    assert journal.types() == ["session.updated"]
    journal.nothing_else()


def test_without_believed_clocks_an_older_interim_that_says_no_more_than_is_known_is_not_merged() -> None:
    """2.1: it is of the session that had its Acct-Session-Id before; and of a session that lives it would be no news."""
    journal = play(interim(at_s=660, session_time_s=240, input_octets=5, **UNBELIEVED))
    journal.feed(interim(at_s=252, session_time_s=240, input_octets=900, **UNBELIEVED))
    assert journal.open_row().input_octets == 5
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_a_start_that_was_overtaken_by_an_interim_is_its_sessions_though_the_nas_set_its_clock_back_meanwhile() -> None:
    """2.1, 2.2: by arrival it came when the session began."""
    journal = play(interim(at_s=-180, late_s=300, session_time_s=120), start(at_s=1))
    assert journal.types() == ["session.started"]
    row = journal.open_row()
    assert (row.started_ms, row.start_seen, row.session_time_s) == (T0_MS + 1_000, True, 120)
    journal.nothing_else()


def test_a_time_of_arrival_alone_makes_no_record_an_older_one() -> None:
    """2.1, 3.5: it came through an ingest that is an hour behind; the session lives, and is not taken for silent."""
    journal = play(tick(0), start(at_s=3600, **UNBELIEVED)).pass_time(60, "ap1")
    heard_ms = journal.open_row().heard_ms
    journal.feed(interim(at_s=60, **UNBELIEVED))
    assert journal.open_row().heard_ms > heard_ms
    assert journal.types() == ["session.started", "session.updated"]
    journal.nothing_else()


def test_a_stop_of_a_later_session_closes_that_one_and_its_grace_begins_then() -> None:
    """2.1, 2.2: an id reused by a session of which only the Stop was seen."""
    journal = play(tick(0), start(at_s=0), stop(at_s=10))
    journal.pass_time(2000)
    journal.feed(stop(at_s=2000, session_time_s=100))
    assert journal.types() == ["session.started", "session.ended", "session.ended"]
    journal.pass_time(1700)
    assert journal.ended_row().started_ms == T0_MS + 1_900_000
    journal.pass_time(1901)
    assert journal.row() is None
    journal.nothing_else()


def test_a_start_that_was_overtaken_by_its_stop_opens_nothing_even_without_event_timestamp() -> None:
    """2.1, 2.2: where no Start was seen, the one that comes now is most likely the missing one."""
    journal = play(stop(at_s=100, session_time_s=99, **UNBELIEVED), start(at_s=101, **UNBELIEVED))
    assert journal.types() == ["session.ended"]
    journal.nothing_else()


@pytest.mark.parametrize("by_s", [-7200, 7200])
def test_a_session_whose_nas_sets_its_clock_is_the_same_session(by_s: int) -> None:
    """2.1: Acct-Session-Time and arrival tell; its usage goes on, and its Stop ends it."""
    journal = play(start(at_s=0), interim(at_s=300, input_octets=5))
    journal.feed(interim(at_s=600 + by_s, late_s=-by_s, session_time_s=600, input_octets=9))
    journal.feed(stop(at_s=700 + by_s, late_s=-by_s, session_time_s=700, input_octets=12))
    assert journal.types() == ["session.started", "session.updated", "session.updated", "session.ended"]
    row = journal.ended_row()
    assert (row.session_time_s, row.input_octets, row.said_by) == (700, 12, "nas-stop")
    journal.nothing_else()


def test_the_same_id_at_another_nas_is_another_session() -> None:
    """2.1: a session is (NAS, Acct-Session-Id, start)."""
    journal = play(start(), start(nas="ap2"), stop(at_s=9))
    assert journal.types() == ["session.started", "session.started", "session.ended"]
    assert journal.open_row(nas="ap2").ended_ms is None
    journal.nothing_else()


# -- 2.2: any order -----------------------------------------------------------------------------------------------------------------------

ONE_SESSION = [
    start(at_s=0, framed_ip_address="10.0.0.7"),
    *[interim(at_s=at_s, input_octets=at_s * 10, output_octets=at_s * 3) for at_s in (60, 120, 180)],
    stop(at_s=200, input_octets=5000, output_octets=900),
]
TRUTH = (
    *("identity", "state", "started_ms", "session_time_s", "input_octets", "output_octets", "ended_ms", "cause", "said_by"),
    *("user_name", "device", "framed_ip_address", "event_ms", "start_seen"),
)


def truth(journal: Journal) -> dict[str, Any]:
    row = journal.row()
    return {name: getattr(row, name) for name in TRUTH}


@given(records=st.permutations(ONE_SESSION), again=st.lists(st.tuples(st.integers(0, 20), st.sampled_from(ONE_SESSION)), max_size=8))
def test_start_interims_and_stop_in_any_order_and_number_lead_to_the_same_row(
    records: list[Record], again: list[tuple[int, Record]]
) -> None:
    """2.2: one truth, one end, and at most one beginning."""
    shuffled = list(records)
    for place, record in again:
        shuffled.insert(place, record)
    journal = play(*shuffled)
    assert truth(journal) == truth(play(*ONE_SESSION))
    types = journal.types()
    assert types.count("session.ended") == 1
    assert types.count("session.started") == int(types[0] == "session.started")
    assert set(types) <= {"session.started", "session.updated", "session.ended"}
    journal.nothing_else()


@st.composite
def any_session(draw: st.DrawFn) -> tuple[list[Record], list[Record]]:
    """A session of any length and traffic, and its records in any order and number."""
    told_at_s = sorted(draw(st.sets(st.integers(1, 100_000), max_size=6)))
    octets = sorted(draw(st.lists(st.integers(0, 1 << 40), min_size=len(told_at_s) + 1, max_size=len(told_at_s) + 1)))
    said: dict[str, Any] = {"mac": "02-00-00-00-00-01", "gigawords": True}
    records = [start(at_s=0, **said)] if draw(st.booleans()) else []
    records += [interim(at_s=at_s, input_octets=count, **said) for at_s, count in zip(told_at_s, octets, strict=False)]
    if draw(st.booleans()) or not records:
        records.append(stop(at_s=(told_at_s or [0])[-1] + draw(st.integers(0, 600)), input_octets=octets[-1], **said))
    again = draw(st.lists(st.sampled_from(records), max_size=6))
    return records, draw(st.permutations([*records, *again]))


@given(any_session())
def test_any_session_told_in_any_order_and_number_leads_to_the_same_row(told: tuple[list[Record], list[Record]]) -> None:
    """2.2, 1.6: also where its Start or its Stop is lost; usage never falls on the way."""
    in_order, shuffled = told
    journal = play(*shuffled)
    assert truth(journal) == truth(play(*in_order))
    events = journal.events()
    assert {event.type for event in events} <= {"session.started", "session.updated", "session.ended"}
    assert [event.type for event in events].count("session.ended") == int(b'"Stop"' in (in_order[-1].value or b""))
    usage = [(event.session_time_s or 0, event.input_octets or 0) for event in events]
    assert all(earlier[0] <= later[0] and earlier[1] <= later[1] for earlier, later in itertools.pairwise(usage))
    journal.nothing_else()


@given(
    records=st.permutations(ONE_SESSION[:-1]), again=st.lists(st.tuples(st.integers(0, 20), st.sampled_from(ONE_SESSION[:-1])), max_size=6)
)
def test_while_it_runs_its_records_in_any_order_and_number_lead_to_the_same_row(
    records: list[Record], again: list[tuple[int, Record]]
) -> None:
    """2.2: Interim before Start opens the session; Start after Interim does not reopen or reset it."""
    shuffled = list(records)
    for place, record in again:
        shuffled.insert(place, record)
    journal = play(*shuffled)
    assert truth(journal) == truth(play(*ONE_SESSION[:-1]))
    types = journal.types()
    assert types[0] == "session.started"
    assert set(types[1:]) <= {"session.updated"}
    journal.nothing_else()


def test_an_interim_after_the_stop_does_not_bring_the_session_back() -> None:
    """2.2."""
    journal = play(*ONE_SESSION)
    journal.events()
    journal.feed(interim(at_s=190, input_octets=4000))
    assert journal.ended_row().input_octets == 5000
    journal.nothing_else()


def test_a_stop_without_start_makes_a_closed_session_with_its_usage() -> None:
    """2.2."""
    journal = play(stop(at_s=200, session_time_s=150, input_octets=9))
    (event,) = journal.events()
    assert (event.type, event.started_ms, event.session_time_s, event.input_octets) == ("session.ended", T0_MS + 50_000, 150, 9)
    assert (event.cause, event.said_by) == ("User-Request", "nas-stop")
    assert journal.core.open_sessions == 0
    journal.nothing_else()


def test_an_interim_that_says_nothing_new_makes_no_event() -> None:
    """1.4: the same record through a second ingest is counted once."""
    journal = play(start(), interim(at_s=60, input_octets=1), interim(at_s=60, input_octets=1, late_s=1, ingest="b"))
    assert journal.types() == ["session.started", "session.updated"]
    assert journal.open_row().interims == 1
    journal.nothing_else()


def test_a_stop_that_knows_more_corrects_the_usage_of_a_closed_session() -> None:
    """2.2: the octets that were counted last are not lost."""
    journal = play(start(), stop(at_s=100, input_octets=5), stop(at_s=100, input_octets=8))
    assert journal.types() == ["session.started", "session.ended", "session.updated"]
    assert journal.ended_row().input_octets == 8
    journal.nothing_else()


# -- 1.6: counters ------------------------------------------------------------------------------------------------------------------------


def test_a_counter_without_gigawords_that_wraps_goes_on() -> None:
    """1.6: 4 GiB and a little more."""
    journal = play(start(), interim(at_s=60, input_octets=2**32 - 10), interim(at_s=120, input_octets=20))
    assert journal.open_row().input_octets == 2**32 + 20
    assert len(journal.events()) == 3
    journal.nothing_else()


def test_a_counter_that_falls_is_never_a_negative_usage() -> None:
    """1.6: reset, or a lie."""
    journal = play(start(), interim(at_s=60, input_octets=1000), interim(at_s=120, input_octets=400))
    assert [event.input_octets for event in journal.events()] == [None, 1000, 1000]
    journal.nothing_else()


def test_with_gigawords_a_counter_does_not_wrap() -> None:
    """1.6: 64 bits are 64 bits."""
    big = 2**40
    journal = play(start(), interim(at_s=60, input_octets=big, gigawords=True), interim(at_s=120, input_octets=5, gigawords=True))
    assert journal.open_row().input_octets == big
    assert len(journal.events()) == 3
    journal.nothing_else()


# -- 2.3, 2.10: names ---------------------------------------------------------------------------------------------------------------------


def test_bob_and_bob_in_capitals_are_one_and_the_octets_stay_as_sent() -> None:
    """2.3: the ingest gives both one identity; each keeps its own spelling for the Disconnect-Request."""
    journal = play(start("s1", user_name="BOB"), start("s2", user_name="bob"))
    assert [(event.identity, event.user_name) for event in journal.events()] == [("bob", "BOB"), ("bob", "bob")]
    assert len(journal.core.table.open_of.keys_of("bob")) == 2
    journal.nothing_else()


def test_a_session_whose_name_changes_under_way_is_one_session() -> None:
    """2.10: the events go on under the new name, and the old one is let go of."""
    journal = play(start(identity="anonymous-1"), interim(at_s=60, identity="bob"), stop(at_s=90, identity="bob"))
    events = journal.events()
    assert [(event.type, event.identity, event.seq) for event in events] == [
        ("session.started", "anonymous-1", 1),
        ("session.moved", "anonymous-1", 2),
        ("session.updated", "bob", 1),
        ("session.ended", "bob", 2),
    ]
    assert journal.identity_row("anonymous-1") is None
    journal.nothing_else()


def test_an_older_record_with_the_old_name_does_not_move_the_session_back() -> None:
    """2.10, 2.2: a retransmitted Start."""
    journal = play(start(identity="anonymous-1"), interim(at_s=60, identity="bob"), start(identity="anonymous-1", late_s=70))
    assert journal.types() == ["session.started", "session.moved", "session.updated"]
    assert journal.open_row().identity == "bob"
    journal.nothing_else()


# -- 2.4: reboot --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [False, True])
def test_a_boot_ends_the_sessions_of_that_nas_and_of_no_other(off: bool) -> None:
    """2.4: with the cause NAS-Reboot, at their last sign of life."""
    journal = play(start("s1"), start("s2", nas="ap2"), start("s3", "eve"), on(off=off, at_s=50))
    events = journal.events()
    assert [(event.type, event.acct_session_id, event.cause, event.said_by) for event in events[3:5]] == [
        ("session.ended", "s1", "NAS-Reboot", "nas-reboot"),
        ("session.ended", "s3", "NAS-Reboot", "nas-reboot"),
    ]
    assert (events[5].type, events[5].nas, events[5].seq) == ("nas.down" if off else "nas.up", "ap1", 1)
    assert events[3].ended_ms == T0_MS
    assert journal.open_row("s2", "ap2").identity == "bob"
    journal.nothing_else()


def test_the_same_boot_again_ends_nothing() -> None:
    """2.4: once."""
    journal = play(on(at_s=0), start(at_s=1), on(at_s=0, late_s=3), on(at_s=2))
    assert journal.types() == ["nas.up", "session.started"]
    journal.nothing_else()


def test_a_boot_without_event_timestamp_that_is_sent_again_for_a_minute_ends_nothing() -> None:
    """2.4: its answers were lost, the octets are the same, and each time it is dated by its arrival."""
    journal = play(on(at_s=0, **UNBELIEVED), start(at_s=1), on(at_s=11, **UNBELIEVED))
    assert journal.types() == ["nas.up", "session.started"]
    journal.nothing_else()
    journal.feed(on(at_s=600, **UNBELIEVED))
    assert journal.types() == ["session.ended", "nas.up"]
    journal.nothing_else()


def test_a_second_boot_is_a_second_one() -> None:
    """2.4."""
    journal = play(on(at_s=0), start(at_s=1), on(at_s=600))
    events = journal.events()
    assert [event.type for event in events] == ["nas.up", "session.started", "session.ended", "nas.up"]
    assert [event.seq for event in events if event.nas and not event.identity] == [1, 2]
    journal.nothing_else()


def test_a_second_boot_within_seconds_shows_by_its_own_acct_session_id() -> None:
    """2.4: hostapd crashes at its start and is up again four seconds later; each of its Accounting-Ons has an id of its own."""
    journal = play(on(at_s=0, acct_session_id="boot1"), start(at_s=2), on(at_s=4, acct_session_id="boot2"))
    assert journal.types() == ["nas.up", "session.started", "session.ended", "nas.up"]
    journal.nothing_else()


@pytest.mark.parametrize("told_apart", [{"nas_identifier": "ap-2"}, {"nas_ip_address": "10.0.0.2"}])
def test_a_boot_ends_the_sessions_of_the_device_that_booted(told_apart: dict[str, str]) -> None:
    """2.4: one entry of the configuration, two access points; each of them boots, within seconds."""
    first = {"nas_identifier": "ap-1", "nas_ip_address": "10.0.0.1"}
    second = {**first, **told_apart}
    journal = play(start("s1", at_s=0, **first), start("s2", at_s=1, **second), on(at_s=9, **first))
    assert [(event.type, event.acct_session_id) for event in journal.events()][2:] == [("session.ended", "s1"), ("nas.up", None)]
    journal.feed(on(at_s=10, **second))
    assert [(event.type, event.acct_session_id) for event in journal.events()] == [("session.ended", "s2"), ("nas.up", None)]
    journal.nothing_else()


def test_an_older_boot_that_was_overtaken_ends_nothing() -> None:
    """2.4: both clocks are believed."""
    journal = play(on(at_s=600), start(at_s=601), on(at_s=0, late_s=602))
    assert journal.types() == ["nas.up", "session.started"]
    journal.nothing_else()


def test_a_session_that_began_after_the_boot_by_both_clocks_goes_on() -> None:
    """2.4: the boot record came late."""
    journal = play(start("s1", at_s=0), start("s2", at_s=30), on(at_s=20, late_s=15))
    assert journal.types() == ["session.started", "session.started", "session.ended", "nas.up"]
    assert journal.open_row("s2").started_ms == T0_MS + 30_000
    journal.nothing_else()


def test_a_session_that_was_heard_of_after_the_boot_by_both_clocks_goes_on() -> None:
    """2.4: also where its Start is not in, or has no time that is believed."""
    journal = play(interim("s1", at_s=30, session_time_s=0), start("s2", at_s=1, **UNBELIEVED), interim("s2", at_s=40))
    journal.feed(on(at_s=20, late_s=25))
    assert journal.types() == ["session.started", "session.started", "session.updated", "nas.up"]
    journal.nothing_else()


@pytest.mark.parametrize("boot", [on(at_s=20, late_s=15), on(at_s=35, **UNBELIEVED)])
def test_where_a_clock_is_not_believed_the_journals_order_decides(boot: Record) -> None:
    """2.4: what the journal saw before the boot has ended."""
    journal = play(start("s1", at_s=30, **UNBELIEVED), boot)
    assert journal.types() == ["session.started", "session.ended", "nas.up"]
    journal.nothing_else()


def test_an_interim_newer_than_the_boot_by_both_clocks_reopens_what_a_late_boot_has_ended() -> None:
    """2.4, 2.6: the boot came late, and of the session nothing was in that had a time which is believed."""
    journal = play(start("s1", at_s=30, **UNBELIEVED), on(at_s=20, late_s=15))
    journal.events()
    journal.feed(interim("s1", at_s=19, session_time_s=0, late_s=17))
    journal.nothing_else()
    journal.feed(interim("s1", at_s=40, session_time_s=10))
    (event,) = journal.events()
    assert (event.type, event.said_by, event.ended_ms) == ("session.reopened", None, None)
    journal.open_row("s1")
    journal.nothing_else()


def test_without_believed_clocks_an_interim_long_after_the_boot_reopens_what_it_has_ended() -> None:
    """2.4, 2.6: whoever was dead speaks no more, but for the packets that are on their way."""
    journal = play(tick(0), start(at_s=0, **UNBELIEVED), on(at_s=1, **UNBELIEVED)).pass_time(59)
    journal.feed(interim(at_s=60, **UNBELIEVED)).pass_time(2)
    journal.feed(interim(at_s=62, late_s=30, event_source="acct-delay-time", acct_delay_s=30))
    assert journal.types() == ["session.started", "session.ended", "nas.up"]
    journal.feed(interim(at_s=63, **UNBELIEVED))
    assert journal.types() == ["session.reopened"]
    journal.nothing_else()


def test_a_late_start_from_before_the_boot_opens_no_session() -> None:
    """2.4: it is known, and closed."""
    journal = play(on(at_s=100), start(at_s=50, late_s=60))
    events = journal.events()
    assert [(event.type, event.said_by) for event in events] == [("nas.up", None), ("session.ended", "nas-reboot")]
    assert journal.core.open_sessions == 0
    journal.nothing_else()


def test_a_late_record_does_not_reopen_what_the_boot_has_ended() -> None:
    """2.4: nor the Start, nor an Interim, and a Stop is the NAS's better word."""
    journal = play(start(), on(at_s=100))
    journal.events()
    journal.feed(start(late_s=110), interim(at_s=60, late_s=50))
    journal.nothing_else()
    journal.feed(stop(at_s=90, late_s=40))
    (event,) = journal.events()
    assert (event.type, event.said_by, event.ended_ms) == ("session.updated", "nas-stop", T0_MS + 90_000)
    journal.nothing_else()


def test_every_partition_ends_its_own_and_the_nas_is_up_in_its_home_only() -> None:
    """2.4: the record is in every partition; nas.* events come from one."""
    home = partition_of("ap1", 4)
    for partition in range(4):
        journal = Journal(partition, 4).feed(start(f"s{partition}", f"user{partition}"), on(at_s=9))
        assert journal.types() == ["session.started", "session.ended"] + ["nas.up"] * (partition == home)
        journal.nothing_else()


# -- 2.6, 2.8, ids ------------------------------------------------------------------------------------------------------------------------


def test_a_session_closed_as_stale_that_reports_again_is_reopened() -> None:
    """2.6: by a correcting event; usage goes on from where it was."""
    journal = stale_session()
    journal.feed(interim(at_s=200, input_octets=50))
    (event,) = journal.events()
    assert (event.type, event.input_octets, event.ended_ms, event.said_by) == ("session.reopened", 50, None, None)
    journal.open_row()
    journal.nothing_else()
    journal.feed(stop(at_s=210, input_octets=60))
    assert journal.types() == ["session.ended"]
    assert [notice.alive for notice in journal.notices()] == [False]
    journal.nothing_else()


def test_a_record_from_before_its_death_does_not_reopen_it() -> None:
    """2.6: only a later sign of life shows that we were wrong."""
    journal = stale_session()
    journal.feed(interim(at_s=10, input_octets=7, late_s=150))
    assert journal.ended_row().said_by == "stale"
    journal.nothing_else()


def test_the_nas_s_stop_replaces_our_conclusion() -> None:
    """2.7: who says so is told, and the kicker learns it."""
    journal = stale_session()
    journal.feed(stop(at_s=150, input_octets=70))
    (event,) = journal.events()
    assert (event.type, event.said_by, event.cause, event.ended_ms) == ("session.updated", "nas-stop", "User-Request", T0_MS + 150_000)
    assert [(notice.alive, notice.said_by) for notice in journal.notices()] == [(False, "nas-stop")]
    journal.nothing_else()


def stale_session() -> Journal:
    """A session heard of at 10 s with an interval of 10 s, and found dead since; what came out is taken."""
    journal = play(policy(Liveness(rule="interim", times=3)), tick(0))
    journal.feed(start(interim_interval_s=10), interim(at_s=10, input_octets=7)).pass_time(60, "ap1")
    assert journal.types() == [
        "session.started",
        "session.updated",
        "session.suspect",
        "session.stale",
        "session.ended",
        "disconnect.requested",
    ]
    assert journal.command().reason == "stale"
    journal.nothing_else()
    return journal


def test_the_sequence_of_an_identity_has_no_gap_and_ids_are_unique() -> None:
    """7.1: a subscriber can tell a gap and a repeat."""
    journal = play(start("s1"), start("s2"), interim("s1", at_s=9), stop("s2", at_s=10), start("s3", "eve"), stop("s1", at_s=11))
    events = journal.events()
    assert [event.seq for event in events if event.identity == "bob"] == [1, 2, 3, 4, 5]
    assert [(event.seq, event.seq_epoch) for event in events if event.identity == "eve"] == [(1, 4)]
    assert len({event.id for event in events}) == len(events)
    assert events[2].id == "0-2-0-bob"
    journal.nothing_else()


def test_a_closed_session_stays_for_its_grace_and_then_goes_with_its_identity() -> None:
    """DESIGN "The table": then a tombstone each."""
    journal = play(tick(0), start(), stop(at_s=5))
    journal.core.checkpoint()
    journal.pass_time(3599)
    assert journal.row() is not None
    journal.pass_time(2)
    assert (journal.row(), journal.identity_row()) == (None, None)
    rows = dict(journal.core.checkpoint())
    assert (rows[b"s:ap1/s1"], rows[b"i:bob"]) == (None, None)
    assert journal.types() == ["session.started", "session.ended"]
    journal.nothing_else()


def test_an_identity_born_again_counts_in_a_new_epoch() -> None:
    """7.1: so that a row born again is no repeat."""
    journal = play(tick(0), start(), stop(at_s=5)).pass_time(3601)
    journal.feed(start("s2", at_s=3700))
    assert [(event.seq, event.seq_epoch) for event in journal.events()] == [(1, 1), (2, 1), (1, journal.offset - 1)]
    journal.nothing_else()


def test_an_identity_stays_while_one_of_its_sessions_does() -> None:
    """7.1: its sequence goes on without a gap."""
    journal = play(tick(0), start("s1"), start("s2"), stop("s1", at_s=5)).pass_time(3700)
    assert journal.row("s1") is None
    journal.feed(stop("s2", at_s=3701))
    assert [event.seq for event in journal.events()] == [1, 2, 3, 4]
    journal.nothing_else()
