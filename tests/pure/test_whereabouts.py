"""Whose a MAC address and an IP address are (behaviour 3.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.session import SessionRow
from streams.whereabouts import Whereabouts

MACS = ["02:00:00:00:00:01", "02:00:00:00:00:02"]
ADDRESSES = ["10.0.0.1", "10.0.0.2"]


def row(mac: str | None, address: str | None, prefix: str | list[str] | None = None) -> SessionRow:
    return SessionRow("ap1", "s", "bob", "open", device=mac, framed_ip_address=address, framed_ipv6_prefix=prefix)


def test_a_session_is_found_by_its_device_its_address_and_any_address_of_its_prefix() -> None:
    """3.4."""
    known = Whereabouts()
    known.add("s1", row(MACS[0], ADDRESSES[0], ["2001:db8:0:1::/64"]))
    assert known.of_mac(MACS[0]) == known.of_address(ADDRESSES[0]) == known.of_address("2001:db8:0:1:ff::7") == ("s1",)
    assert known.of_mac(MACS[1]) == known.of_address(ADDRESSES[1]) == known.of_address("2001:db8:0:2::7") == ()
    known.remove("s1", MACS[0], ADDRESSES[0], ["2001:db8:0:1::/64"])
    assert len(known) == 0


def test_what_is_no_address_is_refused() -> None:
    """3.4: it is somebody else's word."""
    with pytest.raises(ValueError, match="does not appear to be"):
        Whereabouts().of_address("10.0.0.256")


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([None, *MACS]), st.sampled_from([None, *ADDRESSES])), max_size=30))
def test_whatever_comes_and_goes_all_that_are_there_are_found_and_nothing_else(moves: list[tuple[int, str | None, str | None]]) -> None:
    """3.4: several sessions may have one MAC, and one address behind several NASes."""
    known = Whereabouts()
    there: dict[str, SessionRow] = {}
    for number, mac, address in moves:
        key = f"s{number}"
        if key in there:
            gone = there.pop(key)
            known.remove(key, gone.device, gone.framed_ip_address, gone.framed_ipv6_prefix)
        else:
            there[key] = row(mac, address)
            known.add(key, there[key])
    for mac in MACS:
        assert sorted(known.of_mac(mac)) == sorted(key for key, one in there.items() if one.device == mac)
    for address in ADDRESSES:
        assert sorted(known.of_address(address)) == sorted(key for key, one in there.items() if one.framed_ip_address == address)
    assert len(known) == len({one.device for one in there.values()} | {one.framed_ip_address for one in there.values()} - {None}) - (
        None in {one.device for one in there.values()}
    )
