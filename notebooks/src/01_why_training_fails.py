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
# # 01 Why training fails
#
# It is seven minutes past two, in the thirteenth night of a two-week run on 2 000 GPUs. A fan
# stops. One GPU gets too hot and leaves the bus, its process dies, and 1 999 healthy GPUs wait for
# a message that nobody will send. Nobody did anything wrong. At this size, something like it
# happens more than once a day; the only open question is what the job does then. This notebook
# breaks a small cluster in nine ways, and then puts numbers on the big one: how often, how much,
# and what helps.
#
# **Routes** Core · All<br>
# **Time** 60 minutes, and 30 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [00 A cluster in your notebook](00_a_cluster_in_your_notebook.ipynb)<br>
# **Afterwards you can** say how often a job of N machines fails; name seven kinds of failure and
# which of them announce themselves; put a price on lost work; choose a checkpoint interval; and
# say which of redundancy, replication and consensus a problem needs.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## One day of a large job
#
# Move the sliders. On the left is one drawn day: the line climbs while the job makes progress, each
# cross is a failure that throws it back to its last [checkpoint](glossary.md#checkpoint). On the
# right is its [goodput](glossary.md#goodput), the fraction of time that becomes progress.
#
# **Predict.** The job has 16 384 GPUs and fails every three hours. Eight times as many GPUs: does
# the goodput fall (a) to about 80 %, (b) to about 60 %, (c) below 40 %?

# %% tags=["nbval-ignore-output"]
from labkit.views.sliders import goodput_sliders

goodput_sliders(seed)

# %%
from labkit.views.goodput import panel

panel(gpus=131_072, save_minutes=30, seed=seed)

# %% [markdown]
# **Answer: (c).** The next failure now comes before the next checkpoint does, so most of the work
# between two checkpoints is done for nothing. Now repair it with the sliders: save more often, then
# restart faster. One of the two alone is not enough. The rest of this course is about moving those
# two sliders to the left on a real cluster.

# %% [markdown]
# ## A thousand good machines
#
# > **The textbook says** “A node works with probability 0.999. With 1 000 nodes, all of them work
# > with probability 0.999^1000, about 37 %.” **Let us run it.**
#
# **Predict.** In the textbook every node fails on its own. In a rack, eight share one power supply.
# Let a *rack* fail with the same 0.001, so that a node is exactly as reliable as before. Is the
# chance that all 1 000 nodes work now (a) smaller, (b) the same, (c) larger?

# %%
import numpy as np

random = np.random.default_rng(seed)
alone = (random.random((20_000, 1_000)) < 0.999).all(axis=1)
racks = (random.random((20_000, 125)) < 0.999).all(axis=1)
print(f"0.999 ** 1000        = {0.999**1000:.1%}")
print(f"nodes that fail alone: all work in {alone.mean():.0%} of 20 000 drawn days")
print(f"nodes that fail by 8:  all work in {racks.mean():.0%}")

# %%
from labkit.views.reliability import survival_of_all

survival_of_all(0.999, [1, 8, 100, 1_000, 5_000])

# %% [markdown]
# **Answer: (c).** Failures that come together come less often. The job does not care how many
# nodes it loses at once: one is enough to stop it.
#
# > **Verdict.** The arithmetic is right, and it answers a question that a job does not ask. It
# > holds for independent failures, and 0.999 has no unit: per hour, per day, per run? Work with a
# > *rate* instead.

# %% [markdown]
# ## How long until something fails
#
# A rate adds up: a thousand machines fail a thousand times as often as one. So the
# [MTBF](glossary.md#mtbf) of N machines is one N-th of the MTBF of one, if failures have no memory.
# Each machine below gets its own drawn life with a mean of 200 days; we watch for the first that
# ends.

# %%
from labkit.reliability.mtbf import first_failures
from labkit.views.reliability import time_to_failure

trials = 200 if fast else 1_000
first = {n: first_failures(200.0, n, trials, random) for n in (1, 8, 100, 1_000)}
for machines, days in first.items():
    print(
        f"{machines:5} machines: first failure after {days.mean():7.2f} days, 200/N = "
        f"{200 / machines:7.2f}"
    )

# %%
time_to_failure(first, mtbf_days=200.0)

