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
# # 10 Raft: the log that does not forget
#
# Ten past four. There is a new coordinator, and the first thing that it hears is a question: was
# checkpoint 41 000 committed? Its predecessor said *yes* to somebody and died 6 ms later. The new
# one was not there. If it guesses, one half of the ranks restores 41 000 and the other half 40 000.
# It need not guess: whoever can be elected has every decision that anybody was told of. This
# notebook shows why, and breaks it in five ways; one of the five bugs was ours.
#
# **Routes** Core · All<br>
# **Time** 35 minutes, and 55 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [09 Raft: electing a coordinator](09_raft_electing_a_coordinator.ipynb)<br>
# **Afterwards you can** say when an entry is committed and when it only looks so; follow two logs
# that part and meet again; explain why a leader's memory is no answer to a read; and judge whether
# a history is linearizable.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## Two logs part, one survives
#
# Five nodes keep a [log](glossary.md#log) of commands. The [leader](glossary.md#leader) is cut off
# together with one [follower](glossary.md#follower); three clients are on its side, three on the
# other. Each cell below is an entry, its number is its [term](glossary.md#term), the bold line is
# what the node knows to be [committed](glossary.md#committed).

# %%
from functools import partial
from textwrap import fill

from labkit.faults import Heal, Kill, Partition, Restart
from labkit.protocols.raft import Raft
from labkit.protocols.raft.client import Client
from labkit.protocols.raft.machine import Get, Put, execute
from labkit.simulator.simulation import Simulation
from labkit.views.raft import logs


def put(random, serial):
    return Put("x", serial)


clients = dict.fromkeys(range(1000, 1006), partial(Client, choose=put, pause=0.4))
sim = Simulation(Raft, 5, seed=11, clients=clients, record=True).run(1.0)
few = (sim.leader(), (sim.leader() + 1) % 5)
many = tuple(node for node in range(5) if node not in few)
sim.inject(Partition(((*few, 1000, 1001, 1002), (*many, 1003, 1004, 1005))))
sim.run(0.8)


def picture(title, first=9):
    terms = {i: [entry.term for entry in sim.node(i).log[first - 1 :]][:10] for i in range(5)}
    return logs(terms, {i: min(sim.node(i).commit_index, 18) for i in range(5)}, title, first)


picture("The old leader has entries that only two nodes hold: it commits none of them")

# %% [markdown]
# Same indices, other entries: the two nodes have entries of term 1 where the three have term 2.
#
# **Predict.** The network heals. What happens to the entries of term 1 that are not committed?
# (a) They are appended after those of term 2, (b) they are deleted, (c) the nodes keep both and ask
# a human.

# %%
old = [len(sim.node(i).log) - sim.node(i).commit_index for i in few]
sim.inject(Heal())
sim.run(0.3)
print(f"entries without a majority on nodes {few}: {old}")
same = {tuple(entry.term for entry in sim.node(i).log[:16]) for i in range(5)}
print(f"the first 16 entries are the same on all five: {len(same) == 1}")
picture("After the partition: the majority's log is everybody's")

# %% [markdown]
# **Answer: (b).** Nobody was told that they were done, so nobody is deceived. Their clients have no
# answer and send them again. A follower compares the entry *before* the new ones, by index and
# term; where it differs, the leader steps back until both agree, and what follows is overwritten.
#
# ## On a majority, and yet not committed
#
# Figure 8 of the paper in one picture. Node 0 led term 2, crashed, came back and leads term 4. It
# copies its old entry of term 2 to node 2: three of five have it now.
#
# **Predict.** May node 0 say that index 2 is committed? (a) Yes, a majority has it, (b) no.

# %%
figure_8 = {0: [1, 2, 4], 1: [1, 2], 2: [1, 2], 3: [1], 4: [1, 3]}
logs(figure_8, title="Index 2: an entry of term 2 is on three of five nodes")

# %% [markdown]
# **Answer: (b).** If node 0 dies now, node 4 can win: its last term is 3, which is later than
# those of nodes 1, 2 and 3, so they vote for it, and it puts its term 3 over their index 2. An entry of
# term 4 on a majority would have stopped it. So a leader counts only entries of its *own* term
# (§5.4.2). Leave the rule out:

# %%
from labkit.simulator.explore import explore
from labkit.simulator.mutants import applied, raft
from labkit.simulator.scenarios import LATE_RAFT, RAFT

mutants = {mutant.id: mutant for mutant in raft.RAFT}
with applied(mutants["m13"]):
    found = explore(RAFT, seeds=5, processes=1)
print(found.finding.story)

# %% [markdown]
# The last two answers are the counted ones, and the entry is of an earlier term. That is also why a
# new leader begins with an empty entry: it may commit what it inherited only together with one of
# its own.
#
# ## A vote for a short log
#
# The other half is in the [vote](glossary.md#vote): a node refuses a candidate whose log is behind
# its own (§5.4.1). Without it:

# %%
with applied(mutants["m09"]):
    found = explore(RAFT, seeds=10, processes=1)
print(found.finding.what)

# %% [markdown]
# A majority has each committed entry, a majority has to vote, and the two share a node: the picture
# of [notebook 09](09_raft_electing_a_coordinator.ipynb) once more. That node refuses. And with both
# rules in place:

# %%
print(explore(RAFT, seeds=10 if fast else 30, processes=1))

# %% [markdown]
# ## What clients see
#
# A [linearizable](glossary.md#linearizable) store behaves like one copy: each call takes effect at
# one moment between its beginning and its end. A checker can decide that from the history alone.

# %%
from labkit.protocols.raft.client import Call
from labkit.simulator.linearizability import check as judge

write = Call(client=1, command=Put("x", 1), invoked=0.0, returned=2.0)
early = Call(client=2, command=Get("x"), invoked=1.0, returned=1.5, result=1)
late = Call(client=3, command=Get("x"), invoked=1.6, returned=1.8, result=None)
print("read 1 during the write:", judge([write, early], execute))
print(fill(f"and the old value after that: {judge([write, early, late], execute)}"))

# %% [markdown]
# The first is fine: the write took effect at some moment before 1.5 s, though it returned at 2 s. The
# second is not: once somebody has seen the new value, nobody may see the old one.
#
# ## The leader's memory is no answer
#
# A leader has applied everything. So let it answer reads from memory: no messages, no waiting. That
# is the question which notebook 09 left open.
#
# **Predict.** The leader is cut off, with a client that reads; another client writes on the other
# side. CheckQuorum is off. (a) The reader gets an error, (b) it gets old values, (c) it gets the
# new ones.

# %%
from labkit.protocols.effects import Send
from labkit.protocols.raft.sessions import ClientReply


class FromMemory(Raft):
    """Answers a read at once if it believes that it leads."""

    def on_client_read(self, client, m):
        value = self.machine.read(m.command) if self.leads else None
        yield Send(client, ClientReply(m.serial, self.leads, value, self.leader))


def get(random, serial):
    return Get("x")


def reading(protocol):
    """One client reads beside the cut-off leader, one writes on the other side; the verdict."""
    users = {
        1000: partial(Client, choose=get, pause=0.02),
        1001: partial(Client, choose=put, pause=0.02),
    }
    sim = Simulation(protocol, 5, seed=1, clients=users).run(1.0)
    others = tuple(node for node in range(5) if node != sim.leader())
    sim.inject(Partition(((sim.leader(), 1000), (*others, 1001))))
    sim.run(1.0)
    sim.inject(Heal())
    sim.run(0.5)
    return judge([call for i in users for call in sim.node(i).history], execute)


print(fill(f"from memory: {reading(partial(FromMemory, check_quorum=False))}"))
print("as it is:   ", reading(Raft))

# %% [markdown]
# **Answer: (b).** [Stale reads](glossary.md#stale-read), for as long as the partition lasts. The
# correct code (*ReadIndex*, thesis §6.4) notes how far it has committed, asks a majority whether it
# still leads, and answers after that: one round trip, no disk.
#
# Does CheckQuorum repair it? Here it would: a leader that nobody answers steps down in time. But
# “in time” is a matter of clocks.

# %%
print("from memory, with CheckQuorum:", reading(FromMemory))
risky = RAFT._replace(protocol=partial(FromMemory, batch=3, compact=20))
found = explore(risky, seeds=40, processes=1, stop=True)
print("and with pauses and slow clocks:", found.finding and found.finding.name, "breaks")

# %% [markdown]
# The explorer has pauses and clocks that drift in its bag. A leader that trusts its clock has a
# *lease*; it is as good as the bound on the drift.
#
# ## ⤳ A bug of our own
#
# ReadIndex counts answers to the leader's latest beat. An early version of this lab let a follower
# echo the number of the beat when it *refused* an old leader. It looked harmless. Seed 192 broke it.

# %%
from labkit.simulator.invariants import Violation
from labkit.simulator.scenario import play


def verdict(scenario, mutant):
    """What breaks when the mutant plays the schedule of its seed."""
    try:
        with applied(mutant):
            play(scenario, scenario.draw(mutant.seed))
        return "every invariant held"
    except Violation as violation:
        return fill(str(violation))


print(verdict(LATE_RAFT, mutants["m39"]))

# %% [markdown]
# The refusal carries the *new* term beside the number of an *old* beat. Let the old leader crash: it
# counts its beats from 1 again. Let it be elected in that new term: now the late refusal looks like
# the answer to a question that it has not asked yet. A number needs the term in which it was given.
#
# ## Once, not at least once
#
# A client that hears nothing sends its command again. The leader had committed it, and died before
# it could answer.
#
# **Predict.** The command is `append "25."`. What is in the store when nobody remembers what was
# done? (a) `25.`, (b) `25.25.`, (c) nothing.

# %%
print(verdict(RAFT, mutants["m37"]))

