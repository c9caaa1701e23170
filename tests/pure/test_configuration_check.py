"""What `curfew check` says about a configuration: exact words, lines and columns."""

from pathlib import Path

import pytest

from schemas.checks import check_configuration, kind_of
from schemas.configuration import Configuration, endpoint
from schemas.errors import Problem, report

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
NAS = '[[nas]]\nname = "a"\naddresses = ["192.0.2.0/24"]\nsecret = "one"\n'


def found(text: str, environment=None) -> list[str]:
    """Findings as `line:column: severity: message | remedy`; a configuration comes out unless one is an error."""
    checked = check_configuration(text, "curfew.toml", environment)

    assert (checked.value is None) == bool(checked.errors)
    return [f"{p.line}:{p.column}: {p.severity}: {p.message} | {p.remedy}" for p in checked.problems]


@pytest.mark.parametrize("file", [HERE / "files" / "curfew.toml", ROOT / "deploy" / "curfew.example.toml"])
def test_the_published_configurations_check_clean(file):
    assert found(file.read_text()) == []


def test_the_published_configuration_states_the_defaults():
    """All but what it adds to them: servers, realm, projection and a NAS."""
    value = check_configuration((HERE / "files" / "curfew.toml").read_text(), "f").value
    defaults = Configuration()

    assert value is not None
    for section in ("broker", "ingest", "worker", "kicker", "http"):
        assert getattr(value, section) == getattr(defaults, section)
    assert value.kafka.partitions == defaults.kafka.partitions
    assert value.identity.not_an_identity == defaults.identity.not_an_identity
    assert value.nas[0].disconnect is not None
    assert value.nas[0].disconnect.secret == "testing456"


def test_without_a_nas_nobody_is_known_and_the_check_says_so():
    assert found("") == [
        (
            "1:1: warning: no [[nas]]: every packet would come from an unknown source and get no answer"
            " | Add a [[nas]] with `name`, `addresses` and `secret`."
        ),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[kafka]\npartitions = 0", "2:14: error: `kafka.partitions` cannot be 0 | Write a whole number from 1 to 512, without quotes."),
        ("kafka.partitions = 513", "1:20: error: `kafka.partitions` cannot be 513 | Write a whole number from 1 to 512, without quotes."),
        (
            'kafka = {partitions = "8"}',
            '1:23: error: `kafka.partitions` cannot be "8" | Write a whole number from 1 to 512, without quotes.',
        ),
        (
            "[worker]\nprocesses = true",
            "2:13: error: `worker.processes` cannot be true | Write a whole number from 1 to 256, without quotes.",
        ),
        ("[ingest]\ntick_s = nan", "2:10: error: `ingest.tick_s` cannot be nan | Write a number from 0.05 to 60, without quotes."),
        ("[ingest]\nlistn = 1", "2:1: error: unknown key `listn` in `ingest` | Write `listen`."),
        ("[inget]", "1:1: error: unknown key `inget` | Write `ingest`."),
        ("[broker]\nxyz = 1", "2:1: error: unknown key `xyz` in `broker` | Remove it; known here: data_dir, port."),
        ("ingest = 1", "1:10: error: `ingest` cannot be 1 | Write a table: [name] on a line of its own, or { key = value } on one line."),
        (
            "[ingest]\nlisten = []",
            "2:10: error: `ingest.listen` cannot be an empty list | Write a list in brackets, each element a text in quotes.",
        ),
        (
            '[ingest]\nlisten = "127.0.0.1:1813"',
            '2:10: error: `ingest.listen` cannot be "127.0.0.1:1813" | Write a list in brackets, each element a text in quotes.',
        ),
        (
            '[kafka]\nsecurity_protocol = "SASL_SLL"',
            (
                '2:21: error: `kafka.security_protocol` cannot be "SASL_SLL"'
                ' | Write "SASL_SSL"; allowed are "PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL", "SSL".'
            ),
        ),
        (
            '[kafka]\nsecurity_protocol = "SASL_SSL"\nsasl_username = "u"',
            (
                '2:21: error: `kafka.security_protocol` "SASL_SSL" wants a user name and a password'
                " | Add `sasl_username` and `sasl_password_file` (or `sasl_password`)."
            ),
        ),
        (
            '[kafka]\nbootstrap_servers = "a:9092,b"',
            '2:21: error: `kafka.bootstrap_servers`: "b" is no host:port | Write "host:port", several with commas between them.',
        ),
        (
            "[kafka]\nreplication_factor = 3",
            (
                "2:22: error: `kafka.replication_factor` cannot be 3 with the embedded broker, which is one node"
                " | Write 1, or set `bootstrap_servers` to a cluster."
            ),
        ),
        (
            '[kafka]\ntopic_prefix = "a b"',
            (
                '2:16: error: `kafka.topic_prefix` cannot be "a b"'
                " | Write at most 100 letters, digits, dots, underscores and hyphens in quotes."
            ),
        ),
        (
            '[ingest]\nlisten = [\n  "0.0.0.0:1813",\n  "127.0.0.1:1813",\n]',
            (
                '4:3: error: `ingest.listen`: "127.0.0.1:1813" overlaps "0.0.0.0:1813"'
                " | Remove one of the two, or give it another port: each packet must have one way in."
            ),
        ),
        (
            '[ingest]\nlisten = ["[::1]:1813", "[0::1]:1813"]',
            (
                '2:25: error: `ingest.listen`: "[0::1]:1813" overlaps "[::1]:1813"'
                " | Remove one of the two, or give it another port: each packet must have one way in."
            ),
        ),
        (
            '[http]\nlisten = "localhost:80"',
            (
                '2:10: error: `http.listen`: "localhost:80" is no address:port'
                ' | Write an address and a port, like "127.0.0.1:1813" or "[::1]:1813"; every address is "0.0.0.0" or "[::]".'
            ),
        ),
        (
            '[kicker]\nsource = "here"',
            '2:10: error: `kicker.source`: "here" is no address | Write an IPv4 or IPv6 address, like "192.0.2.1".',
        ),
        (
            '[redis]\nurl = "http://user:password@there"',
            '2:7: error: `redis.url` cannot be this value | Write a text that begins with "redis://", "rediss://" or "unix://".',
        ),
    ],
)
def test_a_wrong_section_is_told_with_place_and_remedy(text, expected):
    assert found(f"{text}\n{NAS}") == [expected]


