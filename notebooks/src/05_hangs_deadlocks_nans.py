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
# # 05 Hangs, deadlocks, NaNs
#
# Friday, 23:50. A job on 512 GPUs stands still. Nobody is dead, every rank beats, and every one of them
# is inside a collective: nobody is behind. Tom looks at rank 0: it is in a broadcast. At midnight he
# looks at rank 1: it is in a reduce. Somebody has added `if rank == 0:` above a line that all must
# reach. Half an hour for one word, since no rank knew what the others were doing. In this notebook they
# ask each other. Then come the failures in which nothing stops: a gradient that is not a number, a bit
# that flips, a rank that is slow.
#
# **Routes** Core · All<br>
# **Time** 45 minutes, and 75 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [04 Heartbeats](04_heartbeats.ipynb)<br>
# **Afterwards you can** name the line of code that keeps a job from going on; write exchanges that
# cannot deadlock; say why a NaN must be judged by all ranks or by none; choose a loss scale; and find
# a straggler and a corrupted replica.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## A barrier with a dead rank
#
# The smallest [collective](glossary.md#collective) is a [barrier](glossary.md#barrier): nobody leaves
# before everybody has come. Rank 1 is killed on its way to one.

# %%
import time

from labkit import At, Cluster, FaultPlan, Kill, PeerLost

cluster = Cluster(world_size, backend=backend, device=device, seed=seed, deadline=1.5)


def meet(worker, times):
    for step in range(1, times + 1):
        time.sleep(0.02)
        worker.group.barrier()
        worker.step(step)


# %% [markdown]
# **Predict.** What do the others do? (a) They wait in the barrier for ever. (b) They leave it as if
# nothing had been. (c) They leave it with an error.

# %%
run = cluster.run(meet, times=10, faults=FaultPlan(At(Kill(1), step=5))).wait(timeout=30)
print("dead:", sorted(run.deaths), " told of it:", {e.kind for e in run.errors.values()})
run.timeline(title="Killed after the fifth barrier: the others leave the sixth with an error")

# %% [markdown]
# **Answer: (c), here.** A barrier knows nothing of death: in Gloo, NCCL or MPI the answer is (a)
# for at least some ranks. What frees them here is the word of a failure detector from *beside* the
# collective, as in [notebook 04](04_heartbeats.ipynb). A barrier is no health check. It is one more
# place to [hang](glossary.md#hang).
#
# > **The textbook says** “`dist.barrier()` keeps the workers together.” **Let us run it**, with a rank
# > that is alive and does not come.

# %%
cluster.restart(1)


def save_after_a_barrier(worker):
    worker.group.barrier()
    if worker.rank == 1:
        worker.receive(0, timeout=60)  # waits for a message that rank 0 will not send
    worker.group.barrier()


run = cluster.run(save_after_a_barrier)
while not run.errors:
    time.sleep(0.05)
run.cancel()

# %% [markdown]
# **Predict.** After the deadline of 1.5 s each rank gives up. What can its error say? (a) “Timed out.”
# (b) Who has not come. (c) Who has not come, and the line of code where it is.


# %%
from textwrap import fill


def why(run):
    """What the first rank that gave up has found out, but for its advice."""
    told = next(e.message for e in run.errors.values() if e.kind == "CollectiveTimeout")
    for clause in told.partition("to be dead: ")[2].split("; "):
        if not clause.startswith("resume"):
            print(fill(clause, 90, subsequent_indent="    "))


why(run)

# %% [markdown]
# **Answer: (c).** Every [group](glossary.md#process-group) numbers its collectives and keeps the last
# 64 of them, with the line that called each: a [flight recorder](glossary.md#flight-recorder). When one
# does not end, the rank asks the others for theirs. They answer from another thread, so it does not
# matter that they hang. (Once a run has steps, a [watchdog](glossary.md#watchdog) says the same at half
# of the deadline; `cluster.stacks()` at any time.)
#
# > **Verdict.** A barrier does not make ranks come. It only moves the hang to a place that says
# > nothing about its cause. Two-phase commit ([notebook 07](07_two_phase_commit.ipynb)) asks, and
# > bears a no.
#
# ## Two collectives that do not match
#
# All ranks come now, to the same number, and not to the same thing.


