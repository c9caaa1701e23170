"""Claims between partitions (behaviour 2.10): a session whose name changes under way is one session, and its old shadow kicks nobody."""

from __future__ import annotations

import msgspec
import pytest

from schemas.event import SessionEvent
from schemas.journal import Claims
from schemas.policy import Liveness
from streams import claims
from streams.partitioner import partition_of
from streams.step import Output
from tests.support.journal import T0_MS, Journal, Record, interim, on, operator, policy, result, start, stop, tick, user_limit

PARTITIONS = 3
OUTER, REAL = "anonymous", "bob"
"""Two identities of one person, in two partitions."""
_read = msgspec.json.Decoder(Claims).decode
DEATH = ["session.suspect", "session.stale", "session.ended", "disconnect.requested"]


class Mesh:
    """Some partitions, whose records for each other are delivered at once, unless one is down.

    Attributes:
        down: partitions that apply nothing for the time being. delivered: what went between them.
    """

    def __init__(self, partitions: int = PARTITIONS) -> None:
        self.journals = [Journal(number, partitions) for number in range(partitions)]
        self.down: set[int] = set()
        self.delivered: list[Output] = []
        self._waiting: list[list[Record]] = [[] for _ in range(partitions)]
        self._now_s = 0.0

    def of(self, identity: str) -> Journal:
        """The journal of an identity's partition."""
        return self.journals[partition_of(identity, len(self.journals))]

    def feed(self, *records: Record) -> Mesh:
        """Records go where their keys belong; those without a key everywhere."""
        for record in records:
            numbers = range(len(self.journals)) if record.key is None else [partition_of(record.key.decode(), len(self.journals))]
            for number in numbers:
                self._waiting[number].append(record)
        self._work()
        return self

    def pass_time(self, seconds: int, *heard: str) -> Mesh:
        """A tick each second, in which these NASes are heard."""
        for _ in range(seconds):
            self._now_s += 1
            self.feed(tick(self._now_s, heard=[(nas, 0) for nas in heard]))
        return self

    def up(self, number: int) -> None:
        """A partition is applied again, from where it was."""
        self.down.discard(number)
        self._work()

    def events(self) -> list[SessionEvent]:
        """The events of all partitions, since they were last asked."""
        return [event for journal in self.journals for event in journal.events()]

    def types(self) -> list[tuple[str, str]]:
        """(type, identity) of them."""
        return [(event.type, event.identity) for event in self.events()]

    def nothing_else(self) -> None:
        """No journal has anything unread."""
        for journal in self.journals:
            journal.nothing_else()

    def _work(self) -> None:
        busy = True
        while busy:
            busy = False
            for number, journal in enumerate(self.journals):
                waiting = self._waiting[number]
                while waiting and number not in self.down:
                    journal.feed(waiting.pop(0))
                    busy = True
                    for output in journal.to_others():
                        assert output.partition != number
                        self.delivered.append(output)
                        self._waiting[output.partition].append(Record(output.kind, output.key, output.value))


def mesh(*records: Record, partitions: int = PARTITIONS) -> Mesh:
    """Partitions that have a clock, a liveness rule, and these records."""
    assert partition_of(OUTER, PARTITIONS) != partition_of(REAL, PARTITIONS)
    return Mesh(partitions).feed(policy(Liveness(rule="interim", times=3)), tick(0), *records)


def told(identity: str, at_s: int, **fields: object) -> Record:
    """An Interim of an interval of ten seconds."""
    return interim(identity=identity, at_s=at_s, interim_interval_s=10, **fields)


def test_a_session_that_goes_on_under_another_name_leaves_its_shadow_without_death_and_kick() -> None:
    """2.10: an anonymous outer name, then the real one."""
    partitions = mesh(
        start(identity=OUTER, framed_ip_address="10.0.0.7"), told(OUTER, 10, input_octets=70), told(REAL, 20, input_octets=90)
    )
    for at_s in range(30, 301, 10):
        partitions.pass_time(10, "ap1").feed(told(REAL, at_s))
    events = partitions.events()
    moved = [event for event in events if event.identity == OUTER and event.type not in ("session.started", "session.updated")]
    assert [(event.type, event.said_by, event.text) for event in moved] == [("session.moved", "moved", "now known as bob")]
    shadow = partitions.of(OUTER).ended_row()
    assert (shadow.said_by, shadow.ended_ms) == ("moved", T0_MS + 10_000)
    assert partitions.of(OUTER).core.open_sessions == 0
    assert partitions.of(REAL).open_row().input_octets == 90
    partitions.nothing_else()


