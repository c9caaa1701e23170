"""No secret is shown: not by a repr, a finding about the configuration, or a record (docs/security.md)."""

import asyncio
import logging
import re
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from agents.settings import SettingsError, load_settings
from agents.udp import SampledLog
from agents.ways.mqtt_line import Broker
from schemas.checks import check_configuration
from schemas.configuration import Configuration, Disconnect, Identity, Nas
from schemas.secrets import HIDDEN, Discreet, may_be_secret, without_login
from schemas.toml_reader import bare, known_keys
from streams.dispatcher import targets
from streams.ingest_step import IngestStep
from streams.nas_lookup import NasTable
from streams.portal_logouts import portal_nases
from streams.profiles import packaged
from streams.radius.simulated import build_accounting_request

MARK = "Mark-1f8e"


def tables(kind=Configuration, path=()):
    """Every table of the configuration: where it stands, and its type."""
    yield path, kind
    for key, field in known_keys(kind).items():
        inner = bare(field.type)
        inner = bare(inner.item_type) if isinstance(inner, inspect.VarTupleType) else inner
        if isinstance(inner, inspect.StructType):
            yield from tables(inner.cls, (*path, key))


TABLES = list(tables())
SECRETS = [(path, key) for path, kind in TABLES for key in known_keys(kind) if may_be_secret(key) and not key.endswith("_file")]


def marked(kind):
    """A table in which every text that may be a secret bears the mark."""
    texts = {"name": "ap", "addresses": ("192.0.2.1",), "interface": "eth0", "require": ("User-Name",)}
    given = {key: texts[key] for key, field in known_keys(kind).items() if field.required and key in texts}
    return kind(**given, **{key: MARK for key in known_keys(kind) if may_be_secret(key) and not key.endswith("_file")})


def as_toml(path, key, value):
    """A configuration whose one wrong line is this key."""
    nas = '[[nas]]\nname = "ap"\naddresses = ["192.0.2.1"]\n'
    match path:
        case ("nas",):
            return f"{nas}{key} = {value}\n"
        case ("nas", inner):
            return f"{nas}{inner} = {{ {key} = {value} }}\n"
        case _:
            return f"[{'.'.join(path)}]\n{key} = {value}\n"


def said(text):
    return "\n".join(map(str, check_configuration(text, "curfew.toml").problems))


def test_every_secret_is_known_as_one():
    """What may stand in a file of its own is a secret, and what holds one hides it."""
    in_files = {(path, key.removesuffix("_file")) for path, kind in TABLES for key in known_keys(kind) if key.endswith("_file")}
    assert in_files <= set(SECRETS)
    assert {path for path, kind in TABLES if issubclass(kind, Discreet)} == {path for path, _ in SECRETS}
    assert {(*path, key) for path, key in SECRETS} == {
        ("kafka", "sasl_password"),
        ("http", "token"),
        ("redis", "url"),
        ("redis", "password"),
        ("tls", "secret"),
        ("nas", "secret"),
        ("nas", "disconnect", "secret"),
        ("nas", "disconnect", "password"),
    }


@pytest.mark.parametrize("kind", [kind for _, kind in TABLES], ids=lambda kind: kind.__name__)
def test_a_repr_shows_everything_but_secrets(kind):
    """A traceback or a log line holds reprs that nobody chose."""
    value = marked(kind)
    shown = repr(value)
    assert MARK not in shown
    assert MARK not in f"{value} {[value]} {(value, '')}"
    assert shown.count(HIDDEN) == sum(1 for key in known_keys(kind) if may_be_secret(key) and not key.endswith("_file"))
    assert all(f"{field}=" in shown for field in kind.__struct_fields__)


def test_what_is_made_of_secrets_hides_them_too():
    """The look-up tables of the parts, as asyncio would show them in a message about a callback that failed."""
    way = Disconnect(address="192.0.2.1", secret=MARK, broker="h:1", user="u", password=MARK)
    nas = Nas(name="ap", addresses=("192.0.2.1",), secret=MARK, disconnect=way)
    portal = msgspec.structs.replace(nas, disconnect=msgspec.structs.replace(way, via="huawei-portal"))
    holders = (
        Broker.of(way),
        NasTable([nas]).secret_for("192.0.2.1"),
        targets([nas], packaged())["ap"],
        targets([portal], packaged(), {"huawei-portal"})["ap"],
        portal_nases([portal]),
    )
    loop = asyncio.new_event_loop()
    try:
        for holder in holders:
            handle = loop.call_later(1000, print, holder)
            assert MARK not in f"{handle!r} {holder} {holder!r}"
            assert re.search(r"ap|192\.0\.2\.1|h:1", repr(holder)), "it says which one it is"
    finally:
        loop.close()