# %%
def share_the_mean(worker):
    mean = worker.tensor(1000, fill=worker.rank)
    worker.group.all_reduce(mean, "avg")
    if worker.rank == 0:
        worker.group.broadcast(mean, source=0)
    else:
        worker.group.reduce(mean, target=0)  # copied from another branch


# %% [markdown]
# **Predict.** Rank 0 sends to all, all send to rank 0. (a) An error at once. (b) Wrong numbers. (c)
# Nobody returns.

# %%
run = cluster.run(share_the_mean)
while not run.errors:
    time.sleep(0.05)
run.cancel()
why(run)

# %% [markdown]
# **Answer: (c).** Everybody sends and nobody receives. Both lines are there, from both ranks. (With
# another backend, or with messages small enough to lie in a buffer, (b) is possible too: that one you
# find in the loss curve.)
#
# The same mistake comes in a subtler dress: a last batch that is shorter on one rank.


# %%
def gather_scores(worker):
    samples = 10 if worker.rank == worker.world_size - 1 else 16
    return worker.group.all_gather(worker.tensor(samples))


run = cluster.run(gather_scores)
while not run.errors:
    time.sleep(0.05)
run.cancel()
why(run)

# %% [markdown]
# **In real systems.** PyTorch's flight recorder keeps 2 000 entries a rank with the stack of each,
# and its analyzer compares operation, sizes and types across ranks (`torchfrtrace`).
# `TORCH_DISTRIBUTED_DEBUG=DETAIL` compares before each collective; that costs a second one each
# time.
#
# ## Deadlock by crossed sends
#
# Each rank gives 4 MB to its right neighbour and takes as much from its left: first the send, then the
# receive. It looks reasonable, and it is symmetric.


# %%
def around_the_ring(worker):
    group = worker.group
    mine, theirs = worker.tensor(1_000_000), worker.tensor(1_000_000)

    def exchange():
        group.link.send(mine, group.link.right)
        group.link.receive(theirs, group.link.left)

    group.submit(exchange, "exchange").wait()


# %% [markdown]
# **Predict.** (a) It works: whoever is sent to receives afterwards. (b) It hangs with an odd number of
# ranks. (c) It hangs.

# %%
from labkit.views.waits import waits_for

run = cluster.run(around_the_ring)
while not run.errors:
    time.sleep(0.05)
run.cancel()
why(run)
graph = {rank: (rank + 1) % world_size for rank in range(world_size)}
waits_for(graph, title="Each waits for the next to receive", why="send\nbefore\nreceive")

# %% [markdown]
# **Answer: (c).** A send ends when the other side receives, and every other side is in its own send. A
# cycle in the graph of who waits for whom is a [deadlock](glossary.md#deadlock); here it goes through
# all. No rank made a mistake that it could see.
#
# > **The textbook says** “this program can succeed only if the communication system can buffer at
# > least count words of data” (MPI standard, §3.5, of such an exchange). **Let us run it** so that it
# > needs no buffer: both are *started* before either is waited for.


# %%
def safely(worker):
    link = worker.group.link
    mine, theirs = worker.tensor(1_000_000, fill=worker.rank), worker.tensor(1_000_000)

    def exchange():
        link.transfer(sends=[(mine, link.right)], receives=[(theirs, link.left)]).wait()

    worker.group.submit(exchange, "exchange").wait()
    return theirs[0].item() == link.left


print(all(cluster.run(safely).wait(timeout=30).results.values()))
cluster.close()

# %% [markdown]
# > **Verdict.** The unsafe one may pass every test with small messages, and hang with the first large
# > one. Sends and receives that belong together start together: MPI's `Isend`/`Irecv`, NCCL's groups,
# > torch's `batch_isend_irecv`. That is why the lab's whole `Link` is this one call.
#
# ## The interpreter's lock
#
# All ranks could answer so far. Python code runs under one lock a process, and a regular expression or
# a C extension that does not release it stops *all* threads: no [heartbeat](glossary.md#heartbeat), no
# answer, no flight record.

