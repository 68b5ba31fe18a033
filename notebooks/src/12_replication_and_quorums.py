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
# # 12 Replication and quorums
#
# It is ten to four on a Sunday morning. Mei's job has crashed and starts again on 512 GPUs. It asks
# a small store which checkpoint is the newest, and 511 of its workers hear “41 000”. The last one
# hears “40 000”. There are three copies of that answer, each on its own machine, all of them
# healthy, and none of them lied: each said what it knew. This notebook is about what several
# copies promise together, what the promise costs, and who pays when the network falls in two.
#
# **Routes** All<br>
# **Time** 65 minutes, and 55 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [10 Raft: the log that does not forget](10_raft_the_log_that_does_not_forget.ipynb)<br>
# **Afterwards you can** choose R and W for a need; say what R + W > N promises and what it does not;
# promote a backup without losing what was acknowledged; tell four consistency models apart by
# their histories; say which half of CAP a training job has chosen; and average gradients when one
# rank lies.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## Three copies, two answers
#
# The store from the story: every write goes to one copy, which passes it on; every read asks the
# copy nearest to it. The way from copy 0 to copy 2 takes a little longer today.

# %%
from functools import partial
from textwrap import fill

from labkit.faults import At, Cut, Delay, FaultPlan, Heal, Kill, Partition, WipeDisk
from labkit.protocols.clients import Client, Scripted
from labkit.protocols.quorum import AFTER, BEFORE, NEVER, Register
from labkit.protocols.raft.machine import Get, Put, execute
from labkit.simulator.linearizability import check as judge
from labkit.simulator.simulation import Simulation
from labkit.views.operations import operations


def asks(node, *script):
    """A client that asks one node: what, and at which second."""
    return partial(Scripted, script=script, writes_to=node, reads_from=node)


def history(sim):
    clients = sorted(node for node in sim.nodes if node >= 1000)
    return [call for client in clients for call in sim.node(client).history]


store = partial(Register, reads=1, writes=1, repair=NEVER)
users = {
    1000: asks(0, (0.02, Put("newest", 40_000)), (0.2, Put("newest", 41_000))),
    1001: asks(1, (0.22, Get("newest"))),
    1002: asks(2, (0.23, Get("newest")), (0.33, Get("newest"))),
}
slow_way = FaultPlan(At(Delay(0, 2, 0.1), seconds=0.0))
sim = Simulation(store, 3, seed=1, clients=users, faults=slow_way).run(1.0)
verdict = judge(history(sim), execute)
names = {1000: "saves", 1001: "511 workers", 1002: "the last one"}
operations(history(sim)[1:], "The marked call has no place in any order", verdict, names)

# %%
print(fill(str(verdict)))

# %% [markdown]
# A bar begins when a client asks and ends when it has its answer. One worker read 41 000, and a
# later one 40 000. No single copy could have behaved so, and the checker of [notebook
# 10](10_raft_the_log_that_does_not_forget.ipynb) says which call gives it away.
#
# ## How many must hear of a write
#
# N copies, of which a write reaches W before it is acknowledged. W = N is called *synchronous*
# replication, W = 1 *asynchronous*, and between them lies the [quorum](glossary.md#quorum). It is
# one protocol with one number (`labkit/protocols/quorum.py`). Copy 1 stands beside copy 0, copy 2
# is 30 ms away.
#
# **Predict.** For W = 1, 2, 3: (a) which write takes longest? (b) which goes on when copy 2 is
# dead? (c) which can be lost after it was acknowledged, when a switch fails and then the machine
# behind it?


# %%
def write_ten(writes, plan=()):
    """The history of ten writes at copy 0, and the simulation."""
    far = [At(Delay(a, 2, 0.03), seconds=0.0) for a in (0, 1)]
    script = [(1 + i, Put(f"key {i}", i)) for i in range(10)]
    protocol = partial(Register, reads=1, writes=writes, repair=NEVER)
    plan = FaultPlan(*far, *(At(Delay(2, a, 0.03), seconds=0.0) for a in (0, 1)), *plan)
    return Simulation(protocol, 3, seed=1, clients={1000: asks(0, *script)}, faults=plan).run(12)


def there(sim, key):
    """Whether a living copy has it."""
    alive = [i for i in range(3) if sim.alive(i)]
    return any(key in sim.on_disk(i).get("registers", {}) for i in alive)


switch_then_power = (At(Partition(((0,), (1, 2))), seconds=5.9), At(Kill(0), seconds=6.1))
print("W   to acknowledge   with copy 2 dead   acknowledged, then lost")
for writes in (1, 2, 3):
    calm = [c.returned - c.invoked for c in history(write_ten(writes))]
    dead = history(write_ten(writes, [At(Kill(2), seconds=0.5)]))
    hit = write_ten(writes, switch_then_power)
    lost = [c for c in history(hit) if c.returned and not there(hit, c.command.key)]
    done = sum(c.returned is not None for c in dead)
    print(f"{writes} {1e3 * sum(calm) / 10:12.0f} ms {done:10} of 10 {len(lost):20}")

