"""The choice of limit and victim, apart from the journal (behaviours 4.1, 4.2, 4.4, 4.5)."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import Octets
from schemas.policy import Limit, Policy
from schemas.session import Hold, IdentityRow, SessionRow
from streams.limits import Scene, Verdict, counts, slots_taken, still_over
from streams.limits import decide as decide_in
from streams.rulebook import Asked, Rulebook


def session(number: int, device: str | None = "own", **fields: object) -> SessionRow:
    own = f"02:00:00:00:00:{number:02x}" if device == "own" else device
    base = {"order_ms": number, "opened_offset": number, "last_seen_ms": number, "device": own}
    return SessionRow("ap1", f"s{number}", "bob", "open", **{**base, **fields})  # type: ignore[arg-type]


def limit(most: int, **fields: object) -> Limit:
    return Limit(**{"name": f"max-{most}", "applies_to": "user", "max_sessions": most, **fields})  # type: ignore[arg-type]


def decide(rules: tuple[Limit, ...], newcomer: SessionRow, others: list[SessionRow], holds: list[Hold], clock_ms: int) -> Verdict:
    scene = Scene(Rulebook(Policy(limits=rules)), IdentityRow("bob", holds=tuple(holds)), clock_ms)
    return decide_in(scene, scene.book.questions(()).first, newcomer, others)


def victims(verdict: Verdict) -> list[int]:
    assert verdict.breach is not None
    return [row.opened_offset for row in verdict.breach.victims]


SESSIONS = st.lists(st.tuples(st.sampled_from([None, "a", "b", "c", "d"]), st.integers(0, 9), st.integers(0, 9)), max_size=8).map(
    lambda drawn: [session(n, device, order_ms=order, last_seen_ms=seen) for n, (device, order, seen) in enumerate(drawn)]
)


@given(
    others=SESSIONS,
    device=st.sampled_from([None, "a", "e"]),
    most=st.integers(0, 6),
    count=st.sampled_from(["devices", "sessions"]),
    victim=st.sampled_from(["newest", "oldest", "least-recently-active", "all-others", "none"]),
)
def test_a_newcomer_breaches_exactly_when_the_slots_are_taken_and_none_is_its_own(
    others: list[SessionRow], device: str | None, most: int, count: str, victim: str
) -> None:
    """4.2, 4.5: current >= max; and who goes are whole slots of this identity, so that one is free where there was no excess."""
    newcomer = session(99, device)
    rule = limit(most, count=count, victim=victim)

    def slot(row: SessionRow) -> object:
        return row.device if count == "devices" and row.device else row.opened_offset

    taken = {slot(row) for row in others}
    verdict = decide((rule,), newcomer, others, [], 0)
    breach = verdict.breach if victim != "none" else next(iter(verdict.reported), None)
    assert (breach is not None) == (len(taken) >= most and slot(newcomer) not in taken)
    if breach is None:
        assert verdict.passed == [f"max-{most}: {len(taken)} open of {most} allowed"]
        return
    assert breach.current == len(taken)
    going = breach.victims
    staying = [row for row in [*others, newcomer] if row not in going]
    assert not {slot(row) for row in going} & {slot(row) for row in staying}
    if victim == "none":
        assert going == []
    elif victim == "all-others":
        assert staying == ([newcomer] if others else [])
    else:
        assert len({slot(row) for row in going}) == 1
        assert len({slot(row) for row in staying}) == len(taken)


@given(others=SESSIONS, victim=st.sampled_from(["newest", "oldest", "least-recently-active", "all-others"]), data=st.data())
def test_the_choice_does_not_depend_on_the_order_in_which_sessions_are_told(
    others: list[SessionRow], victim: str, data: st.DataObject
) -> None:
    """DESIGN "The law": no order of sets or dictionaries decides."""
    rule = limit(0, victim=victim)
    told = decide((rule,), session(99), others, [], 0)
    shuffled = data.draw(st.permutations(others))
    assert victims(decide((rule,), session(99), shuffled, [], 0)) == victims(told)


def test_the_first_limit_that_fails_is_named_and_those_before_it_have_passed() -> None:
    """4.1."""
    verdict = decide((limit(3), limit(1), limit(0)), session(9), [session(1)], [], 0)
    assert verdict.breach is not None
    assert verdict.breach.asked.limit.name == "max-1"
    assert verdict.passed == ["max-3: 1 open of 3 allowed"]


def test_a_held_device_is_itself_the_victim_until_its_hold_is_over() -> None:
    """4.4: of that rule only, and not for a rule without victims."""
    mine = session(9)
    hold = [Hold(mine.device or "", "max-1", 1000)]
    oldest = limit(1, victim="oldest")
    assert victims(decide((oldest,), mine, [session(1)], hold, 999)) == [9]
    assert victims(decide((oldest,), mine, [session(1)], hold, 1000)) == [1]
    assert victims(decide((limit(1, victim="oldest", name="other"),), mine, [session(1)], hold, 0)) == [1]


def test_a_rule_that_reports_hides_no_rule_behind_it() -> None:
    """4.10: tried out beside the rules in force, it changes nothing about them."""
    verdict = decide((limit(0, victim="none"), limit(1, action="report", name="dry"), limit(1)), session(9), [session(1)], [], 0)
    assert [breach.asked.limit.name for breach in verdict.reported] == ["max-0", "dry"]
    assert victims(verdict) == [9]


def test_what_roams_under_one_id_is_one_session() -> None:
    """2.5: Acct-Multi-Session-Id joins the sessions of access points, Cisco's audit-session-id does where there is none."""
    for joined in ({"acct_multi_session_id": "m1"}, {"audit_session_id": Octets("/w==")}):
        rows = [session(1, None, **joined), session(2, None, **joined)]
        assert slots_taken(limit(1), rows) == slots_taken(limit(1, count="sessions"), rows) == 1
        assert decide((limit(1),), rows[1], rows[:1], [], 0).breach is None
    apart = [session(1, None, acct_multi_session_id="m1"), session(2, None, acct_multi_session_id="m2"), session(3, None)]
    assert slots_taken(limit(1), apart) == 3
    same_device = [session(1, "a", acct_multi_session_id="m1"), session(2, "a", acct_multi_session_id="m2")]
    assert (slots_taken(limit(1), same_device), slots_taken(limit(1, count="sessions"), same_device)) == (1, 2)


def test_who_counts() -> None:
    """4.2, 4.3: open, heard of freshly, and not on its way out."""
    assert counts(session(1))
    assert not counts(session(1, counts=False))
    assert not counts(SessionRow("ap1", "s1", "bob", "ended"))
    assert [counts(session(1, kick_state=state)) for state in ("requested", "acknowledged", "refused", "unanswered", "unconfirmed")] == [
        *(False, False),
        *(True, True, True),
    ]


def test_a_session_still_has_to_go_while_the_others_fill_the_limit() -> None:
    """DESIGN "The kicker": asked again after its command came too late."""

    def over(rule: Limit, row: SessionRow, other: SessionRow) -> bool:
        return still_over(Scene(Rulebook(Policy(limits=(rule,))), IdentityRow("bob"), 0), Asked(rule, ""), row, [other])

    assert over(limit(1), session(1), session(2))
    assert not over(limit(2), session(1), session(2))
    assert not over(limit(1), session(1, "a"), session(2, "a"))
