"""A session's slots in its groups: what the group agent is told, and what follows from its verdicts (behaviours 4.1 to 4.4)."""

from typing import Any

import pytest

from schemas.codec import decoder, encode
from schemas.group import SLOT_KIND, GroupVerdict, SlotMessage, Standing
from schemas.policy import Limit, Membership
from schemas.topics import SLOTS
from streams.partitioner import partition_of
from tests.support.journal import T0_MS, Journal, Record, groups, interim, mac_of, play, policy, result, start, stop, tick, user_limit

_read = decoder(SlotMessage).decode
ALL = Limit("all", "group", 2)


def messages(journal: Journal) -> list[SlotMessage]:
    """What the group agent was told since this was last asked."""
    told = []
    for output in journal._take(SLOTS.name, SLOT_KIND):
        message = _read(output.value)
        assert (output.key.decode(), output.partition) == (message.group, partition_of(message.group, journal.core.partitions))
        told.append(message)
    places = [(message.offset, message.nth) for message in told]
    assert places == sorted(set(places)), "each place grows"
    return told


def told(journal: Journal) -> list[str]:
    """As `op group session`."""
    return [f"{message.op} {message.group} {message.session.removeprefix('s:ap1/')}" for message in messages(journal)]


def verdict(group: str = "g", session: str = "s1", *, at_s: float = 0, identity: str = "bob", **fields: Any) -> Record:
    time_ms = T0_MS + round(at_s * 1000)
    said = {"op": "answer", "id": "g", "time_ms": time_ms, "expires_ms": time_ms + 90_000, **fields}
    return Record("verdict", identity.encode(), encode(GroupVerdict(group=group, identity=identity, session=f"s:ap1/{session}", **said)))


def granted(group: str = "g", session: str = "s1", **fields: Any) -> Record:
    return verdict(group, session, granted=True, **fields)


def refused(group: str = "g", session: str = "s1", limit: str = "all", **fields: Any) -> Record:
    return verdict(group, session, **{"limit": limit, "current": 2, "max": 2, **fields})


def bob(*rules: Limit | Membership, of: tuple[str, ...] = ("g",)) -> Journal:
    """Bob is in a group; nothing else."""
    return play(tick(0), policy(*(rules or (ALL,))), groups("bob", *of))


def inside(*rules: Limit, sessions: int = 1) -> Journal:
    """Bob has so many sessions in group g, all granted, everything about them taken."""
    journal = bob(*rules)
    for n in range(1, sessions + 1):
        journal.feed(start(f"s{n}", at_s=n), granted(session=f"s{n}"))
    journal.events(), messages(journal)
    journal.nothing_else()
    return journal