def test_the_session_under_its_new_name_learns_when_it_began_and_what_it_had_used() -> None:
    """2.10, 2.2: the Start and the counters were told under the old one."""
    partitions = mesh(start(identity=OUTER), told(OUTER, 10, input_octets=70, output_octets=7))
    partitions.feed(interim(identity=REAL, at_s=20, session_time_s=19, input_octets=90)).pass_time(1)
    row = partitions.of(REAL).open_row()
    assert (row.started_ms, row.start_seen, row.start_believed, row.order_ms) == (T0_MS, True, True, T0_MS)
    assert (row.session_time_s, row.input_octets, row.output_octets) == (19, 90, 7)
    assert [kind for kind, identity in partitions.types() if identity == REAL] == ["session.started", "session.updated"]
    partitions.nothing_else()


def test_a_stop_with_another_name_ends_the_session_for_both() -> None:
    """2.10: the Stop's usage is the session's; its shadow's slot is free, and it is never stale."""
    partitions = mesh(start(identity=OUTER), told(OUTER, 10), stop(identity=REAL, at_s=15, input_octets=9)).pass_time(120, "ap1")
    types = partitions.types()
    assert [kind for kind, identity in types if identity == OUTER] == ["session.started", "session.updated", "session.moved"]
    assert [kind for kind, identity in types if identity == REAL] == ["session.ended"]
    assert partitions.of(REAL).ended_row().started_ms == T0_MS
    assert sum(journal.core.open_sessions for journal in partitions.journals) == 0
    partitions.nothing_else()


def test_a_stop_that_finds_the_shadow_at_the_end_of_its_grace_ends_the_session_all_the_same() -> None:
    """2.10: an outer name in Start and Stop, the real one in between; the row that has moved would have gone with the next tick."""
    partitions = mesh(start(identity=OUTER), told(REAL, 10)).feed(policy(grace_s=60, version=2)).pass_time(60, "ap1")
    partitions.feed(told(REAL, 60), stop(identity=OUTER, at_s=62)).pass_time(2, "ap1")
    assert (partitions.of(REAL).ended_row().said_by, partitions.of(OUTER).ended_row().said_by) == ("moved", "nas-stop")
    partitions.events()
    partitions.nothing_else()


def test_a_shadow_that_fell_silent_asks_before_it_dies() -> None:
    """2.10: the real name came with a Start of its own, so that nobody had asked before."""
    partitions = mesh(start(identity=OUTER, interim_interval_s=10), start(identity=REAL, interim_interval_s=10))
    for at_s in range(10, 101, 10):
        partitions.feed(told(REAL, at_s)).pass_time(10, "ap1")
    events = partitions.events()
    assert [event.type for event in events if event.identity == OUTER] == ["session.started", "session.suspect", "session.moved"]
    partitions.of(REAL).open_row()
    partitions.nothing_else()


def test_a_session_that_nobody_else_holds_dies_as_before() -> None:
    """3.3: one tick later."""
    partitions = mesh(start(interim_interval_s=10)).pass_time(40, "ap1")
    events = partitions.events()
    assert [event.type for event in events] == [
        "session.started",
        "session.suspect",
        "session.stale",
        "session.ended",
        "disconnect.requested",
    ]
    assert partitions.of("bob").command().reason == "stale"
    partitions.nothing_else()


def test_a_partition_that_is_down_delays_a_death() -> None:
    """2.10: it may hold the session; when it is back and does not, the session dies."""
    partitions = mesh(start(interim_interval_s=10))
    away = next(number for number in range(PARTITIONS) if number != partition_of("bob", PARTITIONS))
    partitions.down.add(away)
    partitions.pass_time(200, "ap1")
    assert [event.type for event in partitions.of("bob").events()] == ["session.started", "session.suspect"]
    partitions.up(away)
    partitions.pass_time(2, "ap1")
    assert [event.type for event in partitions.of("bob").events()] == ["session.stale", "session.ended", "disconnect.requested"]
    assert len(partitions.of("bob").commands()) == 1
    asked = [output for output in partitions.delivered if _read(output.value).op == "ask" and output.partition == away]
    assert len(asked) <= 1 + 200 * 1000 // claims.ASK_AGAIN_MS
    partitions.nothing_else()