# %% [markdown]
# **Answer: (a) W = 3, (b) W = 1 and 2, (c) only W = 1.** Waiting for the farthest copy costs a
# round trip to it, and when it is dead, for ever. Not waiting at all loses what copy 0 had
# promised and could not pass on. A quorum waits for the fastest of the others.
#
# > **The textbook says** “A replication factor of 3 tolerates two failures.” **Let us run it.**

# %%
two_dead = FaultPlan(At(Kill(1), seconds=0.5), At(Kill(2), seconds=0.5))
print("two of three are dead:  reads  writes")
for reads, writes in ((1, 3), (2, 2), (3, 1)):
    protocol = partial(Register, reads=reads, writes=writes, repair=NEVER)
    users = {1000: asks(0, (0.1, Put("x", 1)), (1.0, Put("x", 2)), (2.0, Get("x")))}
    _, write, read = history(Simulation(protocol, 3, clients=users, faults=two_dead).run(4))
    works = ["yes" if call.returned else "no" for call in (read, write)]
    print(f"   R = {reads}, W = {writes} {works[0]:>12} {works[1]:>7}")

# %% [markdown]
# > **Verdict.** The data survive two losses. The *service* does not: with majorities it bears one,
# > with R = 1 it can still read after two and not write. (With W = 1 and R = 3 neither works here:
# > our writes read first, to learn which version they must go beyond.)
#
# ## R + W > N
#
# A write has reached W copies, a read asks R. Here they are as far apart as they can be.

# %%
from labkit.views.replication import quorums

quorums(5, [(3, 3), (2, 3), (1, 5)], "The write has reached W of five, the read asks R of them")

# %% [markdown]
# If R + W > N, each read meets the last acknowledged write, and recognises it by its version (D.
# Gifford, SOSP 1979). If not, it is a matter of luck. How much luck? Three copies, six clients that
# read and write all the time, and a network in which one message in ten is late.
#
# **Predict.** With R = W = 1, how many reads return something older than the last acknowledged
# write: (a) 0.5 %, (b) 5 %, (c) 50 %?

# %%
from labkit.simulator.network import Network
from labkit.simulator.staleness import reads as reads_of
from labkit.views.curves import compare_lines


def draw(random, serial):
    return Put("x", serial * 1000 + random.randrange(1000)) if random.random() < 0.3 else Get("x")


def share_of_stale_reads(reads, writes):
    protocol = partial(Register, reads=reads, writes=writes, repair=NEVER)
    users = dict.fromkeys(range(1000, 1006), partial(Client, choose=draw, pause=0.01))
    network = Network(tail=0.1, tail_seconds=0.1)
    sim = Simulation(protocol, 3, seed=1, clients=users, network=network).run(3 if fast else 10)
    stale = [old for _, old in reads_of(sim.node(client) for client in users)]
    return sum(stale) / len(stale)


shares = {w: [share_of_stale_reads(r, w) for r in (1, 2, 3)] for w in (1, 2, 3)}
for writes, row in shares.items():
    print(f"W = {writes}: ", "  ".join(f"R = {r}: {s:6.2%}" for r, s in enumerate(row, 1)))

# %%
lines = {f"W = {w}": ([1, 2, 3], [100 * s for s in row]) for w, row in shares.items()}
figure = compare_lines(lines, x="R", y="stale reads, %", title="Above N = 3 there are none")
figure.axes[0].set_xticks([1, 2, 3])
figure

# %% [markdown]
# **Answer: (b).** With R + W = N, two copies asked of three and one written, it is one read in a
# thousand: the kind of bug that no test finds and every Sunday morning does. Above N there is none,
# whatever the network does.
#
# ### Exercise replication.1 (2 points, 10 minutes; about 2 lines, reference runs in 0.1 s)

# %% exercise="replication.1"

# %% [markdown]
# ## What R + W > N does not promise
#
# > **The textbook says** “If W + R > N, reads are consistent.” **Let us run it.** N = 3, R = W = 2.
#
# A write is under way: copy 0 has it, and its messages to the others are lost. Then one client reads
# at copy 0, and when it is done, another reads at copy 1, which hears from copy 2 first.
#
# **Predict.** The first read returns the new value. And the second? (a) The new one, (b) the old one.


# %%
def two_reads(repair):
    """A write under way; a read that meets it, and one that begins when that has returned."""
    lost = [At(Cut(0, other), seconds=t) for t in (1.025, 1.075) for other in (1, 2)]
    back = [At(Heal(), seconds=t) for t in (1.035, 1.085)]
    users = {
        1000: asks(0, (0.1, Put("x", "old")), (1.0, Put("x", "new"))),
        1001: asks(0, (1.05, Get("x"))),
        1002: asks(1, (1.10, Get("x"))),
    }
    protocol = partial(Register, repair=repair, anti_entropy=0, retry=0.15)
    plan = FaultPlan(*lost, *back, At(Cut(0, 1), seconds=1.095))
    steady = Network(low=0.01, high=0.01)
    calls = history(Simulation(protocol, 3, clients=users, faults=plan, network=steady).run(3))
    verdict = judge(calls, execute)
    said = "linearizable" if verdict else "not linearizable"
    return operations(calls[1:], f"Repair {repair}: {said}", verdict, roles, bands)


