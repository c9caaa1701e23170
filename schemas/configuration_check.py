"""Whether a `curfew.toml` makes sense: what must hold between its values, beyond the types and bounds of `configuration`.

Pure: the text, the environment and the contents of secret files are arguments. Every finding of a file comes at once, with line, column
and what to write instead; values that are wrong by themselves are left out of the checks between values.
"""

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from schemas.configuration import (
    PACKAGED_PROFILES,
    Address,
    AttributeSet,
    Configuration,
    Disconnect,
    Http,
    Ingest,
    Kafka,
    Kicker,
    Nas,
    Network,
    Pickup,
    Portal,
    ProfileChange,
    Redis,
    Tls,
    Via,
    attribute_field,
    endpoint,
)
from schemas.errors import Checked, Problem, in_order
from schemas.secrets import without_login
from schemas.session import DISCONNECT_FIELDS
from schemas.toml_reader import Reader, bare, known_keys, label
from schemas.toml_source import Path, Source, parse

_CALLS_THE_NAS = ("radius", "radsec", "routeros", "huawei-portal")
_WANTS: Mapping[Via, Mapping[str, str]] = {
    "coova-mqtt": {
        "broker": "Add `broker`, host:port of the MQTT broker.",
        "node": "Add `node`, the node's or access point's number in RADIUSdesk.",
        "node_mac": "Add `node_mac`, the node's own MAC address, as RADIUSdesk shows it.",
    },
    "poll": {"node": "Add `node`, the name under which the device comes by."},
    "routeros": {"user": "Add `user`: a user of the router whose group has the policies api, read and write."},
}
"""What a way cannot do without, and the remedy."""
_SECRET_REMEDY: Mapping[Via, str] = {
    "radius": "Add `secret` or `secret_file`, also where it is the accounting secret.",
    "huawei-portal": "Add `secret` or `secret_file`: the key that the NAS shares with its portal server.",
    "poll": "Add `secret` or `secret_file`: the bearer token that the device shows.",
}
_TLS_PEER: Mapping[Via, str] = {
    "coova-mqtt": "name the broker's port for it",
    "routeros": "give the router's api-ssl service a certificate",
}
_VARIABLE_START = "CURFEW_"
_KAFKA_VARIABLE = "KAFKA_BOOTSTRAP_SERVERS"
_REDIS_URL = re.compile(
    r"unix://.*|rediss?://(?:[^@/?#]*@)?(?:\[[0-9A-Fa-f:.]+\]|[^@:/?#\[\]]*)(?::([0-9]{1,5}))?(?:/[0-9]{0,4})?(?:\?[^#]*)?"
)
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})", re.ASCII)


def check_configuration(text: str, file: str, environment: Mapping[str, str] | None = None) -> Checked[Configuration]:
    """Check a `curfew.toml`.

    Args:
        text: What the file holds; an empty text is a configuration of defaults.
        file: Its name, for the findings.
        environment: Variables: `CURFEW_<SECTION>_<KEY>` and `KAFKA_BOOTSTRAP_SERVERS` go over the file; lists with commas.

    Returns:
        The configuration unless there was an error, and the findings. Secret files are not read: `agents.settings` does that.
    """
    source = parse(text, file)
    if isinstance(source, Problem):
        return Checked(None, (source,))
    reader = Reader(source)
    reader.problems.extend(apply_environment(source, environment or {}))
    configuration = reader.read(Configuration, source.tables)
    for path, value in list(reader.built.items()):
        if check := _CHECKS.get(type(value)):
            reader.problems.extend(check(source, path, value))
    nases = dict(reader.every(Nas))
    reader.problems.extend(_names(source, nases))
    reader.problems.extend(check_shared_networks(source, nases))
    reader.problems.extend(_profiles(source, dict(reader.every(ProfileChange)), dict(reader.every(Disconnect))))
    reader.problems.extend(_pickup_nodes(source, nases, is_served=any(pickup.listen for _, pickup in reader.every(Pickup))))
    ingest = next((ingest for _, ingest in reader.every(Ingest)), Ingest())
    reader.problems.extend(_radsec(source, nases, next((tls for _, tls in reader.every(Tls)), Tls()), ingest))
    if "nas" not in source.tables:
        remedy = "Add a [[nas]] with `name`, `addresses` and `secret`."
        message = "no [[nas]]: every packet would come from an unknown source and get no answer"
        reader.problems.append(source.key_problem((), message, remedy, "warning"))
    return in_order(configuration, reader.problems)


