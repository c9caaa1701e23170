"""The before-login check: who is let in, what is reserved, and for how long (behaviour 4.8; section 6 for users)."""

import msgspec
import pytest

from schemas.admission import Answer, Question
from schemas.configuration import Identity
from schemas.journal import PolicyVersion
from schemas.policy import Limit, Policy, Quota, Rate
from schemas.session import IDENTITY_ROW, PARTITION_ROW, SESSION_ROW, Hold, IdentityRow, PartitionRow, Recent, SessionRow, Spent, Window
from schemas.topics import identity_key, partition_key, policy_row_key
from streams.admission import Desk, Reservations
from streams.identity import IdentityRules
from streams.live_view import LiveView
from tests.support.journal import user_limit

HOLD_MS = 60_000
PHONE, LAPTOP, TABLET = "02-00-00-00-00-01", "02-00-00-00-00-02", "02-00-00-00-00-03"


class Rig:
    """A desk, its clock, and sessions that start and stop in its view."""

    def __init__(
        self,
        *limits: Limit,
        quotas: tuple[Quota, ...] = (),
        rates: tuple[Rate, ...] = (),
        per_user_max: int = 8,
        redirect: str | None = None,
    ) -> None:
        self.view = LiveView(2)
        self.now_ms = 0.0
        self.reservations = Reservations(HOLD_MS, per_user_max)
        self.desk = Desk(self.view, IdentityRules(Identity(strip_realms=("example.net",))), self.reservations, redirect)
        self._asked = 0
        for number, partition in enumerate(self.view.partitions):
            self.publish(number, 3, Policy(limits=limits, quotas=quotas, rates=rates))
            partition.restored()

    def publish(self, partition: int, version: int, policy: Policy) -> None:
        value = PolicyVersion(version=version, time_ms=0, policy=policy)
        self.view.partitions[partition].take_row(policy_row_key(partition).encode(), msgspec.json.encode(value))

    def ask(self, user: str = "bob", nas: str = "ap1", mac: str | None = None, **more: object) -> Answer:
        self._asked += 1
        question = Question(user=user, nas=nas, calling_station_id=mac, **more)
        return self.desk.ask(question, self.now_ms, f"r{self._asked}")

    def start(self, session: str, mac: str | None = None, user: str = "bob", nas: str = "ap1", **fields: object) -> None:
        device = None if mac is None else mac.lower().replace("-", ":")
        self._asked += 1
        row = SessionRow(nas, session, user, "open", user, mac, device, order_ms=self._asked, opened_offset=self._asked, **fields)
        self._write(user, f"s:{nas}/{session}", SESSION_ROW.named(row))

    def stop(self, session: str, user: str = "bob", nas: str = "ap1") -> None:
        self._write(user, f"s:{nas}/{session}", None)

    def hold(self, mac: str, rule: str, until_ms: int, user: str = "bob") -> None:
        self.know(IdentityRow(user, holds=(Hold(mac.lower().replace("-", ":"), rule, until_ms),)))

    def know(self, row: IdentityRow) -> None:
        self._write(row.identity, identity_key(row.identity), IDENTITY_ROW.named(row))

    def _write(self, user: str, key: str, value: bytes | None) -> None:
        home = self.view.home_of(user)
        number = self.view.partitions.index(home)
        home.take_row(key.encode(), value)
        for moved in home.take_row(partition_key(number).encode(), PARTITION_ROW.named(PartitionRow(number))):
            self.desk.moved(moved, self.now_ms)


def test_n_are_let_in_and_the_next_is_refused_before_it_is_online() -> None:
    """4.2, 4.8, section 6: BOB and bob are one, with his realm too."""
    rig = Rig(user_limit(2, "two-devices"))
    rig.start("s1", PHONE)
    passed = rig.ask("BOB@example.net", mac=LAPTOP)
    assert passed == Answer(allowed=True, reason="two-devices: 1 open of 2 allowed", reservation=passed.reservation, policy_version=3)
    assert passed.reservation
    rig.start("s2", LAPTOP)
    refused = rig.ask("Bob", mac=TABLET, nas="ap2")
    assert refused == Answer(allowed=False, reason="user limit two-devices: 2 open of 2 allowed", rule="two-devices", policy_version=3)
    rig.stop("s1")
    assert rig.ask("bob", mac=TABLET).allowed
    assert rig.ask("eve", mac=TABLET).allowed


