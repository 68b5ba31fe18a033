# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11 Elastic restart
#
# Twenty past four. The dead rank was noticed after 30 ms. After 40 ms a majority had agreed on who is
# left and had written it to their disks. Everything in this course has worked. The GPUs are at 0 %,
# because nobody has told the training. To agree that a rank is gone is one thing. To go on without
# it, at the right step, with the right samples, and to let its successor in again: that is tonight.
#
# **Routes** Evening · Core · All<br>
# **Time** 50 minutes, and 45 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [04 Heartbeats](04_heartbeats.ipynb), [06 Checkpoints](06_checkpoints.ipynb); good to
# have: [09 Raft](09_raft_electing_a_coordinator.ipynb)<br>
# **Afterwards you can** name the parts of a recovery and say which of them is worth work; say why all
# members change groups at the same step, and make them; keep the batch, the samples and the bits the
# same whatever the number of ranks; and make a step that is tried twice count once.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## They agree, and nobody trains
#
# A loop as most are written. Rank 1 dies before step 15. The runtime notices, its leader proposes
# the next [view](glossary.md#view), a majority writes it down: the blue line.

# %%
from labkit import At, Cluster, FaultPlan, Kill, PeerLost, Restart


def plain_loop(worker, steps):
    import time

    from labkit import events

    gradient = worker.tensor(1000)
    for step in range(1, steps + 1):
        time.sleep(0.01)  # forward and backward
        try:
            worker.group.all_reduce(gradient)
        except PeerLost:
            with events.span("a view, and no group"):
                time.sleep(0.2)
            return
        worker.step(step)


cluster = Cluster(world_size, backend=backend, device=device, seed=seed)
run = cluster.run(plain_loop, steps=30, faults=FaultPlan(At(Kill(1), step=14)))
run.wait(timeout=60)
run.timeline(title="All agree on view 2, and no step follows")

# %% [markdown]
# A view is a sentence on a disk. Training needs a [process group](glossary.md#process-group): open
# connections, one to each member, and every rank in the same [collective](glossary.md#collective). The
# old group has a dead member in it and can never finish anything again. It must be left behind, by all,
# and a new one formed from the view.
#
# ## One recovery, cut into its parts
#
# An [elastic](glossary.md#elastic) loop does that: the lab's own, with `elastic=True`. Rank 1 is
# killed at step 15. At step 20 a new process takes its place: first the job *shrinks*, then it
# *grows*.
#
# **Predict.** Which takes longer: (a) to go on without rank 1, (b) to take its successor in, (c) the same?
# And for how long do the others stand still in each?

# %%
from labkit.training import train

cluster.restart()  # all who are dead
job = {"model": "cnn", "batch": 512, "steps": 70 if fast else 80, "algorithm": "in_order"}
plan = FaultPlan(At(Kill(1), step=15), At(Restart(1), step=20, on=0))
run = cluster.run(train, elastic=True, faults=plan, **job).wait(timeout=60)
run.timeline(title="Shrink, and grow")

# %%
run.timeline(around=Kill(1))

# %% [markdown]
# *Notice*: the last survivor hears that a connection has closed; the kernel closes it, no time-out is
# involved. *Agree*: the [leader](glossary.md#leader) proposes, a majority writes, all install. *Form*:
# the survivors meet in a store that belongs to this view and connect. *Redo*: they compare their steps,
# and do the interrupted one again.

# %%
run.timeline(around=Restart(1))

# %% [markdown]
# The successor *starts* as a fork of a process that has imported torch already. It makes itself *ready*
# (builds the model, reads the data) before it asks to be let in: until then the others train. Then all
# *agree* and *form*, and it gets the state of the others (*restore*): weights, moments, place in the
# data. No checkpoint is read, no step is lost.

# %% tags=["nbval-ignore-output"]
from labkit.views.elastic import parts, recovery_parts

for fault, phases in parts(run).items():
    each = ", ".join(f"{p.name} {1000 * (p.end - p.begin):.0f}" for p in phases)
    print(f"{fault}: {1000 * (phases[-1].end - phases[0].begin):.0f} ms = {each}")

# %%
recovery_parts(run, title="Shrinking and growing, part by part")

