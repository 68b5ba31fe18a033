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
# # 00 A cluster in your notebook
#
# It is 12:23 on 28 May 1987, in Palo Alto. The machine room has an electrical problem. Leslie
# Lamport's workstation has none, but it depends on programs that run elsewhere. He posts a
# definition on the laboratory's bulletin board: “A distributed system is one in which the failure
# of a computer you didn't even know existed can render your own computer unusable.” In the next
# two minutes you start such a system on this page, train a neural network on it, and become that
# failure.
#
# **Routes** Evening (00, 02, 04, 06, 11) · Core (00 to 11, and 18) · All. Each notebook says here
# on which of them it lies<br>
# **Time** 40 minutes, and 30 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** nothing but Python, and having trained a neural network once<br>
# **Afterwards you can** start a cluster of real processes and break it in five ways; read the
# picture of a recovery; say what a survivor can know, and what nobody can; and put events in order
# without a clock.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## Real processes
#
# Run the next cell (Shift+Enter). It starts `world_size` worker processes, hands all of them the
# same function, and waits.

# %% tags=["nbval-ignore-output"]
from labkit import Cluster

cluster = Cluster(world_size, backend=backend, device=device, seed=seed)
print(cluster.status())


def train_digits(worker, steps=60, **options):
    """Runs on every rank: a small CNN learns to read hand-written digits."""
    from labkit.training.loop import train

    return train(worker, steps=steps, batch=512, lr=0.1, algorithm="in_order", **options)


calm = await cluster.run(train_digits)
print(f"{calm.results[0]['accuracy']:.1%} of the digits that it has never seen are read right")
calm.timeline(title="One training step after another, everybody at the same time")

# %% [markdown]
# A row of the table is a process of the operating system, with its own memory (in PSS, where shared
# pages count once). `pid` is its number there, [rank](glossary.md#rank) its number here; together
# the ranks are the [world](glossary.md#world-size). (The last one, the
# [witness](glossary.md#witness), trains nothing; it [votes](glossary.md#vote) on who belongs to the
# group.) In the picture each rank has a lane. **Blue**: it computes a
# [gradient](glossary.md#gradient) from its share of the images. **Orange**: an
# [all-reduce](glossary.md#all-reduce), in which it sends its gradient away and waits until it holds
# the sum of everybody's. Then all take the same [step](glossary.md#step). (Much orange? That is the
# price of talking, and the subject of [notebook 02](02_ring_all_reduce.ipynb).)
#
# They share no variable and no lock. All that a rank knows of another came in a message.

# %% [markdown]
# **Predict.** In the middle of the training you send one rank SIGKILL, the signal that no process
# can catch. What do the other ranks do? (a) They go on and do not notice. (b) They stop for good.
# (c) They stop, shut the dead one out, and go on, all in less than a second.

# %% [markdown]
# ## With your own hands
#
# The next cell trains in the background for a minute or so, and shows a panel: a row of buttons for
# each process, and below them what all are doing, as it happens. Click **kill** beside a rank and
# watch the others. Then click **restart**. Every click is also a line of code, at the bottom of the
# panel.

# %% tags=["nbval-ignore-output"]
panel = cluster.panel()
run = cluster.run(train_digits, steps=3_000, elastic=True)
panel

# %% [markdown]
# (On a stored page nobody has clicked, and a picture stands where the panel was.) The cross is your
# kill. The blue bars after it are the others, who go on without the dead; after a restart they take
# it in again. When you have seen enough, also of the other buttons, go on: the next cell closes
# this cluster, whatever is left of it, and makes a new one.

# %%
await run.step(20)
cluster.close()
cluster = Cluster(world_size, backend=backend, device=device, seed=seed)

# %% [markdown]
# The kill once more, as code: it falls after step 20, as often as you run it.

# %%
victim = world_size // 2

run = cluster.run(train_digits, on_loss="continue")  # survivors may go on without the dead
await run.step(20)
cluster.kill(victim)
await run
run.timeline(title=f"Rank {victim} is killed, and the others go on without it")