def test_every_address_overlaps_each_one_in_either_order():
    assert found(f'[ingest]\nlisten = ["127.0.0.1:1813", "0.0.0.0:1813"]\n{NAS}')[0].startswith(
        '2:29: error: `ingest.listen`: "0.0.0.0:1813" overlaps "127.0.0.1:1813"',
    )


@pytest.mark.parametrize(
    "listen",
    ['["0.0.0.0:1813", "[::]:1813"]', '["127.0.0.1:1813", "127.0.0.2:1813", "127.0.0.1:1646"]', '["0.0.0.0:0", "0.0.0.0:0"]'],
)
def test_addresses_that_take_different_packets_do_not_overlap(listen):
    assert found(f"[ingest]\nlisten = {listen}\n{NAS}") == []


SECOND = '[[nas]]\nname = "b"\naddresses = ["192.0.2.0/24"]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            SECOND + 'secret = "one"',
            (
                '7:14: error: "b" claims 192.0.2.0/24 as "a" does (line 3), and nothing tells them apart'
                " | Give each a `nas_identifier` or `nas_ip_address` of its own, or other addresses."
            ),
        ),
        (
            SECOND + 'nas_identifier = "b"\nsecret = "two"',
            (
                '9:10: error: "b" has another secret than "a" on 192.0.2.0/24'
                " | Give both the same secret: it is chosen by the source address alone (RFC 2865 section 3)."
            ),
        ),
        (
            '[[nas]]\nname = "a"\naddresses = ["192.0.2.1"]\nsecret = "two"',
            '6:8: error: `nas.name`: "a" is taken (line 2) | Give each NAS a name of its own: it is the key of its sessions and commands.',
        ),
        (
            '[[nas]]\nname = "b"\naddresses = ["10.0.0.5/8"]\nsecret = "x"',
            (
                '7:14: error: `nas.addresses`: "10.0.0.5/8" is no address or network'
                ' | Write "10.0.0.0/8" for the network, or "10.0.0.5" for the one address.'
            ),
        ),
        (
            '[[nas]]\nname = "b"\naddresses = [\n"10.0.0.1",\n"ap.example.net"]\nsecret = "x"',
            (
                '9:1: error: `nas.addresses`: "ap.example.net" is no address or network'
                ' | Write an address ("192.0.2.1") or a network ("192.0.2.0/24", "2001:db8::/32").'
            ),
        ),
        (
            '[[nas]]\nname = "b"\naddresses = ["10.0.0.1"]',
            '5:1: error: "b" has no secret | Add `secret`, or `secret_file` with the path of a file that holds it.',
        ),
        (
            '[[nas]]\nname = "b"\naddresses = ["10.0.0.1"]\nsecret = ""',
            "8:10: error: `nas.secret` cannot be an empty text | Write a text in quotes of 1 to 1024 characters.",
        ),
        (
            '[[nas]]\nname = "b"\naddresses = ["10.0.0.1"]\nsecret = 123',
            "8:10: error: `nas.secret` cannot be this value | Write a text in quotes of 1 to 1024 characters.",
        ),
        (
            '[[nas]]\nname = "b"\naddresses = ["10.0.0.1"]\nsecret = "x"\nsecret_file = "y"',
            "9:1: error: `nas` has both `secret` and `secret_file` | Keep one of the two.",
        ),
        (
            '[[nas]]\nname = "b/c"\naddresses = ["10.0.0.1"]\nsecret = "x"',
            '6:8: error: `nas.name` cannot be "b/c" | Write a text of 1 to 128 characters without blanks and slashes.',
        ),
        (
            '[[nas]]\nname = "b\\n"\naddresses = ["10.0.0.1"]\nsecret = "x"',
            '6:8: error: `nas.name` cannot be "b\\n" | Write a text of 1 to 128 characters without blanks and slashes.',
        ),
        (
            '[[nas]]\naddresses = ["10.0.0.1"]\nsecret = "x"',
            "5:1: error: [[nas]] has no `name` | Add `name`: a text of 1 to 128 characters without blanks and slashes.",
        ),
        (
            'nas_ip_address = "10.0.0.300"',
            '5:18: error: `nas.nas_ip_address`: "10.0.0.300" is no address | Write an IPv4 or IPv6 address, like "192.0.2.1".',
        ),
        (
            'disconnect = { address = "10.0.0.1", secret = "x", prot = 3799 }',
            "5:52: error: unknown key `prot` in `nas.disconnect` | Write `port`.",
        ),
        (
            'disconnect = { secret = "x" }',
            '5:1: error: `nas.disconnect` has no `address` | Add `address`, where the NAS takes disconnects, or write via = "none".',
        ),
        (
            '[nas.disconnect]\naddress = "10.0.0.1"',
            (
                "5:1: warning: `nas.disconnect` has no secret: every disconnect there ends as no-secret"
                " | Add `secret` or `secret_file`, also where it is the accounting secret."
            ),
        ),
    ],
)
def test_a_wrong_nas_is_told_with_place_and_remedy(text, expected):
    """1.2: the secret is chosen by the source address, so whoever shares a network shares it."""
    assert found(NAS + text) == [expected]


