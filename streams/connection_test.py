"""The connection test of a NAS that is disconnected by RADIUS: what is asked, and what each answer, or silence, tells an operator.

Law of this file: octets and sentences. Sockets, clock and chance are the agent's. The session that is asked for cannot exist, so that a NAS
that keeps to RFC 5176 answers 503 and nobody is hit: its ids are made for the test, its MAC address is a locally administered one, its
address one that is never assigned (240.0.0.0/4, RFC 1112 section 4).
Sources: RFC 5176 sections 2.3 and 3.5; RFC 5997 section 3 (Status-Server; that it is asked on the disconnect port is our own).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from schemas.codec import JsonValue
from schemas.configuration import Nas
from schemas.disconnect import ERROR_CAUSES
from schemas.ways import Finding, NoAnswer
from streams.profiles import Profile, Request, requests
from streams.radius.authenticator import MESSAGE_AUTHENTICATOR, ZEROS, message_authenticator, verify_response
from streams.radius.disconnect import RefusedReply, Reply, build_disconnect, read_reply
from streams.radius.framing import HEADER_OCTETS, Malformed, check_framing
from streams.radius.respond import STATUS_SERVER

WAY: Final = "radius"
NOBODYS_ADDRESS: Final = "240.0.0.1"
DISCONNECT_PORTS: Final = (3799, 1700)
_TEST_NAME: Final = "curfew-connection-test"

NOT_ASKED: Final = Finding(WAY, ok=False, sentence="Its profile wants attributes that a test cannot make up: it was not asked.")


class Place(NamedTuple):
    """Where was asked.

    Attributes:
        source: our address as the NAS sees it, if nothing translates it on the way.
        wait_s: for how long, where nothing came.
    """

    address: str
    port: int
    source: str
    wait_s: float


def not_configured(nas: Nas) -> Finding | None:
    """Why a NAS cannot even be asked; None: it can."""
    way = nas.disconnect
    if way is None or way.via == "none":
        how = "it has no `disconnect`" if way is None else "its `via` is none"
        return Finding("none", ok=False, sentence=f'"{nas.name}" cannot be disconnected: {how}. Write how in its [[nas]].')
    if way.via == "radius" and way.address is None:
        return Finding(WAY, ok=False, sentence="`disconnect` has no `address`: nobody can be asked. Add it.")
    if way.via == "radius" and not way.secret:
        return Finding(WAY, ok=False, sentence="`disconnect` has no `secret`: nothing is sent without one. Add it, or `secret_file`.")
    return None


def not_tested(via: str) -> Finding:
    """That a way cannot be tried from here."""
    return Finding(via, ok=False, sentence=f"There is no connection test for the way {via}.")


def questions(nas: Nas, profile: Profile, nonce: str) -> Sequence[Request]:
    """What is asked for a session that cannot exist, in the order in which the kicker would try it.

    Args:
        nas: with `disconnect`.
        profile: its profile.
        nonce: hexadecimal digits, at least ten, new for each test.
    """
    way = nas.disconnect
    address = nas.nas_ip_address or (way.address if way is not None else None)
    mac = "-".join(("02", *(nonce[at : at + 2].upper() for at in range(0, 10, 2))))
    session: dict[str, JsonValue] = {
        "acct_session_id": f"{_TEST_NAME}-{nonce}",
        "user_name": _TEST_NAME,
        "calling_station_id": mac,
        "framed_ip_address": NOBODYS_ADDRESS,
        "nas_port_id": _TEST_NAME,
        "audit_session_id": f"{_TEST_NAME}-{nonce}",
    }
    if nas.nas_identifier is not None:
        session["nas_identifier"] = nas.nas_identifier
    if nas.nas_ip_address is not None and ":" not in nas.nas_ip_address:
        session["nas_ip_address"] = nas.nas_ip_address
    asked = requests(profile, session)
    if not asked and address is not None and ":" not in address:
        # Some profiles ask for it always; elsewhere a guess would only be refused with 403
        asked = requests(profile, {**session, "nas_ip_address": address})
    return asked


def packet_of(request: Request, profile: Profile, secret: bytes, identifier: int, time_s: int) -> bytes:
    """The packet of a question, as the profile wants it."""
    return build_disconnect(
        attributes=[(one.number, one.octets) for one in request.attributes],
        code=request.code,
        secret=secret,
        identifier=identifier,
        event_timestamp_s=time_s if profile.event_timestamp else None,
        message_authenticator=profile.message_authenticator,
    )


def status_server(secret: bytes, identifier: int, authenticator: bytes) -> bytes:
    """A Status-Server: a random Request Authenticator (16 octets), and a Message-Authenticator (RFC 5997 section 3)."""
    empty = bytes((MESSAGE_AUTHENTICATOR, 2 + len(ZEROS)))
    header = bytes((STATUS_SERVER, identifier)) + (HEADER_OCTETS + len(empty) + len(ZEROS)).to_bytes(2)
    return header + authenticator + empty + message_authenticator(header, authenticator, empty + ZEROS, secret)


def is_reply(datagram: bytes, request: bytes, secret: bytes) -> bool:
    """Whether a datagram is an authentic answer to our request."""
    return isinstance(read_reply(datagram, request, secret), Reply)


def answers_status(datagram: bytes, request: bytes, secret: bytes) -> bool:
    """Whether a datagram is an authentic answer to our Status-Server; which Code it bears is the server's choice on this port."""
    length = check_framing(datagram)
    return not isinstance(length, Malformed) and datagram[1] == request[1] and verify_response(datagram[:length], request, secret) is None