# %% [markdown]
# **Answer: (c).** The cross is your kill. Hatched is waiting for somebody who will never come. At
# the blue line the survivors agree on the next [view](glossary.md#view): who belongs to the group
# from now on. Nobody told them to: this notebook, the [driver](glossary.md#driver), pulled the
# trigger, and after that it only watched.

# %% tags=["nbval-ignore-output"]
cluster.status()

# %% [markdown]
# One row has no memory any more. It did not clean up, flush, close or say goodbye.

# %% [markdown]
# **Predict.** For most of the training there was one worker less. How much worse is the
# model? (a) By the share of images that the dead rank did not look at. (b) A little. (c) Not at all.


# %%
def weights(run):
    """Fingerprints of the models at the end; one, if all ranks that returned hold the same bits."""
    return {result["hash"] for result in run.results.values()}


print(run)
print("all survivors hold the same weights:", len(weights(run)) == 1)
print("the same as after the run without a kill, bit for bit:", weights(run) == weights(calm))

# %% [markdown]
# **Answer: (c).** Not one bit. A batch is cut into a fixed number of [logical
# shards](glossary.md#logical-shard), whoever computes them, and their gradients are added in a
# fixed order, whoever adds them. When a rank dies, the survivors take over its shards. Fault
# tolerance is not damage control: done well, the job ends as if nothing had happened. (The loop is
# `labkit/training/loop.py`; [notebook 03](03_data_parallel_training.ipynb) builds it from scratch.)

# %% [markdown]
# ## What each survivor saw
#
# Every process keeps a record of what it does. The next cell merges them into one list, from the
# moment of the kill.
#
# **Predict.** Who is the first to know of the death? (a) This notebook, which caused it. (b) The
# ranks beside the dead one. (c) Another one each time.

# %% tags=["nbval-ignore-output"]
words = {
    "fault": lambda e: f"does {e.name}",
    "lost": lambda e: f"finds its connection to rank {e.data['peer']} closed",
    "view": lambda e: f"installs {e.name}",
    "death": lambda e: f"is told by the operating system: {e.name}",
}
kill = next(e for e in run.events if e.kind == "fault")
for e in run.events:
    if e.time >= kill.time and e.kind in words:
        who = f"rank {e.rank}" if e.rank >= 0 else "the notebook"
        print(f"{1000 * (e.time - kill.time):6.1f} ms  {who:12}  {words[e.kind](e)}")

# %% [markdown]
# **Answer: (c).** For some milliseconds the victim is dead and *nobody knows*. Then the survivors
# find out, each by itself, in an order that changes from kill to kill. The notebook knows of its
# shot; that it hit, it has to be told like everybody else. And before the operating system closes
# the connections of the dead it takes back their memory, so a big process is missed later than a
# small one: 28 ms became 50 ms with 160 MB more, in measurements for this lab.

# %%
from labkit import Kill

run.timeline(around=Kill(victim))

# %% [markdown]
# The same moment under the microscope. Every recovery in this course has these four parts.
# **Notice**: until the last survivor knows. **Agree**: until all have the same view. **Form**: new
# connections for a new group. **Redo**: the survivors compare how far they are, and do the step
# that was under way again.

# %% [markdown]
# **In real systems.** The same experiment, `kill -9` on one of four ranks, until the next completed
# step (measured on two cores for this lab; torch 2.13 over Gloo):
#
# | system | what it does | time |
# |---|---|---|
# | plain PyTorch | neighbours get an error, the rank opposite waits for the time-out | 30 minutes by default |
# | torchrun with `--max-restarts` | kills the survivors too and starts everybody again | 3.1 s with a workaround (median of `labkit bench recovery`; 2.2–2.9 s in some tries by hand); without it 1 try of 8 came back |
# | torchft 0.2.0, time-outs set to 1 s | survivors stay, a “lighthouse” counts their heartbeats | 1.03–1.05 s |
# | Open MPI 5.0.11 with ULFM | survivors revoke the group and shrink it | 0.012–0.06 s, for a bare all-reduce |
# | Horovod Elastic | survivors stay and go back to their last copy in memory | not measured here |
#
# Your own figure stands in the title of the picture. It is small for a reason that will not last:
# the operating system of the *same machine* told the others of the death. Hold that thought.

