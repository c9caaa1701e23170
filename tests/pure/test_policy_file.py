"""What `curfew check` says about a policy, and the policy as it travels in the journal."""

from pathlib import Path

import msgspec
import pytest

from schemas.checks import check_policy
from schemas.configuration import Nas
from schemas.policy import Limit, Liveness, Membership, Policy
from schemas.toml_reader import quantity

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMIT = '[[limit]]\nname = "a"\napplies_to = "user"\nmax_sessions = 1\n'
QUOTA = '[[quota]]\nname = "q"\napplies_to = "user"\nper = "day"\n'


def found(text: str, severity: str | None = None) -> list[str]:
    """Findings (of one severity, if told) as `line:column: severity: message | remedy`; a policy comes out unless one is an error."""
    checked = check_policy(text, "policy.toml")

    assert (checked.value is None) == bool(checked.errors)
    return [f"{p.line}:{p.column}: {p.severity}: {p.message} | {p.remedy}" for p in checked.problems if severity in (None, p.severity)]


def test_the_example_checks_clean():
    assert found((ROOT / "deploy" / "policy.example.toml").read_text()) == []


def test_the_published_policy_is_right_and_all_of_it_is_enforced():
    assert found((HERE / "files" / "policy.toml").read_text()) == []


def test_the_published_policy_comes_out_with_integers():
    policy = check_policy((HERE / "files" / "policy.toml").read_text(), "f").value

    assert policy is not None
    assert policy.limits == (Limit("two-devices", "user", 2, exempt=("guest:*",)),)
    assert policy.quotas[0].octets == 2 * 1024**3
    assert policy.quotas[0].time_s is None
    assert policy.durations[0].max_s == 3600
    assert policy.liveness == (Liveness("interim"),)
    assert policy.memberships == (Membership("Class", "^group=(?P<group>[^;]+)"),)
    assert (policy.late_after_s, policy.confirm_within_s, policy.grace_s) == (60, 90, 3600)


def test_a_policy_survives_the_journal():
    """4.9: what takes effect at an offset is what was published."""
    policy = check_policy((HERE / "files" / "policy.toml").read_text() + QUOTA + 'time = "4 h"', "f").value
    journal = msgspec.json.encode(policy)

    assert msgspec.json.decode(journal, type=Policy) == policy
    assert msgspec.json.decode(journal)["limit"][0]["except"] == ["guest:*"]
    assert msgspec.json.decode(journal)["quota"][1]["time_s"] == 14_400


def test_an_empty_policy_limits_nothing():
    """4.1: no rule, no limit."""
    assert check_policy("", "f").value == Policy()
    assert found("") == []


@pytest.mark.parametrize("victim", ["newest", "oldest", "least-recently-active", "all-others", "none"])
@pytest.mark.parametrize("more", ['count = "devices"\naction = "disconnect"', 'count = "sessions"\naction = "report"\nhold_s = 0'])
def test_a_users_limit_is_enforced_with_every_victim(victim, more):
    assert found(f'{LIMIT}victim = "{victim}"\n{more}') == []