def test_nases_of_one_network_are_told_apart_by_identifier_address_or_the_lack_of_both():
    second = SECOND + 'secret = "one"\nnas_identifier = "x"\n'
    third = second.replace('"b"', '"c"').replace('nas_identifier = "x"', 'nas_ip_address = "10.0.0.1"')

    assert found(NAS + second + third) == []


def test_a_network_within_another_may_have_another_secret():
    assert found(NAS + '[[nas]]\nname = "b"\naddresses = ["192.0.2.7"]\nsecret = "two"') == []


def test_all_findings_come_at_once_in_the_order_of_the_file():
    """Wrong values, unknown keys, and what does not fit together: a mistake hides no other."""
    text = (
        '[kafka]\npartitions = 0\n[ingest]\nlisten = ["0.0.0.0:1", "0.0.0.0:1"]\nprocesses = "four"\n'
        + NAS
        + 'disconnect = { via = "none", port = 0 }\n'
        + NAS
    )

    assert [line.partition(" | ")[0] for line in found(text)] == [
        "2:14: error: `kafka.partitions` cannot be 0",
        '4:24: error: `ingest.listen`: "0.0.0.0:1" overlaps "0.0.0.0:1"',
        '5:13: error: `ingest.processes` cannot be "four"',
        "10:37: error: `nas.disconnect.port` cannot be 0",
        '12:8: error: `nas.name`: "a" is taken (line 7)',
        '13:14: error: "a" claims 192.0.2.0/24 as "a" does (line 8), and nothing tells them apart',
    ]