# %% [markdown]
# ## Bring it back
#
# Replacing a dead process is the [launcher](glossary.md#launcher)'s job, here as with torchrun,
# Slurm or Kubernetes. The workers do the rest: they let it in, in yet another view.

# %%
cluster.restart(victim)
run = await cluster.run(train_digits)
print(run)

# %% tags=["nbval-ignore-output"]
cluster.status()

# %% [markdown]
# The same rank, another `pid`, and `life` 1: three names for three things. The *rank* is a place in
# the group, the process sits on it, and its [incarnation](glossary.md#incarnation) says which one
# since the start. A late message from life 0 must not be taken for one from life 1.
#
# A kill by hand falls somewhere. A [fault](glossary.md#fault) can also be *data*: this plan strikes
# at step 10, today and tomorrow. And without `on_loss="continue"` the exception reaches you.

# %% tags=["nbval-ignore-output"]
from labkit import At, FaultPlan

plan = FaultPlan(At(Kill(victim), step=10))
run = await cluster.run(train_digits, faults=plan)
print(*run.deaths.values(), *run.errors.values(), sep="\n")

# %% [markdown]
# `PeerLost` says who is gone, and from which view. Look at the steps: survivors may differ by one.
# The dead may have sent its part to some and not to others, so they have to compare before they go
# on. A training loop that survives is short:
#
# ```python
# while True:
#     try:
#         return train_on(worker.group)
#     except PeerLost:
#         worker.regroup()    # wait until the survivors agree, then form their group
# ```

# %% [markdown]
# ## Three faults that nobody reports
#
# Now nobody dies. One rank is *paused* for half a second (SIGSTOP: the process stands still, its
# connections stay open). Later it computes *six times as slowly*. Later still it is *cut off* from
# the others for half a second.
#
# **Predict.** Which of the three do the other ranks report? (a) All. (b) Pause and cut, not the
# slow one. (c) None.

# %%
import asyncio

cluster.restart(victim)
others = [rank for rank in range(world_size) if rank != victim]
half_a_second = 0.2 if fast else 0.5

run = cluster.run(train_digits, steps=120)
await run.step(15)
cluster.pause(victim, seconds=half_a_second)
await run.step(40)
cluster.slow(victim, factor=6.0)
await run.step(65)
cluster.heal()
await run.step(75)
cluster.partition(others, [victim])
await asyncio.sleep(half_a_second)
cluster.heal()
await run
run.timeline(title="Three causes outside, one symptom inside: the all-reduce does not end")

# %%
print(run)
print("ranks that lost somebody:", [e.rank for e in run.events if e.kind == "lost"])

# %% [markdown]
# **Answer: (c).** *You* see three faults, since you stand outside. Inside, there is one symptom: an
# all-reduce that does not end. Everybody waits for the one who is behind, the
# [straggler](glossary.md#straggler), and nobody is told why. Nothing broke, nothing was logged, and
# the [goodput](glossary.md#goodput) in the corner, the share of the time that became progress, went
# down.
#
# All that is left to a rank is its own clock and a deadline: *I have waited long enough*. That is a
# guess. Guess too early and you bury the living; guess too late and you wait for the dead. Fischer,
# Lynch and Paterson proved in 1985 that no deterministic protocol can promise agreement if messages
# may take arbitrarily long and a single process may stop. [Notebook 04](04_heartbeats.ipynb), on
# heartbeats, makes the best of it.
#
# **In real systems.** A stopped rank is noticed when somebody's time-out ends: 30 minutes in Gloo
# by default, 600 s in Ray, 30 to 90 s in NVIDIA's resiliency extension.

