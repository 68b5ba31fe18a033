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
# # 02 Ring all-reduce
#
# It is ten in the morning and Mei has 64 GPUs for the first time. On one GPU a step took a second.
# Now it takes eleven, and 63 of her GPUs spend ten of them waiting. Every step, each GPU sends its
# gradient, 1 GB, to rank 0, which adds them all up and sends the sum back to everyone. At eleven
# she changes who sends what to whom. The same 64 GPUs compute the same sum over the same cables in
# 0.16 s, and with a thousand GPUs it would hardly take longer. This notebook is about that hour.
#
# **Routes** Evening · Core · All<br>
# **Time** 50 minutes, and 40 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [00 A cluster in your notebook](00_a_cluster_in_your_notebook.ipynb)<br>
# **Afterwards you can** name the seven collectives; write a ring all-reduce; say how many bytes and
# messages an algorithm needs, and choose one by the size of the tensor; and say which ranks notice
# when one of them dies in the middle of it, and which do not.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## Rank 0 drowns
#
# Every [rank](glossary.md#rank) has a [gradient](glossary.md#gradient), and every rank needs the
# sum of all of them. That is an [all-reduce](glossary.md#all-reduce). The first idea is Mei's:
# everyone sends to rank 0, rank 0 adds, rank 0 sends the sum to everyone. Here it is on a real
# cluster, with every byte counted.

# %%
from labkit import Cluster
from labkit.views.collectives import traffic_bars

cluster = Cluster(world_size, backend=backend, device=device)


def count(worker, algorithm, elements=1 << 20):
    """What this rank sends and receives in one all-reduce of that many float32."""
    before = worker.group.link.traffic.copy()
    worker.group.all_reduce(worker.tensor(elements, fill=1.0), algorithm=algorithm)
    return worker.group.link.traffic - before


def by_rank(run):
    return [run.results[rank] for rank in sorted(run.results)]


naive = by_rank(cluster.run(count, algorithm="naive").wait(timeout=60))
traffic_bars({"naive": naive}, size=4 << 20)

# %% [markdown]
# The others send their tensor once. Rank 0 sends it to everybody, after everybody's tensor has come
# in through the same card: the more ranks, the worse for one of them, and all wait for that one.
# (The dashed line is where every bar could end. We get there.) On paper, with Mei's cards of 100
# Gbit/s:

# %%
from labkit.reliability import communication
from labkit.reliability.communication import Wire

card = Wire(alpha=10e-6, beta=1 / 12.5e9)  # 10 µs a message, 12.5 GB a second
for ranks in (2, 8, 64, 1024):
    slow, quick = (f(card, ranks, 1e9) for f in (communication.naive, communication.ring))
    print(f"1 GB on {ranks:4} ranks: naive {slow:6.2f} s, ring {quick:.2f} s")

# %% [markdown]
# ## Seven words for moving tensors
#
# People who have computed on many machines for forty years have names for these patterns:
# [collectives](glossary.md#collective). Each picture is what the lab's own code did, before and
# after.
#
# **Predict.** There are two ways to build an all-reduce from two of the others, one after the other.
# Which?

# %%
from labkit.views.ring_pictures import collectives_in_pictures

collectives_in_pictures(world_size)

# %% [markdown]
# **Answer.** *Reduce*, then [*broadcast*](glossary.md#broadcast): that is Mei's first version, and
# one rank does all the work. Or [reduce-scatter](glossary.md#reduce-scatter), then
# [all-gather](glossary.md#all-gather): every rank adds up one piece, then hands it round. In the
# second one there is no rank 0.

# %% [markdown]
# ## The ring
#
# Put the ranks in a circle and cut the tensor into as many chunks as there are ranks. In every step
# each rank sends *one chunk* to its right neighbour and takes one from its left neighbour. A stripe
# in a square says whose part is in it; a dark square has them all.

# %%
from labkit.collectives import ring
from labkit.views.ring_pictures import steps_of


def ring_all_reduce(link, chunks):
    ring.reduce_scatter(link, chunks, "sum")
    ring.all_gather(link, chunks)


steps_of(ring_all_reduce, min(world_size, 4))

# %% [markdown]
# Follow column 0. Its chunk starts at rank 1, goes down from rank to rank, gathers a stripe at each,
# and arrives complete at rank 0. All columns do the same at the same time, one rank apart. That was
# the reduce-scatter; in the second half the dark squares go round, and nothing is added any more.
#
# It was drawn from a run of this code, which is all there is:

# %%
import inspect

print(inspect.getsource(ring.reduce_scatter))
print(inspect.getsource(ring.all_gather))

# %% [markdown]
# `link.transfer` starts a send and a receive *together*. If everyone sent first and received
# afterwards, then with messages too large for a buffer nobody would ever receive. `faults.point` is
# a named place where a fault can strike; we come back to it at the end, with a `Kill`.

# %% [markdown]
# ## Bytes, counted
#
# **Predict.** The tensor has S bytes. How many does each rank send on the ring? (a) as many as rank
# 0 did, (b) less than 2 S, however many ranks there are, (c) the more ranks, the fewer.

# %%
ringed = by_rank(cluster.run(count, algorithm="ring").wait(timeout=60))
size, n = 4 << 20, world_size
print(f"S = {size} bytes, n = {n}, 2(n−1)/n · S = {2 * (n - 1) / n * size:.0f} bytes")
for rank, traffic in enumerate(ringed):
    print(f"rank {rank} sent {traffic.sent_bytes} bytes in {traffic.sent_messages} messages")
for name, counts in {"naive": naive, "ring": ringed}.items():
    print(f"all ranks of the {name} together: {sum(c.sent_bytes for c in counts) / size:.0f} S")

# %%
traffic_bars({"naive": naive, "ring": ringed}, size)

# %% [markdown]
# **Answer: (b).** 2(n−1)/n·S, on every rank alike, to the byte. And look at the last two lines: the
# ring does not save a single byte. Both move the same total. The ring shares it out evenly, and all
# cables are busy all the time.
#
# Fewer is not possible: of every element, n−1 parts have to travel to be added, and the sum has to
# travel to n−1 ranks; 2(n−1) S in all, and n ranks to share it (Patarasuk and Yuan, JPDC 69(2),
# 2009).
#
# **In real systems.** NVIDIA's benchmark divides 2(n−1)/n·S by the time and calls it
# [bus bandwidth](glossary.md#bus-bandwidth): it can be held against the cable's data sheet, whatever
# n is (nccl-tests, PERFORMANCE.md).

# %% [markdown]
# ### Exercise ring.1 (3 points, 15 minutes; about 6 lines, reference runs in 0.4 s)
#
# Write the first half. `link` knows `rank`, `size`, `left`, `right`, and carries
# `transfer(sends=[(tensor, to)], receives=[(tensor, source)]).wait()`. `steps_of(my_reduce_scatter)`
# draws what yours does.

# %% exercise="ring.1"

# %% [markdown]
# ### Exercise ring.2 (2 points, 5 minutes; about 4 lines, reference runs in 0.4 s)
#
# Now the second half. `chunks[link.rank]` is complete on every rank; nothing else is.

# %% exercise="ring.2"

# %% [markdown]
# ## Textbook: the four-GPU table
#
# > **The textbook says** “Each GPU has chunks A B C D. *Step 1:* GPU 0 sends D to GPU 1, GPU 1 sends
# > A to GPU 2, GPU 2 sends B to GPU 3, GPU 3 sends C to GPU 0; each adds what it received. *Steps 2
# > and 3:* each passes on what it has just added up. *Now* GPU 0 has the complete D, GPU 1 the
# > complete A, GPU 2 B, GPU 3 C. *Steps 4 to 6:* each passes the complete chunks on.” **Let us run
# > it.**
#
# **Predict.** (a) It works. (b) Somebody raises an error. (c) The ranks end with different sums. (d)
# All ranks end with the same wrong sum.


# %%
def as_the_table_says(link, chunks):
    ring.reduce_scatter(link, chunks, "sum")  # steps 1 to 3 are ours, with A = 0 … D = 3
    first = link.rank - 1  # "GPU 0 has the complete D, GPU 1 the complete A"
    for step in range(link.size - 1):
        give, take = (chunks[(first - step - k) % link.size] for k in (0, 1))
        link.transfer(sends=[(give, link.right)], receives=[(take, link.left)]).wait()


steps_of(as_the_table_says, 4)  # the table has four GPUs, so this cell has four

# %%
from labkit.collectives.trace import trace

end = trace(as_the_table_says, 4).states[-1]
print("complete squares at the end:", sum(len(held) == 4 for row in end for held in row), "of 16")
print("all GPUs have the same:", all(row == end[0] for row in end))
print("GPU 0 ends with the parts of GPUs", [rank for held in end[0] for rank, _ in held])