# %% [markdown]
# On the right, real clusters. The lines are published rates times the number of nodes (8 GPUs
# each); the dots are what jobs saw. At 8 and at 1 024 GPUs, Meta's jobs failed three to four times
# as often as the rate behind Meta's own projection says. Trust the slope; measure the height on
# your own machines.
#
# **In real systems.** Llama 3 405B: 419 unexpected interruptions in 54 days on 16 384 H100s, one
# every 3.1 hours (arXiv 2407.21783, Table 5). Meta's research clusters: 6.5 and 2.3 failures per
# 1 000 node-days (Kokolis and others, HPCA 2025).

# %% [markdown]
# ### Exercise why.1 (1 point, 5 minutes; about 1 line, reference runs in 0.05 s)
#
# How many hours pass, on average, between two failures of a job?

# %% exercise="why.1"

# %% [markdown]
# ## Seven kinds of failure
#
# What stopped Llama 3, by count. (The paper prints 30.1 % for the first bar and 58.7 % for all GPU
# causes; its own counts say 35.3 % and 64.0 %. We use the counts.)

# %%
from labkit.reliability.published import LLAMA3_INTERRUPTIONS
from labkit.views.reliability import interruptions

interruptions(LLAMA3_INTERRUPTIONS)

# %% [markdown]
# | kind | what breaks | what the job sees | here |
# |---|---|---|---|
# | GPU | memory, heat, off the bus, wrong results | a slow or dead rank, or nothing | `Slow`, a bit |
# | process | out of memory, segmentation fault | a closed connection | `Kill` |
# | network | cable, switch, card, a flapping link | silence | `Partition` |
# | file system | full, torn, slow | an error; later a file that does not load | a size limit |
# | scheduler | preemption, maintenance, suspension | a rank that stands still | `Pause` |
# | software | bugs, bad data, mixed versions | an exception, or a wrong number | NaN, `continue` |
# | power | supply, rack, room | many ranks gone at once | several `Kill`s |
#
# We inject every one into a real cluster. A [*fault*](glossary.md#fault) is injected, a
# [*failure*](glossary.md#failure) is observed. The job is small and has a memory: `weights` is the
# sum of all that every [rank](glossary.md#rank) ever contributed.

# %%
from labkit import At, Cluster, FaultPlan, Heal, Kill, Partition, Pause, Slow

cluster = Cluster(world_size, backend=backend, device=device)


def train(worker, steps=20):
    """Data-parallel work; returns the mean weight."""
    import time

    from labkit import faults

    weights = worker.tensor(1_000)
    for step in range(1, steps + 1):
        with faults.work("computing", step=step):
            time.sleep(0.01)  # where a real job computes its gradient
            gradient = worker.tensor(1_000, fill=float(step))
        worker.group.all_reduce(gradient)
        weights += gradient
        worker.step(step)
    return weights.mean().item()


# %% [markdown]
# Without a fault every rank finishes, with the same weights.


# %%
def ranks(numbers):
    return ", ".join(f"rank {r}" for r in sorted(numbers))


def tell(run):
    """What a run came to, without anything that differs from time to time."""
    print("finished:", ranks(run.results) or "nobody")
    if run.deaths:
        print("SIGKILL: ", ranks(r for r, d in run.deaths.items() if d.signal == "SIGKILL"))
    if run.errors:
        print("PeerLost:", ranks(r for r, e in run.errors.items() if e.kind == "PeerLost"))


run = cluster.run(train).wait(timeout=60)
tell(run)
print("every rank has the same weight:", len(set(run.results.values())) == 1)

# %% [markdown]
# ### GPU: a hot one
#
# **Predict.** Rank 1 overheats at step 10: it computes eight times slower, 80 ms a step. How long
# does a step of rank 0 take now? (a) 10 ms as before, (b) a little more, (c) 80 ms at least.


# %%
def step_seconds(run, rank, after, until):
    """The mean time of a rank's steps after `after`, up to `until`."""
    times = {e.data["step"]: e.time for e in run.events if e.kind == "step" and e.rank == rank}
    return (times[until] - times[after]) / (until - after)


run = cluster.run(train, faults=FaultPlan(At(Slow(1, 8.0), step=10))).wait(timeout=60)
cluster.heal()
tell(run)
print("80 ms or more per step, on rank 0 too:", step_seconds(run, 0, 11, 20) >= 0.08)

# %%
run.timeline()

