"""What `curfew check` says about the ways out that are not RADIUS: coova-mqtt, poll, huawei-portal (behaviour 5.6)."""

import pytest

from schemas.checks import check_configuration
from schemas.configuration import Disconnect, Nas
from schemas.ways import WAYS_WITH_SECRET
from streams.dispatcher import targets
from streams.kick import NoWay
from tests.pure.test_configuration_check import NAS, found

PICKUP = '[pickup]\nlisten = "127.0.0.1:8182"\n'


def said(disconnect, before=""):
    """The findings without their places."""
    return [one.partition(": ")[2] for one in found(f"{before}{NAS}disconnect = {{ {disconnect} }}")]


@pytest.mark.parametrize(
    ("disconnect", "expected"),
    [
        (
            'via = "coova-mqtt"',
            [
                "error: `nas.disconnect` has no `broker` | Add `broker`, host:port of the MQTT broker.",
                "error: `nas.disconnect` has no `node` | Add `node`, the node's or access point's number in RADIUSdesk.",
                "error: `nas.disconnect` has no `node_mac` | Add `node_mac`, the node's own MAC address, as RADIUSdesk shows it.",
            ],
        ),
        (
            'via = "coova-mqtt", broker = "mqtt", node = "7", node_mac = "02-00-5E-10-00-01"',
            ['error: `nas.disconnect.broker`: "mqtt" is no host:port | Write "host:port", as "mqtt.example.net:1883", or 8883 with TLS.'],
        ),
        (
            'via = "coova-mqtt", broker = "mqtt:1883", node = "7/#", node_mac = "02-00-5E-10-00-01"',
            ['error: `nas.disconnect.node` cannot be "7/#" | Write at most 128 letters, digits, dots, underscores and hyphens in quotes.'],
        ),
        (
            'via = "coova-mqtt", broker = "mqtt:1883", node = "7", node_mac = "02-00"',
            ['error: `nas.disconnect.node_mac` cannot be "02-00" | Write a MAC address in quotes, like "02-00-5E-10-00-01".'],
        ),
        (
            'via = "huawei-portal", address = "192.0.2.1"',
            [
                (
                    "warning: `nas.disconnect` has no secret: every disconnect there ends as no-secret"
                    " | Add `secret` or `secret_file`: the key that the NAS shares with its portal server."
                )
            ],
        ),
        (
            'via = "huawei-portal", address = "2001:db8::1", secret = "x"',
            [
                (
                    'error: `nas.disconnect.address`: "2001:db8::1" is no IPv4 address, and the Portal protocol knows no other'
                    ' | Write an IPv4 address, like "192.0.2.1".'
                )
            ],
        ),
        (
            'via = "poll", secret = "x"',
            ["error: `nas.disconnect` has no `node` | Add `node`, the name under which the device comes by."],
        ),
        (
            'via = "poll", node = "hut"',
            [
                (
                    "warning: `nas.disconnect` has no secret: every disconnect there ends as no-secret"
                    " | Add `secret` or `secret_file`: the bearer token that the device shows."
                )
            ],
        ),
    ],
)
def test_what_a_way_wants_is_asked_for_by_name(disconnect, expected):
    """5.6: a way that is not configured is told before it is needed."""
    assert said(disconnect, PICKUP) == expected


def test_devices_that_poll_have_a_place_to_come_to_and_a_name_each():
    """5.6."""
    way = 'via = "poll", node = "hut", secret = "x"'
    second = NAS.replace('"a"', '"b"').replace("192.0.2.0", "198.51.100.0") + f"disconnect = {{ {way} }}\n"
    assert said(way) == [
        (
            'warning: "a" polls, but `pickup.listen` names no place to come to: every disconnect there ends as unsupported'
            ' | Add [pickup] with listen = "0.0.0.0:8182".'
        )
    ]
    assert said(way, PICKUP) == []
    assert said(way, PICKUP + second) == [
        'error: `nas.disconnect.node`: "hut" is taken (line 7) | Give each device that polls a name of its own.'
    ]


@pytest.mark.parametrize("section", ["pickup", "portal"])
def test_a_place_to_listen_at_is_an_address_with_a_port_or_nothing(section):
    """5.6."""
    assert found(f'[{section}]\nlisten = "here"\n{NAS}') == [
        (
            f'2:10: error: `{section}.listen`: "here" is no address:port'
            ' | Write an address and a port, like "127.0.0.1:1813" or "[::1]:1813"; every address is "0.0.0.0" or "[::]".'
        )
    ]
    assert found(f'[{section}]\nlisten = ""\n{NAS}') == []


def test_the_authorities_of_a_broker_are_a_path_and_no_secret():
    """5.6: `tls_cafile` beside the configuration, as `ssl_cafile` of Kafka."""
    text = NAS + 'disconnect = { via = "routeros", address = "192.0.2.1", user = "u", tls = true, tls_cafile = "ca.pem" }'
    value = check_configuration(text, "curfew.toml").value
    assert value is not None
    assert value.nas[0].disconnect is not None
    assert value.nas[0].disconnect.tls_cafile == "ca.pem"


@pytest.mark.parametrize("via", WAYS_WITH_SECRET)
def test_without_its_secret_a_way_ends_as_the_check_says(via):
    """5.7: no-secret, and nothing is asked."""
    way = Disconnect(via=via, address="192.0.2.1", node="hut")
    nas = Nas(name="a", addresses=("192.0.2.1",), secret="s", disconnect=way)
    (found_way,) = targets([nas], {}, {via}).values()
    assert isinstance(found_way, NoWay)
    assert found_way.outcome == "no-secret"
