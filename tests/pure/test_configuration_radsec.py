"""What `curfew check` says about RADIUS over TLS: certificates, who shows which, and where NASes come to (issue D, RadSec)."""

import pytest

from schemas.checks import check_configuration
from tests.pure.test_configuration_check import NAS, found

TLS = '[tls]\ncertfile = "us.pem"\nkeyfile = "us.key"\ncafile = "ca.pem"\n'
LISTENING = '[ingest]\nradsec = ["0.0.0.0:2083"]\n'
ADDRESSED = '[[nas]]\nname = "hut"\naddresses = ["192.0.2.1"]\n'


def said(text):
    return [one.partition(": ")[2] for one in found(text)]


def test_a_nas_that_comes_and_is_asked_over_tls_needs_no_shared_secret():
    """5.6: with certificates on both sides there is nothing to find."""
    text = f'{TLS}{LISTENING}{ADDRESSED}tls_name = "hut.example.net"\ndisconnect = {{ via = "radsec", address = "192.0.2.1" }}\n'
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            LISTENING + NAS,
            [
                "error: `ingest.radsec` wants `tls.certfile` | Add [tls] with `certfile`, the PEM file with our certificate.",
                "error: `ingest.radsec` wants `tls.keyfile` | Add `keyfile` to [tls], the PEM file with the key of our certificate.",
                (
                    "error: `ingest.radsec` wants `tls.cafile`"
                    " | Add `cafile` to [tls], the PEM file with the authorities that vouch for the NASes."
                ),
            ],
        ),
        (
            TLS.replace('keyfile = "us.key"\n', "") + NAS,
            ["error: `tls` has `certfile` without `keyfile` | Add `keyfile`."],
        ),
        (
            TLS + 'secret = "a"\nsecret_file = "b"\n' + NAS,
            ["error: `tls` has both `secret` and `secret_file` | Keep one of the two."],
        ),
        (
            TLS + '[ingest]\nradsec = ["2083", "0.0.0.0:2083", "127.0.0.1:2083"]\n' + NAS,
            [
                (
                    'error: `ingest.radsec`: "2083" is no address:port'
                    ' | Write an address and a port, like "127.0.0.1:1813" or "[::1]:1813"; every address is "0.0.0.0" or "[::]".'
                ),
                (
                    'error: `ingest.radsec`: "127.0.0.1:2083" overlaps "0.0.0.0:2083"'
                    " | Remove one of the two, or give it another port: each packet must have one way in."
                ),
            ],
        ),
        (
            ADDRESSED + 'tls_name = "hut.example.net"\n',
            [
                (
                    'warning: "hut" has a `tls_name`, but `ingest.radsec` names no place to come to'
                    ' | Add radsec = ["0.0.0.0:2083"] to [ingest].'
                )
            ],
        ),
        (
            '[tls]\ncafile = "ca.pem"\n' + NAS + 'disconnect = { via = "radsec", address = "192.0.2.1", tls_certfile = "us.pem" }\n',
            [
                (
                    'error: "a" is asked over TLS, and there is no `tls.keyfile`'
                    " | Add `keyfile` to [tls], the PEM file with the key of our certificate."
                ),
                "error: `nas.disconnect` has `tls_certfile` without `tls_keyfile` | Add `tls_keyfile`.",
            ],
        ),
        (
            TLS + NAS + 'disconnect = { via = "radsec", tls_verify = false }\n',
            [
                ('error: `nas.disconnect` has no `address` | Add `address`, where the NAS takes disconnects, or write via = "none".'),
                (
                    "error: `nas.disconnect.tls_verify` cannot be false with radsec: nothing but its certificate says who it is"
                    " | Remove it, and name the NAS's authority in `tls_cafile` or [tls]."
                ),
            ],
        ),
    ],
)
def test_each_thing_that_is_missing_is_named_with_its_remedy(text, expected):
    """5.6: what cannot work is told before it is needed, with the line."""
    assert said(text) == expected


def test_a_nas_that_is_asked_over_its_own_connection_needs_no_address():
    """5.6: but somebody who takes that connection, and leads to it."""
    nas = f'{ADDRESSED}tls_name = "hut"\ndisconnect = {{ via = "radsec", reverse = true }}\n'
    assert said(f'{TLS}{LISTENING}radsec_reverse = "var/radsec"\n{nas}') == []
    expected = (
        'error: "hut" is asked over its own connection, which nobody takes or leads to | Add `radsec` and `radsec_reverse` to [ingest].'
    )
    assert said(TLS + LISTENING + nas) == [expected]


def test_names_in_certificates_tell_nases_apart_that_come_from_anywhere():
    """5.6: two NASes without an address of their own: as long as they have no secret, which would be asked for by the address alone."""
    roaming = '[[nas]]\nname = "{0}"\naddresses = ["0.0.0.0/0"]\ntls_name = "{0}.example.net"\n{1}'
    assert said(TLS + LISTENING + roaming.format("a", "") + roaming.format("b", "")) == []
    both = said(TLS + LISTENING + roaming.format("a", 'secret = "x"\n') + roaming.format("b", 'secret = "x"\n'))
    assert [one.split("|")[0] for one in both] == ['error: "b" claims 0.0.0.0/0 as "a" does (line 9), and nothing tells them apart ']


def test_a_variable_names_several_addresses():
    checked = check_configuration(TLS + NAS, "curfew.toml", {"CURFEW_INGEST_RADSEC": "127.0.0.1:2083, [::1]:2083"})
    assert checked.value is not None
    assert checked.value.ingest.radsec == ("127.0.0.1:2083", "[::1]:2083")
