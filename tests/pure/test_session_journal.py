"""The journal's law: policy versions, what cannot be taken, atomic records, and a restart that nobody can tell (behaviours 2.8, 4.9)."""

import base64
import itertools
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import encode
from schemas.journal import Rejected
from schemas.policy import Limit, Liveness
from schemas.topics import ACCOUNTING, REJECTED
from streams import deaths, limits, merge
from streams.partition_core import POLICY_BYTES_MAX, RECORD_BYTES_MAX
from streams.session_core import SessionCore
from streams.step import Output
from streams.table import ROWS_AT_ONCE, Table
from tests.support.journal import (
    Journal,
    Record,
    groups,
    interim,
    on,
    operator,
    play,
    policy,
    read_command,
    read_event,
    result,
    start,
    stop,
    tick,
    user_limit,
)

# -- policy versions ----------------------------------------------------------------------------------------------------------------------


def test_a_policy_takes_effect_at_its_offset() -> None:
    """4.9: without a restart; every decision names the version."""
    journal = play(start("s1"), start("s2"), policy(user_limit(1), version=7), start("s3"))
    events = journal.events()
    assert [event.type for event in events] == ["session.started"] * 3 + ["limit.breached", "disconnect.requested"]
    assert (events[3].policy_version, events[3].current) == (7, 2)
    assert journal.core.row.policies == [(7, 2)]
    assert journal.command().policy_version == 7
    journal.nothing_else()


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_policy_and_the_same_one_again_are_passed_over(version: int) -> None:
    """DESIGN: one broadcast mechanism; agents ignore what they have seen."""
    journal = play(policy(user_limit(5), version=2), policy(user_limit(0), version=version), start())
    assert journal.types() == ["session.started"]
    assert journal.core.row.policies == [(2, 0)]
    journal.nothing_else()


def test_a_tightened_limit_leaves_those_who_are_over_it() -> None:
    """4.9, `on_change = "leave"`: the next newcomer is judged by it."""
    journal = play(policy(user_limit(2)), start("s1"), start("s2"), policy(user_limit(1), version=2))
    assert journal.types() == ["session.started"] * 2
    journal.nothing_else()


def test_a_new_liveness_rule_holds_for_sessions_that_are_open_already() -> None:
    """4.9, 3.3: deadlines are armed anew, also with an interval that was shorter before."""
    journal = play(tick(0), policy(Liveness(rule="interim", times=100)), start(interim_interval_s=10)).pass_time(50, "ap1")
    journal.feed(policy(Liveness(rule="interim", times=3), version=2)).pass_time(2, "ap1")
    assert journal.types() == ["session.started", "session.suspect", "session.stale", "session.ended", "disconnect.requested"]
    assert journal.command().policy_version == 2
    journal.nothing_else()


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_new_liveness_rule_is_put_to_many_sessions_in_pieces_and_to_all_of_them_before_the_next_record(taken: int) -> None:
    """4.9: who has heartbeats to send takes some of the pieces; what comes of it is the same."""
    sessions = [start(f"s{number}", f"user{number}", interim_interval_s=10 + number % 7) for number in range(2 * ROWS_AT_ONCE + 1)]
    journal = play(tick(0), policy(Liveness(rule="interim", times=100)), *sessions).pass_time(50, "ap1")
    journal.events()
    journal.core.in_pieces = True
    journal.feed(policy(Liveness(rule="interim", times=3), version=2))
    pieces = journal.core.pending
    assert pieces is not None
    assert len(list(itertools.islice(pieces, taken))) == taken
    journal.pass_time(2, "ap1")
    assert journal.core.pending is None
    told = Counter((event.type, event.acct_session_id) for event in journal.events())
    assert set(told.values()) == {1}
    assert Counter(type_ for type_, _ in told) == dict.fromkeys(("session.stale", "session.ended", "disconnect.requested"), len(sessions))
    assert len(journal.commands()) == len(sessions)
    journal.nothing_else()


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_limits_that_come_are_put_to_many_sessions_in_pieces_and_the_same_comes_of_it_as_in_one_go(taken: int) -> None:
    """4.9: a limit on a group moves its slots, an enforced one ends some; who takes the pieces takes what comes of them."""
    members = 2 * ROWS_AT_ONCE + 1
    records = [tick(0)]
    for number in range(members):
        records += [
            groups(f"user{number}", "g"),
            *(start(f"s{number}{device}", f"user{number}") for device in "ab"[: 1 + (number % 100 == 0)]),
        ]
    rules = policy(Limit("all", "group", 9), user_limit(1, on_change="enforce"), Liveness(rule="interim", times=3))
    whole = play(*records)
    before = len(whole.outputs)
    whole.feed(rules)
    assert whole.core.pending is None
    journal = play(*records)
    journal.core.in_pieces = True
    journal.feed(rules)
    pieces = journal.core.pending
    assert pieces is not None
    came = journal.outputs[before:]
    for _ in itertools.islice(pieces, taken):
        came += journal.core.following
        journal.core.following = []
    journal.core.finish(came)
    assert (journal.core.pending, journal.core.following) == (None, [])
    assert came == whole.outputs[before:]
    assert len(came) > members
    assert journal.core.checkpoint() == whole.core.checkpoint()
    for each in (journal, whole):
        each.feed(stop("s1a", "user1"))
    assert journal.outputs[-2:] == whole.outputs[-2:]


