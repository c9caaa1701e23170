"""Finding dead sessions by the interim rule on the journal's own time (behaviours 3.3, 3.5, 3.7, 3.8; DESIGN "Time")."""

import pytest

from schemas.policy import Liveness
from streams.partitioner import partition_of
from tests.support.journal import T0_MS, Journal, interim, play, policy, start, tick, user_limit

THREE = Liveness(rule="interim", times=3)
DEATH = ["session.stale", "session.ended", "disconnect.requested"]


def watched(*records: object, rule: Liveness = THREE) -> Journal:
    """A journal whose clock runs and whose ap1 talks, with these records in it."""
    journal = play(policy(rule), tick(0, heard=[("ap1", 0)])).pass_time(5, "ap1")
    return journal.feed(*records)  # type: ignore[arg-type]


def seconds_until_death(journal: Journal, most: int, ingest: str = "a") -> int | None:
    """For how many ticks the NAS talked until the session died."""
    journal.events()
    for seconds in range(1, most + 1):
        journal.pass_time(1, "ap1", ingest=ingest)
        types = journal.types()
        if types == ["session.suspect"]:
            continue
        if types == DEATH:
            assert journal.command().reason == "stale"
            journal.nothing_else()
            return seconds
        assert types == []
        journal.nothing_else()
    return None


def test_a_session_dies_after_so_many_missed_interims_and_never_before() -> None:
    """3.3: T = the configured interval, times 3; found within three ticks, since a packet lies between two of them."""
    assert seconds_until_death(watched(start(interim_interval_s=10)), 100) in (30, 31, 32, 33)


def test_any_record_of_the_session_begins_the_count_again() -> None:
    """3.3."""
    journal = watched(start(interim_interval_s=10)).pass_time(29, "ap1")
    journal.feed(interim(at_s=34, interim_interval_s=10))
    assert seconds_until_death(journal, 100) in (30, 31, 32, 33)


def test_the_interval_is_observed_where_none_is_configured() -> None:
    """3.3: from Acct-Session-Time."""
    journal = watched(start(at_s=5)).pass_time(20, "ap1")
    journal.feed(interim(at_s=25, session_time_s=20))
    assert journal.open_row().observed_s == 20
    assert seconds_until_death(journal, 100) in (60, 61, 62, 63)


def test_the_interval_is_observed_on_the_talking_clock_where_the_nas_tells_no_session_time() -> None:
    """3.3."""
    journal = watched(start(at_s=5)).pass_time(20, "ap1")
    journal.feed(interim(at_s=25, session_time_s=None))
    assert journal.open_row().observed_s == 20


def test_where_no_interval_is_known_a_session_is_never_stale() -> None:
    """3.3."""
    assert seconds_until_death(watched(start()), 2000) is None


def test_an_interval_that_was_shortened_brings_the_deadline_forward() -> None:
    """3.3: also for a session whose deadline was set by the longer one."""
    journal = watched(start(interim_interval_s=600)).pass_time(9, "ap1")
    journal.feed(interim(at_s=14, interim_interval_s=10))
    assert seconds_until_death(journal, 100) in (30, 31, 32, 33)


@pytest.mark.parametrize(
    "rule", [Liveness(rule="none"), Liveness(rule="offline-detect", length_s=0), Liveness(rule="interim", nas="other*")]
)
def test_without_a_rule_nobody_dies(rule: Liveness) -> None:
    """3.3: the first rule whose pattern matches the NAS holds."""
    assert seconds_until_death(watched(start(interim_interval_s=10), rule=rule), 200) is None


# -- 3.5: what ages nobody ---------------------------------------------------------------------------------------------------------------