# %% [markdown]
# **Answer: (d).** Every slot holds one GPU's part in place of the sum of four. No error, no NaN, all
# GPUs agree, and the training goes on.
#
# > **Verdict.** The steps are right; the sentence after them is wrong by one. Follow the colours:
# > after step 3 the dark squares are A at GPU 0, B at GPU 1, and so on. The table looks one slot to
# > the left, where a single stripe is left, and hands *that* round, over all the sums. (The same slip
# > lives in code: who starts with chunk i ends with chunk i+1 complete, not i. It is the first
# > mistake that `check("ring.1")` knows.)

# %% [markdown]
# ## ⤳ The same sum, to the last bit?
#
# Every chunk is added up once, at one rank, and copied to the others. Adding in another order gives
# other roundings.
#
# **Predict.** Random float32 numbers. Which sums are equal to the last bit? (a) Those of the ring, on
# all ranks. (b) That of the ring and that of the naive algorithm. (c) Both.


# %%
def sums(worker, seed):
    """The bytes of the sum of the same random tensors, by algorithm."""
    import torch

    torch.manual_seed(seed + worker.rank)
    mine = torch.randn(10_000).to(worker.device)
    return {
        name: worker.group.all_reduce(mine.clone(), algorithm=name).cpu().numpy().tobytes()
        for name in ("ring", "naive", "tree")
    }


found = by_rank(cluster.run(sums, seed=seed).wait(timeout=60))
for name, bits in found[0].items():
    print(f"{name:5}: all ranks have the same bits: {all(one[name] == bits for one in found)}")
    print(f"       they are the ring's bits: {bits == found[0]['ring']}")

# %% [markdown]
# **Answer: (a).** All ranks agree, always: that is what lets
# [data-parallel](glossary.md#data-parallel) ranks stay equal for weeks without ever comparing
# notes. Two algorithms agree only with two ranks, where a + b is b + a. So a job that changes its
# algorithm, or its number of ranks, changes its last bits. [Notebook 11](11_elastic_restart.ipynb)
# has to deal with that.

# %% [markdown]
# ## What a message costs
#
# The time of one message is nearly a straight line: α seconds whatever it carries, and β for every
# byte. That is the [alpha-beta model](glossary.md#alpha-beta-model).
#
# Your ranks share one memory, so none of them has a cable of its own that could fill up. We give
# each one a cable in slow motion: `Cable` carries the message and then sleeps for as long as a
# network card would still be busy. NCCL reckons with 14 µs for a step across a network
# (`tuning.cc`, 2.20), and 400 Gbit/s are 50 GB/s. We build that 400 times slower.

# %%
SLOW_MOTION = 400
cable = {"latency": SLOW_MOTION * 14e-6, "bandwidth": 50e9 / SLOW_MOTION}
print(f"our cable: {1e3 * cable['latency']:.1f} ms, {cable['bandwidth'] / 1e6:.0f} MB/s")

# %% [markdown]
# Ranks 0 and 1 send a message to and fro, and stop the time (`labkit/collectives/stopwatch.py`). We
# draw the straight line that fits best; on these axes it bends.

# %%
import numpy as np

from labkit.collectives import stopwatch
from labkit.views.costs import times

sizes = [1 << k for k in range(8, 22, 1 if not fast else 3)]
run = cluster.run(stopwatch.ping_pong, cable=cable, sizes=sizes)
seconds = run.wait(timeout=60).results[0]
wire = communication.fit(sizes, [seconds[s] for s in sizes])
grid = np.geomspace(sizes[0], sizes[-1], 50)
times(
    {"one message": list(seconds.items())},
    {"one message": list(zip(grid, communication.message(wire, grid), strict=True))},
    title=f"α = {1e3 * wire.alpha:.1f} ms, 1/β = {1e-6 / wire.beta:.0f} MB/s; "
    f"the line bends at α/β = {1e-3 * wire.alpha / wire.beta:.0f} kB",
)

# %% [markdown]
# Left of the bend a message costs its latency, whatever it carries: send fewer. Right of it a
# message costs its bytes: send less. A real network has the same bend, at 14 µs × 50 GB/s = 700 kB.
# Only its clock runs faster.