# %% [markdown]
# **Answer: (b), but the others hardly notice.** While the successor starts and warms up they train
# on. They stand still from *form* to *restore*. In a large job the shares of the [recovery
# time](glossary.md#recovery-time) change: *restore* carries gigabytes, *form* a thousand
# connections. The order of the parts does not.
#
# ## The same bits
#
# **Predict.** Compare the final weights with those of a run without any fault. (a) Equal up to rounding,
# (b) equal to the last bit, (c) different: some steps were made by fewer ranks.

# %%
calm = cluster.run(train, **job).wait(timeout=60).results[0]
hashes = {result["hash"] for result in run.results.values()}
print(f"{len(run.results)} of {world_size} ranks ended with a result")
print("they hold the same weights:", len(hashes) == 1)
print("the same bits as without a fault:", hashes == {calm["hash"]})

# %% [markdown]
# **Answer: (b).** The [global batch](glossary.md#effective-batch) is always cut into eight [logical
# shards](glossary.md#logical-shard). Ranks come and go; the shards, their samples and their random
# draws stay. What is left is the order of the sum, and `in_order` fixes it: 0 + 1 + … + 7. Take
# that away:

# %%
others = {"ring": {}, "in fixed point": {"exact": True}}
plan = FaultPlan(At(Kill(1), step=5), At(Restart(1), step=8, on=0))
for name, how in others.items():
    small = {"steps": 16, "algorithm": "ring", **how}
    quiet = cluster.run(train, **small).wait(timeout=60).results[0]
    broken = cluster.run(train, elastic=True, faults=plan, **small).wait(timeout=60).results[0]
    same = broken["hash"] == quiet["hash"]
    near = abs(broken["loss"] - quiet["loss"]) < 0.02 * quiet["loss"]
    print(f"{name}: same bits: {same}, loss within 2 %: {near or same}")

# %% [markdown]
# A ring adds the ranks' gradients, and with another number of ranks it adds other partial sums:
# (a + b) + c is not a + (b + c) in floating point. Each is right up to rounding. The other way out is
# to add integers, which know no order: `exact=True` sums in fixed point, by any algorithm. Why pay for
# the same bits? Because “the loss looks fine” hides every bug of this notebook, and a hash hides none.
#
# ## At the same step, or not at all
#
# A death breaks the group for everybody at once. A newcomer does not: there is a new view, the old group
# works, and somebody has to decide when to leave it. Here is a first try. Who sees a new view waits for
# the others at a barrier, and all change together.
#
# **Predict.** The news reaches rank 0 by 0.2 s later than the others. What happens? (a) They wait 0.2 s
# for it, (b) they hang, (c) rank 0 is left out.

# %%
from labkit import CollectiveTimeout, Delay


def count_up(worker, steps, vote):
    """Adds up small gradients; returns how it ended for this rank."""
    import time

    step, group = 0, None
    while step < steps:
        try:
            if worker.group is not group:  # new: go on from where the furthest is
                group = worker.group
                step = int(group.all_reduce(worker.tensor(1, fill=step), op="max"))
            news = worker.must_regroup
            bucket = worker.tensor(2, fill=float(news))  # a gradient, and my vote behind it
            time.sleep(0.01)
            group.all_reduce(bucket)
            step += 1
            worker.step(step)
            if vote and bucket[-1] > 0:
                worker.regroup()
            elif not vote and news:
                group.barrier()  # the first try: let us all meet here
                worker.regroup()
        except PeerLost:
            worker.regroup()
        except CollectiveTimeout:
            return "waited until the deadline"
    return f"trained to the end, {group.size} ranks"


# %% tags=["nbval-ignore-output"]
several = max(3, world_size)  # with two ranks the survivor is alone, and agrees with itself
late_news = Delay(several, 0, seconds=0.2)  # the witness leads: what it says to rank 0
plan = FaultPlan(At(late_news, step=5, on=0), At(Kill(1), step=10), At(Restart(1), step=15, on=0))


def growing(vote):
    with Cluster(several, backend=backend, device=device, seed=seed, deadline=1.0) as some:
        return some.run(count_up, elastic=True, faults=plan, steps=80, vote=vote).wait(timeout=60)


naive = growing(vote=False)

# %%
hung = [rank for rank, end in naive.results.items() if end == "waited until the deadline"]
print("without a vote, somebody waited until the deadline:", len(hung) > 0)

