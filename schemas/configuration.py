"""What runs where: the types of `curfew.toml`.

Only types, bounds and defaults live here; what must hold between values is in `configuration_check`, reading files and the environment
in `agents.settings`. Nothing in here may decide about a session: what decides stands in the policy, or is stamped onto the record by the
ingest (`interim_interval_s`), so that a replay of the journal needs no configuration.

Units stand last in the names: `_s` seconds, `_bytes` octets. An absent value is None.
"""

import functools
import ipaddress
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from schemas.secrets import Discreet
from schemas.session import DISCONNECT_FIELDS

Port = Annotated[int, Meta(ge=1, le=65535)]
Secret = Annotated[str, Meta(min_length=1, max_length=1024)]
Path = Annotated[str, Meta(min_length=1, max_length=4096)]
_KAFKA_NAME = "at most 100 letters, digits, dots, underscores and hyphens in quotes"
_REDIS_URL = 'a text that begins with "redis://", "rediss://" or "unix://"'
_REDIS_KEY = "at most 100 printable characters without blanks in quotes"
_URL = 'a text that begins with "https://" or "http://"'
_NAS_NAME = "a text of 1 to 128 characters without blanks and slashes"
_PROFILE = "the name of a profile in small letters, digits, dots and hyphens"
_INTERFACE = "the name of a network interface, at most 15 characters"
_NODE = "at most 128 letters, digits, dots, underscores and hyphens in quotes"
_MAC = 'a MAC address in quotes, like "02-00-5E-10-00-01"'
_ATTRIBUTE = 'the name of an attribute, like "Acct-Session-Id"'
_ASSIGNMENT = 'the name and the value of an attribute, like "Cisco-AVPair=subscriber:command=account-logoff"'
Via = Literal["radius", "radsec", "routeros", "coova-mqtt", "poll", "huawei-portal", "none"]
MacNotation = Literal[
    "as-sent",
    "AA-BB-CC-DD-EE-FF",
    "aa-bb-cc-dd-ee-ff",
    "AA:BB:CC:DD:EE:FF",
    "aa:bb:cc:dd:ee:ff",
    "AABB.CCDD.EEFF",
    "aabb.ccdd.eeff",
    "AABB-CCDD-EEFF",
    "aabb-ccdd-eeff",
    "AABBCCDDEEFF",
    "aabbccddeeff",
]
"""How a MAC address in Calling-Station-Id is to be written; `as-sent` leaves it as the NAS sent it."""
PACKAGED_PROFILES = (
    *("accel-ppp", "aruba", "aruba-instant", "cisco", "cisco-isg", "cisco-wlc", "coova", "default", "fortinet", "hostapd", "huawei"),
    *("juniper", "meraki", "mikrotik", "nokia", "ruckus", "strongswan", "unifi"),
)
"""The profiles that are there without any `[[profile]]`; the files are in `streams/profile_files`."""
ProfileName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64, description=_PROFILE)]
AttributeName = Annotated[str, Meta(min_length=1, max_length=64, description=_ATTRIBUTE)]
Assignment = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]*=.", max_length=320, description=_ASSIGNMENT)]


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Endpoint(NamedTuple):
    """Where to listen: an IPv4 or IPv6 address without brackets, and a port (0: the system chooses)."""

    address: str
    port: int


def endpoint(text: str) -> Endpoint:
    """`192.0.2.1:1813` or `[2001:db8::1]:1813` in its parts.

    Raises:
        ValueError: It is neither.
    """
    address, colon, port = text.rpartition(":")
    bracketed = address.startswith("[") and address.endswith("]")
    parsed = ipaddress.ip_address(address[1:-1] if bracketed else address)
    if not colon or bracketed != (parsed.version == 6) or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{text!r} is no address:port")
    return Endpoint(str(parsed), int(port))