# %% [markdown]
# ## Fewer messages: the tree, and halving-doubling
#
# The ring needs 2(n−1) messages one after the other. A **tree** needs 2 log₂ n: half of the ranks
# hand over to the other half, and so on; then all the way back. Every arrow is the whole tensor.

# %%
from labkit.views.collectives import halving_doubling_diagram, tree_diagram

tree_diagram(world_size)

# %% [markdown]
# **Recursive halving-doubling** has as few messages as the tree and as few bytes as the ring.
# Partners exchange halves, then halves of halves; then they give them back.

# %%
halving_doubling_diagram(world_size)

# %% [markdown]
# | algorithm | messages one after the other | bytes through the busiest card |
# |---|---|---|
# | naive | 2(n−1), or 2 if they overlap | 2(n−1) S |
# | tree | 2⌈log₂ n⌉ | 2⌈log₂ n⌉ S |
# | ring | 2(n−1) | 2(n−1)/n S |
# | halving-doubling | 2 log₂ n (two more unless n is a power of two) | 2(n−1)/n S (the same) |
#
# The time is α times the first column plus β times the second (Thakur, Rabenseifner and Gropp, 2005;
# `labkit/reliability/communication.py`).
#
# **Predict.** Which is quickest for 4 KiB, which for 4 MiB? (a) the ring for both, (b) the ring is
# among the last for 4 KiB and among the first for 4 MiB, (c) the other way round.


# %%
algorithms = ["naive", "tree", "ring", "halving_doubling"]
sizes = [4 << 10, 4 << 20] if fast else [4 << 10, 32 << 10, 256 << 10, 1 << 20, 4 << 20]
run = cluster.run(stopwatch.all_reduces, algorithms=algorithms, sizes=sizes, repeats=2, cable=cable)
measured = stopwatch.curves(run.wait(timeout=120).results)

# %%
grid = np.geomspace(sizes[0], sizes[-1], 50)
lines = {
    name: list(zip(grid, communication.ALGORITHMS[name](wire, world_size, grid), strict=True))
    for name in algorithms
}
times(measured, lines, title=f"{world_size} ranks: few messages win left, few bytes right")

# %% [markdown]
# **Answer: (b).** The lines were drawn from the two numbers of the ping-pong; nothing was fitted to
# the points. One algorithm beats its line: for small tensors the naive one. The model lets rank 0
# take its messages one by one, but on the way their latencies overlap.
#
# With a power of two, halving-doubling is never beaten on paper. Then why a ring? Its partners are
# far apart and change in every step; a ring needs one cable to one neighbour, which never rests, and
# works with 6 ranks or 1 000. The model knows nothing of cables that are shared.
#
# Between ring and tree the crossing moves to the right as the number of ranks grows. Try it.

# %% tags=["nbval-ignore-output"]
from labkit.views.costs import cost_curves, cost_sliders

cost_sliders()

# %%
cost_curves(1024, 14.0, 50.0)

# %% [markdown]
# **In real systems.** NCCL got trees in version 2.4 (2019), for runs on up to 24 576 GPUs of the
# Summit supercomputer. It still uses rings, too: it computes both times and takes the smaller one.

# %% [markdown]
# ## Textbook: N/2 times better
#
# > **The textbook says** “Ring all-reduce is N/2 times more efficient than the naive one.” **Let us
# > run it.**
#
# **Predict.** By the clock, for a tensor much larger than α/β, it is (a) N/2 times as fast, (b) N
# times, (c) as fast. And for a small one?
#
# “Much larger than α/β” is easily had: we take the latency out of the cable.

# %%
pure = {**cable, "latency": 0.0}
run = cluster.run(
    stopwatch.all_reduces, algorithms=["naive", "ring"], sizes=[4 << 20], repeats=3, cable=pure
)
bytes_alone = stopwatch.curves(run.wait(timeout=120).results)

# %%
from labkit.views.curves import compare_bars


def gain(curves, place):
    """How many times as long the naive one takes as the ring, at that place of the curve."""
    return curves["naive"][place][1] / curves["ring"][place][1]


busiest = [max(c.sent_bytes for c in counts) for counts in (naive, ringed)]
print(f"N = {n}: the busiest rank sends {busiest[0] / busiest[1]:g} times as many bytes")
compare_bars(
    {
        f"the textbook: N/2 = {n / 2:g}": n / 2,
        "bytes sent by the busiest rank": busiest[0] / busiest[1],
        "time, without latency": gain(bytes_alone, 0),
        "time, 4 MiB": gain(measured, -1),
        "time, 4 KiB": gain(measured, 0),
    },
    title="So many times better than naive",
)

