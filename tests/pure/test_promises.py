"""A Session-Timeout that a login was let in with, taken by the Start that follows (behaviour 3.6, "from the admission call")."""

import pytest

from schemas.admission import Question
from schemas.journal import Promise
from schemas.session import Promised
from streams.promises import PROMISES_MAX, of_login
from tests.support.journal import T0_MS, Journal, Record, groups, interim, mac_of, play, policy, promise, start, stop, tick

PHONE, LAPTOP = "02-00-00-00-00-01", "02-00-00-00-00-02"


def running(*records: Record) -> Journal:
    """A journal whose clock runs, with these records in it."""
    return play(policy(), tick(0), *records)


def timeout_of(journal: Journal, session: str = "s1", nas: str = "ap1") -> int | None:
    return journal.open_row(session, nas).session_timeout_s


def waiting(journal: Journal) -> tuple[Promised, ...]:
    known = journal.identity_row()
    return () if known is None else known.promises


def test_the_next_start_takes_what_its_login_was_promised_and_is_disconnected_when_that_is_over() -> None:
    """3.6: where the NAS forgets to say it, and to do it."""
    journal = running(promise(60), start())
    assert (timeout_of(journal), waiting(journal)) == (60, ())
    assert journal.types() == ["session.started"]
    journal.pass_time(59)
    assert journal.commands() == []
    (command,) = journal.pass_time(1).commands()
    assert (command.reason, command.text) == ("session-timeout", "its Session-Timeout of 60 s is over")
    assert journal.types() == ["disconnect.requested"]
    journal.nothing_else()


@pytest.mark.parametrize("own", [30, 90])
def test_the_word_of_the_nas_is_stronger_and_uses_the_promise_up(own: int) -> None:
    """3.6: the record's own, shorter or longer: the NAS acts on what it was told in the end."""
    journal = running(promise(60), start(session_timeout_s=own))
    assert (timeout_of(journal), waiting(journal)) == (own, ())
    journal = running(promise(60), start(), interim(at_s=1, session_timeout_s=own))
    assert timeout_of(journal) == own


def test_a_timeout_that_means_none_leaves_the_promise_in_force() -> None:
    """3.6: 0 and 2^32-1 are not believed of a NAS, and promise nothing either."""
    assert timeout_of(running(promise(60), start(session_timeout_s=0))) == 60
    for nothing in (0, 0xFFFF_FFFF):
        journal = running(promise(nothing))
        assert journal.identity_row() is None
        journal.nothing_else()


def test_a_session_that_is_authenticated_anew_when_its_time_is_over_is_left_alone() -> None:
    """3.6: Termination-Action 1, whoever said the time."""
    journal = running(promise(10), start(termination_action=1)).pass_time(60)
    assert journal.commands() == []


def test_one_promise_is_for_one_start() -> None:
    """3.6: a retransmission takes none, and neither does the session after it."""
    journal = running(
        promise(60), promise(90, reservation="second"), start(), start(at_s=1), start("s2", mac=PHONE, at_s=2), start("s3", mac=LAPTOP)
    )
    assert [timeout_of(journal, session) for session in ("s1", "s2", "s3")] == [60, 90, None]


def test_it_is_for_that_nas_and_that_device() -> None:
    """3.6: in any notation; without a device for any, after the device's own."""
    said = [
        promise(60, mac="0200.0000.0001", reservation="phone"),
        promise(90, reservation="any"),
        promise(30, nas="ap2", reservation="elsewhere"),
    ]
    journal = running(*said, start("s1", mac=LAPTOP), start("s2", mac=PHONE), start("s3", mac=PHONE, at_s=9), start("s4", "eve", mac=PHONE))
    assert [timeout_of(journal, session) for session in ("s1", "s2", "s3", "s4")] == [90, 60, None, None]
    assert [each.id for each in waiting(journal)] == ["elsewhere"]
    journal.feed(start("s5", nas="ap2"))
    assert timeout_of(journal, "s5", "ap2") == 30


