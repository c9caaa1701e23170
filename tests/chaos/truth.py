"""Whether somebody was disconnected who should not have been, by what was true at the NASes and not by what anybody was told.

Law of this file: (what the users did, what the NASes were asked) -> false kicks. A session may be asked to go if, within the time for which
a command is good, its user had another device there, its group was full, or nothing was heard of the session itself for as long as the
policy says (whether somebody was listening is asked of the journal, by `slow_model`). A session counts as being there until its end is
answered: before, nobody can know of it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from tests.support.load import Name
from tests.support.nas import CALLING_STATION_ID, CLASS, USER_NAME, Sent, SmallNas

MARGIN_S = 3.0
"""Between deciding and being asked lie the ticks, the kicker's queue and a machine under load."""


@dataclass
class _Life:
    """A session as it was. Times are monotonic; `ends_s` is None while nobody was told of its end.

    Attributes:
        said_s: when each of its records was first sent, and when it was answered.
    """

    user: str
    device: str
    group: str
    begins_s: float
    ends_s: float | None = None
    said_s: list[tuple[float, float]] = field(default_factory=list)

    def was_there(self, from_s: float, to_s: float) -> bool:
        return self.begins_s <= to_s and (self.ends_s is None or self.ends_s >= from_s)


def false_kicks(
    sent: Iterable[tuple[Name, Sent]],
    nases: Collection[SmallNas],
    *,
    good_for_s: float,
    silent_s: float,
    group_max: int,
    spared: str,
) -> list[str]:
    """Disconnect-Requests for sessions that had no reason to go.

    Args:
        sent: all records, in order.
        nases: with the requests that they got.
        good_for_s: how long a command may be carried out after it was decided.
        silent_s: a session of which nothing was sent for so long may be called dead.
        group_max: so many sessions a group may have.
        spared: sessions of groups whose name begins so may always be asked to go.
    """
    lives = _lives_of(sent)
    of_user: dict[str, list[_Life]] = defaultdict(list)
    of_group: dict[str, list[_Life]] = defaultdict(list)
    for life in lives.values():
        of_user[life.user].append(life)
        of_group[life.group].append(life)
    to_monotonic_s = time.monotonic() - time.time()
    found: list[str] = []
    for nas in nases:
        for wall_ms, attributes in nas.requests:
            at_s = wall_ms / 1000 + to_monotonic_s
            life = lives.get((nas.identifier, str(attributes["acct_session_id"])))
            if life is None:
                found.append(f"{nas.identifier} was asked to disconnect {attributes}, which it never had")
            elif life.group.startswith(spared) or (life.ends_s is not None and life.ends_s <= at_s):
                continue  # it is what the probes are for; or nobody is hurt
            elif not _has_reason(life, at_s, of_user, of_group, (good_for_s, silent_s, group_max)):
                found.append(f"{life.user} was disconnected at {nas.identifier} ({attributes['acct_session_id']}) without reason")
    return found


def _has_reason(
    life: _Life, at_s: float, of_user: dict[str, list[_Life]], of_group: dict[str, list[_Life]], rules: tuple[float, float, int]
) -> bool:
    good_for_s, silent_s, group_max = rules
    from_s = at_s - good_for_s - MARGIN_S
    others = [one for one in of_user[life.user] if one is not life and one.device != life.device and one.was_there(from_s, at_s)]
    in_group = sum(one.was_there(from_s, at_s) for one in of_group[life.group])
    heard_s = [heard_s for _, heard_s in life.said_s[1:]]
    was_silent = any(
        later_s - earlier_s >= silent_s and later_s >= from_s for (earlier_s, _), later_s in zip(life.said_s, [*heard_s, at_s], strict=True)
    )
    return bool(others) or in_group > group_max or was_silent


def _lives_of(sent: Iterable[tuple[Name, Sent]]) -> dict[tuple[str, str], _Life]:
    lives: dict[tuple[str, str], _Life] = {}
    for name, packet in sent:
        if name.status == "Accounting-On":
            for (nas, _), life in lives.items():
                if nas == name.nas and life.ends_s is None:
                    life.ends_s = packet.answered_s
            continue
        attributes = dict(packet.attributes)
        user, device, group = (attributes[number].decode() for number in (USER_NAME, CALLING_STATION_ID, CLASS))
        key = name.nas, name.session
        life = lives.setdefault(key, _Life(user, device, group.removeprefix("group="), packet.first_s))
        life.said_s.append((packet.first_s, packet.first_s if packet.answered_s is None else packet.answered_s))
        if name.status == "Stop":
            life.ends_s = packet.answered_s
    return lives