def check_shared_networks(source: Source, nases: Mapping[Path, Nas]) -> Iterator[Problem]:
    """NASes of one network: told apart by what their records carry, and with one secret (RFC 2865 section 3).

    Asked again when secret files have been read; a NAS whose secret is not known yet is not compared.
    """
    first: dict[Network, tuple[Path, Nas]] = {}
    claims: dict[tuple[Network, str | None, Address | None, str | None], tuple[Path, Nas]] = {}
    for path, nas in nases.items():
        for network, place in {network: place for place, network in _networks(path, nas)}.items():
            address = ipaddress.ip_address(nas.nas_ip_address) if nas.nas_ip_address and _is_address(nas.nas_ip_address) else None
            by_certificate = nas.tls_name if nas.secret is None and nas.secret_file is None else None
            other_path, other = claims.setdefault((network, nas.nas_identifier, address, by_certificate), (path, nas))
            if other_path != path:
                line = source.line((*other_path, "addresses"))
                message = f'"{nas.name}" claims {network} as "{other.name}" does (line {line}), and nothing tells them apart'
                yield source.value_problem(
                    place, message, "Give each a `nas_identifier` or `nas_ip_address` of its own, or other addresses."
                )
            if nas.secret is None:
                continue
            other_path, other = first.setdefault(network, (path, nas))
            if other.secret != nas.secret:
                key = "secret_file" if nas.secret_file else "secret"
                message = f'"{nas.name}" has another secret than "{other.name}" on {network}'
                remedy = "Give both the same secret: it is chosen by the source address alone (RFC 2865 section 3)."
                yield source.value_problem((*path, key), message, remedy)


def apply_environment(source: Source, environment: Mapping[str, str]) -> list[Problem]:
    """Put variables over the file's values, and give the finding for each that names no key."""
    sections = {key: kind for key, field in known_keys(Configuration).items() if isinstance(kind := bare(field.type), inspect.StructType)}
    known = {
        f"{_VARIABLE_START}{section}_{key}".upper(): (section, key) for section, kind in sections.items() for key in known_keys(kind.cls)
    }
    problems = []
    if environment.get(_KAFKA_VARIABLE):
        source.override("kafka", "bootstrap_servers", environment[_KAFKA_VARIABLE], _KAFKA_VARIABLE)
    for variable, text in sorted(environment.items()):
        section = variable.removeprefix(_VARIABLE_START).partition("_")[0].lower()
        if not variable.startswith(_VARIABLE_START) or section not in sections:
            continue
        if variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            remedy = f"Set {near[0]}, or unset it." if near else "Unset it."
            message = "this environment variable names no key of the configuration"
            problems.append(Problem("error", variable, 0, 0, message, remedy))
        else:
            section, key = known[variable]
            source.override(section, key, _from_text(bare(known_keys(sections[section].cls)[key].type), text), variable)
    return problems


