"""goodput_lab.py SECONDS WARM SEED KILL…: the lab's elastic training, under kills.

KILL is MOMENT:RANK, in seconds after the warm-up. A warm spare takes the place of who died.
Afterwards it says every step that a rank has completed, from the record of the run. Not a peer, but
measured as they are: a program of its own.
"""

import sys
import time

from labkit import At, Cluster, FaultPlan, Kill
from labkit.bench.accounting import completed
from labkit.bench.peers.say import live, say
from labkit.training.loop import train

RANKS = 4

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
