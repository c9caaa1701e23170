"""What a terminal shows of what others have sent: names that command a terminal are only names (docs/security.md)."""

import io

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from agents.commands.explain import _fields
from agents.commands.groups import groups
from agents.commands.terminal import plain_table, rich_table
from agents.commands.watch import line
from agents.directory import Directory
from schemas.codec import display
from schemas.event import SessionEvent
from schemas.session import SessionRow
from tests.pure.test_configuration_check import NAS

ATTACK = "\x1b]0;title\x07\x1b[2J\r\x08\x9b2J\nroot"
SHOWN = "\\x1b]0;title\\x07\\x1b[2J\\x0d\\x08\\x9b2J\\x0aroot"


def assert_harmless(text: str, lines: int = 1) -> None:
    """It has so many lines, all of signs that can be printed, and the attack among them as escapes."""
    shown = text.splitlines()
    assert all(one.isprintable() for one in shown)
    assert len(shown) == lines
    assert SHOWN in text


def test_a_cell_of_a_table_is_only_text() -> None:
    """6.2: a user name, an identity, or what a router says."""
    assert_harmless("\n".join(plain_table(("USER",), [[ATTACK]])), lines=2)
    screen = io.StringIO()
    Console(file=screen, width=200, color_system=None).print(rich_table(("USER",), [[ATTACK, "[red]no markup"]]))
    assert_harmless("\n".join(filter(str.strip, screen.getvalue().splitlines())), lines=3)
    assert "[red]no markup" in screen.getvalue()


@pytest.mark.parametrize("field", ["user_name", "identity", "acct_session_id", "text"])
def test_an_event_is_one_line(field: str) -> None:
    """6.2: `curfew watch`."""
    given = {"user_name": None, "identity": "session:ap/1", "acct_session_id": "1", "text": "x"} | {field: ATTACK}
    event = SessionEvent(id="0-1-0-x", type="session.started", seq=1, seq_epoch=1, time_ms=0, nas="ap", **given)
    assert_harmless(line(event))


def test_an_explanation_is_so_many_lines_as_it_has_fields() -> None:
    """6.5: `curfew explain` shows records as they stand in the journal."""
    (shown,) = map(display, _fields({"user_name": ATTACK}))
    assert_harmless(shown)


def test_groups_told_by_records_are_only_names(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """4.7: a group comes out of Class, an id out of Acct-Session-Id."""
    row = SessionRow(nas="ap", acct_session_id=ATTACK, identity="ann", state="open", groups=["staff"])
    directory = Directory(lambda _: True)
    monkeypatch.setattr(directory, "rows", lambda: [row])

    async def read(*_: object) -> Directory:
        return directory

    monkeypatch.setattr("agents.commands.groups.read_directory", read)
    (tmp_path / "curfew.toml").write_text(NAS)
    done = CliRunner().invoke(groups, ["show", "ann", "--config", str(tmp_path / "curfew.toml")])
    assert done.exit_code == 0, done.output
    assert_harmless(done.output, lines=2)
    assert isinstance(groups, click.Group)