class Kafka(Discreet, frozen=True):
    """`[kafka]`: the log that everything rests on.

    Attributes:
        bootstrap_servers: `host:port`, several with commas; None starts the embedded broker.
        partitions: Of every topic keyed by identity; fixed for good once the topics exist.
        replication_factor: Of every topic.
        topic_prefix: Stands before every topic, consumer group and transactional id: several installations on one cluster.
        client_id: How the brokers' logs and quotas name us.
        security_protocol: As Kafka's clients call it.
        sasl_mechanism: Used with the two SASL protocols.
        sasl_username: Likewise.
        sasl_password: Likewise; or `sasl_password_file`, whose one line it is.
        sasl_password_file: Path, relative to the configuration.
        ssl_cafile: Path of the PEM file with the authorities to trust, relative to the configuration; None trusts the system's.
    """

    bootstrap_servers: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    partitions: Annotated[int, Meta(ge=1, le=512)] = 8
    replication_factor: Annotated[int, Meta(ge=1, le=15)] = 1
    topic_prefix: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]*$", max_length=100, description=_KAFKA_NAME)] = ""
    client_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$", max_length=100, description=_KAFKA_NAME)] = "curfew"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    sasl_password: Secret | None = None
    sasl_password_file: Path | None = None
    ssl_cafile: Path | None = None


class Broker(msgspec.Struct, frozen=True):
    """`[broker]`: the embedded Kafka, used when `[kafka] bootstrap_servers` is left out.

    Attributes:
        data_dir: Path of its data, relative to the configuration.
        port: TCP, on 127.0.0.1.
    """

    data_dir: Path = "var/kafka"
    port: Port = 9092


class Ingest(msgspec.Struct, frozen=True):
    """`[ingest]`: RADIUS accounting in.

    Attributes:
        listen: `address:port`, IPv6 in brackets; port 0 lets the system choose. An IPv6 socket takes IPv6 only.
        processes: Processes that share those ports.
        receive_buffer_bytes: SO_RCVBUF asked for, per socket.
        max_unanswered: Packets waiting for Kafka's acknowledgement in one process; beyond it the oldest is dropped unanswered.
        tick_s: Seconds between two ticks into each partition.
        duplicate_cache_s: Seconds for which an answer is kept for the same packet coming again.
        talk_window_s: A NAS not heard for longer has ceased to talk, where its interim interval is neither told nor learned, or shorter.
        radsec: Where accounting over TLS is taken (RFC 6614), as in `listen`; port 2083 in the field. Wants `[tls]`.
        radsec_connections: Connections that one process has at a time, those that are only being made among them; the next is closed.
        radsec_idle_s: A connection on which nothing came for longer is closed.
        radsec_reverse: Directory, relative to the configuration, through which a kicker of the same machine and user reaches NASes over
            their own connections (`reverse` of `disconnect`); None: it does not.
    """

    listen: Annotated[tuple[str, ...], Meta(min_length=1, max_length=64)] = ("127.0.0.1:1813",)
    processes: Annotated[int, Meta(ge=1, le=256)] = 1
    receive_buffer_bytes: Annotated[int, Meta(ge=65_536, le=1_073_741_824)] = 2_097_152
    max_unanswered: Annotated[int, Meta(ge=1, le=10_000_000)] = 20_000
    tick_s: Annotated[float, Meta(ge=0.05, le=60)] = 1.0
    duplicate_cache_s: Annotated[float, Meta(ge=0, le=300)] = 15.0
    talk_window_s: Annotated[float, Meta(ge=1, le=86_400)] = 60.0
    radsec: Annotated[tuple[str, ...], Meta(max_length=64)] = ()
    radsec_connections: Annotated[int, Meta(ge=1, le=65_536)] = 1024
    radsec_idle_s: Annotated[float, Meta(ge=1, le=604_800)] = 3600.0
    radsec_reverse: Path | None = None


class Identity(msgspec.Struct, frozen=True):
    r"""`[identity]`: who a record is about.

    Attributes:
        strip_realms: `user@realm` and `REALM\user` are `user` for these realms, whatever their case.
        not_an_identity: Shell patterns, case-folded; a User-Name that matches one is nobody's, and the next attribute is asked.
    """

    strip_realms: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=253)], ...], Meta(max_length=10_000)] = ()
    not_an_identity: Annotated[tuple[Annotated[str, Meta(max_length=253)], ...], Meta(max_length=1000)] = ("anonymous*", "")


class Worker(msgspec.Struct, frozen=True):
    """`[worker]`: the session agent.

    Attributes:
        processes: Worker processes of `curfew up` and `curfew worker`; they share the partitions.
        checkpoint_s: Seconds between two checkpoints of a partition.
        checkpoint_rows: Rows touched after which a checkpoint is taken at once.
        session_timeout_s: Seconds without a heartbeat after which Kafka gives a worker's partitions to others.
    """

    processes: Annotated[int, Meta(ge=1, le=256)] = 1
    checkpoint_s: Annotated[float, Meta(ge=0.05, le=60)] = 1.0
    checkpoint_rows: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    session_timeout_s: Annotated[float, Meta(ge=1, le=300)] = 10.0