RE2 = "Write it as RE2 reads it (no look-around, no back-references, no huge repetitions), best in 'single quotes'."
NO_TIME_ZONE = 'Write a name like "UTC" or "Africa/Johannesburg".'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("late_after_s = -1", "1:16: error: `late_after_s` cannot be -1 | Write a whole number from 0 to 31622400, without quotes."),
        ("late_afer_s = 1", "1:1: error: unknown key `late_afer_s` | Write `late_after_s`."),
        (
            "[limit]\nname = 1",
            "1:1: error: `limit` cannot be a table | Write each as a [[table]] of its own.",
        ),
        (
            LIMIT.replace("= 1", "= -1"),
            "4:16: error: `limit.max_sessions` cannot be -1 | Write a whole number from 0 to 1000000000, without quotes.",
        ),
        (
            LIMIT + 'victim = "newst"',
            (
                '5:10: error: `limit.victim` cannot be "newst"'
                ' | Write "newest"; allowed are "all-others", "least-recently-active", "newest", "none", "oldest".'
            ),
        ),
        (LIMIT + 'action = "kill"', '5:10: error: `limit.action` cannot be "kill" | Write one of "disconnect", "report".'),
        (LIMIT + "exempt = []", "5:1: error: unknown key `exempt` in `limit` | Write `except`."),
        (
            LIMIT + LIMIT,
            '6:8: error: `limit.name`: "a" is taken (line 2) | Give each rule a name of its own: decisions are told by it.',
        ),
        (
            LIMIT + 'group = "staff"',
            '5:9: error: `limit.group` has no meaning with applies_to = "user" | Write applies_to = "user-in-group", or leave `group` out.',
        ),
        (
            '[[limit]]\nname = "a"\nmax_sessions = 1',
            '1:1: error: [[limit]] has no `applies_to` | Add `applies_to`: one of "group", "guest-type", "user", "user-in-group".',
        ),
        (
            QUOTA + 'octets = "2 gigs"',
            '5:10: error: `quota.octets` cannot be "2 gigs" | Write a text like "2 GiB" or "500 MB", or a whole number of octets.',
        ),
        (
            QUOTA + 'time = "4 moons"',
            (
                '5:8: error: `quota.time` cannot be "4 moons"'
                ' | Write a text like "4 h", "90 min" or "1 h 30 min", or a whole number of seconds.'
            ),
        ),
        (
            QUOTA,
            (
                '1:1: error: quota "q" has neither `octets` nor `time`'
                ' | Write one of them: octets = "2 GiB" or time = "4 h"; two quotas if both are meant.'
            ),
        ),
        (
            QUOTA + "octets = 1\ntime = 1",
            (
                '1:1: error: quota "q" has both `octets` and `time`'
                ' | Write one of them: octets = "2 GiB" or time = "4 h"; two quotas if both are meant.'
            ),
        ),
        (
            QUOTA + 'octets = 1\ntime_zone = "Africa/Nowhere"',
            f'6:13: error: `quota.time_zone`: "Africa/Nowhere" is no time zone | {NO_TIME_ZONE}',
        ),
        (QUOTA + 'octets = 1\ntime_zone = "Africa"', f'6:13: error: `quota.time_zone`: "Africa" is no time zone | {NO_TIME_ZONE}'),
        (
            QUOTA + 'octets = 1\ntime_zone = "../../etc/passwd"',
            f'6:13: error: `quota.time_zone`: "../../etc/passwd" is no time zone | {NO_TIME_ZONE}',
        ),
        (
            '[[liveness]]\nrule = "handshake"',
            '1:1: error: `liveness` with rule = "handshake" has no `period_s` | Add `period_s`: a whole number of seconds.',
        ),
        (
            '[[liveness]]\nrule = "interim"\nlength_s = 5',
            (
                '3:1: error: `liveness.length_s` has no meaning with rule = "interim"'
                ' | Write rule = "offline-detect", or leave `length_s` out.'
            ),
        ),
        (
            "[[membership]]\nattribute = 'Class'\npattern = '(?P<group>x'",
            (f"3:11: error: `membership.pattern` is no regular expression that takes linear time: missing ): (?P<group>x | {RE2}"),
        ),
        (
            "[[membership]]\nattribute = 'Class'\npattern = 'x'",
            (
                "3:11: error: `membership.pattern` has neither a group named `group` nor one named `guest_type`"
                " | Write (?P<group>...) around the part that is the name, or (?P<guest_type>...)."
            ),
        ),
        (
            "[[membership]]\nattribute = 'Class'\npattern = '(?P<group>x)(?=y)'",
            (f"3:11: error: `membership.pattern` is no regular expression that takes linear time: invalid perl operator: (?= | {RE2}"),
        ),
        (
            f"[[membership]]\nattribute = 'Class'\npattern = '(?P<group>{'x' * 250})'",
            f'3:11: error: `membership.pattern` cannot be "(?P<group>{"x" * 48}… | Write a text in quotes of 1 to 256 characters.',
        ),
    ],
)
def test_a_wrong_policy_is_told_with_place_and_remedy(text, expected):
    assert found(text, "error") == [expected]


