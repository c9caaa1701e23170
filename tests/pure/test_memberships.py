"""Who is in which groups: by an operator's word and by what records tell (behaviour 4.1), and what it does to the counts."""

import msgspec
import pytest

from schemas.accounting import AccountingRecord
from schemas.configuration import Identity
from schemas.policy import Limit, Membership
from schemas.session import IdentityRow, SessionRow
from streams.identity import IdentityRules
from streams.membership_csv import FINDINGS_MAX, memberships_in
from streams.memberships import groups_of, normal, take
from streams.told_groups import Told, ToldGroups
from tests.support.journal import Journal, accounting, groups, interim, play, policy, start, stop, tick, user_limit

BY_CLASS = Membership("Class", "^group=(?P<group>[^;]+)")


def in_group(most: int, group: str = "*", **fields: object) -> Limit:
    return Limit(f"{group}-{most}", "user-in-group", most, group=group, **fields)  # type: ignore[arg-type]


def told(rules: tuple[Membership, ...], **fields: object) -> Told | None:
    value = accounting("Start", "s1", "bob", **fields).value
    return ToldGroups(rules).by(msgspec.json.decode(value or b"", type=AccountingRecord))


def names(found: Told | None) -> list[str]:
    return [group for group, _ in found.groups] if found else []


@pytest.mark.parametrize(
    ("rule", "fields", "expected"),
    [
        (BY_CLASS, {"class_": "group=staff;x=1"}, ["staff"]),
        (BY_CLASS, {"class_": "x=1;group=staff"}, []),
        (Membership("Class", "group=(?P<group>[^;]+)"), {"class_": "group=a;group=b"}, ["a", "b"]),
        (Membership("Class", "type=(?P<guest_type>.+)"), {"class_": "type=hotspot"}, ["guest:hotspot"]),
        (Membership("Class", "(?P<group>.*)"), {"class_": "guest:hotspot"}, []),
        (Membership("Called-Station-Id", ":(?P<group>.+)$"), {"called_station_id": "02-00-00-00-00-01:Campus WiFi"}, ["Campus WiFi"]),
        (Membership("Filter-Id", "(?P<group>.+)"), {"attributes": msgspec.Raw(b'{"Filter-Id":["one","two"]}')}, ["one", "two"]),
        (Membership("Class", "(?P<group>.+)"), {"class_": "a", "attributes": msgspec.Raw(b'{"Class":["a","b"]}')}, ["a", "b"]),
        (Membership("Aruba-User-Role", "(?P<group>.+)"), {"attributes": msgspec.Raw(b'{"Aruba-User-Role":"staff"}')}, ["staff"]),
        (Membership("NAS-Port-Type", "(?P<group>.+)"), {"nas_port_type": 19}, ["19"]),
        (Membership("Filter-Id", "(?P<group>.+)"), {"attributes": msgspec.Raw(b'{"Filter-Id":{"base64":"/w=="}}')}, ["\\xff"]),
        (Membership("Class", "(?P<group>.*)"), {"class_": " "}, []),
        (Membership("Class", "(?P<group>.+)"), {"class_": "g" * 129}, []),
    ],
)
def test_a_record_tells_groups_by_any_attribute(rule: Membership, fields: dict[str, object], expected: list[str]) -> None:
    """4.1: a field of the record, an attribute without one, a vendor's; what could be no name tells none."""
    assert names(told((rule,), **fields)) == expected


def test_a_record_without_the_attribute_says_nothing_about_groups() -> None:
    assert told((BY_CLASS,)) is None
    assert told(()) is None
    assert told((BY_CLASS,), class_="") == Told(frozenset({"Class"}), ())


def test_each_attribute_replaces_what_it_told_before_and_leaves_the_others() -> None:
    row = SessionRow("ap1", "s1", "bob", "open")
    assert take(row, Told(frozenset({"Class"}), (("staff", "Class"),)))
    assert take(row, Told(frozenset({"Filter-Id"}), (("night", "Filter-Id"),)))
    assert row.groups == ("night", "staff")
    assert take(row, Told(frozenset({"Class"}), (("boss", "Class"),)))
    assert not take(row, Told(frozenset({"Class"}), (("boss", "Class"),)))
    assert (row.groups, row.groups_by) == (("boss", "night"), ("Class", "Filter-Id"))
    assert groups_of(IdentityRow("bob", groups=("all", "boss")), row) == ("all", "boss", "night")


def test_an_operators_list_is_kept_in_order_and_once() -> None:
    assert normal(("b", "a", "b")) == ("a", "b")


def test_memberships_for_a_user_who_does_not_exist_yet_are_kept() -> None:
    """The group counts from the first Start; taken out of all, nothing of the user is left."""
    journal = play(tick(0), policy(in_group(1, "staff"), grace_s=10), groups("bob", "staff", at_s=1))
    journal.feed(start("s1"), start("s2"))
    assert journal.events()[2].text == "user-in-group limit staff-1 in staff: 1 open of 1 allowed"
    assert len(journal.commands()) == 1
    journal.feed(stop("s1"), stop("s2"), *(tick(n) for n in range(1, 30)))
    journal.events(), journal.notices()
    assert journal.row("s1") is None
    known = journal.identity_row()
    assert known is not None
    assert known.groups == ("staff",)
    journal.feed(groups("bob"))
    journal.feed(*(tick(n) for n in range(30, 100)))
    assert journal.identity_row() is None
    journal.nothing_else()