def test_a_reservation_closes_the_gap_between_the_answer_and_the_start() -> None:
    """4.8: two at once are not both let in to the last slot."""
    rig = Rig(user_limit(1, "one"))
    assert rig.ask(mac=PHONE).allowed
    refused = rig.ask(mac=LAPTOP)
    assert (refused.allowed, refused.reason) == (False, "user limit one: 1 open of 1 allowed; 1 of them reserved a moment ago")
    assert refused.reservation is None
    assert rig.ask("eve", mac=LAPTOP).allowed


def test_a_reservation_lapses_by_itself() -> None:
    """4.8."""
    rig = Rig(user_limit(1))
    rig.ask(mac=PHONE)
    rig.now_ms = HOLD_MS - 1
    assert not rig.ask(mac=LAPTOP).allowed
    rig.now_ms = HOLD_MS
    assert rig.ask(mac=LAPTOP).allowed
    assert len(rig.reservations) == 1


def test_who_was_let_in_and_could_not_be_told_so_leaves_the_slot_to_others() -> None:
    """3.6, 4.8: in a group too; an id that is not known does nothing."""
    rig = Rig(user_limit(1), in_group(1, "group", group="g1"))
    rig.know(IdentityRow("bob", groups=("g1",)))
    reservation = rig.ask(mac=PHONE).reservation or ""
    question = Question(user="BOB", nas="ap1", calling_station_id=PHONE)
    rig.desk.give_back(question, "unknown")
    assert not rig.ask(mac=LAPTOP).allowed
    rig.desk.give_back(question, reservation)
    assert len(rig.reservations) == 0
    assert rig.ask(mac=LAPTOP).allowed


def test_the_same_device_on_the_same_nas_asks_again_for_the_same_reservation() -> None:
    """4.8: an Access-Request that is sent again reserves nothing more, and the time counts from the last one."""
    rig = Rig(user_limit(1))
    first = rig.ask(mac=PHONE)
    rig.now_ms = HOLD_MS - 1
    assert rig.ask(mac="0200.0000.0001").reservation == first.reservation
    rig.now_ms = HOLD_MS + 1
    assert not rig.ask(mac=LAPTOP).allowed
    rig.now_ms = 2 * HOLD_MS
    assert rig.ask(mac=LAPTOP).allowed


def test_the_start_on_that_nas_with_that_mac_consumes_the_reservation() -> None:
    """4.8: and it counts once, before and after."""
    rig = Rig(user_limit(2))
    rig.ask(mac=PHONE)
    rig.start("s1", PHONE)
    assert len(rig.reservations) == 0
    assert rig.ask(mac=LAPTOP).allowed
    rig.start("s2", LAPTOP, nas="ap2")
    assert len(rig.reservations) == 1
    assert not rig.ask(mac=TABLET).allowed
    rig.start("s3", TABLET)
    assert len(rig.reservations) == 1


def test_a_start_consumes_a_reservation_that_stands_and_none_that_has_lapsed() -> None:
    """4.8: the one that stood was counted beside the session that it was for."""
    rig = Rig(user_limit(2))
    rig.ask()
    rig.now_ms = HOLD_MS * 2 / 3
    rig.ask()
    rig.now_ms = HOLD_MS + 1
    rig.start("s1")
    assert len(rig.reservations) == 0
    assert rig.ask().allowed


def test_a_session_that_gets_its_name_consumes_what_was_reserved_for_that_name() -> None:
    """2.4, 4.8: as it does where the name's partition is another."""
    rig = Rig(user_limit(2))
    stranger = next(name for name in map(str, range(99)) if rig.view.home_of(name) is rig.view.home_of("bob"))
    rig.start("s1", user=stranger)
    rig.ask()
    rig.start("s1")
    assert len(rig.reservations) == 0
    assert rig.ask().allowed


def test_without_a_mac_any_start_on_that_nas_consumes_it_and_a_reservation_of_its_own_goes_first() -> None:
    """4.8: with that MAC, if one was given."""
    rig = Rig(user_limit(5))
    anybody = rig.ask()
    rig.ask(mac=PHONE)
    rig.start("s1", PHONE)
    assert [each.id for each in rig.reservations.of("bob", 0)] == [anybody.reservation]
    rig.start("s2", LAPTOP, nas="ap2")
    assert len(rig.reservations) == 1
    rig.start("s3", LAPTOP)
    assert len(rig.reservations) == 0


