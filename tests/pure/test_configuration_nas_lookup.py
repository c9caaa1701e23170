"""1.2: which NAS a packet is from; the secret is chosen by its source address."""

import pytest

from schemas.configuration import Nas
from streams import nas_lookup
from streams.nas_lookup import NasTable


def nas(name: str, *addresses: str, secret: str | None = "s", **more) -> Nas:
    return Nas(name, addresses, secret=secret, **more)


def names(table: NasTable, source: str) -> list[str] | None:
    match = table.secret_for(source)
    return None if match is None else [each.name for each in match.nases]


TABLE = NasTable(
    [
        nas("wide", "10.0.0.0/8", "2001:db8::/32", secret="wide"),
        nas("narrow", "10.1.0.0/16", "2001:db8:1::/48", secret="närrow"),
        nas("host", "10.1.2.3", "2001:db8:1::1", secret="host", require_message_authenticator=True),
    ],
)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("10.1.2.3", "host"),
        ("10.1.2.4", "narrow"),
        ("10.2.0.0", "wide"),
        ("10.255.255.255", "wide"),
        ("::ffff:10.1.2.3", "host"),
        ("2001:db8:1::1", "host"),
        ("2001:db8:1::1%eth0", "host"),
        ("2001:db8:1::2", "narrow"),
        ("2001:db8:ffff::", "wide"),
    ],
)
def test_the_most_specific_network_wins(source, name):
    assert names(TABLE, source) == [name]


@pytest.mark.parametrize("source", ["11.0.0.0", "9.255.255.255", "2001:db9::", "::a01:203", "", "nobody", "10.1.2"])
def test_who_is_in_no_network_is_nobody(source):
    assert TABLE.secret_for(source) is None
    assert TABLE.resolve(source, "host", "10.1.2.3") is None


def test_a_secret_is_octets_and_comes_with_what_the_network_asks_for():
    assert TABLE.secret_for("10.1.2.4") == ("närrow".encode(), False, (TABLE.resolve("10.1.2.4", None, None),))
    assert TABLE.secret_for("10.1.2.3")[:2] == (b"host", True)


PROXY = "192.0.2.1"
PROXIED = NasTable(
    [
        nas("one", PROXY, nas_identifier="ap-1"),
        nas("two", PROXY, nas_identifier="ap-2", nas_ip_address="10.0.0.2"),
        nas("three", PROXY, nas_ip_address="10.0.0.3"),
        nas("six", PROXY, nas_ip_address="2001:DB8::6"),
    ],
)


@pytest.mark.parametrize(
    ("identifier", "address", "name"),
    [
        ("ap-1", None, "one"),
        ("ap-1", "10.9.9.9", "one"),
        ("ap-1", "10.0.0.3", "one"),
        ("ap-2", "10.0.0.2", "two"),
        ("ap-2", None, "two"),
        (None, "10.0.0.2", "two"),
        ("whatever", "10.0.0.3", "three"),
        ("whatever", "2001:db8:0::6", "six"),
        ("ap-2", "10.0.0.9", None),
        ("ap-3", None, None),
        (None, None, None),
        ("AP-1", "10.9.9.9", None),
    ],
)
def test_behind_one_address_the_record_tells_the_nas(identifier, address, name):
    found = PROXIED.resolve(PROXY, identifier, address)

    assert (found and found.name) == name


def test_one_that_asks_for_nothing_takes_what_the_others_do_not():
    table = NasTable([nas("rest", PROXY), nas("one", PROXY, nas_identifier="ap-1")])

    assert [table.resolve(PROXY, seen, None).name for seen in ("ap-1", "ap-2", None)] == ["one", "rest", "rest"]


def test_a_nas_alone_needs_no_attribute_but_another_ones_attribute_speaks_against_it():
    table = NasTable([nas("one", PROXY, nas_identifier="ap-1")])

    assert table.resolve(PROXY, None, None).name == "one"
    assert table.resolve(PROXY, "ap-2", None) is None


def test_a_wrong_address_in_a_record_is_as_none():
    assert PROXIED.resolve(PROXY, "ap-1", "not an address").name == "one"


def test_sources_without_end_do_not_fill_the_memory():
    table = NasTable([nas("all", "0.0.0.0/0")])
    for number in range(nas_lookup.REMEMBERED_MAX + 10):
        assert table.secret_for(f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}") is not None

    assert table._known_sources.cache_info().currsize == nas_lookup.REMEMBERED_MAX


def test_a_nas_whose_secret_was_not_read_makes_no_table():
    with pytest.raises(ValueError, match="the secret of a is not known"):
        NasTable([nas("a", PROXY, secret=None)])