# %%
from labkit import HoldGIL

cluster = Cluster(world_size, backend=backend, device=device, seed=seed, silence=1.0)


def meet_again(worker, times):
    step = 1
    while step <= times:
        time.sleep(0.02)
        try:
            worker.group.barrier()
        except PeerLost:
            worker.regroup()
            continue
        worker.step(step)
        step += 1


# %% [markdown]
# **Predict.** Rank 1 holds the lock from step 5 on and never gives it back. What is it for the others?
# (a) Slow. (b) As good as dead. And can anybody still see where it hangs? (a) No. (b) Yes.

# %%
run = cluster.run(meet_again, times=30, faults=FaultPlan(At(HoldGIL(1), step=5)))
while run.waiting - {1}:
    time.sleep(0.05)
stacks = cluster.stacks()
print("still there:", sorted(stacks.dumps), " answers:", sorted(stacks.records))
print("the line is known all the same:", "in hold_lock" in stacks.dumps[1])
cluster.kill(1)  # what a launcher does with it
run.wait(timeout=30)
cluster.close()

# %%
from labkit.views.timeline import timeline

last = max(e.time for e in run.events if e.kind == "step")
told = [e for e in run.events if e.kind != "note" and e.time <= last]
timeline(told, title="The lock is held: silent for a second, and out of the view")

# %% [markdown]
# **Answer: (b), (b).** Silence is silence: the others go on without it. Its line is seen by means that
# need no lock: a signal, whose handler was written in C and walks the stack of every thread
# (`faulthandler`). `py-spy` does the same from outside.
#
# ## A gradient that is not a number
#
# From here on nothing hangs. At step 10 one element of rank 1's gradient is NaN: a division by a
# variance of zero, say. Rank 1 is careful. It looks at its gradient *before* the all-reduce, sends
# zeros, and leaves this one update out.

# %%
import torch

from labkit.training.replica import Replica  # a small model, its weights as one vector

cluster = Cluster(world_size, backend=backend, device=device, seed=seed)


def train_carefully(worker, steps, together):
    mine = Replica(worker)
    for step in range(1, steps + 1):
        gradient = mine.gradient(step, worker.rank)
        if worker.rank == 1 and step == 10:
            gradient[0] = float("nan")
        alone = not together and not gradient.isfinite().all()
        worker.group.all_reduce(torch.zeros_like(gradient) if alone else gradient, "avg")
        if not alone and gradient.isfinite().all():  # the sum is the same on all ranks
            mine.move(-0.05 * gradient)
        apart = max((w - mine.weights).abs().max() for w in worker.group.all_gather(mine.weights))
        worker.report(step, apart=apart.item())
        worker.step(step)
    return mine.accuracy()


# %% [markdown]
# **Predict.** What becomes of the [replicas](glossary.md#replica)? (a) Nothing: one update of many
# is missing on one of them. (b) They differ from then on, and the difference stays or grows. (c)
# The next all-reduce repairs it.

# %%
from labkit.views.curves import compare_lines, metric_by_step

steps = 20 if fast else 40
alone = cluster.run(train_carefully, steps=steps, together=False).wait(timeout=90)
together = cluster.run(train_carefully, steps=steps, together=True).wait(timeout=90)
apart = {
    name: list(zip(*sorted(metric_by_step(run.events, "apart").items()), strict=True))
    for name, run in (("one rank decides", alone), ("all decide", together))
}
compare_lines(
    apart,
    x="step",
    y="largest difference of a weight",
    title="Skipped alone: the replicas part for good",
)

# %%
last = {name: curve[1][-1] for name, curve in apart.items()}
print("the same weights at the end, decided alone:", last["one rank decides"] == 0)
print("the same weights at the end, decided together:", last["all decide"] == 0)