roles = {1000: "writes at 0", 1001: "reads at 0", 1002: "reads at 1"}
bands = [(1.025, 1.035, "lost"), (1.075, 1.085, "lost")]
two_reads(NEVER)

# %% [markdown]
# **Answer: (b).** Both reads keep the promise: the *last acknowledged* write is the old one. But
# once somebody has seen the new value, nobody should see the old one.
#
# A read that meets different versions can [repair](glossary.md#read-repair) the stale copies. Dynamo does so after it has
# answered the client.

# %%
two_reads(AFTER)

# %% [markdown]
# The repair was lost, as any message may be, and nobody waited for it. So wait: write back what you
# are about to return, until W copies have it, and answer then.

# %%
two_reads(BEFORE)

# %% [markdown]
# The first read takes longer, until a second attempt gets through. The two reads overlap now, and
# the green dots show an order that explains both: H. Attiya, A. Bar-Noy and D. Dolev's register
# (JACM 1995), which is [linearizable](glossary.md#linearizable) with no leader, no election, and no
# log.
#
# > **Verdict.** R + W > N is half of it. The other half is that a *read writes* before it answers.
#
# **In real systems.** Cassandra repairs in the foreground (`read_repair = BLOCKING`, its default
# since 4.0), so that of two quorum reads the second is never older. With `NONE`, it may be.

# %% [markdown]
# ## A primary and its backups
#
# The other way: one copy, the [primary](glossary.md#primary), puts all writes in order and sends them to the *backups*
# (P. Alsberg and J. Day, 1976). When the primary falls silent, a backup is promoted: the members
# agree on the next [view](glossary.md#view), and its primary is the next in turn. Two settings,
# one question.
#
# **Predict.** The primary acknowledges when (1) its own disk has the write, or (2) a majority has
# it. Its switch fails, and 60 ms later its power; a client writes in between. For (1) and for (2):
# (a) it is told “done”, and the successor has the write, (b) it is told “done”, and the successor has
# never heard of it, (c) it is told nothing.

# %%
from labkit.protocols.clients import ANY, NEAREST, PRIMARY
from labkit.protocols.primary_backup import PrimaryBackup

switch_then_power = FaultPlan(
    At(Partition(((0,), (1, 2))), seconds=0.99), At(Kill(0), seconds=1.05), At(Heal(), seconds=1.06)
)
writer = ((0.2, Put("x", "old")), (1.0, Put("x", "new")))
reader = tuple((1.5 + 0.3 * i, Get("x")) for i in range(4))


def promotion(copies, plan=switch_then_power):
    users = {
        1000: partial(Scripted, script=writer, writes_to=PRIMARY, patience=0.3),
        1001: partial(Scripted, script=reader, reads_from=PRIMARY, patience=0.2),
    }
    protocol = partial(PrimaryBackup, copies=copies)
    return Simulation(protocol, 3, seed=2, clients=users, faults=plan).run(4)


for copies, name in ((1, "its own disk"), (2, "a majority  ")):
    write = history(promotion(copies))[1]
    read = [c.result for c in history(promotion(copies)) if c.returned and c.invoked > 1.2][-1]
    said = "acknowledged" if write.returned else "no answer"
    print(f"{name}: the write of 'new': {said}; the successor says {read!r}")

# %%
calls = history(promotion(1))
verdict = judge(calls, execute)
down = [(0.99, 1.06, "switch, then power")]
operations(calls, "Acknowledged, and then it was never written", verdict, None, down)

# %% [markdown]
# **Answer: (1) is (b), (2) is (c).** No answer is not a no: the client has to ask. But “done” was not
# true, and nobody will ever ask. An explorer needs no script to find this; here is the shrunk end of
# a random fault schedule.

# %%
from labkit.simulator import replicas
from labkit.simulator.explore import explore

alone = replicas.PRIMARY_BACKUP._replace(protocol=partial(PrimaryBackup, copies=1))
found = explore(alone, seeds=20, processes=1)
print(fill(f"{found.finding.name} breaks: {found.finding.what}"))

# %% [markdown]
# And with a majority, on 60 schedules of crashes, pauses, partitions and slow clocks:

# %%
print(explore(replicas.PRIMARY_BACKUP, seeds=20 if fast else 60, processes=1))

# %% [markdown]
# ### ⤳ The fence
#
# The old primary may not be dead. It may be slow, or cut off, and it does not know that it has been
# replaced. So a member that has promised itself to a view takes nothing from the primary of an
# older one, and says so to its disk first: a [fence](glossary.md#fence). Leave that out:

# %%
from labkit.simulator.invariants.replication import OneOrder
from labkit.simulator.mutants import applied
from labkit.simulator.mutants.replication import REPLICATION

