"""goodput_lab.py SECONDS WARM SEED KILL…: the lab's elastic training, under kills.

KILL is MOMENT:RANK, in seconds after the warm-up. A warm spare takes the place of who died.
Afterwards it says every step that a rank has completed, from the record of the run. Not a peer, but
measured as they are: a program of its own.
"""

import sys
import time
from collections.abc import Iterator

from labkit import At, Cluster, FaultPlan, Kill
from labkit.bench.peers.say import live, say
from labkit.events import Event
from labkit.training.loop import train

RANKS = 4


def completed(events: list[Event]) -> Iterator[tuple[int, int, float, float]]:
    """(rank, step, begin, end): a step begins where the last one ended, or, where the ranks have
    regrouped since, with its computation."""
    since: dict[tuple[int, int], float | None] = {}
    for event in events:
        who = event.rank, event.life
        if event.kind == "begin" and event.name in ("agreeing", "forming group"):
            since[who] = None
        elif event.kind == "begin" and event.name == "computing" and since.get(who) is None:
            since[who] = event.time
        elif event.kind == "step":
            begin = since.get(who)
            if begin is not None:
                yield event.rank, event.data["step"], begin, event.time
            since[who] = event.time


if __name__ == "__main__":
    seconds, warm, seed = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    live(int(seconds + warm) + 60)
    kills = [(float(moment), int(rank)) for moment, rank in (k.split(":") for k in sys.argv[4:])]
    plan = FaultPlan(*(At(Kill(rank), seconds=warm + moment) for moment, rank in kills))
    with Cluster(
        RANKS,
        backend="gloo",
        device="cpu",
        seed=seed,
        max_restarts=len(kills),
        spares=1,
        record=False,
    ) as cluster:
        run = cluster.run(train, elastic=True, faults=plan, steps=1_000_000)
        begin = run.started + warm
        time.sleep(begin + seconds - time.monotonic())
        events, end = run.events, time.monotonic()
        run.cancel()
    for rank, step, since, until in completed(events):
        say("step", rank=rank, number=step, begin=since, end=until)
    for event in events:
        if event.kind == "fault":
            say("killed", at=event.time)
    say("over", begin=begin, end=end)
