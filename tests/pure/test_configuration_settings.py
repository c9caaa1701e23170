"""Files and environment to settings: paths, secrets, and what is said when they cannot be had."""

from pathlib import Path

import pytest

from agents.settings import SettingsError, check_file, load_policy, load_settings
from schemas.configuration import Configuration

NAS = '[[nas]]\nname = "a"\naddresses = ["192.0.2.1"]\nsecret_file = "secrets/a"\n'
REMEDY = "Write the path of a file that this user may read, with the secret on one line; a relative path starts at the configuration."


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secrets").mkdir()
    return tmp_path


def refused(path: Path | None, environment=None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environment or {})
    return str(caught.value)


def test_without_a_file_the_defaults_hold_and_there_is_no_secret_that_anybody_knows(home):
    assert load_settings(None, {}) == Configuration()
    assert load_settings(None, {"CURFEW_BROKER_PORT": "9999"}).broker.port == 9999


def test_the_file_of_the_working_directory_is_taken_unless_another_is_named(home):
    (home / "curfew.toml").write_text("[broker]\nport = 1")
    (home / "other.toml").write_text("[broker]\nport = 2")

    assert load_settings(None, {}).broker.port == 1
    assert load_settings(Path("other.toml"), {}).broker.port == 2


def test_paths_start_where_the_configuration_stands(home):
    directory = home / "etc"
    (directory / "secrets").mkdir(parents=True)
    (directory / "secrets" / "a").write_text("from a file\n")
    (directory / "curfew.toml").write_text('[kafka]\nssl_cafile = "/ca.pem"\n' + NAS)
    settings = load_settings(directory / "curfew.toml", {})

    assert settings.broker.data_dir == str(directory / "var/kafka")
    assert settings.kafka.ssl_cafile == "/ca.pem"
    assert settings.nas[0].secret == "from a file"


def test_every_secret_can_come_from_a_file(home):
    for name in ("a", "kafka", "disconnect", "routeros"):
        (home / "secrets" / name).write_bytes(f"{name}'s own\r\n".encode())
    (home / "curfew.toml").write_text(
        '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "u"\nsasl_password_file = "secrets/kafka"\n'
        + NAS
        + 'disconnect = { address = "192.0.2.1", secret_file = "secrets/disconnect", password_file = "secrets/routeros" }\n',
    )
    settings = load_settings(None, {})

    assert settings.kafka.sasl_password == "kafka's own"
    assert settings.nas[0].secret == "a's own"
    assert settings.nas[0].disconnect is not None
    assert settings.nas[0].disconnect.secret == "disconnect's own"
    assert settings.nas[0].disconnect.password == "routeros's own"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot read secrets/a: No such file or directory"),
        (b"", "secrets/a is empty"),
        (b"\n", "secrets/a is empty"),
        (b"one\ntwo\n", "secrets/a holds more than one line"),
        (b"\xff", "secrets/a is not UTF-8"),
        (b"x" * 2000, "secrets/a is longer than 1024 octets"),
    ],
)
def test_a_secret_file_that_is_none_is_told_with_the_line_that_names_it(home, content, what):
    if content is not None:
        (home / "secrets" / "a").write_bytes(content)
    (home / "curfew.toml").write_text(NAS)

    assert refused(None) == f"curfew.toml:4:15: error: {what}\n    {REMEDY}"
    assert [problem.message for problem in check_file(Path("curfew.toml")).problems] == [what]


def test_secrets_from_files_are_held_against_each_other_too(home):
    """1.2: one network, one secret."""
    (home / "secrets" / "a").write_text("one")
    (home / "curfew.toml").write_text(
        NAS + '[[nas]]\nname = "b"\naddresses = ["192.0.2.1/32"]\nsecret = "two"\nnas_identifier = "b"\n',
    )

    assert refused(None) == (
        'curfew.toml:8:10: error: "b" has another secret than "a" on 192.0.2.1/32\n'
        "    Give both the same secret: it is chosen by the source address alone (RFC 2865 section 3)."
    )


def test_one_secret_may_stand_in_the_configuration_and_in_a_file(home):
    (home / "secrets" / "a").write_text("one")
    (home / "curfew.toml").write_text(
        NAS + '[[nas]]\nname = "b"\naddresses = ["192.0.2.1/32"]\nsecret = "one"\nnas_identifier = "b"\n',
    )

    assert [nas.secret for nas in load_settings(None, {}).nas] == ["one", "one"]


def test_a_secret_file_that_a_variable_names_is_told_by_the_variable(home):
    (home / "curfew.toml").write_text("[kafka]\npartitions = 8\n")

    assert refused(None, {"CURFEW_KAFKA_SASL_PASSWORD_FILE": "none"}).splitlines()[0] == (
        "CURFEW_KAFKA_SASL_PASSWORD_FILE: error: cannot read none: No such file or directory"
    )


def test_a_file_that_cannot_be_read_is_told(home):
    (home / "latin.toml").write_bytes(b"# fine\nname = '\xe9'")

    assert refused(home / "none.toml") == (
        f"{home}/none.toml: error: cannot be read: No such file or directory\n    Name a file that exists and that this user may read."
    )
    assert refused(Path("secrets")) == (
        "secrets: error: cannot be read: Is a directory\n    Name a file that exists and that this user may read."
    )
    assert refused(Path("latin.toml")) == "latin.toml:2:9: error: not UTF-8\n    Save the file as UTF-8."


def test_a_byte_order_mark_is_no_mistake(home):
    (home / "curfew.toml").write_bytes(b"\xef\xbb\xbf[broker]\nport = 1\n")

    assert load_settings(None, {}).broker.port == 1


def test_a_policy_is_loaded_or_refused_alike(home):
    (home / "policy.toml").write_text('[[limit]]\nname = "one"\napplies_to = "user"\nmax_sessions = 1\n')
    (home / "wrong.toml").write_text("late_after_s = -1")

    assert [limit.name for limit in load_policy(Path("policy.toml")).limits] == ["one"]
    assert check_file(Path("policy.toml")).value == load_policy(Path("policy.toml"))
    with pytest.raises(SettingsError, match=r"^wrong\.toml:1:16: error: `late_after_s` cannot be -1\n"):
        load_policy(Path("wrong.toml"))