def test_a_shadow_that_is_heard_while_the_others_are_asked_is_asked_about_again() -> None:
    """2.10: names alternate; whoever was heard last goes on."""
    partitions = mesh(start(identity=OUTER), told(OUTER, 10)).pass_time(1)
    partitions.down.add(partition_of(OUTER, PARTITIONS))
    partitions.feed(told(REAL, 20)).pass_time(1)
    partitions.feed(told(OUTER, 30))
    partitions.up(partition_of(OUTER, PARTITIONS))
    partitions.pass_time(2)
    partitions.of(OUTER).open_row()
    assert partitions.of(REAL).ended_row().said_by == "moved"
    partitions.events()
    partitions.nothing_else()


def test_where_both_are_silent_one_dies_and_one_has_moved() -> None:
    """2.10, 3.7: one death, one disconnect."""
    partitions = mesh(start(identity=OUTER, interim_interval_s=10), start(identity=REAL, at_s=1, interim_interval_s=10)).pass_time(
        60, "ap1"
    )
    types = partitions.types()
    assert [kind for kind, _ in types].count("session.stale") == 1
    assert ("session.moved", OUTER) in types
    assert ("session.stale", REAL) in types
    assert len(partitions.of(REAL).commands()) == 1
    partitions.nothing_else()


def test_an_old_session_whose_id_was_given_anew_to_somebody_else_is_superseded() -> None:
    """2.1: its NAS rebooted without a word, and counts its sessions from one again."""
    partitions = mesh(start(identity=OUTER), told(OUTER, 10)).feed(interim(identity=REAL, at_s=1000, session_time_s=100)).pass_time(1)
    assert {kind for kind in partitions.types() if kind[1] == OUTER} >= {("session.superseded", OUTER), ("session.ended", OUTER)}
    assert partitions.of(OUTER).ended_row().said_by == "superseded"
    assert partitions.of(REAL).open_row().started_ms == T0_MS + 900_000
    partitions.nothing_else()


def test_without_believed_clocks_acct_session_time_tells_an_overtaken_record_from_a_new_session() -> None:
    """2.10: two ingests an hour apart must not make the living the shadow."""
    arrival = {"event_source": "arrival"}
    partitions = mesh(start(identity=OUTER, at_s=3600, **arrival), interim(identity=OUTER, at_s=3610, session_time_s=10, **arrival))
    partitions.feed(interim(identity=REAL, at_s=20, session_time_s=20, **arrival)).pass_time(1)
    assert partitions.of(OUTER).ended_row().said_by == "moved"
    partitions.feed(interim(identity=OUTER, at_s=3615, session_time_s=15, **arrival)).pass_time(1)
    assert partitions.of(OUTER).ended_row().said_by == "moved"
    partitions.of(REAL).open_row()
    partitions.events()
    partitions.nothing_else()


def _after_two_boots_that_an_outage_mixed(mac: str | None) -> Mesh:
    """A NAS without a clock of its own gives an Acct-Session-Id of OUTER's anew, to REAL; its boot is in the journal twice, at last after
    all that REAL had said; then REAL is heard again. OUTER had lasted a little longer."""
    arrival = {"event_source": "arrival"}
    old = [interim(identity=OUTER, at_s=at_s, **arrival) for at_s in (60, 120)]
    new = [interim(identity=REAL, at_s=200 + at_s, session_time_s=at_s, mac=mac, **arrival) for at_s in (10, 40)]
    partitions = mesh(start(identity=OUTER, **arrival), *old, on(at_s=190, **arrival), start(identity=REAL, at_s=200, mac=mac, **arrival))
    partitions.feed(*new, on(at_s=191 + 60, **arrival)).pass_time(70)
    return partitions.feed(interim(identity=REAL, at_s=300, session_time_s=100, mac=mac, **arrival)).pass_time(2)


