"""What stands in a topic, held against the published JSON Schemas: `validate` for any test that has real output in its hands.

`python -m tests.support.schemas` writes docs/schemas/ and docs/asyncapi.json anew after a compatible change of a type.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from schemas.codec import dumps, loads
from schemas.documents import asyncapi, message_of, topic_schema
from schemas.topics import TOPICS, Topic

DOCS = Path(__file__).resolve().parents[2] / "docs"


def validate(topic: Topic | str, key: bytes | str | None, kind: str, value: bytes | None) -> None:
    """Assert that a record is what its topic's schema says, and holds no field that the schema does not name.

    Args:
        topic: the topic, or its pinned name (without an installation's prefix).
        key: the record's key.
        kind: its `kind` header, empty for none.
        value: its value; None, a tombstone, is fine where a topic is compacted.
    """
    topic = topic if isinstance(topic, Topic) else next(known for known in TOPICS if known.name == topic)
    if value is None:
        assert topic.cleanup_policy == "compact", f"{topic.name} is no topic for tombstones"
        return
    text = key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else key or ""
    name = message_of(topic, text, kind).type.__name__
    errors = [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in _validator(topic, name).iter_errors(loads(value))]
    assert not errors, f"{topic.name} {name} {value!r}: {errors}"


@functools.cache
def _validator(topic: Topic, name: str) -> Draft202012Validator:
    """The published schema allows fields that a newer version may add; what we write ourselves may have none of them."""
    definitions = topic_schema(topic)["$defs"]
    for definition in definitions.values():
        if "properties" in definition:
            definition["additionalProperties"] = False
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})


def documents() -> Iterator[tuple[Path, str]]:
    """Every generated document: its file and its text."""
    yield DOCS / "asyncapi.json", _text(asyncapi())
    for topic in TOPICS:
        yield DOCS / "schemas" / f"{topic.name}.json", _text(topic_schema(topic))


def _text(document: dict[str, Any]) -> str:
    return dumps(document, indent=True) + "\n"


if __name__ == "__main__":
    for path, text in documents():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
