"""The public face of the topics, generated: a JSON Schema (2020-12) for each topic's values and one AsyncAPI 3.0 document for all.

Everything is read from the types; nothing about a field is said twice. `docs/schemas/` and `docs/asyncapi.json` hold what these functions
give, and a test compares them. Compatible changes only: a field may be added with a default, none may go or change its type.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import msgspec

from schemas import topics
from schemas.accounting import AccountingRecord
from schemas.codec import JsonValue
from schemas.disconnect import COMMAND_KIND, NOTICE_KIND, DisconnectCommand, DisconnectResult, SessionNotice
from schemas.event import SessionEvent
from schemas.group import GROUP_ROW, SLOT_KIND, SLOT_ROW, SOURCES_ROW, VERDICT_KIND, GroupVerdict, SlotMessage
from schemas.journal import Claims, MembershipOrder, OperatorCommand, PolicyVersion, Promise, QuotaOrder, Rejected, Tick
from schemas.session import IDENTITY_ROW, NAS_ROW, PARTITION_ROW, SESSION_ROW
from schemas.sighting import Probe, Sighting, Sightings
from schemas.topics import KIND_HEADER, TOPICS, Topic

Json = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ASYNCAPI_VERSION = "3.0.0"
_KAFKA_BINDING_VERSION = "0.5.0"


class Message(NamedTuple):
    """One kind of value in a topic.

    Attributes:
        type: the struct as it stands in the topic.
        kind: the record's `kind` header; empty where a topic has none.
        key_start: how the keys of such records begin, where the key tells the kind; with `key_end`.
    """

    type: type[msgspec.Struct]
    kind: str = ""
    key_start: str = ""
    key_end: str = ""


def _readable(kind: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The struct with its `msgspec.Raw` (JSON that was encoded before and is passed on as it is) told as the object that it holds."""
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(kind):
        given: dict[str, Any] = {"default": field.default, "default_factory": field.default_factory}
        raw = field.type is msgspec.Raw
        told = {"default_factory": dict} if raw else {name: value for name, value in given.items() if value is not msgspec.NODEFAULT}
        fields.append((field.name, dict[str, JsonValue] if raw else field.type, msgspec.field(name=field.encode_name, **told)))
    return msgspec.defstruct(kind.__name__, fields, kw_only=True, namespace={"__doc__": kind.__doc__})


MESSAGES: dict[Topic, tuple[Message, ...]] = {
    topics.ACCOUNTING: (
        Message(_readable(AccountingRecord), "accounting"),
        Message(Tick, "tick"),
        Message(PolicyVersion, "policy"),
        Message(DisconnectResult, "result"),
        Message(OperatorCommand, "operator"),
        Message(GroupVerdict, VERDICT_KIND),
        Message(Sightings, "sighting"),
        Message(MembershipOrder, "membership"),
        Message(QuotaOrder, "quota"),
        Message(Claims, "claim"),
        Message(Promise, "promise"),
    ),
    topics.EVENTS: (Message(SessionEvent),),
    topics.TABLE: (
        Message(PolicyVersion, key_start="p:", key_end="/policy"),
        Message(SESSION_ROW.named_type, key_start="s:"),
        Message(IDENTITY_ROW.named_type, key_start="i:"),
        Message(NAS_ROW.named_type, key_start="n:"),
        Message(PARTITION_ROW.named_type, key_start="p:"),
    ),
    topics.SLOTS: (
        Message(SlotMessage, SLOT_KIND),
        Message(Tick, "tick"),
        Message(PolicyVersion, "policy"),
        Message(QuotaOrder, "quota"),
    ),
    topics.GROUPS: (
        Message(PolicyVersion, key_start="p:", key_end="/policy"),
        Message(SOURCES_ROW.named_type, key_start="p:", key_end="/sources"),
        Message(SLOT_ROW.named_type, key_start="s:"),
        Message(GROUP_ROW.named_type, key_start="g:"),
        Message(PARTITION_ROW.named_type, key_start="p:"),
    ),
    topics.COMMANDS: (Message(DisconnectCommand, COMMAND_KIND), Message(SessionNotice, NOTICE_KIND)),
    topics.RESULTS: (Message(DisconnectResult),),
    topics.SIGHTINGS: (Message(Sighting),),
    topics.PROBES: (Message(Probe),),
    topics.POLICY: (Message(PolicyVersion),),
    topics.REJECTED: (Message(Rejected),),
}
"""What is in each topic; the first that fits a record is its message. A topic that is not here is reserved: nothing is in it yet."""