# %% [markdown]
# ## One question, five stories
#
# Two ranks now only talk. Rank 0 asks, rank 1 answers, and each waits for at most half a second.


# %%
def ask(worker):
    """Rank 0 asks rank 1; returns what each of the two saw."""
    try:
        if worker.rank == 0:
            worker.send(1, "Did you save the checkpoint?")
            return worker.receive(1, timeout=0.5)
        if worker.rank == 1:
            worker.receive(0, timeout=0.5)
            worker.send(0, "yes, I did")
            return "saved, and said so"
    except TimeoutError:
        return "hears nothing"


# %% [markdown]
# **Predict.** We lose the question; lose the answer; pause rank 1; delay the answer. In how many of
# the four can rank 0 tell whether the checkpoint was saved? (a) Four. (b) Two. (c) None.

# %%
stories = {
    "all is well": lambda: None,
    "the question is lost": lambda: cluster.cut(0, 1),
    "the answer is lost": lambda: cluster.cut(1, 0),
    "rank 1 is paused": lambda: cluster.pause(1, seconds=1.0),
    "the answer is late": lambda: cluster.delay(1, 0, seconds=0.8),
}
print(f"{'':21}   {'rank 0':13}   rank 1")
for story, fault in stories.items():
    fault()
    run = await cluster.run(ask)
    cluster.heal()
    print(f"{story:21}   {run.results[0]:13}   {run.results[1]}")

# %% [markdown]
# **Answer: (c).** Compare the two columns. In the middle one four different stories are the same
# silence. In one of them the [checkpoint](glossary.md#checkpoint) was not saved, in three it was.
# *No answer* never means *no*.
#
# And the death from before? That was the polite case. When a process dies, its operating system
# survives and closes its connections. When a machine loses power, nobody is left to close anything:
# a fifth story, with the same silence.
#
# May rank 0 ask for a confirmation? Then the confirmation can be lost, and its confirmation too. No
# finite number of messages makes both sure that both are sure. This is the *two generals' problem*
# (Akkoyunlu, Ekanadham and Huber, 1975); [notebook 07](07_two_phase_commit.ipynb) shows what a
# commit protocol does instead.

# %% [markdown]
# ### Exercise cluster.1 (2 points, 10 minutes; about 8 lines, reference runs in 0.3 s)
#
# Your first distributed program. Pass a token round the ring of all ranks: rank 0 to rank 1, and so
# on, and from the last rank back to rank 0. The token is a list. Whoever holds it adds its own rank
# at the end. Each rank returns the token as it last held it; after the last lap that is, on rank 0,
# the one that came home.
#
# The check runs it on ranks that pass their messages through a switch, which notices at once when all
# of them wait for each other; if they do, ask who speaks first. On the real processes of this page it
# runs with `await cluster.run(pass_token, laps=2)`.

# %% exercise="cluster.1"

# %% [markdown]
# When you are stuck: `hint("cluster.1")`, from `labkit.check`, up to three times. And these are the
# exercises of the lab, with their points; what you have solved is green, and stays so when the kernel
# has forgotten you.

# %% tags=["nbval-ignore-output"]
from labkit.check import progress

progress()

# %% [markdown]
# ## What a distributed system is
#
# > **The textbook says** “A distributed system is a collection of independent computers that
# > appears to its users as a single coherent system” (Tanenbaum and van Steen). **Let us run it.**
#
# Every rank calls all the others and counts the voices that it hears, its own included. We ask once
# in peace, and once with one rank cut off.


# %%
def count_voices(worker):
    """How many ranks there are, as far as this one can tell."""
    import time

    end, voices = time.monotonic() + 0.5, 1
    peers = [rank for rank in range(worker.world_size) if rank != worker.rank]
    for rank in peers:
        worker.send(rank, "I am here")
    for rank in peers:
        try:
            worker.receive(rank, timeout=max(0.0, end - time.monotonic()))
            voices += 1
        except TimeoutError:
            pass
    return voices


# %% [markdown]
# **Predict.** All processes are alive the whole time. With one of them cut off, how many ranks know
# the right number? (a) All but one. (b) One. (c) None.

