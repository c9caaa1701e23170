"""A group's verdict is made again from exactly the records that it names (behaviour 4.9)."""

from random import Random
from typing import Any

import pytest

from schemas.codec import decoder
from schemas.event import RecordRef
from schemas.group import GroupVerdict, SlotMessage, Standing
from schemas.journal import PolicyVersion
from schemas.policy import Policy
from schemas.topics import SLOTS
from streams.group_core import COUNTED_MAX
from streams.recount import Recount, breached_by, recount, slot_records
from tests.support.groups import Slots, group_limit

PHONE, LAPTOP, TABLET = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"

_message = decoder(SlotMessage).decode
_version = decoder(PolicyVersion).decode


def policy_of(slots: Slots, version: int) -> Policy:
    """The version that a verdict names, as it lies in the journal."""
    found = [_version(stored.value) for stored in slots.journal if stored.kind == "policy"]
    return next(each.policy for each in found if each.version == version)


def message_at(slots: Slots, ref: RecordRef) -> SlotMessage:
    """The record that is named, and nothing else of the journal."""
    assert (ref.topic, ref.partition, slots.journal[ref.offset].kind) == (SLOTS.name, 0, "slot")
    return _message(slots.journal[ref.offset].value)


def again(slots: Slots, said: GroupVerdict) -> Recount:
    """What comes out of the verdict's records alone."""
    asked, named = slot_records(said)
    assert asked is not None
    return recount(policy_of(slots, said.policy_version), said, message_at(slots, asked), [message_at(slots, ref) for ref in named])


def test_a_refusal_is_made_again_from_the_question_and_those_who_were_counted() -> None:
    """4.9: the slots, the sessions and the figures; who left before, or is in another group, is not among them."""
    slots = Slots(group_limit(2))
    for name, session, device in (("gone", "g", TABLET), ("ann", "a1", PHONE), ("ann", "a2", PHONE), ("eve", "e", None)):
        slots.send("hold", name, session, device=device)
    slots.send("free", "gone", "g")
    slots.send("hold", "zoe", "z", "guests")
    said = slots.take("bob", "b", device=LAPTOP)
    found = again(slots, said)
    assert (found.limit, found.is_same) == (Standing("total", 2, 2), True)
    assert [(each.identity, each.session, each.slot) for each in found.counted] == [
        ("ann", "s:ap1/a1", PHONE),
        ("ann", "s:ap1/a2", PHONE),
        ("eve", "s:ap1/e", "s:ap1/e"),
    ]
    slots.nothing_else()


def test_records_that_tell_otherwise_are_found_out() -> None:
    """4.9: with one of the counted missing, or another policy, the decision does not come out."""
    slots = Slots(group_limit(2))
    slots.take("ann", "a"), slots.take("eve", "e")
    said = slots.take("bob", "b")
    asked, (first, _) = slot_records(said)
    assert asked is not None
    question, one = message_at(slots, asked), message_at(slots, first)
    assert recount(policy_of(slots, 1), said, question, [one]) == Recount(None, again(slots, said).counted[:1], is_same=False)
    other = Policy(limits=(group_limit(1),))
    assert recount(other, said, question, [one]).limit == Standing("total", 1, 1)
    assert not recount(other, said, question, [one]).is_same
    slots.nothing_else()


def test_an_eviction_and_a_breach_that_is_only_reported_name_who_was_counted() -> None:
    """4.4, 4.10: as a refusal does."""
    slots = Slots(group_limit(2, victim="oldest", victim_scope="group"), group_limit(1, "quiet", action="report"))
    slots.take("ann", "a")
    reported = slots.take("eve", "e")
    assert breached_by(reported) == Standing("quiet", 1, 1)
    assert again(slots, reported).is_same
    slots.send("take", "bob", "b")
    evicted, _ = slots.verdicts()
    assert (evicted.op, breached_by(evicted), [each.identity for each in again(slots, evicted).counted]) == (
        "evict",
        Standing("total", 2, 2),
        ["ann", "eve"],
    )
    assert again(slots, evicted).is_same
    slots.nothing_else()


def test_those_who_are_too_many_are_not_named_and_what_passed_names_nobody() -> None:
    """4.9: the count rests on all of the group's journal then."""
    slots = Slots(group_limit(COUNTED_MAX + 1))
    granted = [slots.take(f"user-{number}", "s") for number in range(COUNTED_MAX + 1)]
    assert {breached_by(said) for said in granted} == {None}
    refused = slots.take("bob", "b")
    assert slot_records(refused) == (RecordRef(SLOTS.name, 0, len(slots.journal) - 1), [])
    assert {len(said.because) for said in granted} == {2}
    slots.nothing_else()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_in_a_group_each_breach_comes_out_of_its_records_again(seed: int) -> None:
    """4.9: random sessions, devices, exempt groups, victims, counter time limits, and policies that change under way."""
    chance = Random(seed)
    slots = Slots()
    breaches = 0
    for step in range(300):
        if step % 60 == 0:
            slots.publish(*(random_limit(chance, f"l{number}") for number in range(chance.randrange(1, 4))))
        name, session = chance.choice(("ann", "bob", "eve", "zoe")), chance.choice("abcd")
        op = chance.choice(("take", "take", "take", "hold", "free"))
        groups = ["staff", *chance.sample(["boss", "guest:day"], chance.randrange(3))]
        device = chance.choice((None, PHONE, LAPTOP))
        slots.send(op, name, session, device=device, groups=groups, age_ms=chance.randrange(90_000))
        for said in slots.verdicts():
            asked, named = slot_records(said)
            if asked is None or slots.journal[asked.offset].kind != "slot" or breached_by(said) is None:
                continue
            assert named
            assert again(slots, said).is_same, said
            breaches += 1
        if chance.random() < 0.2:
            slots.tick(chance.randrange(1, 30))
            slots.verdicts()
    assert breaches > 10


def random_limit(chance: Random, name: str) -> Any:
    """A limit on the group."""
    return group_limit(
        chance.randrange(1, 4),
        name,
        count=chance.choice(("devices", "sessions")),
        victim=chance.choice(("newest", "oldest", "all-others", "none")),
        victim_scope=chance.choice(("user", "group")),
        action=chance.choice(("disconnect", "report")),
        exempt=chance.choice(((), ("boss",), ("guest:*",))),
        counter_time_limit_s=chance.choice((0, 0, 60)),
    )