class Kicker(msgspec.Struct, frozen=True):
    """`[kicker]`: Disconnect-Requests out (RFC 5176).

    Attributes:
        source: The address to send from; ports are chosen.
        ports: Source ports: each allows 256 requests at a time (RFC 5176 section 6.3).
        in_flight_per_nas: Requests that one NAS may have unanswered; the others wait in its own queue.
    """

    source: str = "0.0.0.0"  # noqa: S104 - the system's choice of address by route, nothing listens for strangers
    ports: Annotated[int, Meta(ge=1, le=1024)] = 16
    in_flight_per_nas: Annotated[int, Meta(ge=1, le=4096)] = 32


class Http(Discreet, frozen=True):
    """`[http]`: health, metrics and look-ups.

    Attributes:
        listen: `address:port`, IPv6 in brackets; port 0 lets the system choose; an empty text turns HTTP off.
        token: Bearer token of everything that changes something; None: that is not there. Or `token_file`, whose one line it is.
        token_file: Path, relative to the configuration.
    """

    listen: str = "127.0.0.1:8181"
    token: Secret | None = None
    token_file: Path | None = None


class Redis(Discreet, frozen=True):
    """`[redis]`: the projection for look-ups.

    Attributes:
        url: `redis://host:port/database`, `rediss://` or `unix://`; None projects nothing.
        password: Where it asks for one; or `password_file`, whose one line it is.
        password_file: Path, relative to the configuration.
        key_prefix: Stands before every key: several installations in one database.
        timeout_s: Seconds after which a Redis that does not answer counts as away.
    """

    url: Annotated[str, Meta(pattern=r"^(redis|rediss|unix)://", max_length=4096, description=_REDIS_URL)] | None = None
    password: Secret | None = None
    password_file: Path | None = None
    key_prefix: Annotated[str, Meta(pattern=r"^[!-~]*$", max_length=100, description=_REDIS_KEY)] = "curfew:"
    timeout_s: Annotated[float, Meta(ge=0.05, le=60)] = 2.0


class Admission(msgspec.Struct, frozen=True):
    """`[admission]`: the check before a login.

    Attributes:
        reservation_s: Seconds for which a slot is kept for somebody who was let in and has not started yet.
        reservations_per_user: So many at most; the oldest makes room.
        redirect: Where a user who is refused may free a slot, for the answer's `redirect`; None: nowhere.
        nice: Priority of the projector among processes that want a processor, as of nice(1), once it answers: somebody waits at a login.
    """

    reservation_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    reservations_per_user: Annotated[int, Meta(ge=1, le=10_000)] = 64
    redirect: Annotated[str, Meta(pattern=r"^https?://", max_length=2048, description=_URL)] | None = None
    nice: Annotated[int, Meta(ge=-20, le=19)] = -19


class ProberInterface(msgspec.Struct, frozen=True):
    """`interfaces` of `[prober]`: on which segment the devices of some NASes are.

    Attributes:
        interface: its name on this machine.
        nas: Shell pattern of NAS names; the first that matches holds.
    """

    interface: Annotated[str, Meta(pattern=r"^[^/\s]+$", max_length=15, description=_INTERFACE)]
    nas: Annotated[str, Meta(min_length=1, max_length=253)] = "*"


class Prober(msgspec.Struct, frozen=True):
    """`[prober]`: asks devices that fell silent by ARP and neighbour discovery, where the policy's liveness rule says `probe = "arp"`.

    Attributes:
        interfaces: where; none: nobody is asked.
    """

    interfaces: Annotated[tuple[ProberInterface, ...], Meta(max_length=1_000)] = ()


class Pickup(msgspec.Struct, frozen=True):
    """`[pickup]`: where devices that poll (`via = "poll"`) fetch their disconnects and report; served by the kicker.

    Attributes:
        listen: `address:port`, IPv6 in brackets; port 0 lets the system choose; an empty text turns it off.
    """

    listen: str = ""


class Portal(msgspec.Struct, frozen=True):
    """`[portal]`: what NASes of Huawei's Portal protocol send of themselves (`via = "huawei-portal"`); taken by the kicker.

    Attributes:
        listen: `address:port` (UDP, 50100 in the field), IPv6 in brackets; port 0 lets the system choose; an empty text turns it off.
    """

    listen: str = ""