@pytest.mark.parametrize(
    "question",
    [
        {"mac": PHONE},
        {"mac": "02:00:00:00:00:01", "nas": "ap2"},
        {"acct_session_id": "s1"},
        {"audit_session_id": "a1", "nas": "ap2"},
    ],
)
def test_a_question_for_a_session_that_is_open_is_allowed_and_reserves_nothing(question: dict[str, object]) -> None:
    """4.8: a re-authentication."""
    rig = Rig(user_limit(1))
    rig.start("s1", PHONE, audit_session_id="a1")
    assert rig.ask(**question) == Answer(allowed=True, reason="this session is open already, as ap1/s1", policy_version=3)
    assert len(rig.reservations) == 0


@pytest.mark.parametrize(
    "question",
    [{"mac": LAPTOP}, {}, {"acct_session_id": "s1", "nas": "ap2"}, {"audit_session_id": "a2"}, {"acct_session_id": "", "mac": ""}],
)
def test_what_is_not_the_session_that_is_open_is_one_more(question: dict[str, object]) -> None:
    """4.8."""
    rig = Rig(user_limit(1))
    rig.start("s1", PHONE, audit_session_id="a1")
    assert not rig.ask(**question).allowed


def test_a_session_that_is_being_disconnected_holds_no_slot_and_is_no_reauthentication() -> None:
    """4.3: its device asks for a new one."""
    rig = Rig(user_limit(1))
    rig.start("s1", PHONE, kick_state="requested")
    assert rig.ask(mac=PHONE).reservation is not None
    assert not rig.ask(mac=LAPTOP).allowed


def test_old_news_holds_no_slot() -> None:
    """DESIGN "Old news"."""
    rig = Rig(user_limit(1))
    rig.start("s1", PHONE, counts=False)
    assert rig.ask(mac=LAPTOP).allowed


@pytest.mark.parametrize(
    ("victim", "allowed"), [("newest", False), ("oldest", True), ("least-recently-active", True), ("all-others", True)]
)
def test_refused_is_who_would_go_when_it_starts(victim: str, *, allowed: bool) -> None:
    """4.4: where the old phone drops when the new one comes, the new one is let in."""
    rig = Rig(user_limit(1, "one", victim=victim))
    rig.start("s1", PHONE)
    answer = rig.ask(mac=LAPTOP)
    assert (answer.allowed, answer.rule) == (allowed, "one")
    if allowed:
        assert answer.reason == "user limit one: 1 open of 1 allowed; another session goes when this one starts"


@pytest.mark.parametrize("rule", [{"victim": "none"}, {"action": "report"}])
def test_a_rule_that_takes_nobody_refuses_nobody(rule: dict[str, str]) -> None:
    """4.4, 4.10."""
    rig = Rig(user_limit(1, "one", **rule))
    rig.start("s1", PHONE)
    answer = rig.ask(mac=LAPTOP)
    assert (answer.allowed, answer.rule) == (True, "one")
    assert answer.reason == "user limit one: 1 open of 1 allowed; the rule lets it be"


def test_a_device_that_was_evicted_a_moment_ago_is_refused() -> None:
    """4.4: no ping-pong between two phones, before the login either."""
    rig = Rig(user_limit(1, "one", victim="oldest"))
    rig.hold(PHONE, "one", until_ms=5_000)
    rig.start("s1", LAPTOP)
    refused = rig.ask(mac=PHONE)
    assert (refused.allowed, refused.reason) == (
        False,
        "user limit one: 1 open of 1 allowed; this device was evicted by it a moment ago",
    )
    assert rig.ask(mac=TABLET).allowed


def test_sessions_of_one_device_are_one_where_devices_are_counted() -> None:
    """4.5: also where the device only has a reservation."""
    rig = Rig(user_limit(1))
    rig.ask(mac=PHONE)
    assert rig.ask(mac=PHONE, nas="ap2").allowed
    assert not rig.ask(mac=LAPTOP).allowed
    rig = Rig(user_limit(1, count="sessions"))
    rig.ask(mac=PHONE)
    assert not rig.ask(mac=PHONE, nas="ap2").allowed