def test_a_policy_without_liveness_lets_nobody_die() -> None:
    """4.9: the rule is gone, and so are the deadlines."""
    journal = play(tick(0), policy(Liveness(rule="interim")), start(interim_interval_s=10)).pass_time(20, "ap1")
    journal.feed(policy(version=2)).pass_time(60, "ap1")
    assert journal.types() == ["session.started", "session.suspect"]
    journal.nothing_else()


def test_only_the_last_policies_are_remembered() -> None:
    """Limits on everything that grows."""
    journal = play(*[policy(version=version) for version in range(1, 40)])
    assert journal.core.row.policies == [(version, version - 1) for version in range(24, 40)]
    journal.nothing_else()


# -- what cannot be taken -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record("sighting", b"k", b"{}"), "lacks-fields"),
        (Record("", b"k", b"{}"), "unknown-kind"),
        (Record("accounting", b"bob", None), "no-value"),
        (Record("accounting", b"bob", b"not json"), "not-json"),
        (Record("accounting", b"bob", b'{"status": "Start", "nas": "\xff"}'), "not-json"),
        (Record("accounting", b"bob", b""), "not-json"),
        (Record("accounting", b"bob", b"[]"), "lacks-fields"),
        (Record("accounting", b"bob", b'{"status": "Start"}'), "lacks-fields"),
        (Record("accounting", b"bob", (start().value or b"")[:-1]), "not-json"),
        (start(session=None), "lacks-fields"),
        (start(identity=""), "lacks-fields"),
        (Record("accounting", b"bob", b" " * (RECORD_BYTES_MAX + 1)), "too-large"),
        (Record("policy", None, b" " * (POLICY_BYTES_MAX + 1)), "too-large"),
        (Record("policy", None, b'{"version": 1, "time_ms": 1, "policy": {"limit": 3}}'), "lacks-fields"),
        (Record("tick", None, b'{"ingest": "a"}'), "lacks-fields"),
        (Record("tick", None, None), "not-json"),
        (Record("result", b"bob", b'{"outcome": "who knows"}'), "lacks-fields"),
        (Record("operator", b"bob", b"{}"), "lacks-fields"),
    ],
)
def test_what_cannot_be_taken_is_kept_with_its_bytes_and_the_partition_goes_on(record: Record, reason: str) -> None:
    """Bad input: never silence, never a stop; the table is as if it had never been there."""
    journal = play(start(), tick(1))
    journal.events()
    before = journal.state()
    journal.feed(record)
    (rejected,) = journal.rejected()
    assert (rejected.reason, rejected.kind, rejected.key) == (reason, record.kind, (record.key or b"").decode())
    assert (rejected.topic, rejected.partition, rejected.offset) == (ACCOUNTING.name, 0, 2)
    assert base64.b64decode(rejected.bytes) == (record.value or b"")[:POLICY_BYTES_MAX]
    assert journal.core.rejected_reasons == {reason: 1}
    assert journal.state() == before
    journal.nothing_else()
    journal.feed(interim(at_s=60))
    assert journal.types() == ["session.updated"]
    journal.nothing_else()


@pytest.mark.parametrize(
    "record",
    [
        Record("x" * 900_000, b"k" * 900_000, b"\xff" * 5_000_000),
        Record("operator", b"\xff" * 900_000, b"[" * 900_000),
        Record("tick", None, b"x" * 5_000_000),
    ],
)
def test_what_is_rejected_fits_into_a_record_whatever_it_was(record: Record) -> None:
    """A send that the broker refuses would stop the partition for good: Kafka's default bound is 1 MiB."""
    journal = play(record)
    (output,) = journal.outputs
    assert output.topic == REJECTED.name
    assert len(output.key) + len(output.value) < 1_000_000
    assert len(journal.rejected()) == 1
    journal.nothing_else()


def test_a_status_that_no_session_knows_is_passed_over() -> None:
    """1.7: Acct-Status-Types beyond these (tunnels, failed) are kept in the journal and are no error."""
    journal = play(Record("accounting", b"bob", (start().value or b"").replace(b'"Start"', b'"Tunnel-Start"')))
    journal.nothing_else()