# %% [markdown]
# **Answer: (b).** Rank 0 is in the next all-reduce, the others are at their barrier, and each waits for the
# other kind. Nobody is dead, so no detector helps. The deadline of a second ends it; without one it is
# half an hour. A message about *when* to do something collective cannot travel on its own: it arrives at
# different steps.
#
# What reaches all ranks at the same step? The all-reduce itself. Each puts a vote behind its gradient: 1
# if it knows of a newer view. The sum is the same at all of them, so all leave, or nobody does.

# %%
voted = growing(vote=True)
together = set(voted.results.values()) == {f"trained to the end, {several} ranks"}
print("with a vote, all trained to the end, together:", together)
voted.timeline(title="All change groups behind the same step")

# %% [markdown]
# The vote costs four bytes in a bucket that travels anyway. The lab's loop does it like that
# (`labkit/training/buckets.py`): behind the gradients its last bucket has the loss, the votes (for a new
# group, and for a checkpoint), and a number from each rank.
#
# ## Every sample exactly once
#
# Now the data. The usual sampler gives rank *r* of *n* the samples r, r + n, r + 2n, … of the epoch. After
# a death there is another *n*. To see what becomes of it, we count: the “gradient” of this job has an
# entry for each of 1 200 samples, and a rank adds 1 for each that it learns from. So what the all-reduce
# sums up is what the model has seen.


# %%
def count_samples(worker, whose, samples=1200, batch=48):
    """One epoch; returns how often the model has seen each sample."""
    import time

    seen, step, group = worker.tensor(samples), 0, None
    while step * batch < samples:
        try:
            if worker.group is not group:
                group = worker.group
                steps = [int(s) for s in group.all_gather(worker.tensor(1, fill=step))]
                seen = group.broadcast(seen, source=steps.index(max(steps)))
                step = max(steps)
            news = worker.tensor(1, fill=float(worker.must_regroup))
            ones = worker.tensor(samples)
            ones[whose(step, batch, samples, group.rank, group.size)] += 1
            time.sleep(0.03)
            ones = group.all_reduce(ones)
            votes = group.all_reduce(news)
            seen, step = seen + ones, step + 1
            worker.step(step)
            if votes > 0 and step * batch < samples:
                worker.regroup()
        except PeerLost:
            worker.regroup()
    return seen.tolist()


def by_rank(step, batch, samples, place, size):
    """A rank has a batch of its own, and walks through its own samples: place, place + size, …"""
    mine, own = range(place, samples, size), batch // world_size
    return [*mine[step * own : (step + 1) * own]]