mutants = {mutant.id: mutant for mutant in REPLICATION}
with applied(mutants["v01"]):
    found = explore(replicas.PRIMARY_BACKUP._replace(invariants=(OneOrder,)), seeds=20, processes=1)
print(fill(f"{found.finding.name} breaks: {found.finding.what}"))

# %% [markdown]
# **In real systems.** On 21 October 2018 GitHub's two coasts lost each other for 43 seconds. A
# backup was promoted in the west while the east had writes that it had not passed on. Both sides had
# written, no side could be thrown away, and the service was degraded for 24 hours and 11 minutes
# (GitHub, *October 21 post-incident analysis*, 2018). Elasticsearch lost acknowledged documents in
# the same way (issues #10407 and #14671), and has numbered its primaries' terms since.

# %% [markdown]
# ## Read from the primary, from any, from the nearest
#
# Five copies: the client is in the city of copy 4; the others are 5, 20, 40 and 60 ms away, and the
# primary is copy 0, the farthest.
#
# **Predict.** Which reads are both fast and fresh? (a) From the primary, (b) from any copy, (c)
# from the nearest, (d) none of them.

# %%
CITIES = {0: 0.060, 1: 0.040, 2: 0.020, 3: 0.005, 4: 0.0}


def read_from(where):
    """Milliseconds of each read, and how many writes behind the newest acknowledged one it was."""
    ways = [At(Delay(i, 1000, s), seconds=0.0) for i, s in CITIES.items()]
    ways += [At(Delay(1000, i, s), seconds=0.0) for i, s in CITIES.items()]
    users = {
        1000: partial(Client, choose=lambda _, serial: Get("x"), reads_from=where),
        1001: partial(Client, choose=lambda _, serial: Put("x", serial), writes_to=PRIMARY),
    }
    sim = Simulation(PrimaryBackup, 5, seed=1, clients=users, faults=FaultPlan(*ways)).run(10)
    writes = [c for c in sim.node(1001).history if c.returned]
    took, behind = [], []
    for read in [c for c in sim.node(1000).history if c.returned][10:]:
        newest = max((w.command.value for w in writes if w.returned < read.invoked), default=0)
        took.append(1e3 * (read.returned - read.invoked))
        behind.append(max(0, newest - (read.result or 0)))
    return took, behind


reads = {where: read_from(where) for where in (PRIMARY, ANY, NEAREST)}
for where, (took, behind) in reads.items():
    mean, stale = sum(took) / len(took), sum(b > 0 for b in behind) / len(behind)
    print(f"{where:8} {mean:4.0f} ms   stale: {stale:4.0%}   writes behind: up to {max(behind)}")

# %% [markdown]
# **Answer: (d).** What a copy knows without asking is old by the time that a message takes. Fresh
# *and* fast is a matter of where the primary is, or of a lease, which trusts clocks ([notebook
# 10](10_raft_the_log_that_does_not_forget.ipynb)). For a data set that never changes, or a metric
# on a dashboard, nearest is right. For “which checkpoint is the newest?” it was Mei's Sunday.

# %% [markdown]
# ## Four promises
#
# What may a client believe? Four answers have a name, from the strongest to the weakest.
#
# | | there is | in which |
# |---|---|---|
# | [linearizable](glossary.md#linearizable) | one order of all calls | a call that ended before another began comes first |
# | [sequential](glossary.md#sequential-consistency) | one order of all calls | each client's calls stand as it made them |
# | [causal](glossary.md#causal-consistency) | an order for each client | causes come before effects |
# | [eventual](glossary.md#eventual-consistency) | no order at all | but once nobody writes, all read the same |
#
# Four systems of this notebook, one history of each, and all four questions asked of it
# (`labkit/simulator/consistency.py`: the search is the same, only what must come before what is not).
#
# **Predict.** Each client asks the backup beside it, always the same one, and each backup is a little
# behind. Which is the strongest promise that this keeps?


# %%
def run(protocol, users, *plan, n=3, seconds=4):
    sim = Simulation(protocol, n, seed=1, clients=users, faults=FaultPlan(*plan))
    return history(sim.run(seconds))


def later(*keys):
    """Reads long after the last write."""
    return tuple((2.5 + i / 10, Get(key)) for i, key in enumerate(keys))


