"""`docs/limits.md` as it stands: each policy in it is published, what is said below it happens, and what follows is what it says."""

import re
from pathlib import Path

import pytest

from schemas.codec import encode
from schemas.journal import PolicyVersion
from schemas.policy import Policy
from schemas.policy_check import check_policy
from schemas.toml_reader import quantity
from streams.ingest_step import EVERY_PARTITION
from streams.radius.disconnect import DISCONNECT_REQUEST
from tests.flow.driver import T0_MS, FlowDriver, SimulatedAccess

DOCUMENT = Path(__file__).parents[2] / "docs" / "limits.md"
EXAMPLE = re.compile(r"```toml\n(?P<policy>.*?)```\n\n```\n(?P<story>.*?)```", re.DOTALL)
EXAMPLES = [(match["policy"], match["story"]) for match in EXAMPLE.finditer(DOCUMENT.read_text())]
START, STOP, INTERIM = 1, 2, 3
CLASS, OUTPUT_OCTETS, OUTPUT_GIGAWORDS = 25, 43, 53
DECISIONS = ("limit.breached", "rate.exceeded", "quota.warning", "quota.reached")


class Story:
    """One example: people with devices, by the names that the document gives them."""

    def __init__(self, policy: Policy) -> None:
        self.access = SimulatedAccess("campus")
        self.flow = FlowDriver(self.access.configuration())
        self.flow.advance(0)
        self.flow._write("policy", EVERY_PARTITION, None, encode(PolicyVersion(version=1, time_ms=T0_MS, policy=policy)))
        self.macs: dict[str, str] = {}
        self.sessions: dict[str, tuple[str, float]] = {}
        self.whose: dict[str, str] = {}

    def happens(self, line: str) -> list[str]:
        """A line of the story; what follows, as the document says it."""
        if match := re.fullmatch(r"(\w+) is in (.+)", line):
            self.flow.member(match[1], *match[2].split(", "))
        elif match := re.fullmatch(r"(.+) later", line):
            self.flow.advance(quantity(match[1], "duration") or 0)
        elif match := re.fullmatch(r"(\w+'s [\w-]+) starts(?: with Class (.+))?", line):
            session = f"s{len(self.whose) + 1}"
            self.sessions[match[1]] = session, self.flow.now_s
            self.whose[session] = match[1]
            self._says(START, match[1], [(CLASS, match[2].encode())] if match[2] else [])
        elif match := re.fullmatch(r"(\w+'s [\w-]+) stops", line):
            self._says(STOP, match[1])
        elif match := re.fullmatch(r"(\w+'s [\w-]+) has used (.+)", line):
            octets = quantity(match[2], "octets") or 0
            gigawords, rest = divmod(octets, 2**32)
            self._says(INTERIM, match[1], [(OUTPUT_OCTETS, rest.to_bytes(4)), (OUTPUT_GIGAWORDS, gigawords.to_bytes(4))])
        else:
            raise AssertionError(f"nobody knows what this means: {line!r}")
        return self._followed()

    def _says(self, status: int, who: str, more: list[tuple[int, bytes]] | None = None, session: str = "") -> None:
        latest, began_s = self.sessions[who]
        mac = self.macs.setdefault(who.casefold(), f"02-00-00-00-00-{len(self.macs):02x}")
        at_ms = T0_MS + round(self.flow.now_s * 1000)
        user, time_s = who.split("'", maxsplit=1)[0], round(self.flow.now_s - began_s)
        packet = self.access.packet(
            status, user=user, session=session or latest, mac=mac, at_ms=at_ms, session_time_s=time_s, more=more or ()
        )
        self.flow.pipe(packet, self.access.source)

    def _followed(self) -> list[str]:
        """Who goes, who is changed, and what is only told; the NAS carries it out."""
        told = [event.text or "" for event in self.flow.events() if event.type in DECISIONS]
        followed = []
        for command in self.flow.commands():
            who = self.whose[str(command.session["acct_session_id"])]
            changed = ", ".join(f"{name}={value}" for name, value in command.coa.items())
            followed.append(f"{who} {f'is changed to {changed}' if changed else 'goes'}: {command.text}")
            told.remove(command.text or "")
        for packet in self.flow.packets():
            self.flow.answer(packet)
            if packet.datagram.octets[0] == DISCONNECT_REQUEST:
                self._says(STOP, self.whose[str(packet.attributes["acct_session_id"])], session=str(packet.attributes["acct_session_id"]))
        self.flow.events(), self.flow.results(), self.flow.notices(), self.flow.answers()
        self.flow.nothing_else()
        return [*(f"told: {text}" for text in told), *followed]


def test_the_document_has_an_example_of_each_kind() -> None:
    assert len(EXAMPLES) >= 12
    text = "".join(policy for policy, _ in EXAMPLES)
    kinds = (
        "[[limit]]",
        "[[quota]]",
        "[[rate]]",
        "[[membership]]",
        *(f'"{kind}"' for kind in ("user", "group", "user-in-group", "guest-type")),
    )
    assert [kind for kind in kinds if kind not in text] == []


@pytest.mark.parametrize(("policy", "story"), EXAMPLES, ids=[re.findall(r'name = "(.+?)"', policy)[0] for policy, _ in EXAMPLES])
def test_an_example_is_as_the_document_says(policy: str, story: str) -> None:
    """4.1 to 4.7."""
    checked = check_policy(policy, "docs/limits.md")
    assert checked.problems == ()
    assert checked.value is not None
    play = Story(checked.value)
    expected: list[str] = []
    followed: list[str] = []
    for line in story.splitlines():
        if line.startswith("    "):
            expected.append(line.strip())
            continue
        assert followed == expected
        expected, followed = [], play.happens(line)
    assert followed == expected