def by_step(step, batch, samples, place, size):
    """All walk together; a rank takes its part of the step's batch."""
    rows = range(step * batch, min(samples, (step + 1) * batch))
    return [*rows[place * len(rows) // size : (place + 1) * len(rows) // size]]


# %% [markdown]
# **Predict.** One rank dies after 8 of 25 steps and comes back. Which of the 1 200 samples does the model
# not see exactly once? (a) none, in both, (b) with `by_rank` those of the step in which the rank died, (c)
# with `by_rank` many more, with `by_step` none.

# %% tags=["nbval-ignore-output"]
from labkit.views.elastic import samples_seen

plan = FaultPlan(At(Kill(1), step=8), At(Restart(1), step=9, on=0))
counts = {}
for name, whose in {"by rank": by_rank, "by step": by_step}.items():
    run = cluster.run(count_samples, elastic=True, faults=plan, whose=whose)
    counts[name] = run.wait(timeout=60).results[0]
samples_seen(counts, title="One epoch with a death and a return")

# %%
for name, seen in counts.items():
    wrong = sum(times != 1 for times in seen)
    print(f"{name}: every sample exactly once: {wrong == 0}, more than a batch wrong: {wrong > 48}")

# %% [markdown]
# **Answer: (c).** Each small square is a sample, the first at the top left. With another *n* every
# rank's walk is another one, and its place in the old walk means nothing: black was learnt twice,
# orange never. With `by_step` the sampler knows one number, how far *all* have come, and that number
# belongs to the state that the newcomer gets. The number of ranks decides who computes a sample,
# never whether.
#
# ## A step that is tried twice
#
# A collective that broke off is tried again. Is that safe? Here is a careful loop: it applies the
# gradient, waits until all have applied it, and then until all know that. If a rank is lost, it does
# the step again.
#
# **Predict.** Each of 20 steps adds 1 to the weight. Rank 1 dies once, when all have applied step 10. What
# is the weight at the end? (a) 19, (b) 20, (c) 21.


# %%
def careful(worker, steps, fence):
    """Returns the weight, to which every step adds 1."""
    from labkit import faults

    weight, applied = 0.0, 0
    step = 1
    while step <= steps:
        try:
            gradient = worker.group.all_reduce(worker.tensor(1, fill=1.0)) / worker.group.size
            if not fence or step > applied:
                weight, applied = weight + gradient.item(), step
            worker.group.barrier()  # everybody has it
            faults.point("applied")
            worker.group.barrier()  # everybody knows
            worker.step(step)
            step += 1
        except PeerLost:
            worker.regroup()
    return round(weight, 3)


plan = FaultPlan(At(Kill(1), point="applied", count=10))
for fence in (False, True):
    run = cluster.run(careful, steps=20, fence=fence, faults=plan).wait(timeout=60)
    print(f"with its number as a fence: {fence}, the weight is {run.results[0]}")
    cluster.restart()

# %% [markdown]
# **Answer: (c).** At least once is not once. A retry is harmless if the step carries a number and
# each rank knows the last that it has applied: that makes it [idempotent](glossary.md#idempotent).
# The *view* number is the second [fence](glossary.md#fence). A gradient that was sent in view 1 and
# arrives in view 2 has a number that nobody asks for: each group has connections of its own, and
# buffers that no later group uses.
#
# ## Too few to go on
#
# With half of the ranks a job may run for days at half the speed, and somebody pays for the other half. A
# *minimum* makes it pause. Here all are needed. Rank 1 dies, and comes back a moment later.

# %%
run = cluster.run(train, elastic=True, minimum=world_size, steps=30, algorithm="in_order")
run.wait_step(10, timeout=60)
cluster.kill(1)
cluster.restart()
run.wait(timeout=60)
cluster.close()
formed = [e for e in run.events if e.kind == "begin" and e.name == "forming group"]
print("groups with fewer members:", sum(len(e.data["members"]) < world_size for e in formed))
print("all agree:", len({r["hash"] for r in run.results.values()}) == 1)
run.timeline(title="Below the minimum nobody trains, and nobody dies of it")

# %% [markdown]
# ## The launcher, and its patience
#
# Until now you restarted the rank. In real life the [launcher](glossary.md#launcher) does: torchrun,
# Slurm, Kubernetes, here `Cluster(max_restarts=…)`. The ranks agree and go on; only the launcher can make
# a process. The number bounds a *restart storm*: a rank that dies of a bug dies again.
#
# **Predict.** A function crashes on rank 1 as soon as it starts, on every life. With `max_restarts=3`, how
# many processes does rank 1 get? (a) 1, (b) 3, (c) 4.


# %%
def crashes(worker):
    import os
    import signal

    if worker.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is out
    worker.group.barrier()


import re
from contextlib import redirect_stdout
from io import StringIO
from textwrap import fill

with (
    Cluster(world_size, backend=backend, device=device, max_restarts=3) as cluster,
    redirect_stdout(StringIO()) as said,
):
    run = cluster.run(crashes, elastic=True).wait(timeout=60)


def lives(run):
    """Processes that the launcher has started in this run, and the first."""
    return 1 + sum(e.kind == "note" and e.name.endswith("anew") for e in run.events)


print("processes of rank 1:", lives(run))
print(fill(re.sub(r" on \S+ failed", " failed", said.getvalue())))

# %% [markdown]
# **Answer: (c).** One, and three more: the first at once, the next ones after waits that double; then the
# launcher says why it gives up. Without a bound this goes on for the rest of the night, and every time all others
# stop to let it in.
#
# ## A spare that waits
#
# What takes longest in coming back is to start and to warm up. Both can be done before anybody dies: a
# hot [spare](glossary.md#spare) is a process that has done them, and waits for a rank. Here nobody trains
# while a rank is missing, and three ranks die, one after the other.

# %%
from itertools import pairwise

three = FaultPlan(*(At(Kill(-i % world_size), step=6 * i) for i in (1, 2, 3)))  # from the last on
waited, small = {}, {"minimum": world_size, "steps": 24, "algorithm": "in_order"}
for name, spares in {"cold": 0, "hot": 3}.items():
    with Cluster(world_size, backend, device, spares=spares, max_restarts=3) as cluster:
        run = cluster.run(train, elastic=True, faults=three, **small).wait(timeout=60)
    same = len({result["hash"] for result in run.results.values()}) == 1
    print(f"{name}: {lives(run) - 1} new processes, all agree: {same}")
    steps = [e.time for e in run.events if e.kind == "step" and e.rank == 0]
    waited[name] = sorted((b - a for a, b in pairwise(steps)), reverse=True)[:3]
run.timeline(title="Three ranks are killed, and each is replaced by a spare")

# %%
from labkit.views.curves import compare_bars

each = {name: [1000 * seconds for seconds in values] for name, values in waited.items()}
compare_bars(each, unit="milliseconds without a step: median, least and most", title="Cold and hot")

# %% [markdown]
# Here a cold start is cheap, a fork of a process that has torch, and the spare gains little or nothing.
# Where a start takes a scheduler, a container and minutes of imports, a spare is most of the recovery;
# it costs a whole machine that waits.
#
# ## ⤳ Notice given
#
# A cloud takes machines back, and says so some seconds before: SIGTERM, then SIGKILL. A rank that is told
# completes its step, says farewell, and leaves with exit code 0. Nobody has to notice, nothing is redone.

# %% tags=["nbval-ignore-output"]
from labkit import Preempt

plan = FaultPlan(At(Preempt(1, grace=20.0), step=5))
small = {"steps": 12, "algorithm": "in_order"}
with Cluster(world_size, backend=backend, device=device, seed=seed) as cluster:
    quiet = cluster.run(train, **small).wait(timeout=60).results[0]
    run = cluster.run(train, elastic=True, faults=plan, **small).wait(timeout=60)

# %%
done = [(e.rank, e.data["step"]) for e in run.events if e.kind == "step"]
print("steps done twice:", len(done) - len(set(done)))
print("the same bits at the others:", run.results[0]["hash"] == quiet["hash"])

# %% [markdown]
# ## ⤳ Two copies of every shard
#
# After a death the interrupted step is done again. It need not be: with
# [redundancy](glossary.md#redundancy), `redundancy=2`, every logical shard is computed by two
# ranks, so no death of one rank loses a gradient.
#
# **Predict.** What does it cost while nobody dies? (a) nothing, (b) twice the computing, (c) twice the
# bytes on the wire.

# %%
plan = FaultPlan(At(Kill(1), point="all_reduce", count=6))
with Cluster(world_size, backend=backend, device=device, seed=seed) as cluster:
    small = {"steps": 12, "exact": True}
    once = cluster.run(train, **small).wait(timeout=60).results[0]
    small |= {"redundancy": 2, "elastic": True}
    run = cluster.run(train, faults=plan, **small).wait(timeout=60)
print("deaths:", len(run.deaths))
print(
    "the same bits as computed once:", {r["hash"] for r in run.results.values()} == {once["hash"]}
)

# %% [markdown]
# **Answer: (b).** The first copy counts, the second is there for the death, and for a comparison: two
# copies that differ are [silent corruption](glossary.md#silent-corruption) caught in the act.
#
# ## ⤳ The textbook
#
# > **The textbook says** “torchrun restarts failed workers.” **Let us run it**: rank 1 aborts once. We
# > count how many processes each rank had.

# %%
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

SCRIPT = """
import os, pathlib, sys, time
rank, life, here = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"], sys.argv[1]
(pathlib.Path(here) / f"{rank}.{life}").touch()
while len(list(pathlib.Path(here).glob(f"*.{life}"))) < int(os.environ["WORLD_SIZE"]):
    time.sleep(0.01)
if life == "0":
    os.abort() if rank == "1" else time.sleep(60)
"""
with tempfile.TemporaryDirectory() as folder:
    (script := Path(folder, "script.py")).write_text(SCRIPT)
    (marks := Path(folder, "marks")).mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={world_size}", "--max-restarts=2", "--monitor-interval=0.1"]
    subprocess.run([*command, script, marks], capture_output=True, timeout=100, check=True)
    processes = Counter(mark.stem for mark in marks.iterdir())
print("ranks that had two processes:", sum(n == 2 for n in processes.values()), "of", world_size)

# %% [markdown]
# > **Verdict.** It restarts *all* workers of the job: the healthy ones are ended with SIGTERM, import torch
# > again, and load a checkpoint. What was in their memory, the newest state there is, is thrown away.
#
# **In real systems.** kill −9 of one of four, until the next completed step, on one machine of two
# cores, medians of `labkit bench recovery`, which measures them beside the lab: torchrun 2.4 to 2.7 s with
# a work-around (without it the new workers read the addresses of the dead ones, and none came back
# within 15 s); torchft 1.1 s with short time-outs, and by hand 60 s with its own; Open MPI with ULFM
# 0.018 s for a bare all-reduce. Horovod Elastic keeps the survivors alive and restores their last
# in-memory commit; its sampler shares out the rest of the epoch anew, and a host that fails is
# black-listed for a while. torchft's blog reports 300 L40S with a kill every minute: 82 % of the
# steps were committed, as 5/6 would predict.
#
# ## Exercises
#
# ### Exercise elastic.1 (3 points, 10 minutes; about 3 lines, reference runs in 0.1 s)
#
# Whatever the number of ranks, each sample of the step's batch belongs to exactly one of them.

# %% exercise="elastic.1"

# %% [markdown]
# ### Exercise elastic.2 (3 points, 10 minutes; about 6 lines, reference runs in 0.1 s)
#
# A message with a summed gradient arrives. It may be late, or come twice.

# %% exercise="elastic.2"

# %% [markdown]
# ### Exercise elastic.3 (4 points, 15 minutes; about 5 lines, reference runs in 0.1 s)
#
# A new group is formed. Each rank says how many steps it has applied.

# %% exercise="elastic.3"

# %% [markdown]
# ### Exercise elastic.4 (2 points, 10 minutes; about 4 lines, reference runs in 0.1 s)
#
# Predict. In `careful` above rank 1 died once, after it had applied step 10. Now ranks die at any of
# three moments of a step, several times, also twice in the same one. Say what the weight will be; the
# check plays the loop.

# %% exercise="elastic.4"

# %% [markdown]
# ## Summary
#
# - A view says who is in. Only a new group, formed by all of them, makes it true.
# - A recovery is notice, agree, form, redo; a return is start, ready, agree, form, restore.
# - All members change groups behind the same step: the vote travels in the bucket.
# - The batch, its shards and the place in the data belong to the job, not to the ranks.
# - A step has a number, a group has a view: what comes twice or late changes nothing.
# - A launcher makes processes, with a bound; a spare is one made before. Who is in, the ranks decide.

# %% [markdown]
# ## Interview questions
#
# <details><summary>A rank is lost in the middle of an all-reduce. May some survivors have applied the step,
# and others not?</summary>
#
# Yes: the collective may be complete at one and broken off at another. They compare their steps in the new
# group, and the state of the most advanced goes to the others. To roll back would throw a step away; to
# redo it everywhere would apply it twice at some.
# </details>
#
# <details><summary>From 8 ranks to 7: do you keep the global batch, or the batch per rank?</summary>
#
# Keep the global batch, and learning rate, schedule and result stay what they were; each step takes 8/7 of
# the time. Keep the batch per rank, and every step is as quick, but the optimizer sees another batch: the
# rate has to follow, and no run can be repeated.
# </details>
#
# <details><summary>Why does the newcomer warm up before it joins?</summary>
#
# From the moment at which it is in the view all others wait for it in the next collective. Imports, data
# and the first allocation take seconds; they are free before, and cost all ranks after.
# </details>
#
# <details><summary>Survivors hold the newest state. What are checkpoints still for?</summary>
#
# For the death of all at once (power, a bug in every rank, the end of an allocation), for sharded state
# whose only copy died, and for going back behind a corruption.
# </details>
#
# <details><summary>A rank was only paused, and wakes up in a job that has gone on without it. What keeps it
# from doing harm?</summary>
#
# It is not in the view: nobody connects to it, its group's connections are closed, and its votes and
# gradients carry an old view number. It has to end, and to come back as a new member.
# </details>

# %% [markdown]
# ## Next
#
# The log behind these views had one leader and a majority. What several copies promise with less,
# and what it costs, is [12 Replication and quorums](12_replication_and_quorums.ipynb): three
# copies, none of them broken, and two answers.
#
# The bug that stays in sight: here one fault came at a time, and you knew which. At night they come
# together. On the Core route go on to [18 Chaos](18_chaos.ipynb). The Evening route ends here.