def test_a_finding_reads_as_compilers_write_them():
    problem = Problem("error", "curfew.toml", 3, 7, "what", "Do that.")

    assert str(problem) == "curfew.toml:3:7: error: what\n    Do that."
    assert (
        report([problem, Problem("warning", "CURFEW_X", 0, 0, "that", "Unset it.")]) == f"{problem}\nCURFEW_X: warning: that\n    Unset it."
    )


def test_the_environment_goes_over_the_file():
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
        "CURFEW_HTTP_LISTEN": "127.0.0.1:0",
        "CURFEW_INGEST_LISTEN": "127.0.0.1:1, [::1]:1",
        "CURFEW_WORKER_CHECKPOINT_S": "0.5",
        "CURFEW_IDENTITY_STRIP_REALMS": "",
        "CURFEW_SOMETHING_ELSE": "left alone",
        "HOME": "left alone",
    }
    value = check_configuration('[http]\nlisten = "127.0.0.1:8181"\n[identity]\nstrip_realms = ["x"]\n' + NAS, "f", environment).value

    assert value is not None
    assert value.kafka.bootstrap_servers == "kafka:9092"
    assert value.http.listen == "127.0.0.1:0"
    assert value.ingest.listen == ("127.0.0.1:1", "[::1]:1")
    assert value.worker.checkpoint_s == 0.5
    assert value.identity.strip_realms == ()


def test_an_empty_kafka_bootstrap_servers_is_none_given():
    value = check_configuration(NAS, "f", {"KAFKA_BOOTSTRAP_SERVERS": ""}).value

    assert value is not None
    assert value.kafka.bootstrap_servers is None


def test_a_wrong_variable_is_told_by_its_name():
    checked = check_configuration(NAS, "f", {"CURFEW_KAFKA_PARTITIONS": "eight", "CURFEW_HTTP_LISTN": "x", "KAFKA_BOOTSTRAP_SERVERS": "k"})

    assert [str(problem) for problem in checked.problems] == [
        "CURFEW_HTTP_LISTN: error: this environment variable names no key of the configuration\n    Set CURFEW_HTTP_LISTEN, or unset it.",
        'CURFEW_KAFKA_PARTITIONS: error: `kafka.partitions` cannot be "eight"\n    Write a whole number from 1 to 512, without quotes.',
        (
            'KAFKA_BOOTSTRAP_SERVERS: error: `kafka.bootstrap_servers`: "k" is no host:port\n'
            '    Write "host:port", several with commas between them.'
        ),
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "configuration"),
        ((HERE / "files" / "curfew.toml").read_text(), "configuration"),
        ((HERE / "files" / "policy.toml").read_text(), "policy"),
        ("late_after_s = 60", "policy"),
        ("kafka.partitions = 3", "configuration"),
        ('[[liveness]]\nnas = "*"\nrule = broken', "policy"),
        ('[[nas]]\nname = "x"\nlimit = 1', "configuration"),
    ],
)
def test_the_kind_of_a_file_is_told_by_its_tables(text, kind):
    assert kind_of(text) == kind


def test_an_endpoint_is_an_address_and_a_port():
    assert endpoint("127.0.0.1:1813") == ("127.0.0.1", 1813)
    assert endpoint("[2001:DB8::0:1]:0") == ("2001:db8::1", 0)
    for text in (
        "",
        ":1",
        "1",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "[127.0.0.1]:1",
        "::1:1813",
        "127.0.0.1:-1",
        "127.0.0.1:²",
    ):
        with pytest.raises(ValueError):
            endpoint(text)