@pytest.mark.parametrize("mac", ["02-00-00-00-00-02", ""])
def test_a_living_session_does_not_yield_to_one_that_has_been_over_for_longer_than_a_record_is_under_way(mac: str) -> None:
    """2.10, 2.4: nor does it learn from it, though that one's Acct-Session-Time is larger."""
    partitions = _after_two_boots_that_an_outage_mixed(mac)
    ended = [event.said_by for event in partitions.events() if event.type in ("session.ended", "session.moved")]
    assert ended == ["nas-reboot", "nas-reboot"]
    row = partitions.of(REAL).open_row()
    assert (row.started_ms, row.session_time_s) == (T0_MS + 200_000, 100)
    assert partitions.of(OUTER).ended_row().said_by == "nas-reboot"
    partitions.nothing_else()


def test_a_session_under_the_id_of_another_device_takes_over_neither_its_start_nor_its_usage() -> None:
    """2.10, 2.1: they lasted equally long, and an outage left nothing but the devices to tell them apart."""
    arrival = {"event_source": "arrival"}
    partitions = mesh(start(identity=OUTER, **arrival), interim(identity=OUTER, at_s=50, input_octets=700, **arrival))
    partitions.feed(interim(identity=REAL, at_s=700, session_time_s=50, input_octets=30, mac="02-00-00-00-00-02", **arrival)).pass_time(1)
    assert partitions.of(OUTER).ended_row().said_by == "superseded"
    row = partitions.of(REAL).open_row()
    assert (row.started_ms, row.input_octets) == (T0_MS + 650_000, 30)
    types = partitions.types()
    assert [kind for kind, identity in types if identity == REAL] == ["session.started"]
    assert [kind for kind, identity in types if identity == OUTER][-2:] == ["session.superseded", "session.ended"]
    partitions.nothing_else()


def test_an_interim_that_says_how_late_it_is_is_of_the_session_that_began_so_long_before_it() -> None:
    """2.10, 2.1: kept while the NAS's uplink was away; by its Acct-Session-Time alone it would be of a session that began since."""
    late = {"event_source": "acct-delay-time", "late_s": 240, "acct_delay_s": 240}
    partitions = mesh(start(identity=OUTER, event_source="arrival"), interim(identity=REAL, at_s=120, **late)).pass_time(1)
    assert [kind for kind, identity in partitions.types() if identity == OUTER] == ["session.started", "session.moved"]
    row = partitions.of(REAL).open_row()
    assert (row.started_ms, row.session_time_s) == (T0_MS, 120)
    partitions.nothing_else()


def test_a_session_whose_first_record_comes_late_does_not_yield_to_one_of_another_device_that_began_before_it() -> None:
    """2.10, 2.1: the NAS has rebooted while its uplink was away, and gave the Acct-Session-Id anew."""
    late = {"event_source": "acct-delay-time", "late_s": 150, "acct_delay_s": 150}
    partitions = mesh(start(identity=OUTER, event_source="arrival"), interim(identity=OUTER, at_s=120, event_source="arrival"))
    partitions.feed(interim(identity=REAL, at_s=420, session_time_s=120, mac="02-00-00-00-00-02", **late)).pass_time(1)
    assert partitions.of(OUTER).ended_row().said_by == "superseded"
    assert partitions.of(REAL).open_row().started_ms == T0_MS + 300_000
    assert [kind for kind, identity in partitions.types() if identity == REAL] == ["session.started"]
    partitions.nothing_else()


def test_a_session_that_a_late_boot_has_ended_and_that_goes_on_under_another_name_has_moved() -> None:
    """2.10, 2.4: its Accounting-On came behind its Start, and it has one row that is not a shadow."""
    arrival = {"event_source": "arrival"}
    partitions = mesh(start(identity=OUTER, at_s=10, **arrival), on(at_s=12, **arrival)).pass_time(100)
    partitions.feed(interim(identity=REAL, at_s=130, session_time_s=120, **arrival)).pass_time(1)
    assert partitions.of(OUTER).ended_row().said_by == "moved"
    row = partitions.of(REAL).open_row()
    assert (row.started_ms, row.start_seen) == (T0_MS + 10_000, True)
    assert [kind for kind, identity in partitions.types() if identity == OUTER] == ["session.started", "session.ended", "session.moved"]
    partitions.nothing_else()


def _ended_by_its_nas_before_anybody_was_asked(*after: Record) -> Mesh:
    """OUTER's session goes on as REAL's; of that the NAS says that it is gone, in answer to a Disconnect-Request, before the next tick."""
    partitions = mesh(start(identity=OUTER), interim(identity=REAL, at_s=10, session_time_s=10), operator(identity=REAL, at_s=11))
    return partitions.feed(result(partitions.of(REAL).command(), "gone", at_s=12), *after).pass_time(1)