# %%
peace = await cluster.run(count_voices)
cluster.partition(others, [victim])
cut_off = await cluster.run(count_voices)
cluster.heal()
print("in peace:", dict(sorted(peace.results.items())))
print("cut off: ", dict(sorted(cut_off.results.items())))
alive = [row["rank"] for row in cluster.status().rows if row["state"] == "ready"]
print("alive:   ", len([rank for rank in alive if rank != "witness"]))

# %% [markdown]
# **Answer: (c).** Each side counts itself, and each is wrong in its own way. Were the question *who
# may write the checkpoint*, both sides would find somebody. That is a
# [split brain](glossary.md#split-brain).
#
# > **Verdict.** It appears as a single coherent system for as long as the messages get through. The
# > definition describes the goal. Lamport's describes the material.
#
# The material has three properties, and you have now seen two of them:
#
# 1. **Messages are the only means.** What a rank knows of another is old, or missing.
# 2. **Failures are partial.** One part fails, the others go on, and must find out by themselves.
# 3. **There is no common clock.** That one you have not seen, because this lab cheats.

# %% [markdown]
# ## Whose clock?
#
# All our ranks live on one machine and read one clock, so one axis of time fits all lanes. On two
# machines there are two clocks. We take a fresh cluster, let rank 0 call the roll, and then pretend
# that nobody has set the clocks: the clock of rank r is r seconds behind.


# %%
cluster.close()
cluster = Cluster(world_size, backend=backend, device=device, seed=seed)


def call_the_roll(worker):
    """Rank 0 asks everybody, then listens to everybody."""
    peers = range(1, worker.world_size)
    if worker.rank > 0:
        worker.receive(0)
        worker.send(0, "present")
        return
    for rank in peers:
        worker.send(rank, "are you there?")
    for rank in peers:
        worker.receive(rank)


run = await cluster.run(call_the_roll)
talk = [e for e in run.events if e.kind in ("send", "receive")]
print(f"{len(talk)} events: {len(talk) // 2} messages, each sent and received")

# %%
from labkit.views.space_time import space_time


def as_log(events):
    return [(e.rank, e.kind, e.data["id"]) for e in events]


by_their_clocks = sorted(talk, key=lambda e: e.time - e.rank)
space_time(as_log(by_their_clocks))

# %% [markdown]
# A line per rank, a dot per event, in the order of the time stamps. By those, ranks answer before
# they are asked. Real clocks are better than ours, and still not good enough: a message inside a
# data centre takes a fraction of a millisecond, while Google's own clocks, with GPS receivers and
# atomic clocks in every data centre, may be wrong by 1 to 7 ms (Spanner, OSDI 2012, section 3).
#
# [Lamport's way out](glossary.md#lamport-clock) (1978) needs no clock at all. Everybody counts, by two rules. **One**: every
# event of mine gets the next number. **Two**: a message carries its number, and who receives it goes
# on from there if that is more than its own. This lab's messages do; the numbers stand in the
# events.

# %%
by_lamport = sorted(talk, key=lambda e: (e.clock, e.rank))
space_time(as_log(by_lamport), places=[e.clock for e in by_lamport])

# %% [markdown]
# The same events; now every arrow points forward, whatever the clocks say. (The first numbers went
# to starting up and agreeing on a view.)
#
# Events in one column have the same number. Neither has heard of the other: they are
# *concurrent*, and asking which was first has no answer. The reverse is a trap. A smaller number
# does not mean *happened before*, only *cannot have happened after*.

# %% [markdown]
# ### Exercise cluster.2 (3 points, 20 minutes; about 10 lines, reference runs in 0.1 s)
#
# A rank has crashed. You have the log of all ranks, merged by time stamps that you cannot trust.
# Only two things hold: events of *one* rank stand in their order, and a message is sent before it
# is received. Find all events that can have caused the crash: those that
# [happened before](glossary.md#happened-before) it. Everybody else is innocent, whatever the time
# stamp says.