def test_a_storm_for_one_user_is_bounded() -> None:
    """4.8: the oldest reservations make room; nobody else feels it."""
    rig = Rig(per_user_max=4)
    rig.ask("eve", mac=PHONE)
    for _ in range(1_000):
        assert rig.ask().allowed
    assert len(rig.reservations) == 5
    assert [each.id for each in rig.reservations.of("bob", 0)] == ["r998", "r999", "r1000", "r1001"]
    rig.now_ms = HOLD_MS
    assert rig.reservations.of("bob", HOLD_MS) == ()
    assert len(rig.reservations) == 0


def test_all_reservations_together_are_bounded() -> None:
    """4.8: the oldest of all make room."""
    reservations = Reservations(HOLD_MS, 8, in_all_max=3)
    for number in range(10):
        reservations.reserve(f"u{number}", SessionRow("ap1", "", f"u{number}", "open"), number, f"r{number}")
    assert reservations.of("u0", 10) == ()
    assert len(reservations) == 3


def test_nothing_is_counted_for_a_name_that_is_nobodys() -> None:
    """An outer name before the tunnel is up: the real name asks again."""
    rig = Rig(user_limit(0))
    answer = rig.ask("anonymous@example.net")
    assert (answer.allowed, answer.reservation) == (True, None)
    assert not rig.ask("anonymous", mac=PHONE).allowed


def test_who_is_refused_may_be_shown_where_to_free_a_slot() -> None:
    """5.9: a redirect to the page; who is let in needs none."""
    rig = Rig(user_limit(1), redirect="https://logout.example.net/")
    assert rig.ask(mac=PHONE).redirect is None
    assert rig.ask(mac=LAPTOP).redirect == "https://logout.example.net/"


def test_no_rule_no_limit() -> None:
    """4.1."""
    answer = Rig().ask(mac=PHONE)
    assert (answer.allowed, answer.reason, answer.rule) == (True, "no limit applies", None)


def in_group(max_sessions: int, applies_to: str = "user-in-group", **fields: object) -> Limit:
    return Limit(name=f"{applies_to}-{max_sessions}", applies_to=applies_to, max_sessions=max_sessions, **fields)


def test_groups_that_are_known_and_those_that_the_login_knows_count() -> None:
    """4.1: a limit of the user in a group binds who is in it, by an operator's word or by the question."""
    rig = Rig(in_group(1, group="staff"))
    rig.start("s1", PHONE)
    assert rig.ask(mac=LAPTOP).reason == "no limit applies"
    assert rig.ask(mac=TABLET, groups=("staff",)).reason == "user-in-group-1 in staff: 0 open of 1 allowed"
    refused = rig.ask(mac=LAPTOP, groups=("staff",))
    assert (refused.allowed, refused.reason) == (
        False,
        "user-in-group limit user-in-group-1 in staff: 1 open of 1 allowed; 1 of them reserved a moment ago",
    )
    rig = Rig(in_group(1, group="staff"))
    rig.know(IdentityRow("bob", groups=("staff",)))
    rig.start("s1", PHONE)
    assert not rig.ask(mac=LAPTOP).allowed
    assert rig.ask("eve", mac=LAPTOP).allowed


def test_guests_have_their_own_limit_and_may_be_left_alone_by_others() -> None:
    """4.1, section 6: guest type limit 1; user limit 1 with guests excepted."""
    rig = Rig(user_limit(1, "one", exempt=("guest:*",)), in_group(1, "guest-type", group="hotspot"))
    rig.know(IdentityRow("bob", groups=("guest:hotspot",)))
    rig.start("s1", PHONE)
    assert rig.ask(mac=LAPTOP).rule == "guest-type-1"
    rig = Rig(user_limit(1, "one", exempt=("guest:*",)))
    rig.start("s1", PHONE, user="eve")
    assert not rig.ask("eve", mac=LAPTOP).allowed
    assert rig.ask("eve", mac=LAPTOP, groups=("guest:hotspot",)).allowed


def test_a_session_that_is_older_than_the_counter_time_limit_counts_no_longer() -> None:
    """4.3."""
    rig = Rig(user_limit(1, "one", counter_time_limit_s=300))
    rig.start("s1", PHONE, opened_clock_ms=-299_999)
    assert not rig.ask(mac=LAPTOP).allowed
    rig.start("s1", PHONE, opened_clock_ms=-300_000)
    assert rig.ask(mac=LAPTOP).allowed


def test_a_rule_that_only_reports_hides_no_rule_behind_it() -> None:
    """4.4, 4.10."""
    rig = Rig(user_limit(1, "told", action="report"), user_limit(2, "two"))
    rig.start("s1", PHONE)
    assert (rig.ask(mac=LAPTOP).rule, rig.ask(mac=TABLET).rule) == ("told", "two")


