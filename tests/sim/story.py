"""What happens in a simulated world: the seed's setting and its events. Pure: the same seed gives the same story.

An event is (time, what, arguments); logins bear a number that is the session's own, so that an event can be dropped from a story and the
others still mean the same.

A seed's `first_told` is what happens; `story_of` tells the same at one of several paces: what costs is the number of ticks, and a network
that reports each half hour needs few of them a day. `first_told` is never changed, so that a seed that failed once can be told again.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

MINUTE_MS = 60_000
QUIET_MS = 2 * MINUTE_MS
"""Nothing happens to the installation at the very beginning, so that a story begins with a network and not with its absence."""
TWO_DAYS_MS = 172_800_000
"""An Event-Timestamp so far off is not believed, which is as if there were none."""
REBOOT_MS_MIN = 75_000
"""A reboot is longer than the tolerance with which a start is computed from arrival times (`streams.sameness`)."""


class NasTraits(NamedTuple):
    """What kind of NAS it is.

    Attributes:
        interval_s: how often it sends Interims. told: the configuration says so; else it is observed.
        stamps: its packets have an Event-Timestamp. resends_anew: a retransmission has a new Identifier and says Acct-Delay-Time.
        says_on: it sends Accounting-On after a reboot. on_has_id: which has an Acct-Session-Id of its own.
        gigawords: its counters are 64 bits wide. clock_off_ms: of its clock.
        obeys: per cent of Disconnect-Requests that it carries out; then `answers`: and answers at all.
        stops: it sends a Stop for a session that it was told to end.
        primary: the ingest that it asks first.
        says_off: it sends Accounting-Off before a reboot. keeps: it keeps what nobody answered for long, and says since when.
        ports: a device has its port and its address there, and so one session.
    """

    name: str
    interval_s: int
    told: bool
    stamps: bool
    resends_anew: bool
    says_on: bool
    on_has_id: bool
    gigawords: bool
    clock_off_ms: int
    obeys: int
    answers: bool
    stops: bool
    primary: int
    says_off: bool
    keeps: bool
    ports: bool = False


class Event(NamedTuple):
    """Something happens to the network or to the installation."""

    at_ms: int
    what: str
    arguments: tuple[int | str, ...] = ()


class Story(NamedTuple):
    """A seed's setting and events.

    Attributes:
        skew_ms: the second ingest's wall clock less the first one's. loss: per cent of datagrams. delay_ms: the longest way of one.
        renamed: per cent of sessions whose User-Name changes under way.
        slots_ticks: `group.slots` has each such tick of the journal's. replayed: so many partitions are played again at the end, at most.
    """

    seed: int
    partitions: int
    tick_ms: int
    skew_ms: int
    loss: int
    delay_ms: int
    nases: tuple[NasTraits, ...]
    length_ms: int
    events: tuple[Event, ...]
    renamed: int = 0
    slots_ticks: int = 1
    replayed: int = 3


class Pace(NamedTuple):
    """How fast a story is told.

    Attributes:
        times: so many times as long as it was told first. intervals_s: of the NASes' Interims; none: as they were.
        ticks: so many lie in the shortest of those at least.
        slots_ticks: as in the story.
    """

    times: float
    intervals_s: tuple[int, ...]
    ticks: tuple[int, ...]
    slots_ticks: tuple[int, ...]


PACES = (
    *(Pace(0.5, (60, 60, 120), (6, 6, 12), (1, 4, 4, 4)),) * 10,
    *(Pace(1, (), (), (1,)),) * 1,
    *(Pace(3, (300, 300, 600), (6, 6, 12), (1, 4, 4, 4)),) * 8,
    *(Pace(30, (1_800, 3_600), (30,), (4,)),) * 1,
)
"""Half of all stories are dense, one of twenty is as it was told first, some take hours, and one of twenty takes a day or two."""
ASKS = 0.4
"""In so many stories a NAS that no ingest hears is asked whether it talks."""
PARTITIONS_MOST = (2, 2, 3)
TICK_MS_MAX = 60_000
OUTAGES = {"reboot": 1, "uplink": 1, "ingest": 1, "kafka": 0, "worker": 1, "kicker": 0}
"""Which argument says how long a trouble lasts."""
LONG = 0.3
"""So many of them last as much longer as the story; the others are short in long stories too."""


def story_of(seed: int) -> Story:
    """The story of a seed, at its pace."""
    chance = Random(f"pace {seed}")
    story, pace = first_told(seed), chance.choice(PACES)
    if not pace.intervals_s:
        return story
    nases = tuple(traits._replace(interval_s=chance.choice(pace.intervals_s)) for traits in story.nases)
    probe = ("query",) if Random(f"asks {seed}").random() < ASKS else ()
    tick_ms = min(TICK_MS_MAX, min(traits.interval_s for traits in nases) * 1000 // chance.choice(pace.ticks))

    def told(event: Event) -> Event:
        arguments = list(event.arguments)
        if event.what in OUTAGES and pace.times > 1 and chance.random() < LONG:
            place = OUTAGES[event.what]
            arguments[place] = round(int(arguments[place]) * pace.times)
        if event.what == "policy":
            arguments += probe
        return Event(round(event.at_ms * pace.times), event.what, tuple(arguments))

    return story._replace(
        partitions=min(story.partitions, chance.choice(PARTITIONS_MOST)),
        tick_ms=tick_ms,
        nases=nases,
        length_ms=round(story.length_ms * pace.times),
        events=tuple(map(told, story.events)),
        slots_ticks=chance.choice(pace.slots_ticks),
        replayed=1,
    )


def first_told(seed: int) -> Story:
    """The story of a seed as it was told first."""
    chance = Random(seed)
    skew_ms = chance.choice((0, 0, 250, 3_600_000, -3_600_000))
    nases = tuple(_traits(chance, number, must_stamp=abs(skew_ms) > 1_000) for number in range(chance.randint(1, 3)))
    length_ms = chance.randint(20, 80) * MINUTE_MS
    events = [*_people(chance, nases, length_ms), *_trouble(chance, nases, length_ms, clocks_lie=abs(skew_ms) > 1_000)]
    story = Story(
        seed=seed,
        partitions=chance.choice((1, 2, 3)),
        tick_ms=chance.choice((1_000, 2_000, 5_000)) if length_ms < 40 * MINUTE_MS else 5_000,
        skew_ms=skew_ms,
        loss=chance.choice((0, 2, 10, 25)),
        delay_ms=chance.choice((5, 300, 4_000)),
        nases=nases,
        length_ms=length_ms,
        events=tuple(sorted(events)),
    )
    if Random(f"ticks {seed}").random() < 0.7:
        story = story._replace(tick_ms=5_000)  # most of what a story costs are its ticks
    return _with_names(story, Random(f"who {seed}"))


def _with_names(story: Story, chance: Random) -> Story:
    """In every other story names change and devices have ports; by a chance of its own, so that the older seeds tell what they told."""
    if chance.random() < 0.5:
        return story
    nases = tuple(traits._replace(ports=chance.random() < 0.5) for traits in story.nases)
    renamed, partitions = chance.choice((0, 30, 100)), max(story.partitions, chance.randint(1, 3))
    # What begins on a NAS whose clock was set back is taken for older than its boot, and than what had the same id before
    reboots = {event.arguments[0] for event in story.events if event.what == "reboot"}
    set_anew = [number for number, traits in enumerate(nases) if traits.stamps and not traits.keeps and number not in reboots]
    if abs(story.skew_ms) > 1_000:
        set_anew = []  # clocks of ingests are set there
    events = list(story.events)
    for number in set_anew[: chance.randint(0, 2)]:
        at_ms = chance.randrange(QUIET_MS, story.length_ms)
        events.append(Event(at_ms, "nas_clock", (number, chance.choice((-7_200_000, -300_000, 300_000, 7_200_000)))))
    return story._replace(nases=nases, renamed=renamed, partitions=partitions, events=tuple(sorted(events)))


def _traits(chance: Random, number: int, *, must_stamp: bool) -> NasTraits:
    stamps, resends_anew = must_stamp or chance.random() < 0.7, chance.random() < 0.5
    off_ms = chance.choice((0, 0, 1_500, -2_500, -40_000, 3_600_000, 0 if must_stamp else TWO_DAYS_MS))
    return NasTraits(
        name=f"nas{number}",
        interval_s=chance.choice((60, 60, 120, 300)),
        told=chance.random() < 0.6,
        stamps=stamps,
        resends_anew=resends_anew,
        says_on=chance.random() < 0.6,
        on_has_id=chance.random() < 0.5,
        gigawords=chance.random() < 0.8,
        clock_off_ms=off_ms,
        obeys=chance.choice((100, 100, 60, 0)),
        answers=chance.random() < 0.8,
        stops=chance.random() < 0.8,
        primary=chance.randrange(2),
        says_off=chance.random() < 0.3,
        keeps=chance.random() < 0.3 and ((stamps and off_ms != TWO_DAYS_MS) or resends_anew),
    )


def _people(chance: Random, nases: tuple[NasTraits, ...], length_ms: int) -> list[Event]:
    """One device on each NAS that stays, and users with a few devices each that come and go."""
    events = [Event(1_000 + number, "login", (number, number, f"stays{number}", 1_000 + number)) for number in range(len(nases))]
    users = chance.randint(1, 5)
    for number in range(len(nases), len(nases) + chance.randint(4, 30)):
        user = chance.randrange(users)
        at_ms = chance.randrange(1_000, length_ms)
        device = user * 10 + chance.randrange(3)
        events.append(Event(at_ms, "login", (number, chance.randrange(len(nases)), f"user{user}", device)))
        ends_ms = at_ms + round(chance.expovariate(1 / (15 * MINUTE_MS))) + 500
        if ends_ms < length_ms:
            events.append(Event(ends_ms, chance.choice(("logout", "logout", "vanish")), (number,)))
    return events


def _trouble(chance: Random, nases: tuple[NasTraits, ...], length_ms: int, *, clocks_lie: bool) -> list[Event]:
    """What befalls NASes and the installation."""

    def some(most: int, make: object) -> list[Event]:
        return [make(chance.randrange(QUIET_MS, length_ms)) for _ in range(chance.randint(0, most))]  # type: ignore[operator]

    def short() -> int:
        return round(chance.choice((3_000, 20_000, 90_000, 600_000)) * (0.5 + chance.random()))

    def nas() -> int:
        return chance.randrange(len(nases))

    events = some(2, lambda at: Event(at, "reboot", (nas(), REBOOT_MS_MIN + chance.randrange(200_000))))
    events += some(2, lambda at: Event(at, "uplink", (nas(), short())))
    events += some(2, lambda at: Event(at, "ingest", (chance.randrange(2), short())))
    events += some(2, lambda at: Event(at, "kafka", (short(),)))
    events += some(3, lambda at: Event(at, "worker", (chance.randrange(3), short())))
    events += some(2, lambda at: Event(at, "kicker", (short(),)))
    events += some(2, lambda at: Event(at, "order", (chance.randrange(30),)))
    if clocks_lie:
        events += some(1, lambda at: Event(at, "clock", (chance.randrange(2), chance.choice((-3_600_000, 3_600_000)))))
    policies = [0, *sorted(chance.randrange(QUIET_MS, length_ms) for _ in range(chance.randint(0, 3)))]
    for version, at_ms in enumerate(policies, 1):
        events.append(Event(at_ms, "policy", (version, chance.randint(0, 3), chance.choice((0, 2, 3, 3, 4)), chance.choice(_VICTIMS))))
    return events


_VICTIMS = ("newest", "oldest", "least-recently-active", "all-others", "none")