one_copy = partial(Register, reads=1, writes=1, repair=NEVER)
systems = {
    "quorum, repair before": run(
        Register,
        {1000: asks(0, (0.1, Put("x", 1))), 1001: asks(1, (0.105, Get("x")), (0.2, Get("x")))},
    ),
    "own backup": run(
        PrimaryBackup,
        {
            1000: asks(0, (0.1, Put("x", 1)), *later("x")),
            1001: asks(1, (0.2, Get("x")), *later("x")),
            1002: asks(2, (0.22, Get("x")), *later("x")),
        },
        At(Delay(0, 2, 0.3), seconds=0.05),
    ),
    "one copy, partition": run(
        one_copy,
        {
            1000: asks(0, (0.1, Put("x", 1)), (0.2, Get("y")), *later("x", "y")),
            1001: asks(1, (0.1, Put("y", 2)), (0.2, Get("x")), *later("x", "y")),
        },
        At(Partition(((0,), (1,))), seconds=0.05),
        At(Heal(), seconds=0.5),
        n=2,
    ),
    "one copy, a slow link": run(
        one_copy,
        {
            1000: asks(0, (0.1, Put("x", 1)), *later("x", "y")),
            1001: asks(1, (0.2, Get("x")), (0.25, Put("y", 2)), *later("x", "y")),
            1002: asks(2, (0.3, Get("y")), (0.32, Get("x")), *later("x", "y")),
        },
        At(Delay(0, 2, 0.5), seconds=0.05),
    ),
}

# %%
from labkit.simulator.consistency import judge as judge_all

print(f"{'':24}linearizable  sequential  causal  eventual")
for name, calls in systems.items():
    kept = judge_all(calls)
    print(f"{name:24}" + "".join(f"{'yes' if v else '-':>{len(m)}}  " for m, v in kept.items()))

# %% [markdown]
# **Answer: sequential.** All backups execute one log, so there is one order, and each client walks
# along it, at its own place. Nobody who looks at one client alone could tell. Here is what the two
# lower rows look like.

# %%
calls = systems["one copy, partition"]
print(fill(str(judge_all(calls)["sequential"])))
early = [call for call in calls if call.invoked < 1]
apart = [(0.05, 0.5, "partition")]
operations(early, "Each writes, and does not see what the other wrote", None, None, apart)

# %%
calls = systems["one copy, a slow link"]
print(fill(str(judge_all(calls)["causal"])))
early = [call for call in calls if call.invoked < 1]
operations(early, "Client 1002 sees the effect, y, and not its cause, x")

# %% [markdown]
# Client 1001 wrote y *because* it had read x. Think of x as “the checkpoint is complete” and of y as
# “`latest` points to it”: causal consistency is the least that such a pair needs.
#
# ### Exercise replication.2 (4 points, 20 minutes; about 10 lines, reference runs in 0.1 s)
#
# The checker, for one register and a handful of calls: try every order.

# %% exercise="replication.2"

# %% [markdown]
# ## One conflict, three ways out
#
# Two data centres keep a list of hosts to avoid. Both know of n7. The cable breaks; the left adds
# n12, and a second later the right, where n7 has been repaired, takes n7 off. The cable is mended.
#
# **Predict.** What should be on the list, and what will be with (a) last write wins, (b) vector
# clocks, (c) a type that merges?

# %%
from labkit.protocols.conflicts import LastWrite, ObservedRemove, Siblings

kinds = {"last write wins": LastWrite, "vector clocks": Siblings, "observed remove": ObservedRemove}
for name, kind in kinds.items():
    both = kind().add("n7", node=0, time=1.0)
    left = both.add("n12", node=0, time=2.0)
    right = both.remove("n7", node=1, time=3.0)
    merged = left.merge(right)
    same = merged == right.merge(left)
    print(f"{name:16} {sorted(merged.names)!s:15} the same on both sides: {same}")

# %% [markdown]
# **Answer: (c) has what both meant.** The last write threw n12 away without a word. [Vector clocks](glossary.md#vector-clock)
# know that neither change saw the other, keep both as *siblings*, and leave it to the reader; who
# takes all names of all siblings gets n7 back, as items came back into Dynamo's shopping carts (SOSP
# 2007, §4.4). The third, a [CRDT](glossary.md#crdt), remembers additions one by one, and a removal
# takes away only those that it had seen (M. Shapiro and others, SSS 2011).
#
# ### Exercise replication.3 (2 points, 10 minutes; about 3 lines, reference runs in 0.1 s)

# %% exercise="replication.3"

# %% [markdown]
# ## Copies that grow back
#
# A data set is no register: it is large, and nobody changes it. It lies in blocks, three copies of
# each on different stores, and a manager hears from every store what it has (`labkit/protocols/blocks.py`
# after GFS and HDFS). When a store is silent for half a second, its blocks are copied from those
# that have them, the block with the fewest copies first. Training goes on reading meanwhile. Eight
# stores, 96 blocks, 20 ms to send one.
#
# **Predict.** Two stores are lost, one shortly after the other. Is a block lost? And until all 96
# have three copies again, what takes longer: (a) to notice the loss, (b) to copy the blocks?

# %%
from collections import Counter

from labkit.protocols.blocks import Blocks, Reader
from labkit.views.replication import copies_over_time


def counts(sim, blocks):
    """How many blocks have 0, 1, 2, and 3 or more copies on living stores."""
    alive = [i for i in sim.members[1:] if sim.alive(i)]
    held = Counter(b for i in alive for b in sim.on_disk(i).get("blocks", {}))
    number = Counter(min(3, held[block]) for block in range(blocks))
    return [number[copies] for copies in range(4)]