@pytest.mark.parametrize(("action", "allowed"), [("disconnect", False), ("report", True), ("coa", True)])
def test_until_the_window_of_a_quota_closes_admission_refuses(action: str, *, allowed: bool) -> None:
    """4.6."""
    quota = Quota(name="daily", applies_to="user", per="day", octets=100, action=action)
    rig = Rig(quotas=(quota,))
    rig.know(IdentityRow("bob", windows=(Window("daily", "", 0, 86_400_000, used=100),)))
    answer = rig.ask(mac=PHONE)
    assert (answer.allowed, answer.rule) == (allowed, None if allowed else "daily")
    if not allowed:
        assert answer.reason == "user quota daily: 100 B of 100 B used this day"
    assert rig.ask("eve", mac=PHONE).allowed


@pytest.mark.parametrize(("action", "allowed"), [("disconnect", False), ("report", True), ("coa", True)])
def test_until_the_window_of_a_group_s_quota_closes_its_members_are_refused(action: str, *, allowed: bool) -> None:
    """4.6: as the row of the identity's partition says."""
    rig = Rig(quotas=(Quota(name="room", applies_to="group", per="day", octets=100, action=action),))
    for number, partition in enumerate(rig.view.partitions):
        row = PartitionRow(number, wall_ms=1000, spent=(Spent("room", "g1", 2000, 100, 7),))
        partition.take_row(partition_key(number).encode(), PARTITION_ROW.named(row))
    answer = rig.ask(groups=("g1",), mac=PHONE)
    assert (answer.allowed, answer.rule) == (allowed, None if allowed else "room")
    if not allowed:
        assert answer.reason == "group quota room in g1: 100 B of 100 B used this day"
    assert rig.ask(groups=("g2",), mac=LAPTOP).allowed
    for number, partition in enumerate(rig.view.partitions):
        row = PartitionRow(number, wall_ms=2000, spent=(Spent("room", "g1", 2000, 100, 7),))
        partition.take_row(partition_key(number).encode(), PARTITION_ROW.named(row))
    assert rig.ask(groups=("g1",), mac=PHONE).allowed


def test_a_group_that_is_full_lets_nobody_in() -> None:
    """4.1, section 6: group max 2; Pablo and Peter are in, Alice is refused; who reserves takes a slot too, until it lapses."""
    rig = Rig(in_group(2, "group", group="g1"))
    for user in ("pablo", "peter", "alice"):
        rig.know(IdentityRow(user, groups=("g1",)))
    rig.start("s1", PHONE, user="pablo", slots=("g1",))
    passed = rig.ask("peter", mac=LAPTOP)
    assert (passed.allowed, passed.reason) == (True, "group-2 in g1: 1 open of 2 allowed")
    refused = rig.ask("alice", mac=TABLET)
    assert (refused.allowed, refused.rule, refused.reason) == (False, "group-2", "group limit group-2 in g1: 2 open of 2 allowed")
    assert rig.ask("bob", mac=TABLET).allowed
    assert rig.ask("bob", mac=PHONE, groups=("g1",)).rule == "group-2"
    rig.start("s2", LAPTOP, user="peter", slots=("g1",))
    assert not rig.ask("alice", mac=TABLET).allowed
    rig.stop("s1", user="pablo")
    assert rig.ask("alice", mac=TABLET).allowed
    assert not rig.ask("pablo", mac=PHONE).allowed
    rig.now_ms += HOLD_MS
    assert rig.ask("pablo", mac=PHONE).allowed


def test_a_group_that_is_full_lets_in_whose_own_session_makes_room() -> None:
    """4.4: a group's limit takes its victim among the user's own sessions."""
    rig = Rig(in_group(1, "group", group="g1", victim="oldest"))
    rig.know(IdentityRow("bob", groups=("g1",)))
    rig.know(IdentityRow("eve", groups=("g1",)))
    rig.start("s1", PHONE, slots=("g1",))
    allowed = rig.ask(mac=LAPTOP)
    assert (allowed.allowed, allowed.rule) == (True, "group-1")
    assert allowed.reason == "group limit group-1 in g1: 1 open of 1 allowed; another session goes when this one starts"
    assert not rig.ask("eve", mac=TABLET).allowed


