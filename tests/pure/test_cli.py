"""The command `curfew` as far as it needs no Kafka: its help, its exit statuses, how it prints (INTERFACES "The command `curfew`")."""

import click
import pytest
from click.testing import CliRunner

from agents.cli import main
from agents.commands.policy import policy_toml
from agents.commands.sessions import as_object, cells
from agents.commands.terminal import moment, octets, plain_table, plural
from agents.commands.watch import line
from agents.directory import Selection
from schemas.codec import Octets, encode, loads
from schemas.configuration import Configuration, Identity
from schemas.event import SessionEvent
from schemas.policy import Policy
from schemas.policy_check import check_policy
from schemas.session import SessionRow
from schemas.topics import TABLE, TOPICS
from tests.support.schemas import validate

WANTED = {
    *("up", "ingest", "worker", "kicker", "broker", "topics", "check", "policy", "sessions", "watch", "kick", "nas", "explain"),
    *("simulate", "prober", "projector", "groups", "quota"),
}
POLICY = """
late_after_s = 30
[[limit]]
name = "two"
applies_to = "user"
max_sessions = 2
except = ["guest:*", "ä\\"\\\\"]
[[quota]]
name = "daily"
applies_to = "user"
octets = "2 GiB"
per = "day"
[[quota]]
name = "hours"
applies_to = "user"
time = "4 h"
per = "week"
[[liveness]]
rule = "interim"
nas = "campus-*"
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "CURFEW_KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def commands(command, path=()):
    yield path, command
    for name, member in getattr(command, "commands", {}).items():
        yield from commands(member, (*path, name))


def test_every_subcommand_of_issue_a_is_there_and_each_has_help():
    assert set(main.commands) == WANTED
    for path, command in commands(main):
        assert command.help, path
        assert all(option.help or option.hidden for option in command.params if isinstance(option, click.Option)), path


def test_every_subcommand_that_runs_something_takes_a_configuration():
    without = {("check",), ("topics", "schema"), ("topics", "asyncapi")}
    leaves = {path: command for path, command in commands(main) if not isinstance(command, click.Group)}
    assert {path for path, command in leaves.items() if "--config" not in {o for p in command.params for o in p.opts}} == without


@pytest.mark.parametrize("arguments", [["invented"], ["kick"], ["explain", "x"], ["topics", "schema", "x"]])
def test_wrong_usage_has_status_2_and_prints_no_data(run, arguments):
    ended = run(*arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr


def test_a_wrong_configuration_has_status_2_with_line_and_remedy(run, tmp_path):
    (tmp_path / "curfew.toml").write_text('[kafka]\npartitons = 3\n[[nas]]\nname = "a"\naddresses = ["10.0.0.0/8"]\nsecret = "s"\n')
    for arguments in (["sessions"], ["worker"], ["topics", "create"], ["policy", "show"], ["sessions", "--config", "curfew.toml"]):
        ended = run(*arguments)
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert "curfew.toml:2:1: error: unknown key `partitons`" in ended.stderr
        assert "Write `partitions`" in ended.stderr
    missing = run("sessions", "--config", "nowhere.toml")
    assert (missing.exit_code, missing.stdout) == (2, "")


def test_check_explains_a_profile_in_the_order_in_which_it_is_tried(run, tmp_path):
    """5.2: a packaged one, and one of the configuration's own."""
    explained = run("check", "--profile", "cisco-isg")
    assert explained.exit_code == 0
    assert "UDP port 1700" in explained.output
    assert explained.output.index("1. CoA-Request with Acct-Session-Id, and always Cisco-AVPair=") < explained.output.index(
        "2. Disconnect-"
    )
    own = '[[profile]]\nname = "own"\nextends = "hostapd"\nport = 1700\ncalling_station_id = "aabbccddeeff"\n'
    (tmp_path / "own.toml").write_text(own)
    mine = run("check", "own.toml", "--profile", "own")
    assert mine.exit_code == 0
    assert "a MAC address in Calling-Station-Id as aabbccddeeff." in mine.output
    assert run("check", "--profile", "own").exit_code == 2
    assert run("check").exit_code == 2