def message_of(topic: Topic, key: str, kind: str) -> Message:
    """What the value of a record must be, by its key and its `kind` header.

    Raises:
        KeyError: nothing of that kind may be in the topic.
    """
    for message in MESSAGES.get(topic, ()):
        if message.kind == kind and key.startswith(message.key_start) and key.endswith(message.key_end):
            return message
    raise KeyError(f"{topic.name} has no record of kind {kind!r} with the key {key!r}")


def topic_schema(topic: Topic) -> Json:
    """The JSON Schema of a topic's values; `$defs` names each kind of value.

    A reserved topic's schema allows nothing.
    """
    head: Json = {"$schema": _DIALECT, "title": topic.name, "description": topic.doc}
    messages = MESSAGES.get(topic)
    if messages is None:
        return head | {"description": f"{topic.doc} Reserved: nothing is written to it yet.", "not": {}}
    definitions = _definitions(messages, "#/$defs/{name}")
    return head | {"anyOf": [{"$ref": f"#/$defs/{message.type.__name__}"} for message in messages], "$defs": definitions}


def asyncapi() -> Json:
    """All topics with their keys, settings and messages as one AsyncAPI 3.0 document; names are without an installation's prefix."""
    everything = [message for messages in MESSAGES.values() for message in messages]
    return {
        "asyncapi": _ASYNCAPI_VERSION,
        "info": {
            "title": "Curfew",
            "version": "1",
            "description": "RADIUS accounting as a stream: the journal, the live directory of sessions, session events, and disconnects "
            "with their proven outcome. Times are milliseconds since the epoch (`*_ms`), durations seconds (`*_s`), octets integers.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {f"receive {topic.name}": _operation(topic) for topic in MESSAGES},
        "components": {"schemas": _definitions(everything, "#/components/schemas/{name}")},
    }


def _definitions(messages: list[Message] | tuple[Message, ...], reference: str) -> Json:
    types = list(dict.fromkeys(message.type for message in messages))
    definitions: Json = msgspec.json.schema_components(types, ref_template=reference)[1]
    for definition in definitions.values():
        definition["description"] = inspect.cleandoc(definition["description"])
    return definitions


def _channel(topic: Topic) -> Json:
    settings: Json = {"cleanup.policy": [topic.cleanup_policy]}
    if topic.retention_ms is not None:
        settings["retention.ms"] = topic.retention_ms
    reserved = "" if topic in MESSAGES else " Reserved: nothing is written to it yet."
    return {
        "address": topic.name,
        "description": topic.doc + reserved,
        "messages": {message.type.__name__: _message(topic, message) for message in MESSAGES.get(topic, ())},
        "bindings": {"kafka": {"topicConfiguration": settings, "bindingVersion": _KAFKA_BINDING_VERSION}},
    }


def _message(topic: Topic, message: Message) -> Json:
    key: Json = {"type": "string", "description": topic.key}
    if message.key_start:
        key["pattern"] = f"^{message.key_start}.*{message.key_end}$"
    described: Json = {
        "payload": {"$ref": f"#/components/schemas/{message.type.__name__}"},
        "bindings": {"kafka": {"key": key, "bindingVersion": _KAFKA_BINDING_VERSION}},
    }
    if message.kind:
        described["headers"] = {
            "type": "object",
            "required": [KIND_HEADER],
            "properties": {KIND_HEADER: {"type": "string", "const": message.kind}},
        }
    return described


def _operation(topic: Topic) -> Json:
    return {"action": "receive", "channel": {"$ref": f"#/channels/{topic.name}"}, "summary": topic.doc}