class Tls(Discreet, frozen=True):
    """`[tls]`: who we are towards NASes that speak RADIUS over TLS, and whose certificates are believed (RFC 6614 section 2.3).

    Attributes:
        certfile: Path of the PEM file with our certificate, and what stands between it and the authority; relative to the configuration.
        keyfile: Path of the PEM file with its key, without a password.
        cafile: Path of the PEM file with the authorities that vouch for NASes; the system's are not asked.
        secret: What stands for the shared secret inside of TLS; None is "radsec", to which RFC 6614 section 2.3 fixes it. Or `secret_file`.
        secret_file: Path of a file whose one line it is, relative to the configuration.
    """

    certfile: Path | None = None
    keyfile: Path | None = None
    cafile: Path | None = None
    secret: Secret | None = None
    secret_file: Path | None = None


RADSEC_SECRET = "radsec"  # noqa: S105 - RFC 6614 section 2.3: the same for everybody, since TLS proves who it is
RADSEC_PORT = 2083


class Disconnect(Discreet, frozen=True):
    """`disconnect` of a NAS: how a session is ended there.

    Attributes:
        via: The way: `radius` is RFC 5176; `none` says that there is none.
        address: Where to, IPv4 or IPv6; wanted by every way that calls the NAS itself.
        port: UDP, with `radius`; None: the profile's. UDP, with `huawei-portal`; None: 2000. TCP, with `routeros`; None: 8728, or 8729
            with `tls`. TCP, with `radsec`; None: 2083.
        secret: Of RFC 5176; no default, also not the accounting secret: without one the result is `no-secret`. Or `secret_file`. Also the
            shared key of `huawei-portal`, and the bearer token of `poll`. With `radsec` None is that of `[tls]`.
        secret_file: Path of a file whose one line it is, relative to the configuration.
        profile: Which attributes go, in which notation.
        user: For `routeros` and `coova-mqtt`.
        password: Likewise; or `password_file`.
        password_file: Path, relative to the configuration.
        tls: Whether those speak TLS.
        broker: `host:port` of the MQTT broker, for `coova-mqtt`.
        node: What `coova-mqtt` and `poll` call the NAS.
        node_mac: The node's own MAC address, for `coova-mqtt`: a node leaves alone what bears another one.
        mesh: The SSID of the mesh that the node is part of, for `coova-mqtt`; None: it is an access point by itself.
        tls_cafile: Path of the PEM file with the authorities to trust, relative to the configuration, with `tls`; None: the system's. With
            `radsec` None is that of `[tls]`.
        poll_interval_s: How often the device comes by, for `poll`.
        tls_name: The name that the peer's certificate bears, with `tls`, for `routeros`, and for `radsec`; None: its `address`.
        tls_verify: Whether the peer has to prove by its certificate that it is who it should be, with `tls`, for `routeros`.
        tls_certfile: Path of the PEM file with the certificate that we show this NAS, with `radsec`; None: that of `[tls]`.
        tls_keyfile: Path of the PEM file with its key.
        reverse: Whether the NAS is asked over the connection it has made for its accounting, with `radsec`; it needs no `address` then.
    """

    via: Via = "radius"
    address: str | None = None
    port: Port | None = None
    secret: Secret | None = None
    secret_file: Path | None = None
    profile: ProfileName = "default"
    user: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    password: Secret | None = None
    password_file: Path | None = None
    tls: bool = False
    broker: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    node: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$", max_length=128, description=_NODE)] | None = None
    node_mac: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{2}([-:][0-9A-Fa-f]{2}){5}$", max_length=17, description=_MAC)] | None = None
    mesh: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    tls_cafile: Path | None = None
    poll_interval_s: Annotated[int, Meta(ge=1, le=60)] = 60
    tls_name: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    tls_verify: bool = True
    tls_certfile: Path | None = None
    tls_keyfile: Path | None = None
    reverse: bool = False