# %% [markdown]
# **Answer: (c).** Every step ends with an [all-reduce](glossary.md#all-reduce), and an all-reduce
# ends when the slowest rank has sent. Nothing failed, nothing was logged, and the whole job pays.
# This is a [straggler](glossary.md#straggler).
#
# **In real systems.** In a cluster of 10 000 GPUs, slow parts made large jobs take 1.34 times as long
# on average: slow links for about 24 minutes at a time, slow computing for about 10 (Greyhound,
# USENIX ATC 2025).

# %% [markdown]
# ### GPU: one wrong bit
#
# Six of the 419 were silent data corruption: the GPU computed, and the number was wrong.
#
# **Predict.** One bit flips in one weight of rank 1, of 1 000 weights. Who raises an error? (a)
# rank 1, (b) its neighbours, (c) nobody.


# %%
def train_with_a_flipped_bit(worker):
    """Returns the mean weight, and a checksum of all weights."""
    import hashlib

    import torch

    weights = worker.tensor(1_000)
    for step in range(1, 11):
        weights += worker.group.all_reduce(worker.tensor(1_000, fill=float(step)))
        if worker.rank == 1 and step == 5:
            weights[123:124].view(torch.int32).bitwise_xor_(1 << 12)  # bit 12 of weight 123
        worker.step(step)
    return weights.mean().item(), hashlib.sha256(weights.cpu().numpy().tobytes()).hexdigest()


run = cluster.run(train_with_a_flipped_bit).wait(timeout=60)
tell(run)
means = [mean for mean, _ in run.results.values()]
sums = {rank: checksum for rank, (_, checksum) in run.results.items()}
print(f"mean weights differ by less than 1 in 100 000: {max(means) / min(means) - 1 < 1e-5}")
print("weights that differ from those of rank 0:", ranks(r for r in sums if sums[r] != sums[0]))

# %% [markdown]
# **Answer: (c).** Every rank finishes and the mean looks fine. Only a comparison of checksums
# between ranks can see it, and only because [data-parallel](glossary.md#data-parallel) ranks ought
# to be equal.

# %% [markdown]
# ### Process: kill −9
#
# **Predict.** Rank 1 dies at step 10. What do the others get? (a) a wrong sum without it, (b) an
# error, (c) they wait for ever.

# %%
run = cluster.run(train, faults=FaultPlan(At(Kill(1), step=10))).wait(timeout=60)
tell(run)

# %%
run.timeline()

# %% [markdown]
# **Answer: (b), here.** The operating system closes a dead process's connections, and this
# cluster's workers listen for that. With Gloo alone only the two neighbours hear it; the rank
# opposite waits for the operation's time-out, 30 minutes by default. [Notebook
# 03](03_data_parallel_training.ipynb) shows it.

# %% [markdown]
# ### Network: a cable
#
# The cluster falls into two halves that cannot hear each other, for half a second.
#
# **Predict.** How many ranks die? (a) those of one half, (b) all, (c) none.

# %%
cluster.restart(1)
half = world_size // 2
halves = Partition((tuple(range(half)), tuple(range(half, world_size))))
plan = FaultPlan(At(halves, seconds=0.1), At(Heal(), seconds=0.6))
run = cluster.run(train, faults=plan).wait(timeout=60)
tell(run)

# %%
run.timeline()

# %% [markdown]
# **Answer: (c).** Nobody dies, nobody is told: to both halves, the cable and a slow peer look the
# same. When it heals, the job goes on as if nothing had been. How long should one wait before
# calling it a death? That question is [notebook 04](04_heartbeats.ipynb).

# %% [markdown]
# ### File system: the disk is full
#
# Every rank saves 2 MiB, and the operating system lets its files grow to 1 MiB.
#
# **Predict.** The writer gets an error. What is left on the disk? (a) no file, (b) an empty file,
# (c) a file of 1 MiB that looks like a checkpoint.