def lose(stores, losses, blocks=96, seconds=4.0, rest=2.0):
    """Samples of `counts`, and (block, asked, there) of each read; the first second is 0."""
    protocol = partial(Blocks, copies=3, transfer=0.02)
    users = {1000: partial(Reader, blocks=blocks)}
    plan = FaultPlan(*(At(WipeDisk(store), seconds=rest + t) for t, store in losses))
    sim = Simulation(protocol, stores + 1, seed=1, clients=users, faults=plan).run(rest)
    samples = []
    while sim.now < rest + seconds:
        samples.append((sim.now - rest, counts(sim, blocks)))
        sim.run(0.02)
    reads = [(b, a - rest, t - rest) for b, a, t in sim.node(1000).reads if a >= rest]
    return samples, reads


samples, reads = lose(8, [(0.3, 4), (0.5, 6)], seconds=2.2)
faults = [(0.3, "store 4 is lost"), (0.5, "store 6 is lost")]
copies_over_time(samples, reads, faults, "No block is lost, and two reads are late")

# %%
whole = next(t for t, n in samples if t > 0.5 and n[3] == 96)
alone = [t for t, n in samples if n[1]]
none, one = (max(numbers[copies] for _, numbers in samples) for copies in (0, 1))
slow = sum(there - asked > 0.1 for _, asked, there in reads)
print(f"blocks with no copy: {none}; with one: {one}, until {alone[-1] - 0.5:.2f} s after the loss")
print(f"all have three again {whole - 0.5:.2f} s after the second loss, 0.5 s of it silence")
print(f"{len(reads)} reads, {slow} of them took longer than 0.1 s")

# %% [markdown]
# **Answer: none is lost; (a).** Noticing takes longer than copying. The copies of one store are
# spread over all the others, so all of them send and all receive. More stores, faster repair:

# %%
repair = {}
for stores in (4, 6, 8, 12, 16):
    samples, _ = lose(stores, [(0.3, 3)])
    repair[stores] = next(t for t, n in samples if t > 0.32 and n[3] == 96) - 0.3 - 0.5
    print(f"{stores:2} stores: copied in {repair[stores]:.2f} s")

# %% [markdown]
# **In real systems.** Google killed one of 227 chunkservers with 600 GB: 23.2 minutes later every
# chunk had its three copies, at 440 MB/s. They killed two: 266 chunks were down to one copy, went
# first, and had two within 2 minutes (GFS, SOSP 2003, §6.2.5). Checkpoints that are kept in the
# memory of other ranks do the same with a state that changes: [notebook
# 08](08_fast_checkpoints.ipynb).

# %% [markdown]
# ## When the network falls in two
#
# > **The textbook says** “[CAP](glossary.md#cap-theorem): consistency, availability, partition tolerance; choose
# > two of three.”
# > **Let us run it.**
#
# Three copies. For two seconds copy 0 is cut off from copies 1 and 2. On either side a client reads
# and writes, five times a second. Two systems: R = W = 2, and R = W = 1.
#
# **Predict.** Four clients, two seconds. Which of them get answers, and which get right ones?

# %%
from labkit.views.replication import ANSWERED, SILENT, STALE, answers


def five_a_second(side):
    return tuple((0.2 * i, Get("x") if i % 2 else Put("x", f"{side}{i}")) for i in range(1, 25))


def partitioned(protocol):
    """A client at copy 0, which is cut off from 0.95 s to 2.95 s, and one at copy 1."""
    script = {1000: five_a_second("a"), 1001: five_a_second("b")}
    at = {c: {"writes_to": c - 1000, "reads_from": c - 1000, "patience": 0.15} for c in script}
    users = {c: partial(Scripted, script=script[c], **at[c]) for c in script}
    plan = FaultPlan(At(Partition(((0,), (1, 2))), seconds=0.95), At(Heal(), seconds=2.95))
    sim = Simulation(protocol, 3, seed=3, clients=users, faults=plan).run(6)
    return [sim.node(client) for client in users]


def outcomes(client, everybody):
    """Of each call: answered, stale (a newer version had been acknowledged before), or silent."""
    stale = [call for call, old in reads_of(everybody) if old]
    for call in client.history:
        old = any(call is other for other in stale)
        yield call.invoked, STALE if old else SILENT if call.returned is None else ANSWERED


loose = partial(Register, reads=1, writes=1, anti_entropy=0.1)
rows, kept = {}, {}
for name, protocol in (("R = W = 2", Register), ("R = W = 1", loose)):
    both = partitioned(protocol)
    kept[name] = bool(judge([call for client in both for call in client.history], execute))
    for side, client in zip(("side of one", "side of two"), both, strict=True):
        rows[f"{name}, {side}"] = list(outcomes(client, both))
answers(rows, (0.95, 2.95), "Somebody pays: with no answer, or with an old one")

# %%
for name, calls in rows.items():
    inside = Counter(what for time, what in calls if 0.95 < time < 2.95)
    print(f"{name}:", ", ".join(f"{n} {what}" for what, n in sorted(inside.items())))