def asks_for_the_next_set(reply: Reply) -> bool:
    """Whether the kicker, too, would try the profile's next attribute set after this reply."""
    row = ERROR_CAUSES.get(reply.error_cause or 0)
    return not reply.acknowledged and row is not None and row.follows == "next-set"


def finding_of_reply(reply: Reply, request: Request, round_trip_ms: float) -> Finding:
    """What an authentic answer tells."""
    row = ERROR_CAUSES.get(reply.error_cause or 0)
    name = "" if reply.error_cause is None else f" {reply.error_cause}" if row is None else f" {row.number} {row.name}"
    said = f"answered {'ACK' if reply.acknowledged else 'NAK'}{name} within {round_trip_ms:.0f} ms"
    if row is not None and row.follows == "gone":
        asked = f"{request.name} by {' + '.join(one.name for one in request.attributes)}"
        return Finding(WAY, ok=True, sentence=f"It {said} to a {asked}: it is alive, and the secret is right.")
    if reply.acknowledged:
        return Finding(
            WAY,
            ok=False,
            sentence=f"It {said} for a session that cannot exist. That is dangerous: its ACK says nothing, and it may match somebody"
            " else by what it takes. Look at which attributes it goes by, and choose its profile.",
        )
    if reply.error_cause is None:
        return Finding(WAY, ok=True, sentence=f"It {said}, without Error-Cause: it is alive, the secret is right, and it never says why.")
    if asks_for_the_next_set(reply):
        why = f"it refuses every attribute set of its profile; {row.sentence if row else ''} Choose another profile, or write one."
        return Finding(WAY, ok=False, sentence=f"It {said}: it is alive and the secret is right, but {why}")
    why = row.sentence if row is not None else "Curfew does not know this Error-Cause."
    return Finding(WAY, ok=False, sentence=f"It {said}: it is alive and the secret is right, but it would end no session. {why}")


def finding_of_refused(refused: RefusedReply, place: Place) -> Finding:
    """What a reply that must not be believed tells."""
    if refused in (RefusedReply.AUTHENTICATOR, RefusedReply.MESSAGE_AUTHENTICATOR):
        sentence = (
            f"Something at {place.address} port {place.port} answered, but its {refused} does not fit our secret: the secret is wrong."
            " Write the NAS's own one for disconnects as `secret`."
        )
    else:
        sentence = f"Something at {place.address} port {place.port} answers what is no answer to a Disconnect-Request ({refused})."
    return Finding(WAY, ok=False, sentence=sentence)


def finding_of_no_answer(why: NoAnswer, place: Place, detail: str = "") -> Finding:
    """What silence, or the system's word, tells."""
    match why:
        case "closed":
            sentence = (
                f"Port {place.port} at {place.address} is closed (ICMP port unreachable): nothing takes disconnects there."
                " Turn them on at the NAS, or write the port that it has as `port`."
            )
        case "unreachable":
            sentence = (
                f"Nothing can be sent to {place.address} from {place.source or 'here'}: {detail}. Look at the route and the firewall."
            )
        case "silent":
            sentence = (
                f"No answer from {place.address} port {place.port} within {place.wait_s:g} s, asked from {place.source}. A wrong secret, a"
                " NAS that does not know this address of ours, and a firewall all look like this."
            )
    return Finding(WAY, ok=False, sentence=sentence)


def finding_of_status(round_trip_ms: float | None) -> Finding:
    """What an answer to Status-Server tells, or that there was none."""
    if round_trip_ms is None:
        return Finding("status-server", ok=True, sentence="It does not answer Status-Server there; few NASes do, and none has to.")
    return Finding("status-server", ok=True, sentence=f"It answered Status-Server within {round_trip_ms:.0f} ms: the secret is right.")


def would_answer(port: int, configured_port: int) -> Finding:
    """What it tells that the NAS answers at another port, or (at the same one) with the secret of accounting."""
    if port != configured_port:
        return Finding(WAY, ok=False, sentence=f"At port {port} it answers: write port = {port}.")
    return Finding(WAY, ok=False, sentence="With the secret of accounting it answers: write that one as `secret` of `disconnect` too.")


def other_ports(port: int) -> tuple[int, ...]:
    """The ports of the field where a NAS might listen instead (RFC 5176 section 2.3 has 3799; 1700 was before it)."""
    return tuple(one for one in DISCONNECT_PORTS if one != port)