def test_the_user_is_asked_before_the_group_and_the_guest_type_after_it() -> None:
    """4.1, section 6: the first that fails is the named reason."""
    groups = ("g1", "guest:hotspot")
    rig = Rig(in_group(0, "guest-type"), in_group(0, "group"), user_limit(0, "user"))
    assert rig.ask(groups=groups).rule == "user"
    rig = Rig(in_group(0, "guest-type"), in_group(0, "group"))
    assert rig.ask(groups=groups).rule == "group-0"
    assert Rig(in_group(0, "guest-type"), in_group(1, "group")).ask(groups=groups).rule == "guest-type-0"


def test_where_partitions_are_a_version_apart_the_newest_is_asked() -> None:
    """4.9: a policy takes effect at an offset of each partition; for a moment some are ahead."""
    rig = Rig(user_limit(1))
    bob = rig.view.partitions.index(rig.view.home_of("bob"))
    other = next(user for user in ("eve", "ann", "joe", "kim") if rig.view.home_of(user) is not rig.view.home_of("bob"))
    rig.publish(bob, 4, Policy(limits=(user_limit(0),)))
    assert (rig.ask().policy_version, rig.ask().allowed) == (4, False)
    assert (rig.ask(other).policy_version, rig.ask(other).allowed) == (4, False)


@pytest.mark.parametrize(("action", "refused"), [("disconnect", True), ("report", False)])
def test_a_start_that_would_be_one_too_many_for_a_rate_is_refused_before_it(action: str, *, refused: bool) -> None:
    """4.7, 4.8: with those counted who were let in and have not started; what has slid out of the window counts no longer."""
    rig = Rig(rates=(Rate("flapping", "user", 2, 60, action=action), Rate("others", "user-in-group", 1, 60, action="disconnect")))
    rig.know(IdentityRow("bob", recent=(Recent("flapping", "", (-60_000, -59_999), 0), Recent("others", "staff", (-1,), 0))))
    assert rig.ask(mac=PHONE).allowed
    answer = rig.ask(mac=LAPTOP)
    assert answer.allowed is not refused
    if refused:
        assert (answer.rule, answer.reason) == (
            "flapping",
            "user rate flapping: 2 starts in 60 s of 2 allowed; 1 of them reserved a moment ago",
        )
    assert rig.ask(mac=PHONE).allowed, "the same reservation, for longer"
    assert rig.ask("eve", groups=("staff",)).allowed
    assert rig.ask(mac=TABLET, groups=("staff",)).rule == ("flapping" if refused else "others")


def test_what_is_reserved_for_who_asks_again_takes_no_slot_of_the_group_from_him() -> None:
    """4.8: also where sessions are counted."""
    rig = Rig(in_group(1, "group", count="sessions"))
    first = rig.ask(mac=PHONE, groups=("staff",))
    again = rig.ask(mac=PHONE, groups=("staff",))
    assert (again.allowed, again.reservation) == (True, first.reservation)
    assert not rig.ask("eve", groups=("staff",)).allowed


@pytest.mark.parametrize("then", [("stuff",), ("boss", "staff"), ()])
def test_who_asks_again_in_other_groups_holds_no_slot_in_those_before(then: tuple[str, ...]) -> None:
    """4.8: before, that slot was taken until the process ended."""
    rig = Rig(in_group(1, "group", group="staff", exempt=("boss",)))
    first = rig.ask(mac=PHONE, groups=("staff",))
    assert rig.ask(mac=PHONE, groups=then).reservation == first.reservation
    assert rig.ask("eve", groups=("staff",)).allowed
    assert not rig.ask("zoe", groups=("staff",)).allowed


def test_a_limit_of_a_group_leaves_alone_who_is_exempt_by_an_operators_word() -> None:
    """4.1: `except`, also for those who are in, and for limits behind it."""
    rig = Rig(in_group(1, "group", exempt=("boss",)), in_group(2, "group"))
    rig.know(IdentityRow("eve", groups=("boss", "staff")))
    rig.start("s1", PHONE, "eve", slots=("staff",))
    assert (
        rig.ask("bob", mac=LAPTOP, groups=("staff",)).reason
        == "group-1 in staff: 0 open of 1 allowed; group-2 in staff: 1 open of 2 allowed"
    )
    refused = rig.ask("eve", "ap2", mac=TABLET)
    assert (refused.allowed, refused.reason) == (False, "group limit group-2 in staff: 2 open of 2 allowed")
