"""raft.8: AppendEntries at a follower. Bugs: m17 and m19, and logs that late messages shorten."""

from __future__ import annotations

import random

from labkit.grading.exercise import Property

Log = list[int]
Drawn = tuple[Log, int, int, Log]


def terms(r: random.Random, first: int, count: int) -> Log:
    return sorted(r.randrange(first, first + 3) for _ in range(count))


def message(r: random.Random, mine: Log, leader: Log, prev: int, count: int) -> Drawn:
    return mine, prev, leader[prev - 1] if prev else 0, leader[prev : prev + count]


def draw_behind(r: random.Random) -> Drawn:
    """The follower has the first part of the leader's log."""
    leader = terms(r, 1, r.randrange(2, 8))
    mine = leader[: r.randrange(len(leader))]
    return message(r, mine, leader, r.choice([len(mine), len(mine), 0]), 9)


def draw_apart(r: random.Random) -> Drawn:
    """The entry before is missing, or is another one; one in four matches."""
    leader = terms(r, 2, r.randrange(3, 7))
    prev = r.randrange(2, len(leader) + 1)
    what = r.randrange(4)
    if what == 0:
        return message(r, leader[:prev], leader, prev, 3)
    if what == 1:
        return message(r, leader[: prev - 1], leader, prev, 3)
    mine = [*leader[: prev - 1], leader[prev - 1] - 1, *leader[prev:]]
    return message(r, mine, leader, prev, 3)


def draw_conflict(r: random.Random) -> Drawn:
    """They part somewhere behind `prev`, and the follower's own tail is the longer one."""
    same = terms(r, 1, r.randrange(3))
    mine = same + [4] * r.randrange(4, 7)
    leader = same + [5] * r.randrange(1, 4)
    return message(r, mine, leader, r.randrange(len(same) + 1), 9)


def draw_late(r: random.Random) -> Drawn:
    """The follower has all that the message tells of, and more; at times it has not."""
    leader = terms(r, 1, r.randrange(4, 9))
    mine = leader[: r.randrange(2, len(leader) + 1)]
    prev = r.randrange(len(mine))
    return message(r, mine, leader, prev, r.randrange(4))


PROPERTIES = [
    Property("entries are put behind the one they follow", draw_behind),
    Property("logs that do not match are refused", draw_apart, cases=30),
    Property("what differs is cut off, with all behind it", draw_conflict),
    Property("a late message cuts nothing off", draw_late, cases=30),
]
