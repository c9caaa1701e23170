"""What `curfew check` says about the way `routeros` (behaviour 5.6)."""

import pytest

from schemas.checks import check_configuration
from tests.pure.test_configuration_check import NAS, found

GOOD = 'via = "routeros", address = "192.0.2.1", user = "u", password = "p", tls = true'


@pytest.mark.parametrize(
    ("disconnect", "expected"),
    [
        (GOOD, []),
        (f'{GOOD}, port = 9000, tls_cafile = "ca.pem", tls_name = "router.lan"', []),
        (
            GOOD.replace('user = "u", ', ""),
            ["error: `nas.disconnect` has no `user` | Add `user`: a user of the router whose group has the policies api, read and write."],
        ),
        (
            GOOD.replace(', password = "p"', ""),
            ["warning: `nas.disconnect` has no password: an empty one is sent | Add `password_file` or `password`."],
        ),
        (
            GOOD.replace(", tls = true", ""),
            [
                (
                    "warning: `nas.disconnect` is without TLS: the password crosses the network in the clear"
                    " | Add tls = true, and give the router's api-ssl service a certificate."
                )
            ],
        ),
        (
            f"{GOOD}, tls_verify = false",
            [
                (
                    "warning: `nas.disconnect.tls_verify` is false: whoever stands between can take the password"
                    " | Name the router's authority in `tls_cafile` instead."
                )
            ],
        ),
        (
            GOOD.replace('address = "192.0.2.1", ', ""),
            ['error: `nas.disconnect` has no `address` | Add `address`, where the NAS takes disconnects, or write via = "none".'],
        ),
    ],
)
def test_what_the_api_wants_is_asked_for_by_name(disconnect, expected):
    """5.6: what is missing or unsafe is told before it is needed."""
    assert [one.partition(": ")[2] for one in found(f"{NAS}disconnect = {{ {disconnect} }}")] == expected


def test_a_certificate_is_checked_unless_that_is_turned_off():
    """5.6: the default is the safe one."""
    checked = check_configuration(f"{NAS}disconnect = {{ {GOOD} }}", "curfew.toml")
    assert checked.value is not None
    way = checked.value.nas[0].disconnect
    assert way is not None
    assert (way.tls, way.tls_verify, way.tls_cafile, way.tls_name, way.port) == (True, True, None, None, None)
