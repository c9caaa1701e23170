"""`curfew topics`: the topics made, listed, and described by schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from agents.commands.terminal import Refused, configured, json_option, plural, run, say, show
from agents.kafka_client import topic_name
from agents.topic_admin import describe_topics, differences, ensure_topics
from agents.topic_reader import reading
from schemas.codec import dumps
from schemas.configuration import Configuration
from schemas.documents import asyncapi, topic_schema
from schemas.topics import DAY_MS, TOPICS

COLUMNS = ("TOPIC", "PARTITIONS", "CLEANUP", "KEPT", "RECORDS", "WHAT")


@click.group()
def topics() -> None:
    """Make, list and describe the topics."""


@topics.command()
@configured
@json_option
def create(configuration: Configuration, as_json: bool) -> None:
    """Make the topics that are missing.

    Those that exist are held against what is wanted and never changed. With a topic of another partition count, cleanup policy or
    retention nothing is made, the difference is said, and the exit status is 1.
    """
    made = run(ensure_topics(configuration))
    if as_json:
        click.echo(dumps({"created": made.created, "existing": made.existing}))
        return
    for name in made.created:
        click.echo(name)
    partitions = configuration.kafka.partitions
    say(f"{plural(len(made.created), 'topic')} made with {plural(partitions, 'partition')}, {len(made.existing)} were there.")


@topics.command(name="list")
@configured
@json_option
def list_(configuration: Configuration, as_json: bool) -> None:
    """List the topics and about how many records each holds.

    What differs from what is wanted is said.
    """
    rows, differing = run(_list(configuration))
    show(rows, COLUMNS, as_json=as_json, as_object=dict, cells=_cells)
    for line in differing:
        say(line)
    if missing := [row["name"] for row in rows if row["partitions"] is None]:
        say(f"{plural(len(missing), 'topic')} not there yet: `curfew topics create` makes them.")


@topics.command()
@click.argument("name")
def schema(name: str) -> None:
    """Print the JSON Schema (2020-12) of a topic's values. NAME is the pinned name, without a prefix."""
    topic = next((topic for topic in TOPICS if topic.name == name), None)
    if topic is None:
        raise Refused(f"no topic is called {name!r}; there are {', '.join(topic.name for topic in TOPICS)}")
    click.echo(dumps(topic_schema(topic), indent=True))


@topics.command(name="asyncapi")
def asyncapi_() -> None:
    """Print one AsyncAPI 3.0 document of all topics."""
    click.echo(dumps(asyncapi(), indent=True))


async def _list(configuration: Configuration) -> tuple[list[dict[str, Any]], list[str]]:
    facts = await describe_topics(configuration)
    counts = {}
    if facts:
        async with reading(configuration, *facts) as reader:
            counts = await reader.counts()
    rows = [
        {
            "name": topic_name(configuration, topic),
            "partitions": facts[topic].partitions if topic in facts else None,
            "cleanup": topic.cleanup_policy,
            "retention_ms": topic.retention_ms,
            "records": counts.get(topic),
            "key": topic.key,
            "doc": topic.doc,
        }
        for topic in TOPICS
    ]
    return rows, [line for topic, fact in facts.items() for line in differences(configuration, topic, fact)]


def _cells(row: Mapping[str, Any]) -> list[str]:
    kept = "newest of each key" if row["retention_ms"] is None else plural(row["retention_ms"] // DAY_MS, "day")
    there = row["partitions"] is not None
    partitions, records = (str(row["partitions"]), str(row["records"])) if there else ("missing", "-")
    return [row["name"], partitions, row["cleanup"], kept, records, row["doc"]]