for name, linear in kept.items():
    print(f"{name} is linearizable: {linear}")

# %% [markdown]
# **Answer: the quorum answers on the side of two and not at all on the side of one. R = W = 1 answers
# everybody, and the side of one is told old values.** What the side of one wrote meanwhile was
# acknowledged too, and lost when the halves met: the other side's versions were newer.
#
# > **Verdict.** Nobody chooses partitions. They come, and *while* they last a system gives up answers
# > (CP) or agreement (AP), call by call. The rest of the time it can have both, and pays with latency
# > instead (S. Gilbert and N. Lynch, 2002; D. Abadi's PACELC, 2012).
#
# ## Synchronous training is CP, asynchronous is AP
#
# A training job is a replicated system, too: the weights are the value, each rank has a copy. On a
# real cluster now. The synchronous job averages gradients in every step. The asynchronous one goes
# on by itself while an average of the weights is under way, and mixes it in when it arrives.
# Both end when a sum tells all ranks that one of them has made enough steps.

# %%
import torch

from labkit import Cluster
from labkit.training.replica import Replica  # a small model, its weights as one vector


def synchronous(worker, steps=60, lr=0.05):
    mine, step, stop = Replica(worker), 0, 0.0
    while not stop:
        enough = worker.tensor(1, fill=float(step + 1 >= steps))
        total = torch.cat([mine.gradient(step, worker.rank), enough])
        worker.group.all_reduce(total)  # and wait
        mine.move(-lr * total[:-1] / worker.world_size)
        step, stop = step + 1, total[-1].item()
        worker.step(step)
    return mine.weights.sum().item()


# %%
def asynchronous(worker, steps=150, lr=0.05):
    mine, step, stop, under_way = Replica(worker), 0, 0.0, None
    while not stop:
        if under_way is None:
            sent, enough = mine.weights.clone(), worker.tensor(1, fill=float(step >= steps))
            total = torch.cat([sent, enough])
            under_way = worker.group.all_reduce_async(total)  # and go on
        mine.move(-lr * mine.gradient(step, worker.rank))
        if under_way.done():
            under_way.wait()
            mine.move(total[:-1] / worker.world_size - sent)
            stop, under_way = total[-1].item(), None
        step += 1
        worker.step(step)
    return mine.weights.sum().item()


# %% [markdown]
# **Predict.** After a few steps the cluster falls into two halves, for half a second. How many steps
# does each job make in that time?

# %%
import time

from labkit.views.curves import step_curves

cluster = Cluster(world_size, backend=backend, device=device, seed=seed)
half = world_size // 2


def in_two_halves(job):
    """The run of a job during which the cluster is in two for half a second."""
    run = cluster.run(job)
    run.wait_step(5, timeout=60)
    cluster.partition(range(half), range(half, world_size))
    time.sleep(0.5)
    cluster.heal()
    return run.wait(timeout=60)


def steps_inside(run):
    """How many steps each rank made in the second half of that time."""
    cut = next(e.time for e in run.events if e.kind == "fault")
    mended = next(e.time for e in run.events if e.kind == "heal" and e.time > cut)
    inside = [e for e in run.events if e.kind == "step" and (cut + mended) / 2 < e.time < mended]
    return [sum(e.rank == rank for e in inside) for rank in range(world_size)]


runs = {job.__name__: in_two_halves(job) for job in (synchronous, asynchronous)}
print("synchronous, no step on any rank:", max(steps_inside(runs["synchronous"])) == 0)
print("asynchronous, every rank goes on:", min(steps_inside(runs["asynchronous"])) > 0)
for name, run in runs.items():
    print(f"{name}, equal weights at the end:", len(set(run.results.values())) == 1)

# %%
step_curves(runs["synchronous"], "Synchronous: consistent, and it stands still")

# %%
step_curves(runs["asynchronous"], "Asynchronous: available, and every rank for itself")

# %% [markdown]
# **Answer: none, and about as many as before.** The synchronous job waits, and when the cable is
# back all weights are equal, as always. The asynchronous one has never been one model, and for half
# a second every rank drifted away by itself. Whether that is worth it is a question of learning,
# not of networks: stale gradients cost accuracy, standing still costs GPU hours.
#
# **In real systems.** Almost all large models are trained synchronously. The asynchronous parameter
# server of DistBelief (J. Dean and others, NeurIPS 2012) went on when machines were lost; Chen and
# others found (arXiv 1604.00981) that synchronous training with a few spare workers converges
# faster and to better test error.

# %% [markdown]
# ## A rank that lies
#
# Until now a copy was right, late, or dead. A [Byzantine](glossary.md#byzantine) rank sends anything:
# through a broken GPU, a bug, or on purpose. The last rank computes its gradients, turns them
# round and makes them ten times as long. Eight logical workers (shards) spread over the ranks; two
# of them lie, or one on a rank that has only one.
#
# **Predict.** The mean of eight gradients, one or two of which lie. (a) It learns a little more
# slowly, (b) it learns nothing, (c) it gets worse than before it began.


