"""`docs/nas.md` against the code: every profile has its section, every example checks clean, and the table is that of the files.

`python -m tests.pure.test_nas_document` writes the table anew.
"""

import re
from pathlib import Path

import pytest

from schemas.checks import check_configuration
from schemas.configuration import PACKAGED_PROFILES
from streams.profiles import configured, packaged

DOCUMENT = Path(__file__).parents[2] / "docs" / "nas.md"
BLOCK = re.compile(r"(<!-- profiles: written by [^>]*-->\n)(.*?)(<!-- end -->)", re.DOTALL)
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)


def table():
    lines = ["| profile | for | port | MAC address | attribute sets |", "|---|---|---|---|---|"]
    for name, profile in packaged().items():
        sets = "; ".join(
            ("CoA: " if attempt.request == "coa" else "")
            + " + ".join([*attempt.require, *(f"[{one}]" for one in attempt.also), *attempt.send])  # what is in brackets may be missing
            for attempt in profile.attempt
        )
        lines.append(f"| `{name}` | {profile.doc.rstrip('.')} | {profile.port} | {profile.calling_station_id} | {sets} |")
    return "\n".join([*lines, ""])


def rewritten(text):
    return BLOCK.sub(lambda found: f"{found[1]}\n{table()}\n{found[3]}", text)


def test_the_table_in_the_document_is_that_of_the_profiles():
    """5.2."""
    text = DOCUMENT.read_text()
    assert len(BLOCK.findall(text)) == 1
    assert rewritten(text) == text, "python -m tests.pure.test_nas_document writes it anew"
    assert all(profile.event_timestamp and profile.message_authenticator for profile in packaged().values()), "the document says so"


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_checks_clean(example):
    """5.2: what is to be typed can be typed."""
    checked = check_configuration(example, "curfew.toml")
    assert checked.problems == ()
    assert checked.value is not None
    assert all(nas.disconnect and nas.disconnect.profile in configured(checked.value.profile) for nas in checked.value.nas)


@pytest.mark.parametrize("profile", PACKAGED_PROFILES)
def test_every_profile_has_an_example_of_its_own(profile):
    """5.2."""
    assert sum(f'profile = "{profile}"' in example for example in EXAMPLES) == 1


if __name__ == "__main__":
    DOCUMENT.write_text(rewritten(DOCUMENT.read_text()))