# %%
incident = [
    (0, "send", "a"),
    (2, "receive", "b"),
    (1, "receive", "a"),
    (0, "work", None),
    (1, "send", "b"),
    (2, "crash", None),
    (1, "work", None),
]
space_time(incident, places=range(7), title="Number 5 is the crash. Who is a suspect?")

# %% exercise="cluster.2"

# %% [markdown]
# ## ⤳ Your turn
#
# Rank 0 dies while another has just stood still. Then it is yours: kill two at once, three at once,
# one after the other; kill `cluster.witness`. Which plan do the survivors not survive? A view needs
# a majority of all who vote on it, the ranks and the [witness](glossary.md#witness): else two halves
# of a parted cluster would both go on. (After half a minute without one, `regroup()` says who is
# missing.)

# %%
from labkit import Pause

plan = FaultPlan(
    At(Pause(world_size - 1, seconds=0.3), step=10),
    At(Kill(0), step=30),
)
run = await cluster.run(train_digits, on_loss="continue", faults=plan)
run.timeline()

# %%
print(run)
print("the weights of the very first run, bit for bit:", weights(run) == weights(calm))
cluster.close()

# %% [markdown]
# A pause, a death, and still the same model. Not convinced that they are real? Make a new cluster,
# write `run = cluster.run(train_digits, steps=5_000, on_loss="continue")`, open a terminal, and
# `kill -9` one of the numbers that `cluster.status()` shows. Then draw `run.timeline()`.

# %% [markdown]
# ## Summary
#
# - A cluster is processes that share nothing and send messages. You started one, and killed in it.
# - After a death the survivors notice, agree on a view, form a group and redo a step. Done well, not
#   a bit of the model changes.
# - A closed connection is a gift. Stopped, slow, cut off, without power: the same silence.
# - *No answer* never means *no*. Deadlines are guesses.
# - Without a common clock there is still an order: what a message could have told.

# %% [markdown]
# ## Interview questions
#
# <details><summary>A job with 512 workers hangs at 0 % progress, and no process has died. How can
# one of them be at fault?</summary>Every step ends with an all-reduce, which needs all of them. One
# that is stopped, very slow, cut off, or that went into another collective than the rest holds up
# the other 511, and none of them gets an error before the operation's time-out. Find out who is
# *not* waiting in the collective.</details>
#
# <details><summary>How do you tell a dead machine from a slow one?</summary>From outside and by
# messages alone you cannot, if nothing bounds the delays. You choose a deadline and live with
# mistakes: make it safe to be wrong (fence the one you gave up, so that its late messages and writes
# do no harm), then tune the deadline for speed.</details>
#
# <details><summary>Your request timed out. Is it safe to send it again?</summary>Only if doing it
# twice is the same as once. The time-out does not say whether the request, the work or the answer
# was lost. Give requests an id, so that the other side can recognise a repetition.</details>
#
# <details><summary>Machine A logs an event at 10.010 s, machine B one at 10.005 s. Which came
# first?</summary>Unknown, if the clocks may differ by more than 5 ms. If there is a chain of
# messages from one to the other, the chain decides. If there is none in either direction they are
# concurrent, and no correct program depends on their order.</details>
#
# <details><summary>Two events have the Lamport numbers 7 and 9. What do you know?</summary>That the
# second did not happen before the first. Not that the first happened before the second: they may be
# concurrent. Vector clocks, a number per process, tell the two apart.</details>
#
# <details><summary>Why does a view have a number, and not only members?</summary>To refuse what is
# late. Messages and writes of an older view carry its number and are dropped. A rank that left and
# came back makes two views with the same members; only the number tells them apart.</details>
#
# ## Next
#
# You have seen a job that stands still while nobody reports anything. How often does something like
# that happen, with one machine, with a thousand, and what does it cost? [01 Why training
# fails](01_why_training_fails.ipynb). On the Evening route go on to [02 Ring
# all-reduce](02_ring_all_reduce.ipynb): what everybody waited in, and why.