# %% [markdown]
# **Answer: (b).** Gradients are averaged, weights are not: from step 10 on the ranks compute gradients
# for *different* models and apply the mean of them to each. No error, no hang, and the loss curve looks
# fine. The careful rank did the damage.
#
# The NaN itself makes the right decision easy. A sum with a NaN in it is NaN *on all ranks*. So look
# after the all-reduce and before the update: everybody sees the same bits and decides the same, without
# a single message more. That is the second line.
#
# **In real systems.** `torch.amp.GradScaler` looks at the gradients after DDP's all-reduce, for this
# reason. With sharded gradients (FSDP, ZeRO) each rank sees only a part of the sum: there the flag has
# to be all-reduced itself (`ShardedGradScaler`), and who forgets it has the picture above.
#
# > **The textbook says** `if not isfinite(loss): raise`. **Let us run it** on one rank.


# %%
def train_and_raise(worker):
    for step in range(1, 11):
        if worker.rank == 1 and step == 5:
            raise FloatingPointError(f"the loss of step {step} is not finite")
        worker.group.all_reduce(worker.tensor(1000))
        worker.step(step)


run = cluster.run(train_and_raise)
while run.waiting:
    time.sleep(0.05)
print("rank 1:", run.errors[1].kind)
print("others:", {error.kind for rank, error in run.errors.items() if rank != 1})

# %% [markdown]
# > **Verdict.** The others are in the all-reduce when rank 1 leaves. Here its host says farewell for it,
# > and they are freed; in plain torch they hang until the time-out. In both one sample has ended the
# > job, where all of them could have left it out.
#
# The lab's training loop decides together, and says whose gradient it was:

# %%
from labkit import PoisonGradient
from labkit.training.loop import train
from labkit.training.numerics import Guard, LossScale

plan = FaultPlan(At(PoisonGradient(1), step=6))
run = cluster.run(train, steps=12, guard=Guard("skip"), faults=plan).wait(timeout=60)
print(*(e.name for e in run.events if e.kind == "note"), sep="\n")
print("the same weights:", len({r["hash"] for r in run.results.values()}) == 1)

# %% [markdown]
# Leaving the step out is one policy. `Guard("lower rate")` also halves the learning rate, and
# `Guard("roll back", spike=3.0)` returns to a [snapshot](glossary.md#snapshot) when the loss leaps
# to three times its median, and goes on with *other* data. (PaLM, 2022, §5.1: about 20 spikes in
# the largest run; restart from 100 steps earlier and skip 200 to 500 batches. The same batches at
# other weights did no harm.)
#
# ## Loss scaling
#
# Where do NaNs come from in practice? Often from float16, which ends at 65 504 and at 6·10⁻⁸. Look at
# the gradients of a small network:

# %%
from labkit.training import data, models
from labkit.training.loop import summed_loss

learn = data.digits().train.rows(slice(128))
network = models.build("cnn", seed)
(summed_loss(network, learn) / 128).backward()
gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
gradient = gradient[gradient != 0]

exponents = range(-16, 34, 2)
half = {k: (gradient * 2.0**k).half() for k in exponents}
xs = [2.0**k for k in exponents]
lost = [100 * (half[k] == 0).float().mean().item() for k in exponents]
large = [100 * half[k].isinf().float().mean().item() for k in exponents]

# %% [markdown]
# **Predict.** The loss is multiplied by a scale, so are all gradients, and the update divides by it
# again. Which scale is best? (a) 1. (b) The largest that there is. (c) A large one, at which
# nothing overflows yet.

# %%
compare_lines(
    {"becomes 0": (xs, lost), "becomes infinite": (xs, large)},
    x="loss scale",
    y="% of the gradients",
    log="x",
    title="A float16 gradient needs a scale between two cliffs",
)

# %% [markdown]
# **Answer: (c).** On the left gradients vanish, on the right they overflow. This small network
# could even do with a scale of 1. An object detector could not: it diverged, and a scale of 8 saved
# it. And the cliffs move during training. So the scale is searched for ([loss
# scaling](glossary.md#loss-scaling)): halved when something overflows, and that step left out;
# doubled after 2 000 good steps in a row (P. Micikevicius and others, ICLR 2018). Again all ranks
# must do it together: the scale is a part of the training state. Started far too high:

# %%
guard = Guard(scale=LossScale(scale=2.0**36), patience=100)  # bad steps in a row that it bears
run = cluster.run(train, steps=40, guard=guard).wait(timeout=60)
left_out = sum(e.kind == "note" for e in run.events)
print("some steps were left out until the scale fitted:", 0 < left_out < 40)
print("the same weights:", len({r["hash"] for r in run.results.values()}) == 1)

# %% [markdown]
# (bfloat16 has float32's range and needs none of this: one reason why it took float16's place.)
#
# ## A bit that flips
#
# A NaN is loud. A flipped bit in one rank's weights is not: every number stays a number.
#
# **Predict.** Bit 12 of one weight of the last rank flips after step 4: a change of one part in 2 000.
# What notices? (a) The loss. (b) The all-reduce. (c) Nothing, unless you compare.

# %%
from labkit import CorruptWeights

plan = FaultPlan(At(CorruptWeights(world_size - 1, bit=12), step=4))
blind = cluster.run(train, steps=12, faults=plan).wait(timeout=60)
print("the same weights:", len({r["hash"] for r in blind.results.values()}) == 1)
if world_size > 2:
    run = cluster.run(train, steps=12, compare_every=4, faults=plan).wait(timeout=60)
    print(*(e.name for e in run.events if e.kind == "note"), sep="\n")
    print("the same weights:", len({r["hash"] for r in run.results.values()}) == 1)

# %% [markdown]
# **Answer: (c).** Replicas are equal to the bit, so a hash of 8 bytes compares them, every few steps.
# The majority is right, and the odd one takes the others' weights. (Two ranks see *that* they differ
# and not who is wrong.)
#
# **In real systems.** Six of the 419 interruptions of Llama 3's 54 days were silent data corruption
# (table 5). Google found “a few mercurial cores per several thousand machines” (P. Hochschild and
# others, HotOS 2021).
#
# ## The straggler
#
# Now rank 1 is a [straggler](glossary.md#straggler). It computes three times as slowly as the others: a
# hot GPU, a neighbour on the same host.

# %%
from labkit import Slow

plan = FaultPlan(At(Slow(1, 3.0), step=4))
run = cluster.run(train, steps=32, faults=plan).wait(timeout=90)

# %% [markdown]
# **Predict.** You compare how long each rank's *steps* take. Who looks slow? (a) Rank 1. (b) All
# but rank 1. (c) All alike.

# %% tags=["nbval-ignore-output"]
timeline(
    run.events,
    around=next(e for e in run.events if e.kind == "step" and e.data["step"] == 12),
    title="All steps are equally long: what differs is how long a rank computes",
)

# %%
flagged = {e.rank for e in run.events if e.kind == "straggler" and e.data["factor"] > 1}
print("rank 1 is flagged, by its computing time:", 1 in flagged)
print("taken for dead:", sorted({e.data["peer"] for e in run.events if e.kind == "lost"}))
cluster.close()

# %% [markdown]
# **Answer: (c).** A synchronous step ends for all when it ends for the slowest. So the ranks
# compare the time that each *computes*, and flag who lies far above the others' median: more than
# one and a half times as long, and more than 3.5 robust deviations. It is slow, not dead: its beats
# are on time and nobody votes it out.
#
# **In real systems.** In a large cluster fewer than 2 % of the jobs had slow computation, for some ten
# minutes, and 40 % slow communication, for 24 (Greyhound, USENIX ATC 2025). NVIDIA's resiliency
# extension gives each rank a score relative to the fastest: 0.5 is half as fast.

# %% [markdown]
# ## Exercises
#
# ### Exercise hang.1 (3 points, 15 minutes; about 8 lines, reference runs in 0.1 s)
#
# Lay the flight records side by side.

# %% exercise="hang.1"

# %% [markdown]
# ### Exercise hang.2 (2 points, 10 minutes; about 4 lines, reference runs in 0.1 s)
#
# The rule by which a loss scale is found.

# %% exercise="hang.2"

# %% [markdown]
# ### Exercise hang.3 (3 points, 15 minutes; about 6 lines, reference runs in 0.1 s)
#
# Find the stragglers, in a way that one of them cannot hide behind another.