def _from_text(kind: inspect.Type, text: str) -> object:
    """A variable's text as the TOML value that the key wants; what does not read as one is left for the check to refuse."""
    if isinstance(kind, inspect.VarTupleType):
        return [part.strip() for part in text.split(",")] if text else []
    if isinstance(kind, inspect.StrType | inspect.LiteralType):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _kafka(source: Source, path: Path, kafka: Kafka) -> Iterator[Problem]:
    servers = [] if kafka.bootstrap_servers is None else [server.strip() for server in kafka.bootstrap_servers.split(",")]
    for server in servers:
        if not _is_host_and_port(server):
            message = f'`kafka.bootstrap_servers`: "{without_login(server)}" is no host:port'
            yield source.value_problem((*path, "bootstrap_servers"), message, 'Write "host:port", several with commas between them.')
    if not servers and kafka.replication_factor > 1:
        message = f"`kafka.replication_factor` cannot be {kafka.replication_factor} with the embedded broker, which is one node"
        yield source.value_problem((*path, "replication_factor"), message, "Write 1, or set `bootstrap_servers` to a cluster.")
    yield from _one_of(source, path, kafka, "sasl_password")
    if kafka.security_protocol.startswith("SASL") and not (kafka.sasl_username and (kafka.sasl_password or kafka.sasl_password_file)):
        message = f'`kafka.security_protocol` "{kafka.security_protocol}" wants a user name and a password'
        yield source.value_problem(
            (*path, "security_protocol"), message, "Add `sasl_username` and `sasl_password_file` (or `sasl_password`)."
        )
    if (kafka.security_protocol, kafka.sasl_mechanism) == ("SASL_PLAINTEXT", "PLAIN"):
        message = "`kafka.security_protocol` is without TLS: the password crosses the network in the clear"
        remedy = 'Write "SASL_SSL", or take a `sasl_mechanism` that does not send it: "SCRAM-SHA-512".'
        yield source.value_problem((*path, "security_protocol"), message, remedy, "warning")


def _ingest(source: Source, path: Path, ingest: Ingest) -> Iterator[Problem]:
    yield from _listen_at(source, (*path, "listen"), ingest.listen)
    yield from _listen_at(source, (*path, "radsec"), ingest.radsec)


def _listen_at(source: Source, path: Path, addresses: tuple[str, ...]) -> Iterator[Problem]:
    """Several addresses to listen at by the same protocol."""
    taken: list[tuple[str, Address, int]] = []
    for index, text in enumerate(addresses):
        place = (*path, index)
        try:
            address, port = endpoint(text)
        except ValueError:
            yield _no_endpoint(source, place, text)
            continue
        parsed = ipaddress.ip_address(address)
        for other, other_address, other_port in taken:
            same = parsed == other_address or parsed.is_unspecified or other_address.is_unspecified
            if port and port == other_port and parsed.version == other_address.version and same:
                message = f'`{label(path)}`: "{text}" overlaps "{other}"'
                yield source.value_problem(
                    place, message, "Remove one of the two, or give it another port: each packet must have one way in."
                )
        taken.append((text, parsed, port))


def _http(source: Source, path: Path, http: Http) -> Iterator[Problem]:
    yield from _listen(source, path, http)
    yield from _one_of(source, path, http, "token")


def _redis(source: Source, path: Path, redis: Redis) -> Iterator[Problem]:
    yield from _one_of(source, path, redis, "password")
    if redis.url is not None and not _is_redis_url(redis.url):
        message = "`redis.url` cannot be taken apart: a password in it has to be percent-encoded, and a database is a number"
        yield source.value_problem((*path, "url"), message, "Write redis://HOST:PORT/DATABASE, and the password as `password_file`.")


def _listen(source: Source, path: Path, section: Http | Pickup | Portal) -> Iterator[Problem]:
    """One address to listen at; an empty text is none."""
    try:
        endpoint(section.listen or "127.0.0.1:0")
    except ValueError:
        yield _no_endpoint(source, (*path, "listen"), section.listen)


def _kicker(source: Source, path: Path, kicker: Kicker) -> Iterator[Problem]:
    if not _is_address(kicker.source):
        yield _no_address(source, (*path, "source"), kicker.source)


def _tls(source: Source, path: Path, tls: Tls) -> Iterator[Problem]:
    yield from _one_of(source, path, tls, "secret")
    yield from _pair(source, path, tls, ("certfile", "keyfile"))