# %%
def save(worker):
    """Returns what the writer is told, what lies on the disk, and what a reader is told."""
    import os
    import resource
    import tempfile

    import numpy as np

    def told(action):
        try:
            return action() or "nothing"
        except Exception as error:
            return type(error).__name__

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "weights.npy")
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        writer = told(lambda: np.save(path, np.ones(1 << 18)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        reader = told(lambda: np.load(path).size)
        return f"writer: {writer}, on disk: {os.path.getsize(path)} bytes, reader: {reader}"


run = cluster.run(save).wait(timeout=60)
print(run.results[0])
print("every rank says the same:", len(set(run.results.values())) == 1)

# %% [markdown]
# **Answer: (c).** A torn file. It has the right name and the right beginning, and whoever had
# overwritten the last good checkpoint with it would now have none. Notebooks
# [06](06_checkpoints.ipynb) and [07](07_two_phase_commit.ipynb) are about this one file.
#
# **In real systems.** We killed `torch.distributed.checkpoint` (torch 2.13) while it overwrote a
# checkpoint. Three times out of three the old one was lost, its `.metadata` still in place.

# %% [markdown]
# ### Scheduler: somebody else needs the machine
#
# Slurm can suspend a job (`PreemptMode=SUSPEND`): its processes get SIGSTOP, and SIGCONT later.
#
# **Predict.** Rank 1 is suspended for half a second. What do the others see? (a) a closed
# connection, (b) an error after a while, (c) what they saw when the cable was cut.

# %%
run = cluster.run(train, faults=FaultPlan(At(Pause(1, seconds=0.5), step=10))).wait(timeout=60)
tell(run)

# %%
run.timeline()

# %% [markdown]
# **Answer: (c).** Silence again. A stopped process keeps its connections open; the kernel even
# goes on accepting data for it. Slow, cut off, stopped, or about to be dead: from outside these are
# one picture. This is why detecting failures is a subject of its own.

# %% [markdown]
# ### Software: one bad number
#
# **Predict.** One sample of rank 1 is damaged, and one of its gradients is NaN at step 5. How many
# ranks have only good weights at step 6? (a) all but rank 1, (b) all but two, (c) none.


# %%
def train_with_a_bad_sample(worker):
    """Returns the first step after which this rank's weights are not all finite."""
    weights = worker.tensor(1_000)
    for step in range(1, 11):
        gradient = worker.tensor(1_000, fill=float(step))
        if worker.rank == 1 and step == 5:
            gradient[123] = float("nan")
        weights += worker.group.all_reduce(gradient)
        if not weights.isfinite().all():
            return step


run = cluster.run(train_with_a_bad_sample).wait(timeout=60)
for rank, step in sorted(run.results.items()):
    print(f"rank {rank}: poisoned after step {step}")

# %% [markdown]
# **Answer: (c).** All-reduce is very good at spreading things. The next checkpoint saves the NaN,
# faithfully, on every rank.
#
# ### Software: a careful programmer
#
# So rank 1 looks at its batch first, and skips the damaged one with `continue`.
#
# **Predict.** Rank 1 skips its batch of step 5. What happens? (a) the fifth update is made without
# it, (b) everybody waits at step 5, (c) everybody goes on, and every later sum is wrong.


# %%
def train_and_skip(worker):
    """Nine updates; returns the sum of each. The gradient of step i is i, on every rank."""
    sums, step = [], 0
    while len(sums) < 9:
        step += 1
        if worker.rank == 1 and step == 5:
            continue  # a bad batch
        gradient = worker.tensor(1, fill=float(step))
        sums.append(worker.group.all_reduce(gradient).item())
    return sums


run = cluster.run(train_and_skip).wait(timeout=60)
for update, total in enumerate(run.results[0], start=1):
    print(f"update {update}: sum {total:2.0f}, should be {update * world_size:2}")
print("the same on all ranks:", len({tuple(sums) for sums in run.results.values()}) == 1)

# %% [markdown]
# **Answer: (c).** Collectives are matched by their order, not by their meaning. Rank 1's sixth
# gradient meets the fifth of the others, and so on to the end. No error, equal weights on all
# ranks, wrong training. And if rank 1 had *raised* instead, the others would have stood in an
# all-reduce that it never joins. A decision to skip, or to stop, has to be taken by all ranks
# together ([notebook 05](05_hangs_deadlocks_nans.ipynb)).

# %% [markdown]
# ### Power: half the room
#
# **Predict.** After step 10 the second half of the ranks loses power, all in the same instant. How
# many failures does the job have to handle? (a) one, (b) one for each dead rank.

# %%
run = cluster.run(train, steps=1_000).wait_step(10, timeout=60)
for rank in range(half, world_size):
    cluster.kill(rank)
tell(run.wait(timeout=60))
cluster.close()

# %% [markdown]
# **Answer: (a), if it is built for it.** The survivors raise once, and one new
# [view](glossary.md#view) of the cluster without all the dead is enough. Had it been the whole
# room, nothing would be left to agree: what is only in memory is gone, and the job is worth what
# its last checkpoint holds.

# %% [markdown]
# ## Who raised the alarm?
#
# | fault | ranks that died | who was told |
# |---|---|---|
# | a slow GPU | none | nobody |
# | a flipped bit | none | nobody |
# | kill −9 | one | everybody, at once |
# | a cut cable | none | nobody |
# | a full disk | none | the writer |
# | a suspended process | none | nobody |
# | a NaN | none | nobody |
# | a skipped batch | none | nobody |
# | power | half of them | everybody left |
#
# Six of the nine are silent. **The loud failures are the kind ones**: a dead process is the best
# thing that can happen to a fault-tolerant system, and many systems kill what they are unsure of
# to get there.
#
# **In real systems.** In Meta's clusters hardware failures ended 0.2 % of the jobs, and these held
# 18.7 % of the run time: failures find the large jobs (HPCA 2025).

# %% [markdown]
# ## What a machine knows
#
# A [stateless](glossary.md#stateless) worker holds nothing that cannot be asked of it again: a web
# server, a data loader, an inference replica. A [stateful](glossary.md#stateful) one is what it
# remembers. Below, ranks do both kinds of work, and rank 1 dies at step 10. `weights` is equal on
# every rank. `momentum` is a [shard](glossary.md#shard): each rank has its own piece, as in ZeRO.
#
# **Predict.** After the death, which of the three is lost for good? (a) its answers to the tasks,
# (b) the weights, (c) the momentum.


# %%
def three_kinds(worker, tasks):
    """Answers this rank's tasks; keeps weights (replicated) and momentum (sharded)."""
    from labkit import PeerLost

    answers = {t: t * t for t in tasks[worker.rank :: worker.world_size]}
    weights, momentum = worker.tensor(1), worker.tensor(1)
    try:
        for step in range(1, 16):
            momentum += worker.rank + step
            weights += worker.group.all_reduce(worker.tensor(1, fill=float(step)))
            worker.step(step)
    except PeerLost:
        pass  # the survivors are alive, and so is what they remember
    return answers, weights.item() > 0, momentum.item() > 0


with Cluster(world_size, backend=backend, device=device) as cluster:
    tasks = list(range(24))
    plan = FaultPlan(At(Kill(1), step=10))
    run = cluster.run(three_kinds, faults=plan, tasks=tasks).wait(timeout=60)
    answered = set().union(*(answers for answers, _, _ in run.results.values()))
    cluster.restart(1)
    again = cluster.run(three_kinds, tasks=sorted(set(tasks) - answered)).wait(timeout=60)
    answered_again = set().union(*(answers for answers, _, _ in again.results.values()))

print(
    f"tasks:    {len(tasks) - len(answered)} of {len(tasks)} answers lost, "
    f"{len(answered | answered_again)} after asking again"
)
print(f"weights:  {len(run.results)} of {world_size} copies are left, 1 is enough")
print(f"momentum: {len(run.results)} of {world_size} shards are left, {world_size} are needed")

# %% [markdown]
# **Answer: (c).** Stateless work is asked again. Data-parallel weights survive by accident:
# [replication](glossary.md#replica) is a side effect of computing fast. The shard is gone, and no
# cleverness after the failure brings it back; something must have been done *before*. The more
# memory a training system saves by sharding, the more it needs what this course builds.

# %% [markdown]
# ## What it costs
#
# Two thousand GPUs for two weeks, at $2 per GPU-hour. Which price do you pay without a single
# checkpoint, when every failure starts the run again from nothing?
#
# **Predict.** At RSC-1's failure rate, how long does this two-week run take on average? (a) four
# weeks, (b) a year, (c) longer than there have been people.

# %%
from labkit.reliability import economics, mtbf, young_daly
from labkit.reliability.published import RSC1

gpus, hours, price = 2_000, 336, 2.0
between = mtbf.job_mtbf_hours(gpus / 8, RSC1)
forever = young_daly.expected_time_without_checkpoints(hours, between)
print(f"the run, if nothing fails:     ${economics.run_dollars(gpus, hours, price):,.0f}")
print(f"an hour of it:                 ${economics.run_dollars(gpus, 1, price):,.0f}")
print(f"one failure every {between:.1f} h:     {hours / between:.0f} failures in two weeks")
print(f"expected time, no checkpoints: {forever / 24 / 365 / 1e6:.1f} million years")

# %% [markdown]
# **Answer: (c).** The run would need two weeks without a failure, and the chance of that is
# e to the power of minus the number of failures. Nobody trains like this, and that is the first
# fact about large training: **without fault tolerance it is impossible**, not expensive.
#
# Below is the same run with a fleet three times as reliable, as it might really go: unsaved work in
# dollars, with the same failures on both sides.

# %%
from labkit.views.reliability import money_at_risk

failures = np.random.default_rng(seed + 13).exponential(3 * between, 40).cumsum()
money_at_risk(price * gpus, failures[failures < hours], hours, save_hours=2)

# %% [markdown]
# One failure costs every GPU half an [interval](glossary.md#interval) of [lost
# work](glossary.md#lost-work) on average, and the restart. More GPUs fail more often *and* burn
# more money per failure, so the bill grows with the square of the size.

# %%
for n in (1_000, 2_000, 4_000, 8_000):
    count = hours / mtbf.job_mtbf_hours(n / 8, RSC1)
    each = economics.failure_dollars(n, price, interval_hours=1.0, restart_hours=0.25)
    print(f"{n:5} GPUs: {count:3.0f} failures, ${each:7,.0f} each, ${count * each:9,.0f} in all")

# %% [markdown]
# **In real systems.** “The overall cost of failure rises quadratically with the scale of the
# compute cluster” (Google Cloud, *Introducing ML Productivity Goodput*, 2024).

# %% [markdown]
# ### Exercise why.2 (3 points, 15 minutes; about 6 lines, reference runs in 0.1 s)
#
# Write the simulator behind the first picture. The job starts at hour 0 and saves after every
# `interval` hours of work (saving takes no time). A failure throws away what is newer than the last
# save, and the job is back `restart` hours later. A failure may also strike while it restarts: then
# the restart begins again.

# %% exercise="why.2"

# %% [markdown]
# ## How often to save
#
# A save stops the training for a minute. Save every five minutes, and a sixth of the time goes into
# writing. Save every three hours, and a failure takes ninety minutes of work with it.
#
# > **The textbook says** “The best interval is √(2·C·M)”: C the time of a save, M the MTBF (Young,
# > 1974). **Let us run it**, failure by failure, at the size of Llama 3.
#
# **Predict.** With C = 60 s and M = 3.1 h, how much of the time is lost at the *best* interval?
# (a) 1 %, (b) 5 %, (c) more than 10 %.

# %%
from labkit.reliability.goodput import Job
from labkit.reliability.published import LLAMA3_MTBF_HOURS
from labkit.views.goodput import where_time_goes

job = Job(mtbf=LLAMA3_MTBF_HOURS, interval=0.3, write=60 / 3600, restart=6 / 60)
where_time_goes(job, np.geomspace(2 / 60, 3, 14), hours=24 * (10 if fast else 54), seed=seed)

# %%
best = young_daly.young_interval(job.write, job.mtbf)
print(
    f"Young's interval: {60 * best:.1f} min; writes and repeated work: "
    f"{young_daly.least_waste(job.write, job.mtbf):.1%}"
)
for seconds in (60, 10, 1):
    write = seconds / 3600
    best = young_daly.daly_interval_higher_order(write, job.mtbf)
    kept = young_daly.goodput(best, write, job.mtbf, job.restart)
    print(f"a save of {seconds:2} s: goodput {kept:.1%} with a restart of 6 min")

# %% [markdown]
# **Answer: (c).** The dashed line is Daly's closed form (2006), and the drawn failures lie on it.
#
# > **Verdict.** The square root finds the bottom, and the bottom is flat: twice too often or twice
# > too seldom costs little. What it cannot do is make a slow save good. Llama 3 kept more than 90
# > %, which no interval reaches with saves of a minute: *the save itself* has to get faster
# > ([notebook 08](08_fast_checkpoints.ipynb)).

# %% [markdown]
# ## Goodput from 8 to 131 072 GPUs
#
# Each curve saves at its own best interval, at Llama 3's failure rate. The dots are what others
# published.

# %%
from labkit.reliability.published import RATES
from labkit.views.goodput import by_size

rate = RATES["Llama 3 (H100, 16 k GPUs)"]
settings = [
    ("save 60 s, restart 10 min", rate, 60 / 3600, 10 / 60),
    ("save 10 s, restart 3 min", rate, 10 / 3600, 3 / 60),
    ("save 1 s, restart 10 s", rate, 1 / 3600, 10 / 3600),
]
by_size(settings)

# %%
for n in (8, 128, 1_024, 16_384):
    whole = mtbf.job_mtbf_hours(n / 8, rate)
    row = []
    for _, _, write, restart in settings:
        interval = young_daly.daly_interval_higher_order(write, whole)
        row.append(f"{young_daly.goodput(interval, write, whole, restart):6.1%}")
    print(f"{n:6} GPUs:", "  ".join(row))

# %% [markdown]
# At 8 GPUs nothing matters. At 100 000, restarting the whole job for ten minutes left Meta with
# 44 % of its time; restarting only the replica that failed, in three, gave 80 % (FT-HSDP, arXiv
# 2602.00277). Both dots lie close to a curve that knows nothing but a failure rate, a save and a
# restart.

# %% [markdown]
# ### ⤳ Do our formulas agree with what was published?
#
# Every figure of the lab's reliability models is held against a published one, and a test fails
# when one drifts. Six do not agree, and we keep them by name.

# %%
from labkit.reliability.published import CHECKS, DIVERGENCES

for figure in CHECKS:
    relation = "at least" if figure.at_least else "        "
    print(
        f"{'ok' if figure.agrees else 'NO':3}{figure.what:48}"
        f"{figure.ours:8.3f}   published {relation} {figure.published:.3g}"
    )
print()
for figure in DIVERGENCES.values():
    print(f"{'ok' if figure.agrees else 'NO':3}{figure.what}: {figure.remark}")

# %% [markdown]
# ### Machines that wait for their turn
#
# All this assumed that a [spare](glossary.md#spare) machine is there at once. Take Llama 3's size,
# and repairs that take a day.
#
# **Predict.** About eight machines fail in a day. How many spares, of 2 048 machines, until waiting
# no longer matters? (a) 2, (b) 8, (c) about 16.

# %%
from dataclasses import replace

from labkit.reliability.goodput import simulate

job = Job(LLAMA3_MTBF_HOURS, interval=8 / 60, write=10 / 3600, restart=5 / 60, repair=24.0)
for spares in (0, 2, 4, 8, 16, 32):
    outcome = simulate(replace(job, spares=spares), hours=54 * 24, trials=20, seed=seed)
    print(
        f"{spares:2} spares: goodput {outcome.goodput:4.0%}, "
        f"waiting for a machine {outcome.waiting.mean():4.0%}"
    )

# %% [markdown]
# **Answer: (c).** Eight covers the average day. Half of all days are worse than average. Sixteen
# machines of 2 048 stand idle so that the rest can work: the cheapest insurance in this notebook.

# %% [markdown]
# ## Machines that can be taken away
#
# Clouds sell idle machines at 60 to 90 % off and take them back when they like, with two minutes of
# notice at AWS and thirty seconds at Google (their documentation). A
# [preemption](glossary.md#preemption) is a failure with good manners.
#
# **Predict.** The discount is 60 %. Somebody takes one of your machines every half hour, and your
# job needs 30 minutes to come back. Is spot (a) cheaper, (b) about the same, (c) dearer?

# %%
from labkit.views.goodput import spot

between, steady, cheap = 0.5, 2.0, 0.8
for minutes in (1, 10, 30):
    interval = young_daly.daly_interval_higher_order(10 / 3600, between)
    kept = young_daly.goodput(interval, 10 / 3600, between, minutes / 60)
    dollars = economics.dollars_per_useful_hour(cheap, kept)
    print(f"back in {minutes:2} min: goodput {kept:.0%}, ${dollars:.2f} per useful GPU-hour")
print(
    f"on demand costs ${steady:.2f}: spot pays above a goodput of "
    f"{economics.break_even_goodput(cheap, steady):.0%}"
)

# %%
spot(steady, cheap, 10 / 3600, [1 / 60, 10 / 60, 30 / 60], np.geomspace(0.2, 48, 60))

# %% [markdown]
# **Answer: (c).** More than the discount is spent on restarts. Come back within a minute, and the
# same machines cost less than half of the others. Fault tolerance is not only insurance; here it
# earns its pay every hour.
#
# **In real systems.** Bamboo trained on preemptible instances at 2.4 times less cost than on
# demand, by computing redundantly in the pipeline's bubbles (Thorpe and others, NSDI 2023). And a
# warning for all formulas above: preemptions do have a memory. Google's 24-hour machines die young
# or old, in a bathtub shape (Kadupitiya and others, arXiv 1911.05160).

# %% [markdown]
# ## Three answers
#
# Everything in this course is one of three answers to a broken machine, or two of them together.
#
# - **[Redundancy](glossary.md#redundancy)**: have more machines than you need. Answers: *who does
#   the work now?* (spares, elastic restart)
# - **Replication**: have the same state in several places. Answers: *what did it know?*
#   (checkpoints, copies in a neighbour's memory)
# - **[Consensus](glossary.md#consensus)**: let a majority decide. Answers: *what do we all believe
#   happened?* (membership, commit, election)
#
# **Predict.** To survive the loss of one voter you need a majority among the rest. How good are
# two voters, compared with one? (a) twice as good, (b) the same, (c) worse.

# %%
from labkit.views.reliability import three_answers

three_answers(nodes=1_000, node_works=0.999, replica_works=0.99)

# %% [markdown]
# **Answer: (c).** A majority of two is two, so either of them stops the pair. Odd numbers buy
# something, even ones do not. And look left: three spare machines in a thousand turn 37 % into
# 98 %.
#
# | | cost | does not help against |
# |---|---|---|
# | redundancy | idle machines | lost state; a bug that every machine has |
# | replication | memory, bandwidth | a wrong value, faithfully copied |
# | consensus | messages, a majority alive | losing the majority |

# %% [markdown]
# ### Exercise why.3 (2 points, 10 minutes; about 4 lines, reference runs in 0.05 s)
#
# How many voters does it take?

# %% exercise="why.3"

# %% [markdown]
# ## Summary
#
# - N machines fail N times as often as one. At 16 384 GPUs that is every three hours.
# - Most kinds of failure are silent. A clean death is the easy case.
# - State is what makes failures expensive: unsaved work, shards with one copy.
# - Goodput is decided by two times, that of a save and that of a restart; √(2·C·M) only balances
#   them.
# - Redundancy replaces the worker, replication its memory, consensus the one who decides.
#
# ## Interview questions
#
# <details><summary>Your job's MTBF on 512 GPUs is two days. You move to 4 096. What now?</summary>
#
# Six hours, if failures are independent: the rate grows with the number of machines. Shared causes
# (racks, switches, a bad software release) change the height, not the slope.
# </details>
#
# <details><summary>A rank is silent. How can you tell whether it is dead, slow, or cut
# off?</summary>
#
# From outside, and from silence alone, you cannot. A closed connection proves a dead process; a
# missing heartbeat only makes one suspect. Systems choose a time-out, accept mistakes, and fence
# whatever they have given up on.
# </details>
#
# <details><summary>Why does raising an exception on NaN hang the job?</summary>
#
# The rank that raises leaves the loop; the others are inside an all-reduce that it will never
# join. The decision to stop must itself be collective: all-reduce a flag first.
# </details>
#
# <details><summary>How would you choose a checkpoint interval, and when is the formula
# wrong?</summary>
#
# √(2·C·M) as a start; C is the time for which training stops, not the time until the file is
# durable. It is first order: it needs C much smaller than M, and failures without memory. Near the
# optimum the curve is flat, so measure C and M first and do not polish the interval.
# </details>
#
# <details><summary>Does data parallelism give fault tolerance?</summary>
#
# It replicates the weights, so one survivor is enough to restore them. It does not replicate what
# is sharded (ZeRO, pipeline stages), the position in the data, or the random state, and its
# collectives hang or raise when a rank dies.
# </details>
#
# <details><summary>Why are four voters no better than three?</summary>
#
# A majority of four is three, so both groups survive one death. Four have one more machine that
# can die.
# </details>
#
# ## Next
#
# [02 Ring all-reduce](02_ring_all_reduce.ipynb) builds the operation that every rank waited in
# today, out of sends and receives, and asks how fast it can be. The bug that stays in sight: one
# rank is late, and all stand in the same all-reduce.