def test_rules_of_different_kinds_may_have_one_name():
    assert found(LIMIT + QUOTA.replace('"q"', '"a"') + "octets = 1", "error") == []


@pytest.mark.parametrize(
    ("text", "unit", "amount"),
    [
        ("2 GiB", "octets", 2 * 1024**3),
        ("1.5GiB", "octets", 1_610_612_736),
        ("500 MB", "octets", 500_000_000),
        ("7 B", "octets", 7),
        ("0.3 B", "octets", 0),
        ("4 h", "duration", 14_400),
        ("1 h 30 min", "duration", 5400),
        ("1h30m", "duration", 5400),
        ("2 w", "duration", 1_209_600),
        ("", "octets", None),
        ("2", "octets", None),
        ("GiB", "octets", None),
        ("2 h", "octets", None),
        ("-2 GiB", "octets", None),
        ("2 GiB!", "octets", None),
        ("٢ GiB", "octets", None),
        ("1e3 B", "octets", None),
    ],
)
def test_a_quantity_is_a_number_and_a_unit(text, unit, amount):
    assert quantity(text, unit) == amount


def test_a_number_that_no_counter_holds_is_refused():
    assert quantity("9" * 19 + " B", "octets") is None
    assert found(QUOTA + 'octets = "999999999999999 TiB"', "error") == [
        '5:10: error: `quota.octets` cannot be "999999999999999 TiB" | Write a text like "2 GiB" or "500 MB", or a whole number of octets.',
    ]


