"""The checks of `make chaos` find what they are for: a check that nothing can fail shows nothing."""

import time

import pytest

from schemas.codec import dumps
from schemas.topics import ACCOUNTING, COMMANDS, EVENTS, GROUPS, RESULTS, TABLE
from tests.chaos import checks, slow_model, truth
from tests.chaos.slow_model import Rules
from tests.support.load import Name
from tests.support.nas import CALLING_STATION_ID, CLASS, USER_NAME, Sent, SmallNas
from tests.support.product import Stored

RULES = Rules("one-device", 6.0, "probe")
T0_MS = 1_800_000_000_000


def stored(offset, value, *, key="bob", kind="", partition=0):
    return Stored(partition, offset, 0, key, kind, value, dumps(value).encode())


def event(offset, type_, session="s1", *, nth=0, seq=1, time_ms=0, **more):
    said = {"id": f"0-{offset}-{nth}-bob", "type": type_, "seq": seq, "seq_epoch": 0, "time_ms": time_ms, "nas": "ap", "identity": "bob"}
    return stored(offset, said | {"acct_session_id": session} | more)


def record(offset, status, session="s1", mac="a", *, late_ms=0, octets=0):
    value = {"status": status, "nas": "ap", "acct_session_id": session, "identity": "bob", "calling_station_id": mac}
    times = {"received_ms": T0_MS + offset + late_ms, "event_ms": T0_MS + offset, "input_octets": octets}
    return stored(offset, value | times, kind="accounting")


def tick(offset, mono_ms):
    return stored(offset, {"ingest": "i", "wall_ms": 0, "mono_ms": mono_ms, "period_ms": 200}, key=None, kind="tick")


def breach(offset):
    return event(offset, "limit.breached", rule="one-device")


def slow(journal, *events):
    return slow_model.differ(journal, list(events), RULES)


def test_an_answered_record_that_is_not_in_the_journal_is_lost_and_one_that_nobody_sent_is_strange():
    """1.1."""
    start, stop = Name("ap", "s1", "Start", 0), Name("ap", "s1", "Stop", 1)
    sent = [(start, Sent([], 0.0, answered_s=1.0)), (stop, Sent([], 0.0))]
    assert checks.lost(sent, [record(0, "Start"), record(1, "Stop", octets=1000)]) == []
    assert len(checks.lost(sent, [])) == 1
    assert len(checks.lost(sent, [record(0, "Start"), record(1, "Start", "s9")])) == 1
    assert len(checks.lost(sent, [record(0, "Start"), record(1, "Start", mac="b")])) == 1


def test_a_gap_in_a_sequence_is_found_and_a_repeat_is_none():
    """7.1."""
    assert checks.gaps([event(0, "session.started"), event(1, "session.ended", seq=2), event(0, "session.started")]) == []
    assert len(checks.gaps([event(0, "session.started"), event(1, "session.ended", seq=3)])) == 1


def doubled(*events, outcomes=("confirmed",), told=("confirmed",)):
    topics = {
        EVENTS: list(events),
        COMMANDS: [stored(0, {"id": "c"}, kind="command")],
        RESULTS: [stored(n, {"command_id": "c", "outcome": outcome, "final": True}) for n, outcome in enumerate(outcomes)],
        ACCOUNTING: [stored(n, {"command_id": "c", "outcome": one, "final": True}, kind="result") for n, one in enumerate(told)],
    }
    return checks.doubled(topics, 10_000)


def test_a_second_end_and_a_second_outcome_are_found():
    """2.7, 5.4."""
    ended, again = event(1, "session.ended", time_ms=1000), event(9, "session.ended", time_ms=9000)
    assert doubled(ended, ended) == []
    assert doubled(ended, event(5, "session.reopened"), again) == []
    assert doubled(ended, event(9, "session.ended", time_ms=12_000)) == []
    assert len(doubled(ended, again)) == 1
    assert doubled(outcomes=("confirmed", "confirmed")) == []
    assert len(doubled(outcomes=("confirmed", "gone"), told=("confirmed", "gone"))) == 1
    assert len(doubled(outcomes=(), told=())) == 1
    assert len(doubled(told=())) == 1


def test_a_former_owner_that_writes_over_his_successor_is_found():
    """2.8."""
    topics = {TABLE: [stored(n, {"next_offset": at}, key="p:0") for n, at in enumerate((5, 9))], GROUPS: []}
    assert checks.went_back(topics) == []
    topics[TABLE].append(stored(2, {"next_offset": 7}, key="p:0"))
    assert len(checks.went_back(topics)) == 1


def test_the_slow_model_finds_a_breach_without_another_device_and_misses_none_that_had_to_be():
    """4.2."""
    two = [record(0, "Start"), record(1, "Start", "s2", "b")]
    assert slow(two, breach(1)) == []
    assert len(slow(two)) == 1
    assert len(slow(two, breach(0), breach(1))) == 1
    assert slow([record(0, "Start"), record(1, "Start", "s2", "a")]) == []
    assert slow([record(0, "Start"), record(1, "Stop"), record(2, "Start", "s2", "b")]) == []
    assert slow([record(0, "Start"), record(1, "Start", "s2", "b", late_ms=5000)]) == []
    assert slow(two, event(0, "disconnect.requested")) == []


@pytest.mark.parametrize(("ticks_ms", "found"), [((0, 1000, 2000, 3000, 4000, 5000, 6000), 0), ((0, 60_000), 1), ((0, 1000), 1)])
def test_the_slow_model_finds_a_death_before_its_time_and_an_outage_is_no_silence(ticks_ms, found):
    """3.3, 3.5."""
    ticks = [tick(1 + n, at_ms) for n, at_ms in enumerate(ticks_ms)]
    journal = [record(0, "Start"), *ticks]
    assert len(slow(journal, event(len(ticks), "session.stale"))) == found


def kicks(*lives, asked="s1"):
    """False kicks where the last session named was asked to go now; each life: (session, user, device, began, ended)."""
    sent, now_s = [], time.monotonic()
    for session, user, device, ago_s, ended_ago_s in lives:
        attributes = [(USER_NAME, user.encode()), (CALLING_STATION_ID, device.encode()), (CLASS, b"group=g")]
        for status, since_s in (("Start", ago_s), ("Stop", ended_ago_s)):
            if since_s is not None:
                sent.append((Name("ap", session, status, 0), Sent(attributes, now_s - since_s, answered_s=now_s - since_s)))
    nas = SmallNas("ap", b"", b"", lambda _: None, requests=[(round(time.time() * 1000), {"acct_session_id": asked})])
    return truth.false_kicks(sent, [nas], good_for_s=8, silent_s=6, group_max=2, spared="probes-")


def test_who_was_disconnected_without_reason_is_found():
    """DESIGN "The kicker": a backlog never kicks somebody for old news."""
    mine = ("s1", "bob", "a", 2, None)
    assert len(kicks(mine)) == 1
    assert kicks(mine, ("s2", "bob", "b", 1, None)) == []
    assert len(kicks(mine, ("s2", "bob", "a", 1, None))) == 1
    assert len(kicks(mine, ("s2", "bob", "b", 60, 30))) == 1
    assert kicks(("s1", "bob", "a", 9, None)) == []
    assert kicks(("s1", "bob", "a", 5, 1)) == []
    assert kicks(mine, ("s2", "al", "b", 3, None), ("s3", "cy", "c", 3, None)) == []
    assert len(kicks(mine, asked="s7")) == 1