def test_a_session_of_which_its_nas_says_that_it_is_gone_leaves_no_shadow_under_its_other_name() -> None:
    """2.10, 5.5: it had ended there before its partition could ask the others."""
    partitions = _ended_by_its_nas_before_anybody_was_asked()
    assert (partitions.of(OUTER).ended_row().said_by, partitions.of(REAL).ended_row().said_by) == ("moved", "kicked")
    assert [kind for kind, identity in partitions.types() if identity == OUTER] == ["session.started", "session.moved"]
    partitions.nothing_else()


def test_a_session_that_is_heard_of_after_its_nas_said_that_it_was_gone_goes_on_under_that_name() -> None:
    """2.10, 5.4: names alternate; the word of who reported last is the newest."""
    partitions = _ended_by_its_nas_before_anybody_was_asked(interim(identity=OUTER, at_s=13, session_time_s=13))
    assert partitions.of(OUTER).open_row().session_time_s == 13
    assert partitions.of(REAL).ended_row().said_by == "kicked"
    assert [kind for kind, identity in partitions.types() if identity == OUTER] == ["session.started", "session.updated"]
    partitions.nothing_else()


def test_a_late_stop_of_another_device_ends_no_living_session_under_its_id() -> None:
    """2.10, 2.1: it says that it lasted longer, and is not of this session."""
    arrival = {"event_source": "arrival"}
    partitions = mesh(start(identity=REAL, at_s=200, **arrival), interim(identity=REAL, at_s=210, session_time_s=10, **arrival))
    partitions.feed(stop(identity=OUTER, at_s=215, session_time_s=90, mac="02-00-00-00-00-02", **arrival)).pass_time(2)
    partitions.of(REAL).open_row()
    assert partitions.of(OUTER).ended_row().session_time_s == 90
    assert [kind for kind, _ in partitions.types()] == ["session.started", "session.updated", "session.ended"]
    partitions.nothing_else()


@pytest.mark.parametrize("mac", ["02-00-00-00-00-02", ""])
def test_a_living_session_does_not_yield_to_a_question_asked_again_about_one_that_was_heard_of_last_before_it_began(mac: str) -> None:
    """2.10, 2.1: its partition was down while the question waited, and began it before it came to the last one, and before its Interims."""
    arrival = {"event_source": "arrival"}
    partitions = mesh().pass_time(100, "ap1")
    partitions.down.add(partition_of(REAL, PARTITIONS))
    partitions.feed(stop(identity=OUTER, at_s=100, session_time_s=90, **arrival)).pass_time(130, "ap1")
    partitions.feed(on(at_s=230, **arrival), start(identity=REAL, at_s=231, mac=mac, **arrival)).pass_time(100, "ap1")
    partitions.up(partition_of(REAL, PARTITIONS))
    partitions.pass_time(2, "ap1")
    assert partitions.of(REAL).open_row().started_ms == T0_MS + 231_000
    assert partitions.of(OUTER).ended_row().said_by == "nas-stop"
    assert sorted(kind for kind, _ in partitions.types() if kind != "nas.up") == ["session.ended", "session.started"]
    assert all(journal.core.row.claims == () for journal in partitions.journals)
    partitions.nothing_else()


def test_a_session_that_began_by_a_start_asks_nobody_nor_does_one_partition_alone() -> None:
    """2.10: what is not needed is not sent."""
    partitions = mesh(start()).pass_time(5, "ap1")
    assert partitions.delivered == []
    alone = mesh(told("bob", 10), partitions=1).pass_time(50, "ap1")
    assert alone.delivered == []
    assert [event.type for event in alone.events()] == [
        "session.started",
        "session.suspect",
        "session.stale",
        "session.ended",
        "disconnect.requested",
    ]
    assert len(alone.journals[0].commands()) == 1
    partitions.events()
    partitions.nothing_else()
    alone.nothing_else()