# %% [markdown]
# **Answer: nearly (b), for the large one.** Rank 0 cannot send the sum before the parts have come
# in: first all the bytes in one direction, then all in the other. For the small tensor the ring does
# not win at all. It has 2(N−1) latencies, one after the other.
#
# > **Verdict.** N/2 counts bytes, sent by one rank. The clock says N, for tensors much larger than
# > α/β, on cables that nobody shares. For small ones 2(N−1) α rules.

# %% [markdown]
# ### Exercise ring.3 (2 points, 10 minutes; about 3 lines, reference runs in 0.1 s)
#
# NCCL chooses between a ring and a tree before every all-reduce. Do it as NCCL does: put a price on
# both and take the cheaper one.

# %% exercise="ring.3"

# %% [markdown]
# ## Gloo, MPI and NCCL beside each other
#
# | | Gloo | Open MPI | NCCL |
# |---|---|---|---|
# | carries | CPU tensors, over TCP | CPU tensors, over shared memory, InfiniBand, TCP | GPU tensors, over NVLink, PCIe, InfiniBand |
# | all-reduce | a ring; two segments of each chunk at least, so that one travels while the other is added | chosen by size and ranks: recursive doubling for small ones, rings in segments for large ones | time = latency + bytes/bandwidth for ring, tree and others; the cheapest |
# | waits by | sleeping until the kernel wakes it | looking, again and again | a kernel on the GPU that looks |
# | a rank dies | its neighbours get an error | the job ends; with ULFM, an error | the GPU waits; torch's watchdog ends it after 10 minutes |
# | read | `gloo/allreduce.cc` | `coll_tuned_decision_fixed.c` | `src/graph/tuning.cc` |
#
# NCCL's line for the ring reads `nsteps = 2*(nRanks-1)`. You know where that comes from.
#
# **Predict.** Now without our cables, on the bare machine. All ranks share its cores and its memory.
# By how much does the ring beat the naive all-reduce for 4 MiB? (a) N times, as before, (b) less than
# that by far.

# %% tags=["nbval-ignore-output"]
names = ["naive", "ring", "builtin"]
names += ["shared_memory"] if cluster.placement.ranks[0].device == "cpu" else []
run = cluster.run(stopwatch.all_reduces, algorithms=names, sizes=sizes, repeats=10)
bare = stopwatch.curves(run.wait(timeout=120).results)
if not fast:
    with Cluster(world_size, backend="gloo", device="cpu", launcher="mpi") as mpi:
        run = mpi.run(stopwatch.mpi_all_reduces, sizes=sizes, repeats=10)
        bare |= stopwatch.curves(run.wait(timeout=120).results)
bare[{"gloo": "Gloo", "nccl": "NCCL"}[cluster.placement.backend]] = bare.pop("builtin")

# %%
title = "4 MiB: the ring is {:.1f} times as fast as naive here, {:.1f} times with cables"
times(bare, title=title.format(gain(bare, -1), gain(measured, -1)))

# %% [markdown]
# **Answer: (b).** Remember the count: both move the same number of bytes. If they all go through the
# same memory, it does not matter who sends them. The ring is an answer to *cables*, and here there
# are none.
#
# Gloo's own is the same ring over the same sockets as ours. MPI does not go through sockets at all,
# and looks again and again instead of sleeping: that is worth most for small tensors. The lab's
# `shared_memory` looks, too: each rank adds up one chunk straight out of the others' memory. But who
# looks needs a core, and with more ranks than cores may take it from the very rank that is awaited.
# Both hand it over between two looks (`sched_yield`); where the cores have still more to do, looking
# can be the slowest of all.
#
# **In real systems.** Eight H100s: NVLink carries 450 GB/s in each direction, and NCCL's ring reaches
# a bus bandwidth of 370. With NVLink SHARP the *switch* adds, and the benchmark says 480, more than
# the wire can carry: 2(n−1)/n·S counts bytes that no longer travel (S. Jeaugey of NVIDIA, nccl-tests
# issue 212, 2024).

# %% [markdown]
# ## ⤳ Who is connected to whom
#
# **Predict.** A ring of n ranks needs n connections. How many does each rank open when a
# [process group](glossary.md#process-group) is formed? (a) none before the first message, (b) two,
# (c) n−1.