@pytest.mark.parametrize(("path", "key"), SECRETS, ids=lambda part: part if isinstance(part, str) else ".".join(part))
@pytest.mark.parametrize(
    "value",
    [
        f'"{MARK}{"x" * 5000}"',
        f'"{MARK}\\t"',
        f'["{MARK}"]',
        f'{{ {MARK} = "{MARK}" }}',
        f'"{MARK}\\q"',
        f'"{MARK}',
        f'"{MARK}" {MARK}',
        MARK,
    ],
    ids=["too long", "a tab", "a list", "a table", "no escape", "no end", "two", "no quotes"],
)
def test_a_secret_that_cannot_be_one_is_not_repeated(path, key, value):
    """`curfew check` prints its findings, and a start that fails its log."""
    text = as_toml(path, key, value)
    assert check_configuration(text, "curfew.toml").errors
    shown = said(text)
    if value.startswith("{"):
        shown = shown.replace(f"`{MARK}`", "")  # an unknown key is named: a key is none
    assert MARK not in shown


@pytest.mark.parametrize(
    "text",
    [
        f'[redis]\nurl = "redis://:{MARK}/x@192.0.2.1:6379/0"\n',
        f'[redis]\nurl = "redis://192.0.2.1:{MARK}/0"\n',
        f'[redis]\nurl = "redis://:{MARK}#x@192.0.2.1/0"\n',
        f'[redis]\nurl = "redis://u:12/{MARK}@192.0.2.1"\n',
        f'[redis]\nurl = "redis://u:12?{MARK}@192.0.2.1"\n'.replace("u:12", "u:99999"),
        f'[kafka]\nbootstrap_servers = "user:{MARK}@192.0.2.1:9092"\n',
        as_toml(("nas", "disconnect"), "broker", f'"mqtt://user:{MARK}@192.0.2.1:1883"'),
    ],
)
def test_a_place_with_a_login_before_it_is_refused_without_the_login(text):
    """What the Redis client cannot take apart would end the projector, with a part of the password as its last word."""
    assert check_configuration(text, "curfew.toml").errors
    assert MARK not in said(text)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379/0",
        f"redis://:{MARK}@127.0.0.1/15",
        f"rediss://user:{MARK}%2F@[2001:db8::1]:6380/0?ssl_ca_certs=/etc/curfew/ca.pem",
        "redis://redis.example.net:6379/",
        f"unix://:{MARK}@/run/redis.sock",
    ],
)
def test_the_urls_that_redis_takes_are_taken(url):
    """7.4."""
    checked = check_configuration(f'[redis]\nurl = "{url}"\n[[nas]]\nname = "ap"\naddresses = ["192.0.2.1"]\nsecret = "s"\n', "curfew.toml")
    assert checked.problems == ()
    assert checked.value is not None
    assert checked.value.redis.url == url


def test_a_login_is_cut_off_a_place():
    assert without_login("mqtt://user:a@b@192.0.2.1:1883") == f"{HIDDEN}@192.0.2.1:1883"
    assert without_login("192.0.2.1:1883") == "192.0.2.1:1883"


