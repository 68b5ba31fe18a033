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
# # 07 Two-phase commit
#
# Ten past two at night. Four ranks write a checkpoint, a shard each. Three shards are on their disks
# when the power of the fourth host fails. Each file is whole: it was synced and renamed, as in the
# last notebook. The *checkpoint* is torn: three shards of step 20 and one of step 10. Whoever loads
# it trains on with three quarters of one model and a quarter of another. An atomic file is not
# enough. All shards must appear together or none, on disks that fail separately, on the word of a
# coordinator that can die at any moment.
#
# **Routes** Core · All<br>
# **Time** 40 minutes, and 45 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [06 Checkpoints](06_checkpoints.ipynb)<br>
# **Afterwards you can** say what must be on which disk before which message; name the one window in
# which two-phase commit blocks; explain why whoever is in it must not decide alone; say what
# three-phase commit buys and what it costs; and read a proof by exhaustive search.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## Every file is whole
#
# Here is the bug that notebook 06 left in sight. All cells run in a simulator: nodes, disks and
# network in virtual time. Four disks hold the shards of step 10; one rank after the other puts
# step 20 over it, in the safest way, and the host of rank 1 fails before its turn.

# %%
from labkit.simulator.disk import SimulatedDisk
from labkit.views import checkpoints

disks = {f"rank {rank}": SimulatedDisk(rank) for rank in range(4)}
grid = {name: {} for name in (*disks, "the checkpoint")}


def look(moment):
    steps = {name: disk.read("shard") for name, disk in disks.items()}
    for name, step in steps.items():
        grid[name][moment] = {"new" if step == b"20" else "old": 1}
    grid["the checkpoint"][moment] = {"torn" if len(set(steps.values())) > 1 else "old": 1}


for disk in disks.values():
    disk.write("shard", b"10")
look("before")
for name in ("rank 0", "rank 2", "rank 3"):  # and then rank 1 has no power
    disks[name].write("shard.new", b"20")
    disks[name].fsync("shard.new")
    disks[name].rename("shard.new", "shard")
    look(f"{name} renames")
about = {"The shards on the disks: old is step 10, new is step 20": grid}
checkpoints.crashes(about, [*grid["rank 0"]], "Every file is whole, and the checkpoint is torn")

# %% [markdown]
# No rank did anything wrong. What is missing is a moment at which *all* shards change.

# %% [markdown]
# ## Thirty coins
#
# The smallest case is a bank. Accounts 1 and 2 hold 100 coins each; node 0 moves 30 from one to the
# other with two messages.

# %%
from labkit.faults import CrashAt, Kill, Partition, Restart
from labkit.protocols.effects import Message, Persist, Protocol, Send


class Pay(Message, frozen=True):
    coins: int