def test_the_sessions_of_a_silent_nas_wait() -> None:
    """3.5: a silence counts only while the NAS was talking."""
    journal = watched(start(interim_interval_s=10)).pass_time(1000)
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_after_its_silence_the_count_goes_on_where_it_stood() -> None:
    """3.5: the silence itself is not made up for, since it lay between two of its ingest's lists."""
    journal = watched(start(interim_interval_s=10)).pass_time(10, "ap1")
    journal.feed(tick(journal.now_s + 0.5, ceased=[("ap1", 500)])).pass_time(500)
    journal.feed(tick(journal.now_s + 0.5, began=[("ap1", 60_000)], heard=[("ap1", 0)]))
    assert seconds_until_death(journal, 100) in (20, 21, 22, 23)


def test_an_outage_of_kafka_or_the_ingest_ages_nobody() -> None:
    """3.5: between two ticks an hour apart lie five seconds at most."""
    journal = watched(start(interim_interval_s=10)).pass_time(5, "ap1")
    journal.now_s += 3600
    journal.pass_time(1, "ap1")
    assert journal.types() == ["session.started"]
    assert seconds_until_death(journal, 100) in (20, 21, 22, 23)


def test_a_backlog_read_at_once_ages_nobody_more_than_its_ticks_say() -> None:
    """3.5: time is the stream's: the Interims lie in it where they lay."""
    journal = watched(start(interim_interval_s=10))
    for at_s in range(10, 200, 10):
        journal.feed(interim(at_s=at_s, interim_interval_s=10, late_s=3600)).pass_time(10, "ap1")
    assert journal.types() == ["session.started"] + ["session.updated"] * 19
    journal.nothing_else()


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_jump_of_the_wall_clock_ages_nobody(jump_s: int) -> None:
    """DESIGN "Time": durations are of the monotonic clock."""
    journal = watched(start(interim_interval_s=10))
    for second in range(6, 26):
        journal.feed(tick(second + jump_s, mono_s=second, heard=[("ap1", 0)]))
    assert journal.types() == ["session.started", "session.suspect"]
    assert journal.core.row.wall_ms == T0_MS + (25 + jump_s) * 1000
    journal.nothing_else()


def test_a_new_ingest_ages_nobody_and_is_followed_after_the_old_one() -> None:
    """DESIGN "Time": its monotonic clock is another one, and clocks of two are never subtracted."""
    journal = watched(start(interim_interval_s=10)).pass_time(10, "ap1")
    for second in range(1, 16):
        journal.feed(tick(1000 + second, mono_s=5_000_000 + second, ingest="b", heard=[("ap1", 0)]))
    assert "session.stale" not in journal.types()
    journal.nothing_else()
    journal.now_s = 5_000_015
    died_after = seconds_until_death(journal, 100, ingest="b")
    assert died_after is not None
    assert 20 <= died_after <= 35  # some ticks are spent on changing over; that finds it later, never earlier
    assert set(journal.core.row.ingests) == {"b"}


def test_two_ingests_an_hour_apart_age_nobody() -> None:
    """DESIGN "Time"."""
    journal = watched(start(interim_interval_s=10))
    for second in range(6, 34):
        journal.feed(tick(second, heard=[("ap1", 0)]), tick(second + 3600, mono_s=second + 3600, ingest="b", heard=[("ap1", 0)]))
    assert journal.types() == ["session.started", "session.suspect"]
    journal.nothing_else()


def test_a_record_between_two_ticks_is_never_dated_too_early() -> None:
    """3.5: the NAS was heard long after its clock was last told; the session spoke at the end of that."""
    journal = watched(start(interim_interval_s=10)).pass_time(20)
    journal.feed(interim(at_s=25, interim_interval_s=10)).pass_time(1, "ap1")
    assert journal.types() == ["session.started", "session.updated"]
    assert seconds_until_death(journal, 100) in (29, 30, 31, 32)


def quiet(journal: Journal, seconds: int) -> list[tuple[int, str]]:
    """What was told, and after how many ticks without a word of any NAS."""
    told = []
    for second in range(1, seconds + 1):
        journal.pass_time(1)
        told += [(second, event.type) for event in journal.events()]
    return told