@pytest.mark.python_core
def test_a_first_deployment_is_no_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    """2.10: every session is opened by an Interim; each tick asks about so many of them, in one record for each other partition."""
    monkeypatch.setattr(claims, "QUESTIONS_PER_TICK_MAX", 10)
    partitions = mesh(*[interim(f"s{number}", f"user{number}", at_s=10) for number in range(100)])
    partitions.pass_time(1)
    asked = [_read(output.value) for output in partitions.delivered if _read(output.value).op == "ask"]
    assert len(asked) == PARTITIONS * (PARTITIONS - 1)
    assert all(len(question.sessions) == 10 for question in asked)
    partitions.pass_time(9)
    sessions = {claim.acct_session_id for output in partitions.delivered for claim in _read(output.value).sessions}
    assert sessions == {f"s{number}" for number in range(100)}
    count = len(partitions.delivered)
    partitions.pass_time(5)
    assert len(partitions.delivered) == count
    assert all(not journal.core.table.to_claim and not journal.core.table.claimed for journal in partitions.journals)
    assert all(journal.core.row.claims == () for journal in partitions.journals)
    assert {event.type for event in partitions.events()} == {"session.started"}
    partitions.nothing_else()


@pytest.mark.python_core
def test_open_questions_are_bounded_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """2.10: while a partition is down, nothing piles up."""
    monkeypatch.setattr(claims, "QUESTIONS_PER_TICK_MAX", 1)
    monkeypatch.setattr(claims, "BATCHES_MAX", 2)
    journal = Journal(0, 2).feed(tick(0), *[interim(f"s{number}", at_s=1) for number in range(5)]).pass_time(61)
    asked = [
        (_read(output.value).batch, [claim.acct_session_id for claim in _read(output.value).sessions]) for output in journal.to_others()
    ]
    assert asked == [(6, ["s0"]), (7, ["s1"]), (6, ["s0"])]
    assert len(journal.core.row.claims) == 2
    assert len(journal.types()) == 5
    journal.nothing_else()


@pytest.mark.parametrize("cut", range(12))
def test_repeats_change_nothing_and_a_restored_partition_goes_on_with_the_same_questions(cut: int) -> None:
    """2.8: a worker that comes back sends again what it had sent, with the same ids."""
    before = Journal(0, 2).feed(policy(Liveness(rule="interim", times=3)), tick(0), *[told(f"u{n}", 10, session=f"s{n}") for n in range(4)])
    after = Journal(0, 2).feed(*before.records)
    for number in range(12):
        record = tick(1 + 4 * number, heard=[("ap1", 0)])
        before.feed(record)
        if number == cut:
            after.restart()
        after.feed(record)
        for output in before.to_others():
            asked = _read(output.value)
            assert output in (mine := after.to_others()[:1])
            answer = Record("claim", b"p:1", msgspec.json.encode(Claims(op="answer", partition=1, batch=asked.batch, time_ms=T0_MS)))
            before.feed(answer, answer)
            after.feed(answer, answer)
            assert mine
    assert before.state() == after.state()
    assert [event.type for event in before.events()].count("session.stale") == 4
    assert before.outputs == after.outputs


def test_a_claim_of_no_other_partition_is_refused() -> None:
    """2.10: nobody can answer for himself."""
    journal = Journal(0, 2).feed(
        *[
            Record("claim", b"p:0", msgspec.json.encode(Claims(op="answer", partition=number, batch=0, time_ms=T0_MS)))
            for number in (0, 2, -1)
        ]
    )
    assert [rejected.reason for rejected in journal.rejected()] == ["no-such-partition"] * 3
    journal.nothing_else()


def test_a_moved_session_counts_in_no_limit_of_its_old_name() -> None:
    """2.10, 4.2: its slot is free."""
    partitions = mesh().feed(policy(user_limit(1), version=2), start(identity=OUTER), interim(identity=REAL, at_s=20)).pass_time(1)
    partitions.feed(start("s2", OUTER, at_s=30))
    assert [event.type for event in partitions.of(OUTER).events()] == ["session.started", "session.moved", "session.started"]
    partitions.events()
    partitions.nothing_else()


def test_a_boot_ends_both() -> None:
    """2.4: it is in every partition."""
    partitions = mesh(start(identity=OUTER), start(identity=REAL), on(at_s=50)).pass_time(1)
    assert sum(journal.core.open_sessions for journal in partitions.journals) == 0
    assert [event.said_by for event in partitions.events() if event.type == "session.ended"] == ["nas-reboot", "nas-reboot"]
    partitions.nothing_else()
