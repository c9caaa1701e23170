"""The topics in a real Kafka: made once, never changed, refused where they differ (issue A, "Bad input")."""

import msgspec
import pytest

from agents.settings import load_settings
from agents.topic_admin import TopicsDifferError, TopicsMissingError, describe_topics, ensure_topics, require_topics
from schemas.topics import ACCOUNTING, EVENTS, TABLE, TOPICS
from tests.support.kafka import create_topics


@pytest.fixture
def configuration(kafka, prefix, tmp_path):
    (tmp_path / "curfew.toml").write_text(f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\npartitions = 3\ntopic_prefix = "{prefix}"\n')
    return load_settings(tmp_path / "curfew.toml", {})


async def test_all_topics_are_made_with_their_settings_and_a_second_time_nothing_is(configuration, prefix):
    """INTERFACES "Topics": every pinned name, its cleanup policy and retention; `topics create` is idempotent."""
    with pytest.raises(TopicsMissingError, match=r"curfew topics create"):
        await require_topics(configuration)
    made = await ensure_topics(configuration)
    assert made.created == [prefix + topic.name for topic in TOPICS]
    assert made.existing == []
    facts = await describe_topics(configuration)
    assert set(facts) == set(TOPICS)
    for topic, fact in facts.items():
        assert fact.partitions == 3
        assert fact.settings["cleanup.policy"] == topic.cleanup_policy
        assert {name: fact.settings[name] for name in topic.settings()} == topic.settings()
    await require_topics(configuration)
    again = await ensure_topics(configuration)
    assert again.created == []
    assert again.existing == made.created


async def test_a_missing_topic_beside_the_others_is_made(configuration, kafka, prefix):
    """INTERFACES: `topics create` makes what is missing."""
    others = {prefix + topic.name: (3, topic.settings()) for topic in TOPICS if topic is not EVENTS}
    await create_topics(kafka.bootstrap, others)
    made = await ensure_topics(configuration)
    assert made.created == [prefix + EVENTS.name]
    assert set(made.existing) == set(others)


async def test_topics_that_differ_are_named_with_the_remedy_and_nothing_is_made(configuration, kafka, prefix):
    """Issue A: other partitions or cleanup policy than wanted: refused, and what to do is said."""
    wrong = {
        prefix + ACCOUNTING.name: (4, ACCOUNTING.settings()),
        prefix + TABLE.name: (3, {"cleanup.policy": "delete"}),
        prefix + EVENTS.name: (3, {"cleanup.policy": "delete", "retention.ms": "1000000"}),
    }
    await create_topics(kafka.bootstrap, wrong)
    for ask in (ensure_topics, require_topics):
        with pytest.raises(TopicsDifferError) as refused:
            await ask(configuration)
        lines = str(refused.value).splitlines()
        assert len(lines) == 3
        assert f"{prefix}radius.accounting has 4 partitions, wanted are 3" in lines[0]
        assert "[kafka] partitions = 4" in lines[0]
        assert "retention.ms = 1000000, wanted is 604800000" in lines[1]
        assert "--add-config cleanup.policy=compact" in lines[2]
    assert set(await describe_topics(configuration)) == {ACCOUNTING, TABLE, EVENTS}


async def test_another_partition_count_in_the_configuration_is_refused(configuration):
    """DESIGN "Key = identity": the count is fixed for good, another one at start is refused."""
    await ensure_topics(configuration)
    other = msgspec.structs.replace(configuration, kafka=msgspec.structs.replace(configuration.kafka, partitions=8))
    with pytest.raises(TopicsDifferError, match="fixed for good"):
        await require_topics(other)