def _nas(source: Source, path: Path, nas: Nas) -> Iterator[Problem]:
    yield from _one_of(source, path, nas, "secret")
    if nas.secret is None and nas.secret_file is None and nas.tls_name is None:
        message = f'"{nas.name}" has no secret'
        yield source.key_problem(path, message, "Add `secret`, or `secret_file` with the path of a file that holds it.")
    if nas.nas_ip_address is not None and not _is_address(nas.nas_ip_address):
        yield _no_address(source, (*path, "nas_ip_address"), nas.nas_ip_address)
    readable = {place for place, _ in _networks(path, nas)}
    for index, text in enumerate(nas.addresses):
        if (place := (*path, "addresses", index)) not in readable:
            yield source.value_problem(place, f'`nas.addresses`: "{text}" is no address or network', _network_remedy(text))


def _disconnect(source: Source, path: Path, disconnect: Disconnect) -> Iterator[Problem]:
    yield from _one_of(source, path, disconnect, "secret")
    yield from _one_of(source, path, disconnect, "password")
    via = disconnect.via
    if disconnect.address is not None and not _is_address(disconnect.address):
        yield _no_address(source, (*path, "address"), disconnect.address)
    if disconnect.address is None and via in _CALLS_THE_NAS and not (via == "radsec" and disconnect.reverse):
        yield source.key_problem(
            path, "`nas.disconnect` has no `address`", 'Add `address`, where the NAS takes disconnects, or write via = "none".'
        )
    if via in _SECRET_REMEDY and disconnect.secret is None and disconnect.secret_file is None:
        message = "`nas.disconnect` has no secret: every disconnect there ends as no-secret"
        yield source.key_problem(path, message, _SECRET_REMEDY[via], "warning")
    for key, remedy in _WANTS.get(via, {}).items():
        if getattr(disconnect, key) is None:
            yield source.key_problem(path, f"`nas.disconnect` has no `{key}`", remedy)
    if via == "routeros":
        yield from _routeros(source, path, disconnect)
    if not disconnect.tls and (via == "routeros" or (via == "coova-mqtt" and (disconnect.password or disconnect.password_file))):
        message = "`nas.disconnect` is without TLS: the password crosses the network in the clear"
        yield source.key_problem(path, message, f"Add tls = true, and {_TLS_PEER[via]}.", "warning")
    yield from _pair(source, path, disconnect, ("tls_certfile", "tls_keyfile"))
    if via == "radsec" and not disconnect.tls_verify:
        message = "`nas.disconnect.tls_verify` cannot be false with radsec: nothing but its certificate says who it is"
        yield source.value_problem((*path, "tls_verify"), message, "Remove it, and name the NAS's authority in `tls_cafile` or [tls].")
    if via == "huawei-portal" and disconnect.address is not None and ":" in disconnect.address:
        message = f'`nas.disconnect.address`: "{disconnect.address}" is no IPv4 address, and the Portal protocol knows no other'
        yield source.value_problem((*path, "address"), message, 'Write an IPv4 address, like "192.0.2.1".')
    if disconnect.broker is not None and not _is_host_and_port(disconnect.broker):
        message = f'`nas.disconnect.broker`: "{without_login(disconnect.broker)}" is no host:port'
        yield source.value_problem((*path, "broker"), message, 'Write "host:port", as "mqtt.example.net:1883", or 8883 with TLS.')


def _routeros(source: Source, path: Path, disconnect: Disconnect) -> Iterator[Problem]:
    """What may be meant and is worth saying: RouterOS allows an empty password, and its API stands open beside the one with TLS."""
    if disconnect.password is None and disconnect.password_file is None:
        yield source.key_problem(
            path, "`nas.disconnect` has no password: an empty one is sent", "Add `password_file` or `password`.", "warning"
        )
    if disconnect.tls and not disconnect.tls_verify:
        message = "`nas.disconnect.tls_verify` is false: whoever stands between can take the password"
        yield source.value_problem((*path, "tls_verify"), message, "Name the router's authority in `tls_cafile` instead.", "warning")