def test_variables_and_files_that_cannot_be_secrets_are_not_repeated(tmp_path: Path):
    """A variable goes over the file, and a secret file may hold anything."""
    nas = '[[nas]]\nname = "ap"\naddresses = ["192.0.2.1"]\nsecret_file = "secret"\n'
    (tmp_path / "curfew.toml").write_text(nas)
    (tmp_path / "secret").write_text(f"{MARK}\n{MARK}\n")
    environment = {f"CURFEW_{'_'.join(path)}_{key}".upper(): MARK * 2000 for path, key in SECRETS if path[0] != "nas"}
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "curfew.toml", environment)
    shown = str(caught.value)
    assert all(variable in shown for variable in environment)
    assert MARK not in f"{shown} {caught.value!r} {caught.value.problems}"
    with pytest.raises(SettingsError) as caught:
        load_settings(tmp_path / "curfew.toml", {})
    assert "holds more than one line" in str(caught.value)
    assert MARK not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "warns"),
    [
        ('[kafka]\nsecurity_protocol = "SASL_PLAINTEXT"\nsasl_username = "u"\nsasl_password = "p"\n', True),
        (
            '[kafka]\nsecurity_protocol = "SASL_PLAINTEXT"\nsasl_mechanism = "SCRAM-SHA-512"\nsasl_username = "u"\nsasl_password = "p"\n',
            False,
        ),
        ('[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "u"\nsasl_password = "p"\n', False),
        (
            'disconnect = { via = "coova-mqtt", broker = "b:1", node = "7", node_mac = "02-00-5E-10-00-01", user = "u", password = "p" }',
            True,
        ),
        ('disconnect = { via = "coova-mqtt", broker = "b:1", node = "7", node_mac = "02-00-5E-10-00-01" }', False),
    ],
)
def test_a_password_that_would_cross_the_network_in_the_clear_is_warned_of(text, warns):
    """What RouterOS without TLS is told for (5.6), Kafka and MQTT are too."""
    nas = '[[nas]]\nname = "ap"\naddresses = ["192.0.2.1"]\nsecret = "s"\n'
    checked = check_configuration(nas + text if text.startswith("disconnect") else text + nas, "curfew.toml")
    assert checked.value is not None
    assert ["crosses the network in the clear" in problem.message for problem in checked.problems] == [True] * warns


# RFC 2866 section 4.1 and RFC 2867 section 5 keep passwords out of accounting; CHAP and MS-CHAP responses can be guessed by offline.
PASSWORDS = {
    "User-Password": (2, MARK.encode()),
    "CHAP-Password": (3, b"\1" + MARK.encode()),
    "Tunnel-Password": (69, b"\0" + MARK.encode()),
    "ARAP-Password": (70, MARK.encode()),
    **{
        name: (26, (311).to_bytes(4) + bytes((kind, len(MARK) + 2)) + MARK.encode())
        for kind, name in (
            *((1, "MS-CHAP-Response"), (3, "MS-CHAP-CPW-1"), (4, "MS-CHAP-CPW-2"), (5, "MS-CHAP-LM-Enc-PW"), (6, "MS-CHAP-NT-Enc-PW")),
            *(
                (12, "MS-CHAP-MPPE-Keys"),
                (16, "MS-MPPE-Send-Key"),
                (17, "MS-MPPE-Recv-Key"),
                (25, "MS-CHAP2-Response"),
                (27, "MS-CHAP2-CPW"),
            ),
        )
    },
}


@pytest.mark.parametrize("name", PASSWORDS)
def test_a_password_in_accounting_is_dropped_by_name_and_the_record_stays(name):
    """1.3, RFC 2866 section 4.1: a NAS must not send it; one that does puts it into no topic."""
    nas = Nas(name="ap", addresses=("192.0.2.1",), secret="s")
    step = IngestStep([nas], Identity(), 4, "i")
    attributes = [(40, (1).to_bytes(4)), (44, b"s-1"), (1, b"bob"), PASSWORDS[name]]
    admitted = step.admit(build_accounting_request(identifier=1, secret=b"s", attributes=attributes), "192.0.2.1")
    assert isinstance(admitted, tuple)
    filed = step.file(admitted[0], "192.0.2.1", 1_700_000_000_000)
    assert not isinstance(filed, str)
    record = msgspec.json.decode(filed.value)
    assert (record["dropped"], record["acct_session_id"], record["attributes"]) == ([name], "s-1", {})
    assert MARK.encode() not in filed.value


def test_what_is_logged_of_a_refused_packet_is_not_enough_to_try_secrets_by(caplog):
    """1.1: with all of a packet and its authenticator a secret can be guessed at leisure; its first 32 octets are shown."""
    packet = build_accounting_request(identifier=1, secret=MARK.encode(), attributes=[(40, (1).to_bytes(4)), (44, b"s-1"), (1, b"bob")])
    with caplog.at_level(logging.DEBUG):
        SampledLog().refused(str(ip_address("192.0.2.1")), "authenticator", packet, 1.0)
    (line,) = caplog.messages
    assert packet[:32].hex() in line
    assert packet.hex() not in line
    assert MARK not in line