def test_a_nas_that_no_ingest_hears_any_more_is_called_silent_once() -> None:
    """3.5: by the ingest's word that it ceased; and again only after it has talked."""
    journal = watched(start(interim_interval_s=10))
    journal.feed(tick(7, began=[("ap1", 11_000)], heard=[("ap1", 0)]), tick(19, ceased=[("ap1", 12_000)]))
    _, silent = journal.events()
    assert (silent.type, silent.nas, silent.identity, silent.seq, silent.text) == (
        ("nas.silent", "ap1", "", 1, "not heard for 12 s; its sessions wait")
    )
    journal.now_s = 19
    assert quiet(journal, 100) == []
    journal.feed(tick(120, began=[("ap1", 11_000)], heard=[("ap1", 0)]), tick(132, ceased=[("ap1", 12_000)]))
    assert [(event.type, event.seq) for event in journal.events()] == [("nas.silent", 2)]
    journal.nothing_else()


def test_a_nas_is_not_silent_while_another_ingest_hears_it() -> None:
    """3.5: silent as a whole."""
    journal = watched().feed(tick(6, ingest="b", began=[("ap1", 11_000)]))
    journal.feed(tick(7, ceased=[("ap1", 12_000)]))
    assert journal.types() == []
    journal.feed(tick(8, ingest="b", mono_s=8, ceased=[("ap1", 12_000)]))
    assert journal.types() == ["nas.silent"]
    journal.nothing_else()


def test_a_nas_whose_ingest_is_gone_has_its_window_to_be_heard_by_another() -> None:
    """3.5: it is not silent, nobody listened."""
    journal = watched().feed(tick(5, began=[("ap1", 30_000)], heard=[("ap1", 0)]))
    told = []
    for second in range(6, 100):
        told += [(second, kind) for kind in journal.feed(tick(second, ingest="b")).types()]
    ((silent_at, kind),) = told
    assert kind == "nas.silent"
    assert silent_at - 5 > 30
    journal.nothing_else()


def test_a_nas_whose_interval_is_not_known_is_called_silent_after_a_quarter_of_an_hour() -> None:
    """3.5: it may be one that reports each ten minutes."""
    journal = watched(start()).feed(tick(66, mono_s=66, ceased=[("ap1", 61_000)]))
    journal.now_s = 66
    journal.events()
    assert [kind for _, kind in quiet(journal, 830)] == []
    assert [kind for _, kind in quiet(journal, 30)] == ["nas.silent"]
    journal.nothing_else()


@pytest.mark.parametrize("partition", [0, 1, 2, 3])
def test_only_the_home_partition_of_a_nas_tells_of_its_silence(partition: int) -> None:
    """3.5."""
    journal = Journal(partition, 4).feed(tick(0, began=[("ap1", 11_000)], heard=[("ap1", 0)]), tick(12, ceased=[("ap1", 12_000)]))
    assert journal.types() == ["nas.silent"] * (partition == partition_of("ap1", 4))
    journal.nothing_else()


def test_a_silence_that_nobody_told_yet_is_told_after_a_restart() -> None:
    """2.8, 3.5."""
    journal = watched().feed(tick(66, mono_s=66, ceased=[("ap1", 61_000)])).restart()
    journal.now_s = 66
    assert [kind for _, kind in quiet(journal, 900)] == ["nas.silent"]
    journal.restart()
    assert quiet(journal, 1000) == []


# -- 3.7, 3.8: the dead -------------------------------------------------------------------------------------------------------------------


def test_a_dead_session_ends_at_its_last_sign_of_life_and_is_disconnected() -> None:
    """3.7: so that no one can take over its address."""
    journal = watched(start(interim_interval_s=10), interim(at_s=8, interim_interval_s=10, input_octets=5)).pass_time(40, "ap1")
    stale, ended, requested = journal.events()[3:]
    assert stale.text is not None
    assert stale.text.startswith("silent for 3")
    assert (ended.type, ended.said_by, ended.ended_ms, ended.input_octets) == ("session.ended", "stale", T0_MS + 8000, 5)
    command = journal.command()
    assert (command.reason, command.rule, command.id) == ("stale", None, requested.command_id)
    assert (command.session["acct_session_id"], [ref.offset for ref in command.because]) == ("s1", [8])
    journal.nothing_else()