@pytest.mark.python_core
@pytest.mark.parametrize(
    ("where", "name", "record"),
    [
        (merge, "merge", start("s2")),
        (limits, "decide", start("s2")),
        (merge, "is_newer", interim("s1", at_s=60)),
        (SessionCore, "heard_ms", stop("s1", at_s=60)),
        (Table, "commit", start("s2")),
        (merge, "text_key", operator("s1")),
    ],
)
def test_a_raise_inside_the_step_leaves_the_table_as_it_was(monkeypatch: pytest.MonkeyPatch, where: Any, name: str, record: Record) -> None:
    """DESIGN "Applying is atomic per record": the record goes to `accounting.rejected`, and the next one is taken."""
    journal = play(tick(0), policy(user_limit(1)), start("s1"))
    journal.events()
    before = journal.state()
    with monkeypatch.context() as broken:
        broken.setattr(where, name, _raise)
        journal.feed(record)
    (rejected,) = journal.rejected()
    assert (rejected.reason, rejected.detail) == ("poison", "RuntimeError: broken")
    assert journal.state() == before
    journal.nothing_else()
    journal.feed(start("s2", at_s=61))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested"]
    assert journal.command().session["acct_session_id"] == "s2"
    journal.nothing_else()


@pytest.mark.python_core
def test_a_raise_at_one_death_stops_neither_the_clock_nor_the_other_deaths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each death is a change of its own."""
    journal = play(
        tick(0), policy(Liveness(rule="interim", times=1)), start("bad", interim_interval_s=9), start("s2", interim_interval_s=9)
    )
    journal.events()
    overdue = deaths.overdue
    monkeypatch.setattr(deaths, "overdue", lambda step, row, at_ms: _raise() if row.acct_session_id == "bad" else overdue(step, row, at_ms))
    journal.pass_time(20, "ap1")
    assert [event.acct_session_id for event in journal.events()] == ["s2"] * 3
    assert [rejected.reason for rejected in journal.rejected()] == ["poison"]
    assert journal.command().session["acct_session_id"] == "s2"
    assert journal.core.row.clock_ms == 20_000
    journal.open_row("bad")
    journal.nothing_else()


@pytest.mark.python_core
def test_a_raise_while_a_tick_is_counted_leaves_the_clocks_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """DESIGN "Applying is atomic per record": ticks too."""
    journal = play(tick(0, heard=[("ap1", 0), ("ap2", 0)])).pass_time(3, "ap1", "ap2")
    before = journal.state()
    with monkeypatch.context() as broken:
        broken.setattr("streams.clock.heard", _raise)
        journal.pass_time(1, "ap1", "ap2")
    assert [rejected.reason for rejected in journal.rejected()] == ["poison"]
    assert journal.state() == before
    journal.nothing_else()


def _raise(*_: Any, **__: Any) -> Any:
    raise RuntimeError("broken")


# -- 2.8: a restart that nobody can tell --------------------------------------------------------------------------------------------------

SESSIONS = [("s1", "bob", "ap1"), ("s2", "bob", "ap1"), ("s3", "bob", "ap2"), ("s4", "eve", "ap2"), ("s5", "eve", "ap1")]
RULES = st.sampled_from(
    [
        {},
        {"limits": [(1, "newest")], "times": 2},
        {"limits": [(1, "oldest")], "times": 1},
        {"limits": [(2, "least-recently-active"), (3, "all-others")], "times": 3},
    ]
)
ACTIONS = st.one_of(
    st.tuples(st.just("time"), st.integers(1, 40), st.sampled_from([("ap1", "ap2"), ("ap1",), ()]), st.sampled_from("ab")),
    st.tuples(st.sampled_from(["start", "interim", "interim", "stop"]), st.sampled_from(SESSIONS), st.integers(0, 90), st.integers(0, 3)),
    st.tuples(st.just("boot"), st.sampled_from(["ap1", "ap2"]), st.booleans()),
    st.tuples(st.just("policy"), RULES),
    st.tuples(st.just("operator"), st.sampled_from(SESSIONS)),
    st.tuples(st.just("result"), st.integers(0, 5), st.sampled_from(["acknowledged", "confirmed", "gone", "refused", "expired"])),
    st.tuples(st.just("broken")),
)


class World:
    """Turns actions into records; results need the commands that came out, so it plays them as it goes."""

    def __init__(self) -> None:
        self.journal = play(tick(0))
        self.versions = 0

    def act(self, action: tuple[Any, ...]) -> None:
        journal, now_s = self.journal, self.journal.now_s
        match action:
            case ("time", seconds, heard, ingest):
                journal.pass_time(seconds, *heard, ingest=ingest)
            case ("start" | "interim" | "stop" as status, (session, identity, nas), late_s, interval):
                make = {"start": start, "interim": interim, "stop": stop}[status]
                more = {} if status == "start" else {"session_time_s": int(now_s), "input_octets": int(now_s) * 7}
                interval_s = [None, None, 5, 10][interval]
                journal.feed(
                    make(session, identity, nas=nas, at_s=max(0, now_s - late_s), late_s=late_s, interim_interval_s=interval_s, **more)
                )
            case ("boot", nas, off):
                journal.feed(on(nas, off=off, at_s=now_s))
            case ("policy", rules):
                self.versions += 1
                made: list[Any] = [user_limit(most, f"r{n}", victim=victim) for n, (most, victim) in enumerate(rules.get("limits", []))]
                if "times" in rules:
                    made.append(Liveness(rule="interim", times=rules["times"]))
                journal.feed(policy(*made, version=self.versions, grace_s=60))
            case ("operator", (session, identity, nas)):
                journal.feed(operator(session, identity, nas=nas, order=f"o{journal.offset}", at_s=now_s))
            case ("result", nth, outcome):
                commands = [read_command(output.value) for output in journal.outputs if output.kind == "command"]
                if commands:
                    journal.feed(result(commands[-1 - nth % len(commands)], outcome, at_s=now_s))
            case _:
                journal.feed(Record("accounting", b"bob", b"{"))


@settings(max_examples=150)
@given(actions=st.lists(ACTIONS, min_size=5, max_size=60), data=st.data())
def test_a_core_restored_at_any_offset_goes_on_as_if_never_restarted(actions: list[tuple[Any, ...]], data: st.DataObject) -> None:
    """2.8: the same outputs byte for byte, and the same rows."""
    world = World()
    for action in actions:
        world.act(action)
    told = world.journal
    cuts = data.draw(st.sets(st.integers(0, told.offset), max_size=6))
    restarted = Journal()
    for offset, record in enumerate(told.records):
        if offset in cuts:
            restarted.restart()
        restarted.feed(record)
    assert restarted.outputs == told.outputs
    assert restarted.state() == told.state()
    assert (restarted.core.open_sessions, restarted.core.policy) == (told.core.open_sessions, told.core.policy)
    check_laws(told.outputs)


def check_laws(outputs: list[Output]) -> None:
    """What holds of every journal: ids are unique, a sequence has no gap, a command is ordered once, one is in flight for a session."""
    events = [read_event(output.value) for output in outputs if output.topic == "session.events"]
    assert len({event.id for event in events}) == len(events)
    last: dict[tuple[str, int], int] = {}
    for event in events:
        whose = (event.identity or "nas " + event.nas, event.seq_epoch)
        assert event.seq == last.get(whose, 0) + 1
        last[whose] = event.seq
    commands = [read_command(output.value) for output in outputs if output.kind == "command"]
    assert len({command.id for command in commands}) == len(commands)
    assert [command.id for command in commands] == [event.command_id for event in events if event.type == "disconnect.requested"]


def test_a_checkpoint_holds_what_was_touched_and_the_offset_last() -> None:
    """DESIGN "Decide at once, checkpoint every second"."""
    journal = play(start())
    assert journal.core.touched == 2
    rows = journal.core.checkpoint()
    assert [key for key, _ in rows] == [b"s:ap1/s1", b"i:bob", b"p:0"]
    assert rows[-1][1] == encode({"partition": 0, "next_offset": 1})
    assert journal.core.checkpoint() == []
    journal.feed(Record("nonsense", None, b""))
    assert [key for key, _ in journal.core.checkpoint()] == [b"p:0"]


def test_a_partition_forgets_on_a_tombstone() -> None:
    """Restore: later rows of a key replace earlier ones."""
    rows = play(start(), start("e1", "eve")).core.checkpoint()
    core = SessionCore(0, 1, ACCOUNTING.name)
    for key, value in [*rows, (b"s:ap1/s1", None), (b"i:bob", None), (b"p:0/fence", None)]:
        core.restore(key, value)
    core.restored()
    assert (core.open_sessions, core.next_offset) == (1, 2)
    assert set(core.table.open_of) == {"eve"}


def test_counters_for_the_metrics_are_kept_by_name() -> None:
    """What one needs to see that nothing is lost."""
    journal = play(start(), stop(at_s=4), Record("accounting", None, b"?"))
    assert journal.core.event_types == {"session.started": 1, "session.ended": 1}
    assert journal.core.rejected_reasons == {"not-json": 1}
    assert isinstance(journal.rejected()[0], Rejected)
    journal.events()
    journal.nothing_else()