def test_asked_again_for_the_same_device_the_last_word_counts() -> None:
    """3.6: also the word that there is none."""
    journal = running(promise(60, mac=PHONE, reservation="a"), promise(90, mac=PHONE.lower(), reservation="b"))
    assert [(each.id, each.session_timeout_s) for each in waiting(journal)] == [("b", 90)]
    journal.feed(promise(0, reservation="b"))
    assert journal.identity_row() is None


def test_it_lapses_on_the_partitions_clock_and_the_identity_with_it() -> None:
    """3.6, 3.8: nobody came; nothing of it is left, in no heap either."""
    journal = running(promise(600)).pass_time(59)
    assert len(waiting(journal)) == 1
    journal.pass_time(1)
    assert journal.identity_row() is None
    assert journal.core.table.lingering == []
    journal.feed(start(at_s=60))
    assert timeout_of(journal) is None
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_one_that_lies_there_after_its_time_is_not_taken() -> None:
    """3.6: what was written late, by a Kafka that was away, is for nobody; of one that is nearly over the rest counts."""
    assert waiting(running(tick(61), promise(60))) == ()
    journal = running(tick(59), promise(60))
    (left,) = waiting(journal)
    assert left.until_ms - journal.core.row.clock_ms == 1000
    journal = running(groups("bob", "staff"), promise(60)).pass_time(60)  # kept for its groups
    assert len(waiting(journal)) == 1
    journal.feed(promise(90, reservation="late"))
    assert waiting(journal) == ()


def test_one_that_has_lapsed_is_not_taken_though_its_row_is_kept() -> None:
    """3.6: for an operator's groups, say."""
    journal = running(groups("bob", "staff"), promise(60)).pass_time(60).feed(start(at_s=60))
    assert (timeout_of(journal), waiting(journal)) == (None, ())


def test_neither_a_backlog_nor_an_interim_nor_a_stop_takes_it() -> None:
    """3.6: those sessions began before the question."""
    journal = running(promise(60), start("old", late_s=7200), interim("known", at_s=5), stop("gone", at_s=6))
    assert [timeout_of(journal, session) for session in ("old", "known")] == [None, None]
    assert len(waiting(journal)) == 1


def test_an_identity_has_so_many_at_most() -> None:
    """The oldest makes room."""
    journal = running(*(promise(60 + nth, reservation=str(nth)) for nth in range(PROMISES_MAX + 2)))
    assert [each.id for each in waiting(journal)] == [str(nth) for nth in range(2, PROMISES_MAX + 2)]
    journal.nothing_else()


def test_a_restart_forgets_none_and_counts_go_on_beside_it() -> None:
    """2.8: it stands in the identity's row, also where events are told in between."""
    journal = running(start("s0", mac=LAPTOP), promise(60, mac=mac_of("s1"))).feed(stop("s0", mac=LAPTOP, at_s=1))
    assert [event.seq for event in journal.events()] == [1, 2]
    journal.restart().feed(start(at_s=2))
    assert timeout_of(journal) == 60
    assert [event.seq for event in journal.events()] == [3]
    journal.nothing_else()


def test_what_is_no_promise_is_refused_by_name() -> None:
    """7.6."""
    journal = running(
        Record("promise", b"bob", b'{"id":"r","identity":"bob","nas":"ap1","session_timeout_s":-1,"time_ms":0,"expires_ms":1}')
    )
    (rejected,) = journal.rejected()
    assert (rejected.reason, rejected.kind) == ("lacks-fields", "promise")
    assert journal.identity_row() is None
    journal.nothing_else()


def test_a_question_becomes_a_promise_only_where_it_tells_a_time() -> None:
    """3.6, 4.8."""
    asked = {"user": "BOB", "nas": "ap1", "calling_station_id": PHONE}
    assert of_login(Question(**asked), "bob", "r", T0_MS, 60_000) is None
    told = of_login(Question(**asked, session_timeout_s=3600), "bob", "r", T0_MS, 60_000)
    assert told == Promise(
        id="r", identity="bob", nas="ap1", calling_station_id=PHONE, session_timeout_s=3600, time_ms=T0_MS, expires_ms=T0_MS + 60_000
    )