def in_group(name: str, most: int, group: str = "", more: str = "", applies_to: str = "user-in-group") -> str:
    rule = f'[[limit]]\nname = "{name}"\napplies_to = "{applies_to}"\nmax_sessions = {most}\n'
    return rule + (f'group = "{group}"\n' if group else "") + (f"{more}\n" if more else "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            in_group("a", 1, "staff "),
            '5:9: error: `limit.group`: nobody can be in "staff ": a name of a group begins and ends with no blank | Write "staff".',
        ),
        (
            in_group("a", 1, "guest:day"),
            (
                '5:9: error: `limit.group`: nobody can be in "guest:day": `guest:` before a name is how guest types stand among groups'
                ' | Write applies_to = "guest-type" and group = "day".'
            ),
        ),
        (
            in_group("a", 1, "Staff") + in_group("b", 1, "staff"),
            (
                '10:9: error: "staff" is "Staff" in another spelling (line 5)'
                ' | Write "Staff" in both places, or give one of them another name.'
            ),
        ),
        (
            in_group("a", 1, "day", applies_to="guest-type") + LIMIT.replace('"a"', '"b"') + 'except = ["guest:Day"]\n',
            (
                '10:11: error: "guest:Day" is "guest:day" in another spelling (line 5)'
                ' | Write "guest:day" in both places, or give one of them another name.'
            ),
        ),
        (
            in_group("a", 1, "staff", 'except = ["staff"]'),
            (
                '6:1: warning: limit "a" can never bite: `except` leaves alone all whom it is about'
                " | Take that name out of `except`, or remove the limit."
            ),
        ),
        (
            in_group("a", 2, "staff") + LIMIT.replace('"a"', '"b"'),
            (
                '4:16: warning: limit "a" can never bite: "b" (line 7) is asked before and allows no more'
                " | Allow fewer here, or more there; or remove one of them."
            ),
        ),
        (
            in_group("a", 1) + in_group("b", 1, "staff"),
            (
                '8:16: warning: limit "b" can never bite: "a" (line 2) is asked before and allows no more'
                " | Allow fewer here, or more there; or remove one of them."
            ),
        ),
        (
            in_group("a", 1, more='victim_scope = "group"'),
            (
                '5:16: error: `limit.victim_scope` has no meaning with applies_to = "user-in-group"'
                ' | Write applies_to = "group", or leave `victim_scope` out.'
            ),
        ),
        (
            in_group("a", 1, more='victim_scope = "group"\nvictim = "least-recently-active"', applies_to="group"),
            (
                '6:10: error: victim = "least-recently-active" has no meaning with victim_scope = "group": '
                "a group is not told of each Interim"
                ' | Write victim = "oldest", or victim_scope = "user".'
            ),
        ),
        (
            QUOTA + 'octets = 1\naction = "coa"',
            (
                '1:1: error: quota "q" has action = "coa" and no `coa`'
                ' | Write both: action = "coa" and the attributes to send, as in coa = { "Filter-Id" = "slow" }; or neither.'
            ),
        ),
        (
            QUOTA + 'octets = 1\ncoa = { "Filter-Id" = "slow" }',
            (
                '6:1: error: `coa` of quota "q" is never sent'
                ' | Write both: action = "coa" and the attributes to send, as in coa = { "Filter-Id" = "slow" }; or neither.'
            ),
        ),
    ],
)
def test_rules_that_cannot_mean_what_they_say(text, expected):
    """A group nobody can be in, one name in two spellings, a limit that can never bite: line and remedy."""
    assert found(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        LIMIT + in_group("b", 1, "staff").replace("= 1", "= 0"),
        LIMIT + 'action = "report"\n' + in_group("b", 1),
        LIMIT + 'except = ["guest:*"]\n' + in_group("b", 1, applies_to="guest-type"),
        LIMIT + "counter_time_limit_s = 5\n" + in_group("b", 1),
        LIMIT + in_group("b", 1, more='count = "sessions"'),
        in_group("a", 1, "x") + in_group("b", 1, "y"),
        LIMIT + in_group("b", 1, applies_to="group"),
        QUOTA + 'octets = 1\naction = "coa"\ncoa = { "Filter-Id" = "slow" }\nwarn_at = [50, 80]',
        "[[membership]]\nattribute = 'Class'\npattern = '(?P<group>(a+)*)b'",
    ],
)
def test_rules_that_can_all_bite_are_not_warned_of(text):
    assert found(text) == []


@pytest.mark.parametrize(
    ("rule", "interval_s", "dead_s"),
    [
        ('rule = "handshake"\nperiod_s = 20', 31, 60),
        ('rule = "handshake"\nperiod_s = 20', 30, None),
        ('rule = "handshake"\nperiod_s = 20\nprobe = "arp"', 600, None),
        ('rule = "handshake"\nperiod_s = 20\nprobe = "query"', 600, 60),
        ('rule = "interim"\nprobe = "query"', 600, None),
        ('rule = "offline-detect"\nlength_s = 300', 151, 300),
        ('rule = "offline-detect"\nlength_s = 0', 600, None),
        ('rule = "interim"\ntimes = 1', 600, None),
        ('nas = "other"\nrule = "handshake"\nperiod_s = 20', 600, None),
        ('rule = "handshake"\nperiod_s = 20', None, None),
    ],
)
def test_a_rule_that_nobody_asks_by_and_that_is_shorter_than_two_intervals_is_refused(rule, interval_s, dead_s):
    """3.1: it would call living sessions dead between two of their reports."""
    nas = Nas(name="campus", addresses=("192.0.2.1/32",), interim_interval_s=interval_s)
    problems = check_policy(f"[[liveness]]\n{rule}\n", "policy.toml", [nas]).problems
    assert [problem.severity for problem in problems] == ["error"] * (dead_s is not None)
    assert all(f"would be dead after {dead_s} s, but it reports each {interval_s} s" in str(problem) for problem in problems)