@pytest.mark.parametrize(("before", "after"), [(("g",), ("g", "vip")), (("g", "vip"), ("g",))])
def test_another_group_tells_those_it_was_in_already_since_a_limit_may_except_it(before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """4.2, 4.9: who counts in a limit with `except` was told at the Start, and never again."""
    journal = bob(ALL, Limit("few", "group", 1, group="g", exempt=("vip",)), of=before)
    journal.feed(start("s1"), *(granted(group) for group in before))
    journal.events(), messages(journal)
    journal.feed(groups("bob", *after, at_s=5))
    (hold,) = [message for message in messages(journal) if message.group == "g"]
    assert (hold.op, hold.session, hold.groups) == ("hold", "s:ap1/s1", list(after))
    journal.feed(interim("s1", at_s=9))
    assert [message.op for message in messages(journal) if message.group == "g"] == []


def test_who_gets_another_group_while_it_asks_asks_once_more() -> None:
    """4.2, 4.9: the first question told who was excepted then."""
    journal = bob(ALL)
    journal.feed(start("s1"))
    assert [message.groups for message in messages(journal)] == [["g"]]
    journal.feed(groups("bob", "g", "vip", at_s=5))
    assert [(message.op, message.groups) for message in messages(journal) if message.group == "g"] == [("take", ["g", "vip"])]


def test_a_start_that_passed_the_users_limits_asks_its_groups() -> None:
    """4.1, and is told in the live log which it passed (4.9)."""
    journal = bob(ALL, user_limit(5, "five"))
    journal.feed(start("s1", at_s=3), start("e1", "eve"))
    started, _ = journal.events()
    assert started.passed == ["five: 0 open of 5 allowed"]
    (take,) = messages(journal)
    assert (take.op, take.group, take.identity, take.session) == ("take", "g", "bob", "s:ap1/s1")
    assert (take.device, take.order_ms, take.groups, take.partition) == (mac_of("s1").lower().replace("-", ":"), T0_MS + 3000, ["g"], 0)
    assert take.offset == 3
    journal.feed(granted(passed=[Standing("all", 1, 2)]))
    updated = journal.events()[0]
    assert (updated.type, updated.passed) == ("session.updated", ["all in g: 1 open of 2 allowed"])
    assert journal.open_row().slots == ("g",)
    journal.nothing_else()


def test_who_breaches_a_users_limit_never_asks_the_group() -> None:
    """4.3: it never enters a count."""
    journal = bob(ALL, user_limit(0, "none"))
    journal.feed(start("s1"))
    assert len(journal.commands()) == 1
    journal.events()
    journal.nothing_else()


def test_a_refusal_is_the_named_reason_and_the_newcomer_goes() -> None:
    """4.1, 4.9: the reason with the figures, and the records that it rests on."""
    journal = bob()
    journal.feed(start("s1"), refused())
    _, breached, _ = journal.events()
    assert (breached.type, breached.rule, breached.scope, breached.group) == ("limit.breached", "all", "group", "g")
    assert (breached.current, breached.max, breached.text) == (2, 2, "group limit all in g: 2 open of 2 allowed")
    assert [ref.offset for ref in breached.because] == [3, 4]
    assert journal.command().rule == "all"
    assert told(journal) == ["take g s1"]
    journal.nothing_else()


def test_of_several_refusals_the_first_in_the_policys_order_is_named_and_all_slots_are_freed() -> None:
    """4.1: whichever answer comes first."""
    journal = bob(
        Limit("b", "group", 1, group="h"), Limit("a", "group", 1, group="g"), Limit("c", "group", 9, group="i"), of=("g", "h", "i")
    )
    journal.feed(start("s1"), refused("g", limit="a"), granted("i"))
    assert journal.types() == ["session.started"]
    journal.feed(refused("h", limit="b"))
    assert [event.rule for event in journal.events()] == ["b", "b"]
    assert journal.command().rule == "b"
    assert told(journal) == ["take h s1", "take g s1", "take i s1", "free i s1"]
    journal.nothing_else()


@pytest.mark.parametrize("end", [stop("s1", at_s=9), verdict(op="evict", limit="all", current=2, max=2)])
def test_a_session_that_ends_or_has_to_go_frees_its_slot(end: Record) -> None:
    """4.2: one whose disconnect is under way holds none."""
    journal = inside()
    journal.feed(end)
    assert told(journal) == ["free g s1"]
    assert journal.types() == (["session.ended"] if end.kind == "accounting" else ["limit.breached", "disconnect.requested"])
    journal.commands()
    journal.nothing_else()


def test_one_that_cannot_be_disconnected_holds_its_slot_again_and_is_not_chosen_again() -> None:
    journal = bob()
    journal.feed(start("s1"), refused())
    command = journal.command()
    messages(journal)
    journal.feed(result(command, "refused"))
    (hold,) = messages(journal)
    assert (hold.op, hold.group, hold.stays) == ("hold", "g", True)
    journal.events()
    journal.nothing_else()


def test_a_change_of_groups_moves_the_slots_of_running_sessions() -> None:
    """4.1."""
    journal = inside(sessions=2)
    journal.feed(groups("bob", "h"))
    assert told(journal) == ["free g s1", "hold h s1", "free g s2", "hold h s2"]
    journal.feed(groups("bob"))
    assert told(journal) == ["free h s1", "free h s2"]
    journal.nothing_else()


def test_groups_told_by_records_move_slots_too() -> None:
    journal = bob(ALL, Membership("Class", "(?P<group>.+)"), of=())
    journal.feed(start("s1", class_="g"), granted(), interim("s1", at_s=60, class_="h"), interim("s1", at_s=120))
    assert told(journal) == ["take g s1", "free g s1", "hold h s1"]
    journal.events()
    journal.nothing_else()


def test_a_session_that_a_rule_excepts_takes_no_slot() -> None:
    """4.1."""
    journal = bob(Limit("all", "group", 1, exempt=("boss",)), of=("g", "boss"))
    journal.feed(start("s1"))
    assert told(journal) == []
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_a_new_policy_tells_of_the_sessions_that_are_there_and_an_old_one_is_cleaned_up_after() -> None:
    """4.9: a group's limit that comes counts who is in, and refuses nobody for it."""
    journal = play(tick(0), groups("bob", "g"), start("s1"), start("s2"))
    assert told(journal) == []
    journal.feed(policy(ALL))
    assert told(journal) == ["hold g s1", "hold g s2"]
    journal.feed(policy(version=2))
    assert told(journal) == ["free g s1", "free g s2"]
    journal.events()
    journal.nothing_else()


def test_the_users_own_oldest_goes_and_its_slot_is_asked_for_in_one_stroke() -> None:
    """4.4: a group's limit takes its victim among the breaching user's own sessions."""
    journal = inside(Limit("all", "group", 2, victim="oldest"), sessions=2)
    journal.feed(start("s3", at_s=3), refused(session="s3"))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested"]
    assert journal.command().session["acct_session_id"] == "s1"
    first, again = messages(journal)
    assert (first.op, first.frees) == ("take", [])
    assert (again.op, again.frees, again.session) == ("take", ["s:ap1/s1"], "s:ap1/s3")
    journal.feed(granted(session="s3"))
    assert journal.types() == ["session.updated"]
    journal.nothing_else()


def test_who_has_no_other_session_goes_itself() -> None:
    """4.4."""
    journal = bob(Limit("all", "group", 2, victim="oldest"))
    journal.feed(start("s1"), refused())
    assert journal.command().session["acct_session_id"] == "s1"
    assert told(journal) == ["take g s1"]
    journal.events()
    journal.nothing_else()


def test_a_device_that_was_evicted_a_moment_ago_evicts_nobody_in_turn() -> None:
    """4.4: no ping-pong between two phones."""
    journal = inside(Limit("all", "group", 1, victim="oldest"))
    journal.feed(start("s2", at_s=2), refused(session="s2"))
    assert journal.command().session["acct_session_id"] == "s1"
    journal.feed(stop("s1", at_s=3), granted(session="s2"), start("s3", at_s=4, mac=mac_of("s1")))
    messages_before = messages(journal)
    assert messages_before[-1].held == ["all"]
    journal.feed(refused(session="s3"))
    assert journal.command().session["acct_session_id"] == "s3"
    assert "this device was evicted by it a moment ago" in (journal.events()[-1].text or "")
    journal.notices()
    journal.nothing_else()


def test_a_rule_that_reports_is_told_of_and_refuses_nothing() -> None:
    """4.10."""
    journal = bob()
    journal.feed(start("s1"), granted(reported=[Standing("all", 2, 2)]))
    assert [(event.type, event.current) for event in journal.events()] == [
        ("session.started", None),
        ("limit.breached", 2),
        ("session.updated", None),
    ]
    assert told(journal) == ["take g s1"]
    journal.nothing_else()


def test_the_limit_of_a_guest_type_is_asked_after_the_groups() -> None:
    """4.1."""
    journal = bob(Limit("guests", "guest-type", 0), ALL, of=("g", "guest:day"))
    journal.feed(start("s1"))
    assert journal.types() == ["session.started"]
    journal.feed(granted())
    assert [event.rule for event in journal.events()] == [None, "guests", "guests"]
    assert len(journal.commands()) == 1
    assert told(journal) == ["take g s1", "free g s1"]
    journal.nothing_else()


def test_a_verdict_that_comes_too_late_is_asked_for_again() -> None:
    """DESIGN "The group agent": verdicts expire as commands do."""
    journal = bob()
    journal.feed(start("s1"), tick(200), refused(at_s=0))
    assert told(journal) == ["take g s1", "take g s1"]
    journal.feed(verdict(op="evict", limit="all", at_s=0))
    assert told(journal) == ["take g s1"]
    assert journal.types() == ["session.started"]
    journal.nothing_else()


def test_who_is_evicted_while_he_asks_again_frees_what_the_question_may_give_him() -> None:
    """4.2, 4.4: the answer before came too late; the eviction had been decided before the question came to the group agent."""
    journal = bob()
    journal.feed(start("s1"), tick(100), granted(at_s=1))
    assert told(journal) == ["take g s1", "take g s1"]
    journal.feed(verdict(op="evict", at_s=90, limit="all", current=2, max=2))
    assert told(journal) == ["free g s1"]
    assert journal.command().reason == "limit"
    journal.feed(granted(at_s=100, offset=5))
    assert journal.types() == ["session.started", "limit.breached", "disconnect.requested"]
    journal.nothing_else()


def test_an_eviction_that_comes_too_late_is_not_carried_out() -> None:
    journal = inside()
    journal.feed(tick(200), verdict(op="evict", limit="all", at_s=0))
    assert told(journal) == ["hold g s1"]
    journal.nothing_else()


def test_a_command_that_the_kicker_got_too_late_is_asked_for_again() -> None:
    """DESIGN "The kicker": with a new attempt, if the group still says so."""
    journal = bob()
    journal.feed(start("s1"), refused())
    journal.feed(result(journal.command(), "expired"))
    assert told(journal) == ["take g s1", "take g s1"]
    journal.feed(refused())
    assert journal.command().attempt == 2
    journal.events()
    journal.nothing_else()


def test_what_the_group_agent_asks_for_and_is_not_there_is_said_to_be_gone() -> None:
    journal = inside()
    journal.feed(verdict(op="check", sessions=[("bob", "s:ap1/s1"), ("bob", "s:ap1/s9")]))
    assert told(journal) == ["gone g s9"]
    journal.nothing_else()


def test_a_session_first_heard_of_by_an_interim_holds_a_slot_and_asks_when_it_is_proven() -> None:
    """2.2, DESIGN "Old news": such a session counts, but causes no breach of its own until it was heard again."""
    journal = bob()
    journal.feed(interim("s1", at_s=60))
    assert told(journal) == ["hold g s1"]
    journal.feed(interim("s1", at_s=120))
    assert told(journal) == ["take g s1"]
    journal.feed(refused())
    assert len(journal.commands()) == 1
    journal.events()
    journal.nothing_else()


def test_a_session_whose_name_changes_takes_its_slot_along() -> None:
    """2.10."""
    journal = inside()
    journal.feed(groups("bobby", "g"), interim("s1", "bobby", at_s=60, user_name="bobby"))
    free, hold = messages(journal)
    assert (free.op, free.identity, hold.op, hold.identity) == ("free", "bob", "hold", "bobby")
    journal.events()
    journal.nothing_else()


def test_an_acct_session_id_that_is_given_anew_frees_the_slots_of_the_one_before() -> None:
    """2.6: another user's session lies under the same key from then on; asked for the former one, it says that it is gone."""
    journal = inside()
    journal.feed(groups("eve", "g"), start("s1", "eve", at_s=300, user_name="eve", mac="02-00-5E-10-00-99"))
    freed, taken = messages(journal)
    assert (freed.op, freed.identity, taken.op, taken.identity) == ("free", "bob", "take", "eve")
    assert journal.types() == ["session.superseded", "session.ended", "session.started"]
    journal.feed(verdict(op="check", sessions=[("bob", "s:ap1/s1"), ("eve", "s:ap1/s1")]))
    (gone,) = messages(journal)
    assert (gone.op, gone.identity) == ("gone", "bob")
    journal.nothing_else()


def test_what_a_restored_partition_says_of_several_sessions_comes_in_the_same_order() -> None:
    """DESIGN "The law": an index may hold a user's sessions in another order than they were read."""
    journal = bob()
    for session in ("s3", "s1", "s2"):
        journal.feed(start(session, at_s=1), granted(session=session))
    journal.feed(groups("bob")), messages(journal)
    journal.feed(groups("bob", "g"))
    assert told(journal) == ["hold g s1", "hold g s2", "hold g s3"]
    journal.events()
    journal.nothing_else()


def test_an_answer_that_comes_again_is_not_taken_for_the_answer_to_a_later_question() -> None:
    """2.8: a group agent that was killed says again what it said; nobody goes twice for it."""
    journal = inside(Limit("all", "group", 1, victim="oldest"))
    journal.feed(start("s2", at_s=9))
    (first,) = messages(journal)
    again = refused(session="s2", current=1, max=1, offset=first.offset, nth=first.nth)
    journal.feed(again)
    assert [command.session["acct_session_id"] for command in journal.commands()] == ["s1"]
    second = messages(journal)[-1]
    assert (second.op, second.frees) == ("take", ["s:ap1/s1"])
    journal.feed(again)
    assert journal.open_row("s2").asked == ("g",)
    journal.feed(granted(session="s2", offset=second.offset, nth=second.nth))
    assert journal.open_row("s2").asked == ()
    journal.events()
    journal.nothing_else()
