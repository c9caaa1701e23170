"""Huawei's Portal protocol (behaviour 5.6): REQ_LOGOUT for the user's address, ACK_LOGOUT back.

What lives here: asking. What may not: the packets and what an answer means (`streams.huawei_portal`). What a NAS tells of itself
(NTF_LOGOUT) comes in at `agents.portal`.
"""

from __future__ import annotations

import functools
import secrets
from ipaddress import AddressValueError, IPv4Address

from agents.udp_question import Heard, ask
from schemas.configuration import Configuration, Disconnect, Nas
from schemas.disconnect import DisconnectCommand
from schemas.ways import DeviceSession, Finding, NoListError, WayAnswer
from streams.huawei_portal import ACK_LOGOUT, BAS_PORT, REQ_LOGOUT, Packet, Refused, answer_of, build_request, read_response

WAY = "huawei-portal"
SENDS_AT_S = (0.0, 2.0, 5.0)
WAIT_S = 9.0
NOBODYS_ADDRESS = "240.0.0.1"
"""Never assigned (RFC 1112 section 4): the connection test asks for it, so that nobody is hit."""


class HuaweiPortal:
    """The way `huawei-portal`. Each exchange has a socket and a serial of its own; a repeat is the same octets."""

    def __init__(self, configuration: Configuration, *, wait_s: float = WAIT_S) -> None:
        """Opens nothing.

        Args:
            configuration: `[kicker] source` is sent from.
            wait_s: for so long an answer is waited for.
        """
        self._source = configuration.kicker.source
        self._wait_s = wait_s

    async def disconnect(self, nas: Nas, command: DisconnectCommand) -> WayAnswer:
        """Ask the NAS to log out whoever has the session's address."""
        user_ip = command.session.get("framed_ip_address")
        try:
            IPv4Address(user_ip if isinstance(user_ip, str) else "")
        except AddressValueError:
            return WayAnswer("unsupported", "the session has no Framed-IP-Address, and the Portal protocol knows users by nothing else")
        if nas.disconnect is None or not nas.disconnect.secret or nas.disconnect.address is None:
            return WayAnswer("unsupported", "the NAS has no `address` or no `secret` in `disconnect`")
        heard, answer = await self._ask(nas.disconnect, str(user_ip))
        if isinstance(answer, Packet):
            return WayAnswer(*answer_of(answer), round_trip_ms=heard.round_trip_ms)
        return WayAnswer("unanswered", self._why_none(nas.disconnect, heard, answer))

    async def test(self, nas: Nas) -> list[Finding]:
        """Ask for the logout of an address that nobody can have."""
        if nas.disconnect is None or not nas.disconnect.secret or nas.disconnect.address is None:
            return [Finding(WAY, ok=False, sentence="`disconnect` has no `address` or no `secret`: nobody can be asked. Add it.")]
        heard, answer = await self._ask(nas.disconnect, NOBODYS_ADDRESS)
        if not isinstance(answer, Packet):
            return [Finding(WAY, ok=False, sentence=f"{self._why_none(nas.disconnect, heard, answer)}.")]
        meaning, said = answer_of(answer)
        if meaning == "accepted":
            sentence = f"It answered {said}, for an address that nobody can have. That is dangerous: its yes says nothing."
            return [Finding(WAY, ok=False, sentence=sentence)]
        sentence = f"It answered {said}, within {heard.round_trip_ms:.0f} ms: it is alive, and the secret is right."
        return [Finding(WAY, ok=True, sentence=sentence)]

    async def sessions(self, nas: Nas) -> list[DeviceSession]:
        """The protocol has no list.

        Raises:
            NoListError: always.
        """
        raise NoListError(f'"{nas.name}" cannot say who is on it: the Portal protocol has no list of users')

    async def close(self) -> None:
        """Nothing stays open."""

    async def _ask(self, way: Disconnect, user_ip: str) -> tuple[Heard, Packet | Refused | None]:
        secret = (way.secret or "").encode()
        request = build_request(Packet(REQ_LOGOUT, secrets.randbelow(1 << 16), user_ip), secret)
        read = functools.partial(read_response, kind=ACK_LOGOUT, request=request, secret=secret)
        heard = await ask(
            self._source,
            (way.address or "", way.port or BAS_PORT),
            request,
            lambda octets: isinstance(read(octets), Packet),
            sends_at_s=SENDS_AT_S,
            wait_s=self._wait_s,
        )
        datagram = heard.answer or heard.other
        return heard, None if datagram is None else read(datagram)

    def _why_none(self, way: Disconnect, heard: Heard, refused: Refused | Packet | None) -> str:
        """Why there is no answer, as a sentence without its full stop."""
        place = f"{way.address} port {way.port or BAS_PORT}"
        if refused is Refused.AUTHENTICATOR:
            return f"{place} answers, but its authenticator does not fit: the secret is wrong"
        if isinstance(refused, Refused):
            return f"{place} answers what is no ACK_LOGOUT to the question ({refused})"
        match heard.why_silent:
            case "closed":
                return f"{place} is closed (ICMP port unreachable)"
            case "unreachable":
                return f"nothing can be sent to {place}: {heard.said}"
            case _:
                return (
                    f"no answer from {place} within {self._wait_s:g} s, asked from {heard.source}: a wrong secret, a NAS that does not know"
                    " this address as its portal server, and a firewall all look like this"
                )
