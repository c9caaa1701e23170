"""`curfew nas list` against a real Kafka, with rows and results as a worker and a kicker write them."""

import time

from aiokafka import AIOKafkaProducer

from agents.kafka_client import client_settings, topic_name
from agents.settings import load_settings
from agents.topic_admin import ensure_topics
from schemas.codec import encode
from schemas.disconnect import Attempt, DisconnectResult
from schemas.session import NAS_ROW, SESSION_ROW, Boot, NasRow, SessionRow
from schemas.topics import RESULTS, TABLE, nas_key, session_key
from streams.partitioner import partition_of
from tests.support.curfew import Curfew

PARTITIONS = 2


def result(outcome, time_ms, *, final=True, answer=None):
    attempt = Attempt(attributes=["Acct-Session-Id"], port=3799, identifier=1, sent_ms=[time_ms], answer=answer)
    return DisconnectResult(
        command_id="c",
        time_ms=time_ms,
        nas="campus",
        identity="bob",
        acct_session_id="s1",
        final=final,
        outcome=outcome,
        attempts=[attempt],
    )


async def test_each_nas_of_the_configuration_has_a_line_with_what_was_seen_of_it(kafka, prefix, tmp_path):
    """2.11, 5.3, 5.7: sessions, boot, the last outcome, what it was seen to accept, its habits. What cannot be read hides nothing else."""
    config = tmp_path / "curfew.toml"
    config.write_text(
        f'[kafka]\nbootstrap_servers = "{kafka.bootstrap}"\npartitions = {PARTITIONS}\ntopic_prefix = "{prefix}"\n'
        '[[nas]]\nname = "campus"\naddresses = ["192.0.2.1"]\nsecret = "s"\n'
        'disconnect = { address = "192.0.2.1", secret = "x", profile = "hostapd" }\n'
        '[[nas]]\nname = "new"\naddresses = ["192.0.2.2"]\nsecret = "s"\n'
    )
    configuration = load_settings(config, {})
    await ensure_topics(configuration)
    now_ms = round(time.time() * 1000)
    home = partition_of("campus", PARTITIONS)
    rows = [
        (0, session_key("campus", "s1"), SESSION_ROW.named(SessionRow("campus", "s1", "bob", "open", last_seen_ms=now_ms))),
        (0, session_key("campus", "s2"), SESSION_ROW.named(SessionRow("campus", "s2", "bob", "open", last_seen_ms=now_ms - 9))),
        (0, session_key("campus", "s2"), None),
        (1, session_key("old", "s3"), SESSION_ROW.named(SessionRow("old", "s3", "eve", "open", last_seen_ms=now_ms))),
        (1, session_key("campus", "bad"), b"{"),
        (1 - home, nas_key("campus"), NAS_ROW.named(NasRow("campus", mute_sessions=3))),
        (home, nas_key("campus"), NAS_ROW.named(NasRow("campus", follows="i1", boot=Boot("Accounting-On", now_ms - 1000, believed=True)))),
    ]
    results = [
        encode(result("acknowledged", now_ms - 2, final=False, answer="Disconnect-ACK")),
        encode(result("confirmed", now_ms - 1, answer="Disconnect-ACK")),
        b"garbage",
    ]
    producer = AIOKafkaProducer(**client_settings(configuration))
    await producer.start()
    for partition, key, value in rows:
        await producer.send_and_wait(topic_name(configuration, TABLE), value, key=key.encode(), partition=partition)
    for value in results:
        await producer.send_and_wait(topic_name(configuration, RESULTS), value, key=b"campus", partition=home)
    await producer.stop()
    curfew = Curfew(config)
    listed = await curfew("nas", "list", "--json")
    assert listed.status == 0, listed.err
    assert listed.objects == [
        {
            "nas": "campus",
            "talks": True,
            "booted_ms": now_ms - 1000,
            "booted_by": "Accounting-On",
            "open_sessions": 1,
            "last_record_ms": now_ms,
            "last_disconnect": {"outcome": "confirmed", "time_ms": now_ms - 1, "error_cause_name": None},
            "outcomes": {"confirmed": 1},
            "accepted": {"request": "Disconnect-Request", "attributes": ["Acct-Session-Id"]},
            "habits": {"no-interims": "sends no Interims: a session whose Stop is lost cannot be told from a living one"},
            "addresses": ["192.0.2.1"],
            "via": "radius",
            "profile": "hostapd",
        },
        {
            "nas": "new",
            "talks": None,
            "booted_ms": None,
            "booted_by": None,
            "open_sessions": 0,
            "last_record_ms": None,
            "last_disconnect": None,
            "outcomes": {},
            "accepted": None,
            "habits": {},
            "addresses": ["192.0.2.2"],
            "via": None,
            "profile": None,
        },
    ]
    assert listed.err == "2 NASes; not in this configuration, but seen: old\n"
    plain = (await curfew("nas", "list")).out.splitlines()
    assert plain[1].split()[:4] == ["campus", "radius", "(hostapd)", "yes"]
    assert "Acct-Session-Id" in plain[1]
    assert plain[1].endswith("sends no Interims: a session whose Stop is lost cannot be told from a living one")
    assert plain[2].split()[-1] == "-"
    assert len(plain) == 3