class Naive(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.balance = stored.get("balance", 100)

    def on_begin(self, client, m):
        yield Send(1, Pay(-30))
        yield Send(2, Pay(+30))

    def on_pay(self, sender, m):
        self.balance += m.coins
        yield Persist(balance=self.balance)


# %% [markdown]
# **Predict.** Node 0 crashes after its first message and comes back. How many coins are there?
# (a) 200, (b) 170, (c) 230.

# %%
from functools import partial

from labkit.simulator.simulation import Simulation
from labkit.simulator.transactions import Once


def bank(protocol, effects=None):
    """A transfer at 1 s. Node 0 crashes after so many effects, and is back at 3 s."""
    client = partial(Once, coordinators=(0,), clerks=(1, 2), payload={1: -30, 2: +30})
    sim = Simulation(protocol, 3, seed=1, clients={1000: client}).run(0.9)
    if effects is not None:
        sim.inject(CrashAt(0, effects))
        sim.run(2.1).inject(Restart(0))
    return sim.run(5)


def coins(sim):
    return sim.node(1).balance, sim.node(2).balance


print("without a fault:", coins(bank(Naive)))
print("with a crash:   ", coins(bank(Naive, effects=1)))

# %% [markdown]
# **Answer: (b).** Thirty coins are gone, and no restart brings them back: node 0 does not know that
# it had begun. To send both messages in one go does not help. There are two disks, and between two
# writes there is always a moment.
#
# ## Ask first, then tell
#
# [Two-phase commit](glossary.md#two-phase-commit) splits the work. In phase one the
# [coordinator](glossary.md#coordinator) asks every [participant](glossary.md#participant) to
# [prepare](glossary.md#prepare): write down all that you need, so that nothing can stop you any more,
# and [vote](glossary.md#vote). In phase two it tells them the [decision](glossary.md#decision).

# %%
from labkit.protocols.two_phase_commit import Coordinator, Participant


class Account(Participant):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.balance = arguments[3].get("balance", 100)

    def prepare(self, m):  # the vote: is there enough?
        return self.balance + m.payload[self.me] >= 0

    def finish(self, m, commit):  # durable in one piece with the end of the transaction
        self.balance += m.payload[self.me] if commit else 0
        return {"balance": self.balance}


def safe_bank(me, *others):
    return (Account if me else Coordinator)(me, *others)


for effects in range(7):
    print(f"node 0 crashes after {effects} effects: {coins(bank(safe_bank, effects))}")

# %% [markdown]
# `CrashAt` strikes in the first handler that has more effects than that. Asking has four of them, so
# the first four crashes fall while it asks, the others while it tells; the sum is 200 every time.
# Here is one transaction in full, on a slow network so that you can follow it. The colour of a
# participant is what its *disk* says.

# %%
from labkit.protocols.two_phase_commit import two_phase_commit
from labkit.simulator.lifelines import lifelines
from labkit.simulator.network import Network
from labkit.views import commit

SLOW = Network(low=0.05, high=0.12)


def transaction(protocol=two_phase_commit, **settings):
    """Three participants, just before their one transaction at 1 s."""
    begin = partial(Once, coordinators=(0,), clerks=(1, 2, 3), **settings)
    clients = {1000: begin}
    return Simulation(protocol, 4, 1, network=SLOW, clients=clients, record=True).run(0.95)


title = "All vote yes; with the third yes it is decided"
commit.lifelines(lifelines(transaction().run(1)), (0.95, 1.7), title)

# %% [markdown]
# Three writes carry all of it, each before a message leaves:
#
# | who | is on its disk | before it says |
# |---|---|---|
# | participant | *prepared*, with everything that a commit needs | yes |
# | coordinator | *commit*, and who must hear of it: **the moment of the decision** | commit |
# | participant | *committed* | done |
#
# An abort is written nowhere by the coordinator. Where it finds nothing on its disk it answers
# *abort*: that is *presumed abort* (Mohan, Lindsay and Obermarck, ACM TODS 1986), and it makes the
# crash before the decision the simplest case of all.
#
# ## The checkpoint is a transaction
#
# To prepare is to write the [shard](glossary.md#shard) under a temporary name and to sync it; to
# finish is to rename it.

# %%
from labkit.simulator.shards import Shards


def save(step, disks, effects=None):
    """All write their shard of a step; the coordinator crashes after so many effects of the
    handler in which it decides, and is back at 3 s."""

    def job(me, *others):
        return Shards(me, *others, disks=disks) if me else Coordinator(me, *others)

    sim = transaction(job, payload=step)
    if effects is not None:
        sim.run_until(one_vote_missing, within=3)
        sim.inject(CrashAt(0, effects))
        sim.run(3 - sim.now).inject(Restart(0))
    sim.run(3)
    print(*(f"rank {rank}: {', '.join(disk.list())}" for rank, disk in disks.items()), sep="  ")


def one_vote_missing(sim):
    node = sim.node(0)
    return any(len(node.silent[t]) == 1 for t in node.asking)


# %% [markdown]
# **Predict.** Step 10 is committed. While step 20 is decided, the coordinator crashes after each of
# its effects in turn: the write, a note, two timers, then the word to rank 1, to rank 2, to rank 3.
# After which of them is it step 20? (a) after the word to rank 3, (b) after the first word, (c) after
# the write, before anybody has heard of it.


# %%
def with_step_10():
    disks = {rank: SimulatedDisk(rank) for rank in (1, 2, 3)}
    for disk in disks.values():
        disk.write("10", b"the shard of step 10")
    return disks


for effects in range(7):
    print(f"crash after {effects}:", end=" ")
    save(20, with_step_10(), effects)

# %% [markdown]
# **Answer: (c).** Old before the write, new after it, and never a mixture. That is the point of the
# protocol in one line: *one* write on *one* disk decides for all. And a rank that cannot keep a
# promise gives none:

# %%
disks = with_step_10()
disks[2].full = True
save(20, disks)

# %% [markdown]
# Rank 2 had no room for its shard and voted no; ranks 1 and 3 removed theirs. Step 10 is still there.
#
# ## A crash at each of the six points
#
# Now all at once. The coordinator dies at six points of the transaction and is back at 3.5 s.
#
# **Predict.** At which points do the participants *wait* for it? (a) At all of them, (b) as soon as
# one has voted yes, (c) when all have voted yes and none has been told.


# %%
def none_left_but_one(sim):
    node = sim.node(0)
    return any(len(who) == 1 for t, who in node.silent.items() if t not in node.asking)


POINTS = {  # when to look at it, and how many effects of its next handler it lives for
    "Q0 before anybody is asked": (None, 0),
    "Q1 one has been asked": (None, 1),
    "Q2 the last yes arrives": (one_vote_missing, 0),
    "Q3 the decision is on the disk": (one_vote_missing, 1),
    "Q4 one has been told": (one_vote_missing, 5),
    "Q5 the last “done” arrives": (none_left_but_one, 1),
}


def die(point, restart=True):
    ready, effects = POINTS[point]
    sim = transaction()
    if ready:
        sim.run_until(ready, within=3)
    sim.inject(CrashAt(0, effects))
    sim.run(3.5 - sim.now)
    if restart:
        sim.inject(Restart(0))
    return sim.run(1.5)


runs = {point: lifelines(die(point)) for point in POINTS}
commit.crashes(runs, (0.9, 4.9), "Wherever the coordinator dies, all participants end alike")


# %% [markdown]
# **Answer: (c).** At Q1 rank 1 has promised and hears nothing, so it asks the others (thin arrows).
# Ranks 2 and 3 have not voted: they abort, for all, and never vote yes on this one again. At Q4 rank 1
# knows and tells. That is *cooperative termination* (Bernstein, Hadzilacos and Goodman 1987, §7.4).
# At Q2 and Q3 they ask each other too, and nobody knows.
#
# ## In doubt
#
# From its yes to the decision a participant is [in doubt](glossary.md#in-doubt). Take the restart
# away: how long does it last?

# %%
for point in POINTS:
    sim = die(point, restart=False)
    sim.run(3600)
    waiting = [rank for rank in (1, 2, 3) if sim.node(rank).in_doubt]
    asked = sum(e.name == "is in doubt" for e in sim.events)
    print(f"{point:32} in doubt after an hour: {waiting or 'nobody'}; questions: {asked:,}")

# %% [markdown]
# An hour, and it would be a year. Each of them holds its locks, or its shard and its memory, asks
# twice a second, and says so in the record. It guesses nothing.
#
# **Predict.** Kill the coordinator at 200 moments of the transaction. When does the window open?
# (a) With the first yes, (b) with the last yes, (c) before any vote.

# %%
blocked = []
for i in range(200):
    sim = transaction().run(0.05 + i * 0.0025)
    sim.inject(Kill(0))
    sim.run(10)
    blocked.append(any(sim.node(rank).in_doubt for rank in (1, 2, 3)))
first, last = blocked.index(True), 199 - blocked[::-1].index(True)
print(f"{sum(blocked)} of 200 moments of death block them,")
print(f"from {1 + first * 0.0025:.3f} s to {1 + last * 0.0025:.3f} s")

# %% [markdown]
# **Answer: (c).** Compare with the picture of one transaction: the window opens when *prepare* has
# been sent to all, for then all will say yes, to a coordinator that is dead. It closes when the
# first *commit* is on its way. In between lie two messages and the writing of every shard: with slow
# disks it grows, and nothing makes it empty.
#
# ## Why not decide alone?
#
# **Predict.** Rank 2 has voted yes and hears nothing for a second. It aborts. How many faults does it
# take until one rank has step 20 and another does not? (a) None at all, (b) a crash and a loss,
# (c) a partition and a crash. (`exhaustive` tries every order in which things can happen, the
# shortest first, and stops at the first that breaks agreement.)

# %%
from labkit.protocols.two_phase_commit import Begin
from labkit.simulator.exhaustive import agreement, exhaustive
from labkit.simulator.mutants import applied
from labkit.simulator.mutants import commit as mutants

bugs = {mutant.id: mutant for mutant in (*mutants.COMMIT, *mutants.MORE_COMMIT)}
wish = [(1000, 0, Begin((1, 2)))]
with applied(bugs["p01"]):
    print(exhaustive(two_phase_commit, 3, wish, agreement))

# %% [markdown]
# **Answer: (a).** Seven steps, no crash and no loss: the commit to rank 2 is a little late. And if it
# guessed *commit* instead?

# %%
with applied(bugs["p37"]):
    found = exhaustive(two_phase_commit, 3, wish, agreement)
print("\n".join(f"{i + 1}. {step}" for i, step in enumerate(found.steps)))
print(found.violation)

# %% [markdown]
# Either guess is wrong in some run, and the participant cannot know in which run it is: both look
# the same from where it stands. Its promise was to do as it is told.
#
# ## Every order of everything
#
# `exhaustive` is no test with luck in it. It visits *every* state that can be reached: any message
# arrives next, or again, or never; any timer runs out; any node crashes between any two effects.

# %%
for nodes, crashes in ((2, 2), (3, 0), (3, 1)):
    wish = [(1000, 0, Begin(tuple(range(1, nodes))))]
    found = exhaustive(two_phase_commit, nodes, wish, agreement, crashes=crashes)
    print(f"{nodes - 1} participants, {crashes} crashes: {found}")

# %% [markdown]
# *No two participants end differently*: not in some thousand runs but in all there are, of this size.
# Who says that the search is right? It was first given a model that others had counted: Lamport's
# `TwoPhase`, 288 states with three resource managers and 50 816 with six. The lab's tests hold it to
# both. And each of these bugs it finds by the shortest way:

# %%
wish = [(1000, 0, Begin((1, 2)))]
for id in ("p03", "p05", "p09", "p11"):
    with applied(bugs[id]):
        found = exhaustive(two_phase_commit, 3, wish, agreement, crashes=1)
    print(f"{len(found.steps):2} steps: {bugs[id].title}")

# %% [markdown]
# ## Three phases
#
# > **The textbook says** “Three-phase commit removes blocking.” **Let us run it.**
#
# D. Skeen's idea (SIGMOD 1981) is [three-phase commit](glossary.md#three-phase-commit): tell
# everybody that all have said yes *before* anybody may commit. So nobody commits while somebody who
# lives is uncertain. If those who are left are all uncertain, nobody has committed, and they may
# abort without asking the dead.

# %%
from labkit.protocols.three_phase_commit import ThreePhaseCommit

three_phases = partial(ThreePhaseCommit, delay=0.12)  # no message takes longer


def in_the_window(fault):
    """Strikes when the coordinator is about to hear the last yes."""
    sim = transaction(three_phases)
    sim.run_until(lambda sim: [len(v) for v in sim.node(0).voting.values()] == [1], within=3)
    sim.inject(fault)
    return sim.run(2)


sim = in_the_window(CrashAt(0, 0))
commit.lifelines(lifelines(sim), (0.95, 2.4), "The coordinator dies in the window: nobody waits")

# %% [markdown]
# Rank 1 waits as long as two rounds can take, finds that all who answer are uncertain, and aborts.
# Where two-phase commit blocked for an hour it took a second. The same under crashes of anybody, at
# any effect, with restarts:

# %%
from labkit.simulator.explore import explore
from labkit.simulator.scenarios import THREE_PHASES, THREE_PHASES_APART, TWO_PHASES_APART

print(explore(THREE_PHASES, seeds=50 if fast else 200, processes=1))

# %% [markdown]
# **Predict.** Now no crash at all: one partition at some moment of the transaction, four nodes. What
# happens? (a) The smaller side waits, (b) both sides wait, (c) each side decides for itself.

# %%
found = explore(THREE_PHASES_APART, seeds=20, processes=1).finding
print(found.story)

# %%
sim = in_the_window(Partition(((0, 1), (2, 3))))
title = "A partition: rank 1 commits, ranks 2 and 3 abort, and both did as the protocol says"
commit.lifelines(lifelines(sim), (0.95, 3.0), title)

# %% [markdown]
# **Answer: (c).** “Who does not answer is dead” is true of crashes and false of partitions. Each side
# takes the other for dead, and each applies the rule correctly. Two-phase commit in the same cuts:

# %%
seeds = 100 if fast else 400
for scenario in (THREE_PHASES_APART, TWO_PHASES_APART):
    result = explore(scenario, seeds=seeds, processes=1, stop=False)
    print(f"{scenario.name}: {len(result.failing)} of {result.seeds} partitions break agreement")

# %% [markdown]
# > **Verdict.** Three-phase commit trades waiting for disagreement. A network that can part, or only
# > be late, cannot be told from a crash; so it is found in textbooks and in no database that we know
# > of. For a checkpoint the choice is easy: better no checkpoint than two halves of two.
#
# **In real systems.** PostgreSQL has the second phase built in (`PREPARE TRANSACTION`) and switched
# off by default (`max_prepared_transactions = 0`), since a prepared transaction whose coordinator
# has gone holds its locks for ever. Spanner runs two-phase commit over Paxos groups, which
# “mitigates the availability problems” (Corbett et al., OSDI 2012, §2.3). And in training?
# DeepSpeed writes the name of the newest checkpoint into `latest` with a plain open, and what
# torch's DCP leaves when it is killed over an older checkpoint you have seen in
# [01](01_why_training_fails.ipynb).
#
# ## ⤳ A coordinator that does not die
#
# What blocks is not two-phase commit but a decision that stands on a single disk. Put it into a
# [log](glossary.md#log) that a majority of three [replicas](glossary.md#replica) keeps, and let
# whoever leads them coordinate. The leader dies in the window:

# %%
from labkit.protocols.two_phase_commit.replicated import replicated_commit

client = partial(Once, coordinators=(0, 1, 2), clerks=(3, 4, 5))
sim = Simulation(replicated_commit, 3, 1, clients={1000: client}, spares=3).run(0.9)
ranks = (3, 4, 5)
sim.run_until(lambda sim: all(sim.node(rank).in_doubt for rank in ranks), within=3)
leader, died = sim.leader(), sim.now
sim.inject(Kill(leader))
resolved = sim.run_until(lambda sim: not any(sim.node(r).in_doubt for r in ranks), within=10)
print(f"replica {leader} led and is dead; replica {sim.leader()} leads")
print(f"nobody is in doubt any more: {resolved}, after {sim.now - died:.2f} s")

# %% [markdown]
# Notebooks [09](09_raft_electing_a_coordinator.ipynb) and
# [10](10_raft_the_log_that_does_not_forget.ipynb) build that log.
#
# ## ⤳ Break it yourself
#
# A wrong two-phase commit each, and the number of faults that is enough.

# %%
from labkit.simulator.puzzles import PUZZLES

for name, puzzle in PUZZLES.items():
    if puzzle.scenario == "COMMIT":
        print(f"{name}: {puzzle.story}")
        print(f"     {puzzle.n} nodes, {puzzle.seconds:g} s, faults: {puzzle.faults}")

# %%
from labkit.faults import LEADER, At
from labkit.simulator.attack import attack

print(attack("p11", At(Kill(LEADER), seconds=2.0)))  # not yet: change this line

# %% [markdown]
# ## Exercises
#
# Attack first: a schedule is plain data, and the simulator is the judge. Stuck? `hint("commit.3")`, from
# `labkit.check`, gives three hints, one at a time.
#
# ### Exercise commit.3 (4 points, 15 minutes; about 4 lines, reference runs in 0.2 s)
#
# Two coordinators and participants that are nearly right. Find the moment for each.

# %% exercise="commit.3"

# %% [markdown]
# ### Exercise commit.4 (4 points, 15 minutes; about 2 lines, reference runs in 1 s)
#
# This participant works, until somebody crashes at the wrong moment. The check crashes it at every
# effect, and the coordinator too, and shows the first run that goes wrong. Repair the cell.

# %% exercise="commit.4"

# %% [markdown]
# ### Exercise commit.1 (3 points, 10 minutes; about 4 lines, reference runs in 0.1 s)
#
# The coordinator's rule. A vote may come twice, and one may come from a rank that takes no part in
# this transaction.

# %% exercise="commit.1"

# %% [markdown]
# ### Exercise commit.2 (2 points, 5 minutes; about 2 lines, reference runs in 0.1 s)
#
# You are in doubt and the coordinator does not answer. You have asked the other participants.

# %% exercise="commit.2"

# %% [markdown]
# ## Summary
#
# - One write on one disk decides for all; before it a crash means abort, after it commit.
# - A yes is a promise: it is on the disk first, and whoever gave it may not decide alone.
# - In doubt one asks, everybody, for ever. Who knows tells; who has not voted aborts for all.
# - It blocks in one window only: all say yes, and those who could know the decision are gone.
# - Three-phase commit closes the window with time-outs, and a partition tears it apart.
# - The way out is a decision on a majority of disks.

# %% [markdown]
# ## Interview questions
#
# <details><summary>When exactly is a transaction committed?</summary>
#
# When the coordinator's commit record is on its disk. Not when the last vote arrives, and not when a
# participant hears of it. On a replicated coordinator: when a majority has the record.
# </details>
#
# <details><summary>A participant crashes after its yes, and restarts. What does it do?</summary>
#
# It finds *prepared* on its disk, keeps what it prepared (and its locks), and asks: the coordinator
# first, the other participants too. It neither commits nor aborts by itself.
# </details>
#
# <details><summary>Why need aborts not be written down?</summary>
#
# Because the absence of a commit record says the same. The coordinator may only forget a *commit* when
# all have acknowledged it; otherwise a late question would get *abort* as its answer.
# </details>
#
# <details><summary>What is a number of the transaction good for that is never used twice?</summary>
#
# It fences attempts. A yes to a first attempt that arrives during the second one would be counted in
# the second. The coordinator writes an epoch down at each start and puts it into every number.
# </details>
#
# <details><summary>Could a cleverer protocol neither block nor disagree?</summary>
#
# Not if messages can be late without bound and one node can fail: that is the theorem of Fischer, Lynch
# and Paterson (1985). One can choose which of the two happens, and make it rare: with a majority of
# replicas it waits only while no majority can talk.
# </details>

# %% [markdown]
# ## Next
#
# A checkpoint is now all or nothing. It is also slow: the training stands still while shards are
# written, synced and voted on. [08 Fast checkpoints](08_fast_checkpoints.ipynb) moves that out of the
# way. The bug that stays in sight: the coordinator is gone, all have said yes, and they wait.