class Nas(Discreet, frozen=True):
    """`[[nas]]`: one network access server.

    Attributes:
        name: The NAS's name everywhere: keys, events, commands. No slash, since the session's key is NAS/session.
        addresses: Networks that its packets come from; the most specific one of all NASes wins.
        nas_identifier: NAS-Identifier (RFC 2865 section 5.32) that its records carry: tells several NASes behind one address apart.
        nas_ip_address: NAS-IP-Address or NAS-IPv6-Address (RFC 2865 section 5.4, RFC 3162 section 2.1), likewise.
        secret: Shared secret for accounting (RFC 2865 section 3); NASes of the same network share it. Or `secret_file`.
        secret_file: Path of a file whose one line it is, relative to the configuration.
        require_message_authenticator: Whether packets without Message-Authenticator are refused (RFC 2869 section 5.14).
        disconnect: How its sessions are ended; None: they cannot be.
        interim_interval_s: The Acct-Interim-Interval it was told (RFC 2869 section 5.16); None: observed.
        tls_name: A name in the certificate that it shows over TLS (`[ingest] radsec`); without it nobody from `addresses` is believed to be
            it. With one and no `secret` it is never believed over UDP. None: any certificate of the authorities in `[tls]` will do.
    """

    name: Annotated[str, Meta(pattern=r"^[^/\s]+$", max_length=128, description=_NAS_NAME)]
    addresses: Annotated[tuple[str, ...], Meta(min_length=1, max_length=10_000)]
    nas_identifier: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    nas_ip_address: str | None = None
    secret: Secret | None = None
    secret_file: Path | None = None
    require_message_authenticator: bool = False
    disconnect: Disconnect | None = None
    interim_interval_s: Annotated[int, Meta(ge=1, le=604_800)] | None = None
    tls_name: Annotated[str, Meta(min_length=1, max_length=253)] | None = None


@functools.lru_cache(maxsize=256)  # asked for each attribute of each request
def attribute_field(name: str) -> str | None:
    """The field that a session keeps a RADIUS attribute in, whatever the case of its name; None: nothing to ask a NAS by is kept of it."""
    field = name.lower().replace("-", "_")
    return field if field in DISCONNECT_FIELDS else None


class AttributeSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[profile.attempt]]`: what one attempt sends.

    Attributes:
        require: Attribute names without which it is not tried; at least one, so that no request says less than whom it means.
        also: Attribute names that go with them where the session has them.
        request: `coa` sends a CoA-Request instead of a Disconnect-Request, for NASes that end a session by one.
        send: Attributes that go as they stand here, `NAME=VALUE`; a CoA-Request has at least one, which says what is to be done.
    """

    require: Annotated[tuple[AttributeName, ...], Meta(min_length=1, max_length=16)]
    also: Annotated[tuple[AttributeName, ...], Meta(max_length=16)] = ()
    request: Literal["disconnect", "coa"] = "disconnect"
    send: Annotated[tuple[Assignment, ...], Meta(max_length=8)] = ()


class ProfileChange(msgspec.Struct, frozen=True):
    """`[[profile]]`: a kind of NAS of one's own, or another opinion about a known one.

    Attributes:
        name: For `profile` of a NAS; the name of a known one replaces that.
        extends: A known profile, or one that stands before this: what is not said here is as there.
        doc: One sentence for people.
        port: UDP, where the NAS has none of its own.
        calling_station_id: The notation of a MAC address in Calling-Station-Id.
        event_timestamp: Whether Event-Timestamp is sent (RFC 5176 section 3.3).
        message_authenticator: Whether Message-Authenticator is sent (RFC 5176 section 3.4).
        attempt: The attribute sets in the order in which they are tried; all of them, nothing is added to those of `extends`.
    """

    name: ProfileName
    extends: ProfileName = "default"
    doc: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    port: Port | None = None
    calling_station_id: MacNotation | None = None
    event_timestamp: bool | None = None
    message_authenticator: bool | None = None
    attempt: Annotated[tuple[AttributeSet, ...], Meta(min_length=1, max_length=8)] | None = None


class Configuration(msgspec.Struct, frozen=True):
    """The whole of `curfew.toml`. `[[nas]]` is `nas`, `[[profile]]` `profile`, in the order of the file; without a file there is none."""

    kafka: Kafka = Kafka()
    broker: Broker = Broker()
    ingest: Ingest = Ingest()
    identity: Identity = Identity()
    worker: Worker = Worker()
    kicker: Kicker = Kicker()
    prober: Prober = Prober()
    http: Http = Http()
    pickup: Pickup = Pickup()
    portal: Portal = Portal()
    tls: Tls = Tls()
    redis: Redis = Redis()
    admission: Admission = Admission()
    nas: Annotated[tuple[Nas, ...], Meta(max_length=100_000)] = ()
    profile: Annotated[tuple[ProfileChange, ...], Meta(max_length=1_000)] = ()