def test_check_tells_configuration_from_policy_and_lists_every_finding(run, tmp_path):
    """INTERFACES `check`: line, column, remedy; exit 2 on errors; warnings do not fail."""
    (tmp_path / "good.toml").write_text('[[nas]]\nname = "a"\naddresses = ["10.0.0.0/8"]\nsecret = "s"\n')
    (tmp_path / "policy.toml").write_text(POLICY.replace('time = "4 h"', "tame = 4").replace("max_sessions = 2", 'max_sessions = "2"'))
    (tmp_path / "empty.toml").write_text("")
    good = run("check", "good.toml")
    assert (good.exit_code, good.stdout, good.stderr) == (0, "", "good.toml: in order\n")
    bad = run("check", "good.toml", "policy.toml", "--json")
    objects = [loads(line) for line in bad.stdout.splitlines()]
    assert bad.exit_code == 2
    assert {each["file"] for each in objects} == {"policy.toml"}
    assert {each["line"] for each in objects if each["severity"] == "error"} == {6, 13, 16}
    assert all(each["remedy"] for each in objects)
    plain = run("check", "policy.toml")
    assert "policy.toml:6:16: error: " in plain.stdout
    assert "\x1b" not in plain.stdout
    warned = run("check", "empty.toml")
    assert (warned.exit_code, ": warning: no [[nas]]" in warned.stdout) == (0, True)
    assert run("check", "nowhere.toml").exit_code == 2


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_topics_schema_prints_one_json_schema(run, topic):
    ended = run("topics", "schema", topic.name)
    assert ended.exit_code == 0
    assert loads(ended.stdout)["title"] == topic.name
    assert ended.stderr == ""


def test_topics_asyncapi_prints_the_document(run):
    assert loads(run("topics", "asyncapi").stdout)["asyncapi"] == "3.0.0"


def test_a_policy_printed_as_toml_is_the_same_policy():
    checked = check_policy(POLICY, "policy.toml")
    assert checked.value is not None, checked.problems
    again = check_policy(policy_toml(checked.value), "again.toml")
    assert again.value == checked.value, again.problems
    assert check_policy(policy_toml(Policy()), "empty.toml").value == Policy()


def test_plain_tables_are_aligned_and_end_without_blanks():
    assert plain_table(("A", "LONG"), [["aaaa", "b"], ["c", "d"]]) == ["A     LONG", "aaaa  b", "c     d"]
    assert plain_table(("A", "B"), []) == ["A  B"]


def test_octets_times_and_counts_are_written_for_people():
    assert [octets(count) for count in (None, 0, 1023, 1024, 1536 * 1024, 5 * 1024**4, 2000 * 1024**4)] == [
        *("-", "0 B", "1023 B", "1.0 KiB", "1.5 MiB", "5.0 TiB", "2000.0 TiB")
    ]
    assert moment(None) == moment(0) == "-"
    assert [plural(count, "row") for count in (0, 1, 2)] == ["0 rows", "1 row", "2 rows"]


def row(**changes):
    wanted = {"nas": "campus", "acct_session_id": "a-1", "identity": "alice", "state": "open", "device": "02:00:5e:10:00:01"}
    return SessionRow(**(wanted | changes))


def test_a_session_is_one_object_as_it_stands_in_the_topic_and_one_line_without_control_characters():
    session = row(user_name="al\x1b[31mice", acct_session_id=Octets("/w=="), said_by="stale", state="ended")
    validate(TABLE, "s:campus/x", "", encode(as_object(session)))
    assert cells(session)[:3] == ["al\\x1b[31mice", "campus", "\\xff"]
    assert cells(session)[-2:] == ["ended (stale)", "-"]


def test_a_selection_means_what_a_person_wrote():
    """2.3: names without case and realm, MAC addresses in every notation."""
    configuration = Configuration(identity=Identity(strip_realms=("example.net",)))

    def meant(candidate, **wanted):
        return Selection.of(configuration, **wanted).matches(candidate)

    assert meant(row(), user="ALICE@example.net")
    assert not meant(row(), user="bob")
    assert meant(row(identity="mac:02:00:5e:10:00:01"), user="02005E100001")
    assert meant(row(identity="cui:x"), user="cui:x")
    assert meant(row(), mac="0200.5E10.0001")
    assert not meant(row(device=None), mac="0200.5E10.0001")
    assert meant(row(), nas="campus")
    assert not meant(row(), nas="Campus")
    assert meant(row(), session="a-1")
    assert meant(row(), session="campus/a-1")
    assert not meant(row(), session="annex/a-1")
    assert not meant(row(state="ended"))
    assert meant(row(state="ended"), ended=True)
    with pytest.raises(ValueError, match="twelve hexadecimal digits"):
        Selection.of(configuration, mac="nonsense")


def test_a_selection_by_user_is_at_home_in_few_partitions_and_any_other_anywhere():
    assert len(Selection.of(Configuration(), user="alice").partitions(64)) == 1
    assert Selection.of(Configuration(), nas="campus").partitions(64) is None


def test_an_event_is_one_line():
    event = SessionEvent(
        id="0-1-0-alice",
        type="limit.breached",
        seq=1,
        seq_epoch=1,
        time_ms=1_700_000_000_000,
        identity="alice",
        user_name="Alice",
        nas="campus",
        acct_session_id="a-1",
        rule="one",
        text="user limit one: 1 open of 1 allowed\nand so on",
    )
    told = line(event)
    assert told.split()[2:5] == ["limit.breached", "Alice", "campus/a-1"]
    assert "1 open of 1 allowed" in told
    assert len(told.splitlines()) == 1
