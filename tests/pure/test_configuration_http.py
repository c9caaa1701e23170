"""`[http]`, `[redis]` and `[admission]` in curfew.toml (INTERFACES "curfew.toml", behaviours 4.8 and 7.4)."""

import pytest

from agents.settings import check_settings
from schemas.configuration import Admission, Redis
from schemas.configuration_check import check_configuration

NAS = '[[nas]]\nname = "ap"\naddresses = ["192.0.2.1"]\nsecret = "s"\n'


def errors(text: str) -> list[str]:
    return [problem.message for problem in check_configuration(text + NAS, "curfew.toml").errors]


def test_without_a_word_there_is_no_token_and_no_projection() -> None:
    """INTERFACES: without a token, what changes something is not there."""
    configuration = check_configuration(NAS, "curfew.toml").value
    assert configuration is not None
    assert configuration.http.token is None
    assert configuration.redis == Redis(url=None, password=None, key_prefix="curfew:", timeout_s=2.0)
    assert configuration.admission == Admission(reservation_s=60, reservations_per_user=64, redirect=None)


def test_token_and_password_come_from_files_too(tmp_path) -> None:
    """DESIGN "Configuration": secrets can come from files."""
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "password").write_text("pass word\n")
    (tmp_path / "curfew.toml").write_text(
        f'[http]\ntoken_file = "token"\n[redis]\nurl = "redis://127.0.0.1/0"\npassword_file = "password"\n{NAS}'
    )
    checked = check_settings(tmp_path / "curfew.toml", {})
    assert checked.errors == ()
    assert (checked.value.http.token, checked.value.redis.password) == ("t0ken", "pass word")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[http]\ntoken = "a"\ntoken_file = "b"\n', "`http` has both `token` and `token_file`"),
        ('[redis]\npassword = "a"\npassword_file = "b"\n', "`redis` has both `password` and `password_file`"),
        ("[admission]\nreservation_s = 0\n", "`admission.reservation_s`"),
        ("[admission]\nreservations_per_user = 0\n", "`admission.reservations_per_user`"),
        ('[admission]\nredirect = "javascript:x"\n', "`admission.redirect`"),
        ('[redis]\nurl = "http://x"\n', "`redis.url`"),
        ('[redis]\nkey_prefix = "a b"\n', "`redis.key_prefix`"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str) -> None:
    (found,) = errors(text)
    assert found.startswith(message)