def _attribute_set(source: Source, path: Path, attempt: AttributeSet) -> Iterator[Problem]:
    for key in ("require", "also"):
        for index, name in enumerate(getattr(attempt, key)):
            if attribute_field(name) is None:
                known = [field.replace("_", "-").title().replace("Nas", "NAS").replace("Ip", "IP") for field in DISCONNECT_FIELDS]
                message = f'`{label(path)}.{key}`: "{name}" is not kept of a session'
                yield source.value_problem((*path, key, index), message, _write_one_of(name, known))
    if attempt.request == "coa" and not attempt.send:
        remedy = 'Add `send` with what the NAS is to do, like ["Cisco-AVPair=subscriber:command=account-logoff"].'
        yield source.value_problem((*path, "request"), f"`{label(path)}`: a CoA-Request that says nothing changes nothing", remedy)


_CHECKS: dict[type, Callable[[Source, Path, Any], Iterator[Problem]]] = {
    Kafka: _kafka,
    Ingest: _ingest,
    Http: _http,
    Redis: _redis,
    Pickup: _listen,
    Portal: _listen,
    Kicker: _kicker,
    Tls: _tls,
    Nas: _nas,
    Disconnect: _disconnect,
    AttributeSet: _attribute_set,
}


def _profiles(source: Source, changes: Mapping[Path, ProfileChange], ways: Mapping[Path, Disconnect]) -> Iterator[Problem]:
    """Each profile stands on one before it, and each NAS names one that is there."""
    own: dict[str, Path] = {}
    for path, change in changes.items():
        known = [*PACKAGED_PROFILES, *own]
        if change.extends not in known:
            message = f'`profile.extends`: there is no profile "{change.extends}" before this one'
            yield source.value_problem((*path, "extends"), message, _write_one_of(change.extends, known))
        if change.name in own:
            message = f'`profile.name`: "{change.name}" is taken (line {source.line((*own[change.name], "name"))})'
            yield source.value_problem((*path, "name"), message, "Give each profile a name of its own.")
        own.setdefault(change.name, path)
    known = [*PACKAGED_PROFILES, *own]
    tables = source.tables.get("profile")
    wrong = [table.get("name") for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
    for path, way in ways.items():
        if way.profile not in (*known, *wrong):
            message = f'`nas.disconnect.profile`: there is no profile "{way.profile}"'
            yield source.value_problem((*path, "profile"), message, _write_one_of(way.profile, known))


def _write_one_of(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f'Write "{near[0]}".' if near else f"Write one of {', '.join(known)}."


def _names(source: Source, nases: Mapping[Path, Nas]) -> Iterator[Problem]:
    first: dict[str, Path] = {}
    for path, nas in nases.items():
        other = first.setdefault(nas.name, path)
        if other != path:
            message = f'`nas.name`: "{nas.name}" is taken (line {source.line((*other, "name"))})'
            yield source.value_problem(
                (*path, "name"), message, "Give each NAS a name of its own: it is the key of its sessions and commands."
            )


def _pickup_nodes(source: Source, nases: Mapping[Path, Nas], *, is_served: bool) -> Iterator[Problem]:
    """Devices that poll have a name each, and a place to come to."""
    first: dict[str, Path] = {}
    for path, nas in nases.items():
        way = nas.disconnect
        if way is None or way.via != "poll" or way.node is None:
            continue
        other = first.setdefault(way.node, path)
        if other != path:
            message = f'`nas.disconnect.node`: "{way.node}" is taken (line {source.line((*other, "disconnect", "node"))})'
            yield source.value_problem((*path, "disconnect", "node"), message, "Give each device that polls a name of its own.")
        if not is_served:
            message = f'"{nas.name}" polls, but `pickup.listen` names no place to come to: every disconnect there ends as unsupported'
            yield source.value_problem((*path, "disconnect", "via"), message, 'Add [pickup] with listen = "0.0.0.0:8182".', "warning")


def _radsec(source: Source, nases: Mapping[Path, Nas], tls: Tls, ingest: Ingest) -> Iterator[Problem]:
    """Whoever speaks TLS has a certificate, and somebody who vouches for the other side."""
    listens, reverse = bool(ingest.radsec), ingest.radsec_reverse
    if listens:
        for key in ("certfile", "keyfile", "cafile"):
            if getattr(tls, key) is None:
                yield source.key_problem(("ingest", "radsec"), f"`ingest.radsec` wants `tls.{key}`", _TLS_REMEDY[key])
    for path, nas in nases.items():
        if nas.tls_name is not None and not listens:
            message = f'"{nas.name}" has a `tls_name`, but `ingest.radsec` names no place to come to'
            yield source.value_problem((*path, "tls_name"), message, 'Add radsec = ["0.0.0.0:2083"] to [ingest].', "warning")
        way = nas.disconnect
        if way is None or way.via != "radsec":
            continue
        if way.reverse:
            if reverse is None or not listens:
                message = f'"{nas.name}" is asked over its own connection, which nobody takes or leads to'
                yield source.value_problem((*path, "disconnect", "reverse"), message, "Add `radsec` and `radsec_reverse` to [ingest].")
            continue
        for key in ("certfile", "keyfile", "cafile"):
            if getattr(way, f"tls_{key}") is None and getattr(tls, key) is None:
                message = f'"{nas.name}" is asked over TLS, and there is no `tls.{key}`'
                yield source.value_problem((*path, "disconnect", "via"), message, _TLS_REMEDY[key])


_TLS_REMEDY: Mapping[str, str] = {
    "certfile": "Add [tls] with `certfile`, the PEM file with our certificate.",
    "keyfile": "Add `keyfile` to [tls], the PEM file with the key of our certificate.",
    "cafile": "Add `cafile` to [tls], the PEM file with the authorities that vouch for the NASes.",
}


def _networks(path: Path, nas: Nas) -> Iterator[tuple[Path, Network]]:
    """The addresses of a NAS that are addresses, each with its place."""
    for index, text in enumerate(nas.addresses):
        try:
            yield (*path, "addresses", index), ipaddress.ip_network(text)
        except ValueError:
            continue


def _network_remedy(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return 'Write an address ("192.0.2.1") or a network ("192.0.2.0/24", "2001:db8::/32").'
    return f'Write "{network}" for the network, or "{text.partition("/")[0]}" for the one address.'


def _one_of(source: Source, path: Path, value: msgspec.Struct, key: str) -> Iterator[Problem]:
    """A secret stands in the file or in a file of its own, not in both."""
    if getattr(value, key) is not None and getattr(value, f"{key}_file") is not None:
        message = f"`{label(path)}` has both `{key}` and `{key}_file`"
        yield source.key_problem((*path, f"{key}_file"), message, "Keep one of the two.")


def _pair(source: Source, path: Path, value: msgspec.Struct, keys: tuple[str, str]) -> Iterator[Problem]:
    """A certificate and its key stand together."""
    for key, other in (keys, keys[::-1]):
        if getattr(value, key) is not None and getattr(value, other) is None:
            yield source.key_problem((*path, key), f"`{label(path)}` has `{key}` without `{other}`", f"Add `{other}`.")


def _is_host_and_port(text: str) -> bool:
    found = _HOST_AND_PORT.fullmatch(text)
    return found is not None and 1 <= int(found[2]) <= 65535


def _is_redis_url(text: str) -> bool:
    """Whether the client can take it apart; what it cannot ends the projector with a part of the password in the last line."""
    found = _REDIS_URL.fullmatch(text)
    return found is not None and int(found[1] or 1) <= 65535


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _no_address(source: Source, path: Path, text: str) -> Problem:
    return source.value_problem(path, f'`{label(path)}`: "{text}" is no address', 'Write an IPv4 or IPv6 address, like "192.0.2.1".')


def _no_endpoint(source: Source, path: Path, text: str) -> Problem:
    remedy = 'Write an address and a port, like "127.0.0.1:1813" or "[::1]:1813"; every address is "0.0.0.0" or "[::]".'
    return source.value_problem(path, f'`{label(path)}`: "{text}" is no address:port', remedy)
