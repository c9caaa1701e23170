"""What `curfew check` says about `[[profile]]` (behaviour 5.2): exact words, lines and columns."""

import pytest

from schemas.checks import check_configuration
from schemas.configuration import PACKAGED_PROFILES
from streams.profiles import configured, requests

NAS = '[[nas]]\nname = "a"\naddresses = ["192.0.2.0/24"]\nsecret = "one"\n'
WAY = 'disconnect = {{ address = "192.0.2.1", secret = "x", profile = "{}" }}\n'
MINE = '[[profile]]\nname = "mine"\nextends = "mikrotik"\nport = 1700\n[[profile.attempt]]\nrequire = ["User-Name", "framed-ip-address"]\n'


def found(text):
    """Findings as `line:column: severity: message | remedy`."""
    return [f"{p.line}:{p.column}: {p.severity}: {p.message} | {p.remedy}" for p in check_configuration(text, "curfew.toml").problems]


def test_a_profile_of_one_s_own_is_read_and_used():
    """5.2: the attribute names in any case."""
    checked = check_configuration(NAS + WAY.format("mine") + MINE, "curfew.toml")
    assert checked.problems == ()
    assert checked.value is not None
    mine = configured(checked.value.profile)["mine"]
    assert (mine.port, [attempt.require for attempt in mine.attempt]) == (1700, [("User-Name", "framed-ip-address")])


def test_an_attempt_may_be_a_coa_request_with_attributes_of_its_own():
    """5.2."""
    text = '[[profile]]\nname = "mine"\n[[profile.attempt]]\nrequest = "coa"\nrequire = ["Acct-Session-Id"]\nsend = ["Filter-Id=a=b"]\n'
    checked = check_configuration(NAS + WAY.format("mine") + text, "curfew.toml")
    assert checked.problems == ()
    assert checked.value is not None
    (request,) = requests(configured(checked.value.profile)["mine"], {"acct_session_id": "A"})
    assert request.name == "CoA-Request"
    assert [(one.number, one.octets) for one in request.attributes] == [(44, b"A"), (11, b"a=b")]


def test_a_nas_without_a_port_has_the_profile_s():
    """5.2."""
    checked = check_configuration(NAS + WAY.format("cisco"), "curfew.toml")
    assert checked.value is not None
    assert checked.value.nas[0].disconnect is not None
    assert checked.value.nas[0].disconnect.port is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WAY.format("mikrotek"), '5:63: error: `nas.disconnect.profile`: there is no profile "mikrotek" | Write "mikrotik".'),
        (
            WAY.format("mine"),
            (f'5:63: error: `nas.disconnect.profile`: there is no profile "mine" | Write one of {", ".join(PACKAGED_PROFILES)}.'),
        ),
        (
            '[[profile]]\nname = "mine"\nextends = "hostap"\n',
            '7:11: error: `profile.extends`: there is no profile "hostap" before this one | Write "hostapd".',
        ),
        (
            '[[profile]]\nname = "mine"\nextends = "later-one"\n[[profile]]\nname = "later-one"\n',
            (
                '7:11: error: `profile.extends`: there is no profile "later-one" before this one'
                f" | Write one of {', '.join(PACKAGED_PROFILES)}."
            ),
        ),
        (
            MINE + '[[profile]]\nname = "mine"\n',
            '12:8: error: `profile.name`: "mine" is taken (line 6) | Give each profile a name of its own.',
        ),
        (
            '[[profile]]\nname = "mine"\n[[profile.attempt]]\nrequire = ["Acct-Session-Id"]\nalso = ["NAS-IP-Adress"]\n',
            '9:9: error: `profile.attempt.also`: "NAS-IP-Adress" is not kept of a session | Write "NAS-IP-Address".',
        ),
        (
            '[[profile]]\nname = "mine"\n[[profile.attempt]]\nalso = ["Acct-Session-Id"]\n',
            (
                "7:1: error: [[profile.attempt]] has no `require`"
                ' | Add `require`: a list in brackets, each element the name of an attribute, like "Acct-Session-Id".'
            ),
        ),
        (
            '[[profile]]\nname = "mine"\n[[profile.attempt]]\nrequest = "coa"\nrequire = ["Acct-Session-Id"]\n',
            (
                "8:11: error: `profile.attempt`: a CoA-Request that says nothing changes nothing"
                ' | Add `send` with what the NAS is to do, like ["Cisco-AVPair=subscriber:command=account-logoff"].'
            ),
        ),
        (
            '[[profile]]\nname = "mine"\n[[profile.attempt]]\nrequire = ["Acct-Session-Id"]\nsend = ["Cisco-AVPair"]\n',
            (
                '9:9: error: `profile.attempt.send` cannot be "Cisco-AVPair" | Write the name and the value of an attribute,'
                ' like "Cisco-AVPair=subscriber:command=account-logoff".'
            ),
        ),
        (
            '[[profile]]\nname = "mine"\ncalling_station_id = "AA-BB-CC-DD-EE"\n',
            (
                '7:22: error: `profile.calling_station_id` cannot be "AA-BB-CC-DD-EE" | Write "AA-BB-CC-DD-EE-FF"; allowed are'
                ' "AA-BB-CC-DD-EE-FF",'
                ' "AA:BB:CC:DD:EE:FF", "AABB-CCDD-EEFF", "AABB.CCDD.EEFF", "AABBCCDDEEFF", "aa-bb-cc-dd-ee-ff", "aa:bb:cc:dd:ee:ff",'
                ' "aabb-ccdd-eeff", "aabb.ccdd.eeff", "aabbccddeeff", "as-sent".'
            ),
        ),
    ],
)
def test_a_wrong_profile_is_told_with_place_and_remedy(text, expected):
    """5.2 and 5.7: a mistake here would otherwise show as a disconnect that does nothing."""
    assert found(NAS + text) == [expected]


def test_a_profile_that_is_wrong_in_itself_is_not_said_to_be_missing_where_it_is_used():
    """5.2."""
    assert found(NAS + WAY.format("mine") + '[[profile]]\nname = "mine"\nattempt = []\n') == [
        "8:11: error: `profile.attempt` cannot be an empty list | Write each as a [[table]] of its own."
    ]