# %%
def connections(worker):
    """How many TCP connections this process opens to form its process group."""
    import psutil

    def established():
        every = psutil.Process().net_connections("tcp")
        return {(c.laddr, c.raddr) for c in every if c.status == "ESTABLISHED"}

    before = established()
    worker.group.barrier()
    return len(established() - before)


opened = by_rank(cluster.run(connections).wait(timeout=60))
print("connections that each rank opened to form the group:", opened)
print(f"a ring of 1024 ranks has 1024 connections, the mesh {1024 * 1023 // 2}")

# %%
from labkit.views.collectives import mesh_and_ring

mesh_and_ring(world_size)

# %% [markdown]
# **Answer: (c), with Gloo.** It connects everybody with everybody, so that any algorithm can run
# later. n(n−1)/2 grows with the square, and each connection costs memory and time at both ends. It
# is one reason why large jobs start slowly, and slowly again after each failure.

# %% [markdown]
# ## ⤳ One late link
#
# **Predict.** On one link of the ring, from rank 0 to rank 1, every message arrives 20 ms late. How
# much longer does an all-reduce take? (a) 20 ms, (b) 20 ms for each of the 2(n−1) steps, (c) nothing:
# the other links are as fast as before.


# %%
def ring_seconds():
    run = cluster.run(stopwatch.all_reduces, algorithms=["ring"], sizes=[256 << 10], repeats=3)
    return stopwatch.curves(run.wait(timeout=60).results)["ring"][0][1]


late = 0.02
usual = ring_seconds()
cluster.delay(0, 1, late)
delayed = ring_seconds()
cluster.heal()
compare_bars(
    {
        "usual": 1e3 * usual,
        "0 → 1 late": 1e3 * delayed,
        "2(n−1) · 20 ms": 2e3 * (n - 1) * late,
    },
    unit="milliseconds",
    title=f"20 ms on one link cost {1e3 * (delayed - usual):.0f} ms",
)

# %% [markdown]
# **Answer: (b).** In every step everyone waits for its left neighbour, who waits for its own. A ring
# is as slow as its slowest link, in every step: one bad cable among thousands, and nobody reports an
# error.

# %% [markdown]
# ## A death in the middle of the ring
#
# Now the `Kill`. The rank opposite rank 0 dies in the second step of the third all-reduce. The ranks
# use the bare link: nobody listens to anything but its two neighbours, and nobody gives up within
# the second that we wait.
#
# **Predict.** Who notices? (a) all survivors, (b) the two neighbours of the dead, (c) nobody.

# %%
from labkit import At, FaultPlan, Kill

dead = world_size // 2
strike = FaultPlan(At(Kill(dead), point="ring.reduce_scatter", count=2 * (n - 1) + min(2, n - 1)))


def on_the_bare_link(worker, patience):
    """Five all-reduces without a failure detector; what this rank knows after `patience` seconds."""
    import threading
    import time

    from labkit import collectives, events

    link, tensor, known = worker.group.link, worker.tensor(1 << 18), ["still waits"]

    def steps():
        try:
            for step in range(1, 6):
                with events.span("all-reduce"):
                    collectives.all_reduce(link, tensor)
                worker.step(step)
        except RuntimeError:
            known.append("was told that a connection is closed")

    threading.Thread(target=steps, daemon=True).start()
    time.sleep(patience)
    said = known[-1]
    others = [r for r in range(worker.world_size) if r not in (worker.rank, dead)]
    for rank in others:
        worker.send(rank, said)
    for rank in others:  # who leaves closes its connections: not before all have said their word
        worker.receive(rank)
    return said


cluster.close()
with Cluster(world_size, backend=backend, device=device) as doomed:
    run = doomed.run(on_the_bare_link, patience=1.0, faults=strike).wait(timeout=60)
print(*run.deaths.values())
for rank, said in sorted(run.results.items()):
    print(f"rank {rank} {said}")

# %%
from labkit.views.timeline import timeline

# The workers' failure detector did notice, and nobody asked it: leave its marks out. The messages
# at the end are not part of the story.
unheard = ("lost", "view", "send", "receive")
timeline(
    [e for e in run.events if e.kind not in unheard],
    title="The neighbours are told, the others wait",
)