# %%
def train_with_a_liar(worker, rule, liar=True, steps=50, lr=0.1):
    """Accuracy at the end. `rule` makes one gradient of those of the 8 shards."""
    from labkit.training.sampler import share

    mine, size = Replica(worker, batch=32), worker.world_size
    shards, velocity = share(worker.rank, size), 0.0
    lies = shards[-2:] if liar and worker.rank == size - 1 else ()
    for step in range(1, steps + 1):
        heard = worker.tensor(8 * len(mine.weights)).view(8, -1)
        for shard in shards:
            heard[shard] = mine.gradient(step, shard) * (-10 if shard in lies else 1)
        worker.group.all_reduce(heard.view(-1))  # each row comes from one rank
        velocity = 0.9 * velocity + rule(list(heard))
        mine.move(-lr * velocity)
        worker.report(step, loss=min(10.0, mine.loss))
    return mine.accuracy()


# %%
from labkit.training.aggregation import krum, mean, median
from labkit.views.curves import loss_curves

runs = {"mean, nobody lies": cluster.run(train_with_a_liar, rule=mean, liar=False).wait(timeout=60)}
rules = {"mean": mean, "median": median, "Krum": partial(krum, f=2)}
for name, rule in rules.items():
    runs[name] = cluster.run(train_with_a_liar, rule=rule).wait(timeout=60)
cluster.close()
for name, run in runs.items():
    print(f"{name:18} {'learns' if run.results[0] > 0.3 else 'knows no more than a guess'}")

# %%
loss_curves(runs, title="One rank lies (losses above 10 are drawn at 10)")

# %% [markdown]
# **Answer: (c).** A mean follows whoever shouts loudest: one worker can make it anything (P. Blanchard
# and others, NeurIPS 2017). The *median* of each coordinate ignores how far out a liar is. *Krum*
# takes one whole gradient, the one that lies closest to its nearest neighbours, and needs 2f + 3
# gradients to bear f liars. Both learn more slowly than a mean among honest workers: they throw away
# what the others had to say.
#
# Both need an honest majority, and neither helps against one broken GPU that is wrong by a little.
# That takes comparing the weights ([notebook 05](05_hangs_deadlocks_nans.ipynb)) and computing
# things twice ([notebook 11](11_elastic_restart.ipynb)).
#
# ### Exercise replication.4 (3 points, 15 minutes; about 7 lines, reference runs in 0.1 s)

# %% exercise="replication.4"

# %% [markdown]
# ## Summary
#
# - W decides how long a write takes and what it survives; R + W > N makes reads meet it.
# - Reads are atomic only if they write back what they saw before they answer.
# - A promotion needs a majority, and a fence against whoever does not know that it was replaced.
# - Linearizable, sequential, causal, eventual: which calls must come before which.
# - In a partition a system gives up answers or agreement. Synchronous training gives up answers.
# - Copies grow back in the time of noticing plus copying; a mean bears no liar.

# %% [markdown]
# ## Interview questions
#
# <details><summary>N = 3, R = W = 2. Two reads, one after the other, return the new value and then
# the old one. Is it a bug?</summary>
#
# Not of the quorums: while a write is under way either value is allowed. To rule it out, a read has
# to write back what it saw to W replicas before it returns (ABD), or reads go through a leader.
# </details>
#
# <details><summary>A write timed out. What do you tell the user?</summary>
#
# That its outcome is unknown. It may have reached some copies and may yet win. Read it back, or make
# it safe to do twice.
# </details>
#
# <details><summary>Why does promotion need more than a heartbeat that stopped?</summary>
#
# The old primary may be alive. Its successor needs a majority that has promised to take nothing
# more from it (a view, a term, a fencing token), and a log that has all that was acknowledged.
# </details>
#
# <details><summary>Last write wins by wall clock. Name two ways to lose data.</summary>
#
# Two writes at the same time: one is dropped although both were acknowledged. A clock that runs
# ahead: its writes beat all later ones until real time has caught up.
# </details>
#
# <details><summary>Is eventual consistency weaker than sequential consistency?</summary>
#
# They are about different things. Eventual says something about the end, sequential about the way;
# a sequentially consistent history may be stale for ever.
# </details>
#
# <details><summary>Is a training job with synchronous SGD CP or AP, and would you change it?</summary>
#
# CP: a rank that cannot be reached stops all. Usually one forms a smaller group of a majority and
# goes on ([notebook 11](11_elastic_restart.ipynb)), which is still CP: the minority must stop.
# </details>

# %% [markdown]
# ## Next
#
# [18 Chaos](18_chaos.ipynb) is the last notebook: everything at once. The bug that stays in sight:
# half a second of partition stood all ranks still, or made several models of one. It was the only
# fault of that minute, and you had chosen it. In the chaos run nobody chooses: deaths, pauses,
# partitions and lost messages come as a seed draws them, and the weights at the end must be those
# of a run without any.