def test_a_dead_session_frees_its_slot() -> None:
    """3.7: whatever its disconnect says."""
    journal = play(policy(THREE, user_limit(1)), tick(0), start(interim_interval_s=10)).pass_time(40, "ap1")
    assert journal.types() == ["session.started", "session.suspect", *DEATH]
    journal.commands()
    journal.feed(start("s2", at_s=41))
    assert journal.types() == ["session.started"]
    journal.nothing_else()


@pytest.mark.parametrize("restart", [False, True])
def test_the_dead_are_found_in_the_order_of_their_deadlines(restart: bool) -> None:
    """2.8: s1 was armed first and heard last; a restart in between changes nothing."""
    journal = watched(start("s1", interim_interval_s=10), rule=Liveness(rule="interim", times=1))
    journal.pass_time(2, "ap1").feed(start("s2", interim_interval_s=10))
    journal.pass_time(3, "ap1").feed(interim("s1", at_s=10, interim_interval_s=10))
    if restart:
        journal.restart()
    journal.pass_time(60)
    assert journal.types() == ["session.started", "session.started", "session.updated"]
    journal.pass_time(1, "ap1")
    assert [command.session["acct_session_id"] for command in journal.commands()] == ["s2", "s1"]
    assert journal.types() == DEATH * 2
    journal.nothing_else()


def test_the_dead_of_several_nases_are_found_in_the_order_of_their_names() -> None:
    """2.8: not in the order in which the NASes became known, which a restart does not know."""
    journal = play(tick(0))
    journal.feed(start("s2", nas="ap2", interim_interval_s=10), start("s1", interim_interval_s=10)).pass_time(60, "ap2", "ap1")
    journal.feed(policy(THREE)).pass_time(1, "ap2", "ap1")
    assert [command.nas for command in journal.commands()] == ["ap1", "ap2"]
    assert [kind for kind in journal.types() if kind != "session.suspect"] == ["session.started"] * 2 + DEATH * 2
    journal.nothing_else()


def test_a_living_session_has_one_deadline_however_often_it_is_heard() -> None:
    """3.8: a record does not touch the index; what comes up is set anew."""
    journal = watched(start(interim_interval_s=10))
    for at_s in range(1, 60):
        journal.pass_time(1, "ap1").feed(interim(at_s=at_s, interim_interval_s=10))
        assert len(journal.core.table.deadlines["ap1"]) == 1
    assert set(journal.types()) == {"session.started", "session.updated"}
    journal.nothing_else()


def test_so_many_die_at_a_tick_and_the_others_at_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """3.8: a site that went dark is not one long stop of the partition."""
    monkeypatch.setattr("streams.passing.DEATHS_PER_TICK_MAX", 2)
    journal = play(policy(THREE), tick(0), *[start(f"s{n}", interim_interval_s=10) for n in range(5)])
    journal.pass_time(31, "ap1")
    journal.events()
    died = [len(journal.pass_time(1, "ap1").commands()) for _ in range(5)]
    assert [count for count in died if count] == [2, 2, 1]


def test_a_session_reopened_again_and_again_has_one_deadline() -> None:
    """3.8: the heap does not grow with what happened to a session."""
    journal = watched(start(interim_interval_s=10))
    for at_s in (100, 200, 300, 400):
        journal.pass_time(60, "ap1").feed(interim(at_s=at_s, interim_interval_s=10))
    journal.pass_time(9, "ap1")
    journal.open_row()
    assert len(journal.core.table.deadlines["ap1"]) == 1