def test_a_change_of_groups_moves_running_sessions_between_the_counts() -> None:
    """4.1: nobody is disconnected by it; the next Start is held against the new groups."""
    journal = play(policy(in_group(1, "staff"), in_group(3, "boss")), groups("bob", "boss"), start("s1"), start("s2"))
    assert journal.types() == ["session.started"] * 2
    journal.feed(groups("bob", "staff"))
    journal.nothing_else()
    journal.feed(start("s3"))
    started, breached, _ = journal.events()
    assert started.passed == []
    assert (breached.rule, breached.scope, breached.group, breached.current) == ("staff-1", "user-in-group", "staff", 2)
    assert journal.command().rule == "staff-1"
    journal.nothing_else()


def test_a_user_in_several_groups_counts_in_each() -> None:
    """4.1: `*` is each of them, and a session told to be in one by its records counts in that one alone."""
    journal = play(policy(in_group(1), BY_CLASS), start("s1", class_="group=a"), start("s2", class_="group=b"))
    assert journal.types() == ["session.started"] * 2
    assert journal.open_row("s1").groups == ("a",)
    journal.feed(start("s3", class_="group=b"))
    assert [event.group for event in journal.events()] == [None, "b", None]
    assert journal.command().session["acct_session_id"] == "s3"
    journal.nothing_else()


def test_an_interim_can_bring_another_group() -> None:
    journal = play(policy(in_group(1), BY_CLASS), start("s1", class_="group=a"))
    journal.feed(interim("s1", at_s=60, class_="group=b"))
    assert journal.types() == ["session.started", "session.updated"]
    assert journal.open_row("s1").groups == ("b",)
    journal.nothing_else()


def test_groups_and_guest_types_that_a_rule_excepts_are_neither_asked_nor_counted() -> None:
    """4.1, 6: ISE leaves guests alone with the user limit."""
    limit = user_limit(1, "one", exempt=("guest:*", "boss"))
    journal = play(policy(limit), groups("bob", "guest:hotspot"), groups("eve", "boss"), start("s1"), start("s2"))
    journal.feed(start("e1", "eve"), start("e2", "eve"), start("a1", "al"), start("a2", "al"))
    assert journal.types() == ["session.started"] * 6 + ["limit.breached", "disconnect.requested"]
    assert journal.command().identity == "al"
    journal.nothing_else()


def test_a_guest_types_limit_counts_the_guests_own_sessions() -> None:
    """4.1, 6: what ISE calls the user limit of a guest type; another guest of the type is another count."""
    journal = play(policy(Limit("guests", "guest-type", 1)), groups("bob", "guest:day"), groups("eve", "guest:day"))
    journal.feed(start("s1"), start("e1", "eve"), start("s2"))
    breached = journal.events()[3]
    assert (breached.scope, breached.group, breached.text) == ("guest-type", "day", "guest-type limit guests in day: 1 open of 1 allowed")
    assert journal.command().identity == "bob"
    journal.nothing_else()


def test_the_policy_is_asked_in_the_fixed_order_whatever_its_own() -> None:
    """4.1: user, user in group, group, guest type; 6: user max 1 and user-in-group 2, the reason is the user limit."""
    rules = (Limit("guests", "guest-type", 1), in_group(1, "g"), user_limit(1, "user"))
    journal = play(policy(*rules), groups("bob", "g", "guest:day"), start("s1"))
    assert journal.events()[0].passed == [
        "user: 0 open of 1 allowed",
        "g-1 in g: 0 open of 1 allowed",
        "guests in day: 0 open of 1 allowed",
    ]
    journal.feed(start("s2"))
    assert journal.events()[1].rule == "user"
    assert len(journal.commands()) == 1
    journal.nothing_else()


@pytest.mark.parametrize("names", [("",), (" x",), ("a\nb",), ("x" * 129,), tuple(f"g{n}" for n in range(101))])
def test_an_operators_list_that_cannot_be_is_rejected(names: tuple[str, ...]) -> None:
    journal = Journal().feed(groups("bob", *names))
    assert [rejected.reason for rejected in journal.rejected()] == ["lacks-fields"]
    assert journal.identity_row() is None
    journal.nothing_else()


def in_csv(text: str) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    return memberships_in(text, IdentityRules(Identity(strip_realms=("example.net",))).user_of)


def test_a_list_in_csv_is_read_with_every_spelling_of_a_user_as_one() -> None:
    text = 'User,Groups\n\n# night shift\nAlice,staff,"night shift"\nALICE@example.net,boss\n bob , guest:day ,\ncarol\n'
    assert in_csv(text) == ({"alice": ("boss", "night shift", "staff"), "bob": ("guest:day",), "carol": ()}, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice,staff\n,staff", "line 2: no user"),
        ("anonymous,staff", "line 1: 'anonymous' is nobody's name"),
        ("alice,\x01", "line 1: '\\x01' is no name of a group: 1 to 128 characters without control characters, no blank before"),
        ('alice,"staff', "line 1: no CSV: unexpected end of data"),
        ("alice," + ",".join(f"g{n}" for n in range(101)), "line 1: 'alice' is in 101 groups, at most 100 are kept"),
    ],
)
def test_a_list_with_a_mistake_is_told_with_its_line_and_taken_in_no_part(text: str, expected: str) -> None:
    assert in_csv(text) == ({}, [expected])


def test_a_wrong_file_is_not_told_line_by_line_for_ever() -> None:
    assert len(in_csv(",x\n" * 1000)[1]) == FINDINGS_MAX
