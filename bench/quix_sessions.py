"""A peer of the worker, in Quix Streams: `python bench/quix_sessions.py BOOTSTRAP TOPIC EVENTS RECORDS APPLICATION DIRECTORY`.

One row a session in its state with the changelog, an event when a session begins or ends, all as Quix does it by default. Its update is
thin: no limits, no ids, no order of events. The clock runs from the first record to the last, so neither start nor recovery counts. It runs
in an environment of its own (bench/quix-requirements.txt), so it imports nothing of ours.
"""

import json
import os
import sys
import time
from typing import Any

from quixstreams import Application, State
from quixstreams.models import BytesDeserializer

try:
    from orjson import loads
except ImportError:
    from json import loads  # type: ignore[assignment]

KEPT = ("user_name", "nas", "received_ms", "session_time_s", "input_octets", "output_octets")


def updated(said: dict[str, Any], state: State) -> dict[str, Any] | None:
    """The session's row after a record; the event that it makes, if it makes one."""
    key = f"{said['nas']}/{said['acct_session_id']}"
    before, ends = state.get(key), said["status"] == "Stop"
    row = (before or {}) | {name: said.get(name) for name in KEPT} | {"state": "closed" if ends else "open"}
    state.set(key, row)
    if before is not None and not ends:
        return None
    return row | {"type": "session.closed" if before else "session.opened", "session": key}


def main() -> None:
    bootstrap, topic, events, records, application, directory = sys.argv[1:]
    wanted, seen, began_s, used_s = int(records), 0, 0.0, 0.0

    def apply(value: bytes, key: bytes | None, _timestamp: int, _headers: Any, state: State) -> dict[str, Any] | None:
        nonlocal seen, began_s, used_s
        if not seen:
            began_s, used_s = time.perf_counter(), time.process_time()
        event = None if key is None else updated(loads(value), state)
        seen += 1
        if seen == wanted:
            told = {"records": seen, "seconds": time.perf_counter() - began_s, "cpu_s": time.process_time() - used_s}
            print(json.dumps(told), flush=True)
            os._exit(0)  # an orderly stop takes seconds and is not measured
        return event

    app = Application(bootstrap, consumer_group=application, auto_offset_reset="earliest", state_dir=directory, loglevel="WARNING")
    journal = app.topic(topic, key_deserializer="bytes", value_deserializer=BytesDeserializer())
    frame = app.dataframe(journal).apply(apply, stateful=True, metadata=True)
    frame.filter(lambda event: event is not None).to_topic(app.topic(events, key_serializer="bytes", value_serializer="json"))
    app.run()


if __name__ == "__main__":
    main()