# %% [markdown]
# **Answer: (b).** The operating system closes the connections of a dead process, and tells whoever
# has data on them: its left and its right neighbour. They give up, and tell nobody. Everyone else
# waits for a neighbour that is alive, well connected, and has long gone home: they
# [hang](glossary.md#hang). Gloo's time-out is 30 minutes. (With two ranks there is nobody but the
# neighbour.)
#
# Nobody is told anything when a rank stops without closing its connections: a pause, a stuck driver.
# How far does each of the others come?

# %% [markdown]
# ### Exercise ring.4 (2 points, 10 minutes; about 4 lines, reference runs in 0.4 s)
#
# Predict it, rank by rank. The check lets the lab's own ring run on links of which one stops, and
# compares. Then look at your list for a stop near the end: some ranks hold the complete sum and go on
# to the next step, others never will.

# %% exercise="ring.4"

# %% [markdown]
# The remedy is not in the ring. Somebody who hears of every death must wake the others. The lab's
# `worker.group` asks such a *failure detector* while it waits. The same death again:


# %%
def in_a_group(worker):
    tensor = worker.tensor(1 << 18)
    for step in range(1, 6):
        worker.group.all_reduce(tensor)
        worker.step(step)


with Cluster(world_size, backend=backend, device=device) as doomed:
    run = doomed.run(in_a_group, faults=strike).wait(timeout=60)
print(*run.deaths.values())
for rank, error in sorted(run.errors.items()):
    print(f"rank {rank} raised {error.kind}: {error.message.split(':')[0]}")

# %%
run.timeline(around=Kill(dead))

# %% [markdown]
# Every survivor has its `PeerLost` within milliseconds, the rank opposite too, and all of them know
# who is missing. Here the detector is easy to build: the workers of this cluster are connected with
# each other, and a closed connection means a dead process. A frozen one closes nothing. That is
# [notebook 04](04_heartbeats.ipynb).

# %% [markdown]
# ## Summary
#
# - All-reduce = reduce-scatter + all-gather. On a ring each rank sends 2(n−1)/n·S bytes, less than
#   2 S for any n, and no algorithm sends less.
# - The ring saves no bytes: it shares them out. Where all share one memory it gains little.
# - Time = α · messages + β · bytes. Small tensors want few messages (tree), large ones few bytes
#   (ring); the bend is at α/β.
# - A wrong chunk index raises nothing: all ranks agree on a wrong sum.
# - A slow link slows every step. A dead rank is noticed by its two neighbours, and hangs the rest.

# %% [markdown]
# ## Interview questions
#
# <details><summary>A thousand ranks all-reduce a gradient of 1 GB on a ring. How much does each of
# them send, and how much with two thousand?</summary>
#
# 2·999/1000 GB and 2·1999/2000 GB: 1.998 and 1.999 GB. What grows is the number of steps, 1 998 and
# 3 998, each with its latency.
# </details>
#
# <details><summary>You all-reduce one number (a loss) over 1 024 ranks. Ring or tree?</summary>
#
# A tree: 2·10 latencies instead of 2 046. Better still, put it into a bucket with something large.
# </details>
#
# <details><summary>Does a ring all-reduce move fewer bytes than gather and broadcast?</summary>
#
# No, both move 2(n−1)·S in all. The ring spreads them evenly over n cables, so it is n times faster
# if the cables are separate, and hardly faster if all ranks share one.
# </details>
#
# <details><summary>A ring all-reduce on eight ranks hangs. Ranks 3 and 5 have logged “connection
# closed by peer”. What happened, and what do the others know?</summary>
#
# Rank 4 died. Only its neighbours were told. Ranks 0, 1, 2, 6 and 7 wait for neighbours that have
# given up, until a time-out or a failure detector frees them.
# </details>
#
# <details><summary>The benchmark shows a bus bandwidth above the line rate of the wire. Is it
# broken?</summary>
#
# Not if the network itself adds (NVLink SHARP): then a rank sends fewer than 2(n−1)/n·S bytes, and
# the formula counts bytes that no longer travel.
# </details>
#
# <details><summary>Why are all ranks bitwise equal after a ring all-reduce, and why not equal to
# another algorithm's result?</summary>
#
# Each chunk is added up along one path, and the result is copied. Another algorithm adds in another
# order, and floating-point addition is not associative.
# </details>

# %% [markdown]
# ## Next
#
# [03 Data-parallel training](03_data_parallel_training.ipynb) puts the ring under a model that
# learns. The bug that stays in sight: the rank opposite hangs. On the Evening route go on to
# [04 Heartbeats](04_heartbeats.ipynb), which finds the dead.
