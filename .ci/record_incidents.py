"""Writes labkit/data/incidents.json anew: jobs that stand still, as their ranks tell it.

    .venv/bin/python .ci/record_incidents.py

Each is a real run. A rank dies, is stopped, holds its interpreter's lock, does not come to a
collective, or calls another one; when nothing moves any more, every rank is asked what it is doing.
"""

import json
import re
import time
from pathlib import Path

from labkit import At, Cluster, FaultPlan, HoldGIL, Kill, Pause, PeerLost

FILE = Path(__file__).resolve().parents[1] / "labkit/data/incidents.json"
KEPT = 5  # collectives a rank
VICTIM, STEP = 2, 7


def job(worker, trouble):
    """Steps with an all-reduce, every third one with a barrier; at one of them there is trouble."""
    gradient, scores = worker.tensor(1_000_000), worker.tensor(1000)
    for step in range(1, 100):
        mine = worker.rank == VICTIM and step == STEP
        try:
            worker.group.all_reduce(gradient)
            if mine and trouble == "absent":
                worker.receive(0, timeout=60)
            if mine and trouble == "saving":
                time.sleep(60)
            if mine and trouble == "broadcast":
                worker.group.broadcast(scores, source=0)
            elif mine and trouble == "reduce":
                worker.group.reduce(scores, target=0)
            elif mine and trouble == "short batch":
                worker.group.all_gather(worker.tensor(600))
            elif step == STEP and trouble == "short batch":
                worker.group.all_gather(scores)
            elif step % 3 == 1:
                worker.group.all_reduce(scores, "max")
        except PeerLost:
            time.sleep(60)
        worker.step(step)
        time.sleep(0.02)


HAPPENED = {
    "killed": ("died", Kill(VICTIM)),
    "stopped": ("stopped", Pause(VICTIM)),
    "lock": ("holds the lock", HoldGIL(VICTIM)),
    "absent": ("did not come", None),
    "saving": ("did not come", None),
    "broadcast": ("another call", None),
    "reduce": ("another call", None),
    "short batch": ("another call", None),
}


def record(ranks, trouble):
    """What the ranks say, by rank, with the cause and the victim."""
    cause, fault = HAPPENED[trouble]
    plan = FaultPlan(At(fault, step=STEP - 1)) if fault else FaultPlan()
    with Cluster(ranks, deadline=50.0) as cluster:
        run = cluster.run(job, trouble=trouble, faults=plan)
        while True:
            time.sleep(1.0)  # until nothing has moved for a second
            stacks = cluster.stacks()
            if all(a.idle > 0.9 and a.step for a in stacks.records.values()):
                break
        codes = {
            rank: death.signal or f"exit code {death.code}" for rank, death in run.deaths.items()
        }
        incident = {r: told(r, codes, stacks) for r in range(ranks)}
        run.cancel()
    return {"cause": cause, "rank": VICTIM, "incident": aligned(incident)}


def aligned(incident):
    """Flight recorders keep so many calls: of those, the numbers that are in all of them."""
    kept = [seen["calls"] for seen in incident.values() if seen["calls"]]
    first = max(calls[0][0] for calls in kept)
    for calls in kept:
        calls[:] = [call for call in calls if call[0] >= first]
    return incident


def told(rank, codes, stacks):
    """What is known of a rank. Its line comes from its host, or from `faulthandler`."""
    answer = stacks.records.get(rank)
    line = str(answer.threads["main"]) if answer else held(stacks.dumps.get(rank, ""))
    calls = [[c.number, c.what, c.state] for c in answer.calls[-KEPT:]] if answer else None
    return {"ended": codes.get(rank), "line": line or None, "calls": calls}


def held(dump):
    """The innermost function of the thread that got the signal, or of the last one, which is the
    main thread: paths of this machine are nobody's business."""
    threads = [part for part in dump.split("\n\n") if "File" in part]
    threads.sort(key=lambda part: part.startswith("Current"))
    found = re.search(r"line \d+ in (\w+)", threads[-1]) if threads else None
    return f"in {found[1]}" if found else ""


if __name__ == "__main__":
    recorded = [record(ranks, trouble) for ranks in (4, 5) for trouble in HAPPENED]
    lines = ",\n".join(json.dumps(incident) for incident in recorded)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{len(recorded)} incidents in {FILE.name}")