# %% exercise="hang.3"

# %% [markdown]
# ### Exercise hang.4 (2 points, 10 minutes; about 2 lines, reference runs in 0.1 s)
#
# Find the bug. This is the exchange that hung: two calls, and the order in which each rank makes them.
# The picture of the check shows who waits for whom. Repair the cell, for any number of ranks, and so that
# nobody waits for a chain of others: three rounds must do.

# %% exercise="hang.4"

# %% [markdown]
# ### Last night
#
# Incidents do not come with their causes. Here is one that was recorded: a job stood still, and the
# ranks were asked what they were doing. Each answered with its last collectives, or did not; the
# launcher knows whose process has ended, and `faulthandler` the line of whoever gets the signal.

# %%
from labkit.views.evidence import evidence, recorded

incident = recorded()[13]["incident"]
evidence(incident, "A job stands still. Whom do they wait for, and why?")

# %% [markdown]
# ### Exercise hang.5 (4 points, 25 minutes; about 14 lines, reference runs in 0.1 s)
#
# Name the cause and the rank: of this one with your eyes, then of any with a function. The check goes
# through recorded incidents with other ranks and other numbers. Beware: who waits for a dead or
# silent rank may be one collective behind the others, by chance, and nothing is wrong with it.

# %% exercise="hang.5"

# %% [markdown]
# ## Summary
#
# - A hang has a cause in one line of one rank. Number the collectives, and compare.
# - Not come, or come to something else: both are named. Who does not answer is stopped or holds the lock.
# - Sends and receives that belong together start together; a cycle of waiting is a deadlock.
# - Judge a gradient after the all-reduce: all see the same bits. Decided alone, it parts the replicas.
# - Scale factors, learning rates, windows: whatever decisions depend on is part of the training state.
# - Equal replicas can be compared with eight bytes; stragglers only by the time that they compute.

# %% [markdown]
# ## Interview questions
#
# <details><summary>A job hangs. All ranks are in <code>all_reduce</code> number 4711. What do you compare
# next?</summary>
#
# Shapes, types and operation of the call on every rank, then the line that made it. If they are the
# same, look at the transport: the stacks of the threads that carry it out, a link that is down, one
# rank whose process is stopped. Then whether the collectives of *two* groups are called in different
# orders on different ranks: each is right by itself, together they wait crosswise.
# </details>
#
# <details><summary>Why is <code>if loss.isnan(): continue</code> in a training loop dangerous with
# more than one rank?</summary>
#
# The loss is local. The rank that continues skips an all-reduce in which the others wait: a hang, or,
# worse, it meets them in the *next* one, and gradients of different steps are added. Decide on
# something that all ranks hold alike, such as the summed gradient or an all-reduced flag.
# </details>
#
# <details><summary>Your loss scale falls to 1 and steps are still left out. What is it?</summary>
#
# Not float16's range: with scale 1 nothing is enlarged. The loss or the activations overflow in the
# forward pass, the data holds a NaN, or the learning rate is too high and training diverges. Look at
# which rank and which batch it was, each time.
# </details>
#
# <details><summary>MPI_Send returned in all tests, and hangs in production. Why?</summary>
#
# Small messages are sent eagerly into a buffer at the receiver, larger ones wait for the receive
# (rendezvous). The limit (some KB to some hundred KB) differs between networks. The program was unsafe
# all along; `MPI_Ssend` in a test run shows it.
# </details>
#
# <details><summary>One GPU of 1 000 is 10 % slow. What does it cost, and would you evict
# it?</summary>
#
# Ten percent of the whole job: everybody waits. A restart that takes 5 minutes pays off after 50. With
# a spare at hand, yes; but make sure that it is the GPU and not its share of the data, and that the
# slowness is older than a few minutes.
# </details>

# %% [markdown]
# ## Next
#
# A step may now be left out, done again, or taken back to a snapshot in memory. All of that is lost
# when the processes are: the bug that stays in sight. What has to be written down, so that training
# goes on with the *same bits*, and how it is written while the power may fail, is [06
# Checkpoints](06_checkpoints.ipynb).