# %% [markdown]
# **Answer: (b).** The end of the value has `25.` twice. The remedy is in the log itself (thesis,
# §6.3): a client numbers its commands, and the last number and result of each client belong to the
# replicated state, so that every later leader knows them.
#
# ## The log may not grow for ever
#
# What has been applied is folded into a [snapshot](glossary.md#snapshot). A node that was away for
# longer than the log reaches back gets the snapshot instead.

# %%
writers = dict.fromkeys((1000, 1001), partial(Client, choose=put, pause=0.02))
sim = Simulation(partial(Raft, compact=20), 3, seed=1, clients=writers, record=True).run(1.0)
gone = (sim.leader() + 1) % 3
sim.inject(Kill(gone))
sim.run(3.0)
leader = sim.node(sim.leader())
print(f"the leader is at index {leader.last_index} and keeps {len(leader.log)} entries")
sim.inject(Restart(gone))
sim.run(0.3)
kinds = [type(e.detail).__name__ for e in sim.recorder.trace if e.what == "message"]
print(f"the node that was away got {kinds.count('InstallSnapshot')} InstallSnapshot messages")
print(f"it is level again: {sim.node(gone).last_index >= leader.last_index - 1}")

# %% [markdown]
# The second copy does no harm: a snapshot that is not ahead of what is committed is ignored.
#
# **In real systems.** hashicorp's Raft answers from a lease of 0.5 s, half of its time-out of 1 s, and
# so leans on its clocks. etcd uses ReadIndex; a read by an earlier round of beats was a bug there
# (etcd-io/raft #397), and figure 8's was one in an early Raft (mutants m31 and m13 of this lab).
# PySyncObj acknowledges entries before they are on a disk (its issue #84; m03).
#
# > **The textbook says** that an entry is committed as soon as a majority of the servers has it.
# > **You have run it**: figure 8, and mutant m13.
# >
# > **Verdict.** Half of the sentence is missing. The paper (§5.3) says: once *the leader that created
# > the entry* has replicated it on a majority, and with it all entries before it.
#
# ## Exercises
#
# Attack first, then repair, then write. `hint("raft.5")`, from `labkit.check`, gives three hints, one at
# a time.
#
# ### Exercise raft.5 (3 points, 15 minutes; about 5 lines, reference runs in 1 s)
#
# Followers that acknowledge first and write later. Make the group forget checkpoint 41 000.

# %% exercise="raft.5"

# %% [markdown]
# ### Exercise raft.6 (4 points, 15 minutes; about 1 line, reference runs in 0.5 s)
#
# Followers in copycat, Scylla, etcd and others have had such a bug. Node 2 in the picture is yours, node 0
# led before, and node 1 leads now. Repair the cell.

# %% exercise="raft.6"

# %% [markdown]
# ### Exercise raft.7 (3 points, 10 minutes; about 2 lines, reference runs in 0.1 s)
#
# Logs as lists of terms: `log[0]` is the entry at index 1.

# %% exercise="raft.7"

# %% [markdown]
# ### Exercise raft.8 (4 points, 15 minutes; about 6 lines, reference runs in 0.1 s)
#
# Messages may be late, doubled and out of order.

# %% exercise="raft.8"

# %% [markdown]
# ## Summary
#
# - An entry is committed when a majority has it and the leader's own term shows it.
# - Who may be elected has all committed entries: two majorities share a node, and it refuses others.
# - What is not committed may vanish; nobody was told that it was done.
# - A leader's memory is no answer: ask a majority first, by a number that carries its term.
# - A retry is applied once because the memory of it is replicated too.

# %% [markdown]
# ## Interview questions
#
# <details><summary>Can an entry that is on a majority of disks be lost?</summary>
#
# Yes, if it is of an earlier term and no entry of the present term follows it on a majority: figure 8.
# </details>
#
# <details><summary>Why does a new leader write an empty entry first?</summary>
#
# It cannot commit inherited entries by counting. Its own entry commits them, and only then does it
# know how far its predecessors had committed, which it needs for reads.
# </details>
#
# <details><summary>A client's request times out. Was it done?</summary>
#
# Unknown. It sends the same number again; sessions make that safe. A history keeps such a call as
# one that may take effect at any later time, or never.
# </details>
#
# <details><summary>ReadIndex, lease, or an entry in the log: what does each read cost?</summary>
#
# One round trip; nothing, but a bound on clock drift must hold; one round trip and an fsync on a
# majority.
# </details>
#
# <details><summary>Why is one linearizability verdict per key enough?</summary>
#
# Linearizability is local: a history is linearizable if and only if that of each object is (Herlihy
# and Wing 1990). Sequential consistency is not.
# </details>

# %% [markdown]
# ## Next
#
# A leader is elected, the log agrees on who is alive, and training still stands.
# [11 Elastic restart](11_elastic_restart.ipynb) turns that agreement into a group that trains. The bug
# that stays in sight: everybody knows that rank 1 is gone, and everybody waits for it.
