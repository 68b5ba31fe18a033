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
# # 03 Data-parallel training
#
# It is twenty past seven on a Friday evening, and Ada's eight GPUs are done. One alone would have
# needed nine hours; together they took seventy minutes. She opens the first checkpoint: 97 %
# right. She opens the second, to be sure: 97 % right, and not one weight in it is the same. She has
# trained eight models, each on an eighth of the data. What was missing is one line. This notebook is
# about that line: what it sends, what it costs, how to hide it, and what becomes of it when one of
# the eight dies.
#
# **Routes** Core · All<br>
# **Time** 60 minutes, and 60 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [02 Ring all-reduce](02_ring_all_reduce.ipynb)<br>
# **Afterwards you can** write data-parallel training with hooks, buckets and overlap; say what DDP
# does when, and how often it communicates; choose a learning rate for a larger batch, and know when
# no choice helps; estimate when more ranks make a job slower; and say which ranks hang when one
# dies.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## Something to learn
#
# Digits that people wrote into a form, 8 by 8 pixels each (E. Alpaydin and C. Kaynak, UCI, 1998).
# They are small enough to train on while you read, and a model that has not learnt them is wrong
# nine times in ten.

# %%
from labkit.training import data
from labkit.views.samples import image_rows

learn, examine = data.digits()
image_rows(
    learn.inputs[:60], title=f"{learn.samples} to learn from, {examine.samples} to be examined"
)

# %% [markdown]
# ## One line
#
# In [data-parallel](glossary.md#data-parallel) training every [rank](glossary.md#rank) holds the
# whole model and computes with its part of each batch. Here is all of it, by hand. `exchange` is
# the line that Ada forgot.

# %%
from labkit import Cluster

cluster = Cluster(world_size, backend=backend, device=device, seed=seed)


def train_by_hand(worker, exchange, steps=10):
    """Returns a fingerprint of the weights."""
    import torch

    from labkit import faults
    from labkit.training import data, models
    from labkit.training.loop import summed_loss
    from labkit.training.sampler import Sampler
    from labkit.training.state import fingerprint

    learn = data.digits().train.to(worker.device)
    model = models.build("cnn", worker.seed).to(worker.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sampler = Sampler(learn.samples, batch=256, seed=worker.seed)
    for step in range(1, steps + 1):
        with faults.work("computing", step=step):
            batch = sampler.rows()  # the same on all ranks: it follows from the seed
            mine = learn.rows(batch[worker.rank :: worker.world_size])
            optimizer.zero_grad()
            (summed_loss(model, mine) / len(batch)).backward()
        if exchange:
            for parameter in model.parameters():
                worker.group.all_reduce(parameter.grad)
        optimizer.step()
        sampler.advance()
        worker.step(step)
    return fingerprint(model)


# %% [markdown]
# **Predict.** All ranks begin with equal weights. How many different models are there after ten
# steps without the exchange, and how many with it?

# %%
alone = cluster.run(train_by_hand, exchange=False).wait(timeout=60)
together = cluster.run(train_by_hand, exchange=True).wait(timeout=60)
for name, run in ("without", alone), ("with", together):
    print(f"different models {name} the exchange: {len(set(run.results.values()))}")

# %% [markdown]
# **Answer: one a rank, and one.** Equal weights plus equal [gradients](glossary.md#gradient) are
# equal weights again, to the last bit, for ever. Nothing else keeps the ranks together: no one
# compares. Here are a few [steps](glossary.md#step) of it.

# %%
middle = next(e for e in together.events if e.kind == "step" and e.data["step"] == 6)
together.timeline(around=middle, title="By hand: a little computing, much talking")

# %% [markdown]
# Computing first, then everybody talks: one [all-reduce](glossary.md#all-reduce) after the other,
# one for each tensor of the model. While they talk, nobody computes. The next sections repair both.

# %% [markdown]
# ### Exercise data_parallel.1 (1 point, 5 minutes; about 1 line, reference runs in 0.05 s)
#
# `len(batch)` above is the size of the *whole* batch, so adding up is enough. Many programs let each
# rank take the mean over its own part, and average afterwards. That is wrong as soon as the parts
# differ, as they do in the last batch of an epoch. Do it right.

# %% exercise="data_parallel.1"

# %% [markdown]
# ## Who is ready first
#
# A small GPT, and a hook on every parameter that notes when its gradient is complete.
#
# **Predict.** Whose gradient comes first: (a) the embedding's, where the forward pass begins, (b)
# that of the last layer, (c) all at once, when the backward pass is over?

# %%
import time
from functools import partial

from labkit.training import models
from labkit.training.loop import summed_loss

model, windows = models.build("gpt", seed), data.text().train.rows(slice(32))
arrived = []


def note(name, parameter):
    arrived.append((name, time.monotonic(), parameter.nbytes))


for name, parameter in model.named_parameters():
    parameter.register_post_accumulate_grad_hook(partial(note, name))
for _ in range(3):
    loss = summed_loss(model, windows)
    arrived.clear()
    begin = time.monotonic()
    loss.backward()
print(f"{len(arrived)} tensors, {sum(size for _, _, size in arrived)} bytes of gradients")
print("first three:", ", ".join(name for name, _, _ in arrived[:3]))
print("last three: ", ", ".join(name for name, _, _ in arrived[-3:]))

# %% [markdown]
# **Answer: (b).** Backpropagation goes backwards. When the first gradient is there, almost all of
# the work is still to come, and the network has nothing to do. So send it now. But not each tensor
# alone: a message costs its latency however small it is ([notebook 02](02_ring_all_reduce.ipynb)).
# Neighbours therefore share a [bucket](glossary.md#bucket), filled from the last layer to the
# first, and a bucket sets off when its last gradient has arrived.

# %% [markdown]
# ### Exercise data_parallel.2 (2 points, 10 minutes; about 8 lines, reference runs in 0.1 s)
#
# Fill the buckets.

# %% exercise="data_parallel.2"

# %% [markdown]
# ## Overlap, on paper
#
# Take the arrival times that we measured, and give the ranks a network of their own: 1 Gbit/s and 20
# µs a message, eight ranks, the ring's price for each bucket.
#
# **Predict.** Which is through first: (a) a message for each tensor, (b) buckets of 64 KiB, (c) one
# bucket for everything?

# %%
from labkit.reliability.communication import Wire
from labkit.training.overlap import on_paper
from labkit.views.overlap import overlap

wire = Wire(alpha=20e-6, beta=1 / 125e6)
ready = [(moment - begin, size) for _, moment, size in arrived]
ways = {"one a tensor": 1, "64 KiB": 1 << 16, "one bucket": 1 << 30}
steps = {name: on_paper(ready, wire, 8, size) for name, size in ways.items()}
overlap(steps, "On paper: what travels early is hidden behind the backward pass")

# %%
from labkit.views.curves import compare_lines

sizes = [1 << power for power in range(10, 20)]
kib = [size / 1024 for size in sizes]
lines = {}
for micro in (20, 100, 500):
    slower = Wire(micro * 1e-6, wire.beta)
    ends = [1e3 * on_paper(ready, slower, 8, size).end for size in sizes]
    lines[f"{micro} µs a message"] = kib, ends
figure = compare_lines(
    lines,
    x="KiB in a bucket",
    y="ms until all is there",
    title="The slower a message, the larger the best bucket",
    log="xy",
)
axes = figure.axes[0]
axes.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
axes.yaxis.set_major_formatter("{x:g}")
axes.yaxis.set_minor_formatter("{x:g}")
figure

# %% [markdown]
# **Answer: (b), on this wire.** Small buckets pay latency again and again, one large one can hide
# nothing. The best size lies between, and it depends on the network: measure yours.
#
# **In real systems.** DDP's buckets hold 25 MiB by default, the first one 1 MiB so that something
# sets off early; with overlap PyTorch scaled almost linearly to 256 GPUs (S. Li and others, VLDB
# 2020).

# %% [markdown]
# ### Exercise data_parallel.3 (3 points, 20 minutes; about 12 lines, reference runs in 0.4 s)
#
# Which size would you set for a cluster that you have never seen? You get the arrival times and the
# wire, and keep a budget: at most 5 % above the best size, and no bucket larger than the memory that
# is left for it. The picture's arithmetic is a dozen lines. One wire, one bucket at a time, in their
# order: all ranks must start the same bucket, or they wait for each other crosswise.

# %% exercise="data_parallel.3"

# %% [markdown]
# ## Overlap, for real
#
# `labkit/training/buckets.py` does it: the hooks, the flat buffers, and `group.all_reduce_async`,
# which runs on a thread of its own. Here it is in a real step on the real cluster. Everything that
# travels here is carried by the processors that also compute.
#
# **Predict.** Do five buckets beat one, as they did on paper?

# %%
from labkit.training.overlap import watch

seen = {
    name: cluster.run(watch, bucket_bytes=size).wait(timeout=60).results[0]
    for name, size in (("128 KiB", 1 << 17), ("one bucket", 1 << 30))
}
early = sum(full < seen["128 KiB"].backward for full in seen["128 KiB"].full)
print(f"{early} of {len(seen['128 KiB'].full)} buckets set off before the backward pass was over")

# %%
gain = seen["one bucket"].end / seen["128 KiB"].end
verdict = f"{gain:.1f} times as fast" if gain > 1 else f"{1 / gain:.1f} times as slow"
overlap(seen, f"Measured here: several buckets are {verdict}")

# %% [markdown]
# **Answer: see the title.** The buckets set off early, as they should. But overlap hides the time of
# a *network*. Where ranks and “network” share a few cores, whatever travels takes processor time
# from whatever computes, and every message more is work more. On a GPU cluster the copies are made
# by other hardware, and there the paper is right.

# %% [markdown]
# ## Beside torch's own
#
# The same gradient four ways: one all-reduce a tensor, the lab's buckets with the lab's ring, the
# lab's buckets with Gloo's or NCCL's own all-reduce, and torch's `DistributedDataParallel`.
#
# **Predict.** By how much do the four gradients differ? (a) not in one bit, (b) in the last bits,
# (c) by a factor: DDP averages.


# %%
def gradient(worker, how, steps=6):
    """The gradient of one batch, and the median seconds of a step."""
    import time

    import torch
    from torch.nn.parallel import DistributedDataParallel

    from labkit.training.buckets import Buckets
    from labkit.training.sampler import Sampler, cut

    n, learn = worker.world_size, data.digits().train.to(worker.device)
    batch = Sampler(learn.samples, 256, worker.seed).rows()
    mine = learn.rows(cut(batch, n)[worker.rank])
    model = models.build("cnn", worker.seed).eval().to(worker.device)  # eval: no dropout
    if how == "torch's DDP":
        worker.init_process_group()
        ddp = DistributedDataParallel(model)
    else:
        way = {"bucket_bytes": 1} if how == "one a tensor" else {}
        way |= {"algorithm": "builtin"} if how == "builtin all-reduce" else {}
        buckets = Buckets(model, worker.group, [range(r, r + 1) for r in range(n)], **way)
    seconds = []
    for _ in range(steps):
        begin = time.monotonic()
        if how == "torch's DDP":
            model.zero_grad()
            (summed_loss(ddp, mine) / len(batch) * n).backward()  # it divides by n
        else:
            buckets.begin()
            buckets.backward(summed_loss(model, mine) / len(batch))
            buckets.wait()
        seconds.append(time.monotonic() - begin)
    flat = torch.cat([p.grad.flatten() for p in model.parameters()]).cpu()
    return flat, sorted(seconds)[steps // 2]


# %%
names = ["one a tensor", "lab's buckets", "builtin all-reduce", "torch's DDP"]
runs = {name: cluster.run(gradient, how=name).wait(timeout=60).results for name in names}
expected = runs["torch's DDP"][0][0]
for name in names[:3]:
    ours = runs[name][0][0]
    off = ((ours - expected).abs().max() / expected.abs().max()).item()
    print(f"{name}: differs from DDP's by less than a millionth: {off < 1e-6}")

# %%
from labkit.views.curves import compare_bars

compare_bars(
    {name: [1e3 * seconds for _, seconds in run.values()] for name, run in runs.items()},
    unit="milliseconds a step, median, and from the fastest rank to the slowest",
    title="One step, four ways",
)

# %% [markdown]
# **Answer: (b).** They are the same sum, added in different orders. DDP divides by the number of
# ranks, so the loss was multiplied by it: forget that, and your learning rate is n times smaller
# than you think.

# %% [markdown]
# > **The textbook says** “Start it with `python -m torch.distributed.launch`.” **Let us run it.**

# %%
import torch.distributed.launch

said = " ".join(torch.distributed.launch.__doc__.split())
print("launch says that it is deprecated in favour of torchrun:", "deprecated in favor of" in said)

# %% [markdown]
# > **Verdict.** `torchrun` it is. And it restarts workers, which is not the same as going on: that
# > story is told in [notebook 11](11_elastic_restart.ipynb).

# %% [markdown]
# ## Accumulation
#
# Not enough memory for the batch? Compute it in four parts, let the gradients add up in `.grad`, and
# step once. The [effective batch](glossary.md#effective-batch) is ranks × samples per part × parts.
#
# > **The textbook says** “Gradient accumulation reduces communication.” **Let us run it.**
#
# **Predict.** DDP, four backward passes, one optimizer step. How many all-reduces? (a) 1, (b) 4.


# %%
def count_all_reduces(worker, no_sync, parts=4):
    """How many times this rank's DDP started an all-reduce, for one optimizer step."""
    import contextlib

    from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
    from torch.nn.parallel import DistributedDataParallel

    from labkit.training.sampler import cut

    def counted(state, bucket):
        calls.append(bucket)
        return default_hooks.allreduce_hook(state, bucket)

    calls, learn = [], data.digits().train.to(worker.device)
    worker.init_process_group()
    ddp = DistributedDataParallel(models.build("cnn", worker.seed).to(worker.device))
    ddp.register_comm_hook(None, counted)
    for i, rows in enumerate(cut(torch.arange(64), parts)):
        last = i == parts - 1
        with ddp.no_sync() if no_sync and not last else contextlib.nullcontext():
            summed_loss(ddp, learn.rows(rows)).backward()
    return len(calls)


for no_sync in (False, True):
    counts = cluster.run(count_all_reduces, no_sync=no_sync).wait(timeout=60).results
    how = "with no_sync" if no_sync else "as written  "
    print(f"{how}: all-reduces for one step: {counts[0]}")

# %% [markdown]
# **Answer: (b).**
#
# > **Verdict.** Not by itself. DDP cannot know which backward pass is the last, so it communicates
# > after each, and three of four results are thrown away. `with ddp.no_sync():` around all but the
# > last is what saves. The lab's buckets are told how many parts there are, and wait for the last.

# %% [markdown]
# ## The price of a large batch
#
# With n ranks a step can take n times as many samples, and an epoch has n times fewer steps. Each
# step must then go further.
#
# > **The textbook says** “Multiply the learning rate by √N.” Another one says “by N.” **Let us run
# > both.**
#
# Eight epochs each, with a batch of 64 and with four and eight times as many. Who computes does not
# matter, so two ranks will do: the lab cuts each batch into eight [*logical
# shards*](glossary.md#logical-shard), whatever the [world size](glossary.md#world-size).
#
# **Predict.** With a batch eight times as large, who is best? (a) the unchanged rate, (b) √N, (c) N,
# (d) nobody reaches 90 %.

# %%
from labkit.training import scaling, train

rules = {"1": lambda lr, n: lr, "√N": scaling.square_root, "N": scaling.linear}
factors = (1, 4, 8)
accuracy = {name: {} for name in rules}
with Cluster(2, backend="gloo", device="cpu", seed=seed) as pair:
    for name, rule in rules.items():
        for n in factors:
            if n == 1 and name != "1":
                accuracy[name][n] = accuracy["1"][n]  # where all rules agree
                continue
            run = pair.run(train, epochs=8, batch=64 * n, lr=rule(0.03, n)).wait(timeout=60)
            accuracy[name][n] = run.results[0]["accuracy"]
four = [found[4] for found in accuracy.values()]
print("batch  64: above 90 %:", accuracy["1"][1] > 0.9)
print("batch 256: N better than √N, √N better than no rule:", four == sorted(four))
print("batch 512: anyone above 90 %:", max(found[8] for found in accuracy.values()) > 0.9)

# %%
batches = [64 * n for n in factors]
figure = compare_lines(
    {
        f"lr · {name}": (batches, [100 * a for a in found.values()])
        for name, found in accuracy.items()
    },
    x="samples in a batch",
    y="% right after 8 epochs",
    title="Every rule has its end",
    log="x",
)
figure.axes[0].set_xticks(batches, batches)
figure.axes[0].minorticks_off()
figure

# %% [markdown]
# **Answer: (d).**
#
# > **Verdict.** Either rule is better than none, and at four times the batch N is better than √N: four
# > small steps go about as far as one that is four times as long, *if the weights hardly move
# > meanwhile*. At eight times they do move, and too few steps are left for any rule.
#
# **In real systems.** N, with a warm-up over the first epochs, held for ImageNet up to a batch of
# 8 192, on 256 GPUs in one hour, and not beyond (P. Goyal and others, 2017). √N keeps the variance
# of a step; A. Krizhevsky (2014) derives it, and then uses N because it worked better.

# %% [markdown]
# ## ⤳ Fewer bytes
#
# If the network is the bottleneck, send less. The one entry in a hundred that is largest, say. What
# is left out must not be lost: it is added to the next gradient, so it is only late (*error
# feedback*; F. Seide and others, 2014).

# %% [markdown]
# ### Exercise data_parallel.4 (2 points, 10 minutes; about 5 lines, reference runs in 0.1 s)

# %% exercise="data_parallel.4"

# %% [markdown]
# The whole of it in one cell, with the lab's own `TopK`.
#
# **Predict.** One entry in a hundred is sent. Which learns? (a) with and without error feedback, (b)
# with error feedback alone, (c) neither.


# %%
def train_compressed(worker, how, steps):
    """This rank's part of each step's loss, and the bytes that it sent."""
    from labkit.training.sampler import Sampler, cut

    learn, losses = data.digits().train.to(worker.device), []
    model = models.build("cnn", worker.seed).eval().to(worker.device)
    shapes = [p.numel() for p in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    sampler = Sampler(learn.samples, 128, worker.seed)
    top, before = scaling.TopK(0.01), worker.group.link.traffic.sent_bytes
    for _ in range(steps):
        batch = sampler.rows()
        mine = learn.rows(cut(batch, worker.world_size)[worker.rank])
        optimizer.zero_grad()
        loss = summed_loss(model, mine) / len(batch)
        loss.backward()
        flat = torch.cat([p.grad.flatten() for p in model.parameters()])
        if how == "all of it":
            worker.group.all_reduce(flat)
        else:  # everyone's entries are elsewhere: they are gathered, and added up at each rank
            values, places = map(torch.cat, map(worker.group.all_gather, top.compress(flat)))
            flat = scaling.decompress(values, places, len(flat))
        if how == "1 %, rest lost":
            top.left = None
        for parameter, part in zip(model.parameters(), flat.split(shapes), strict=True):
            parameter.grad = part.view_as(parameter)
        optimizer.step()
        sampler.advance()
        losses.append(loss.item())
    return losses, worker.group.link.traffic.sent_bytes - before


count, losses, sent = 44, {}, {}
for how in ("all of it", "1 %, rest later", "1 %, rest lost"):
    ranks = cluster.run(train_compressed, how=how, steps=count).wait(timeout=60).results
    losses[how] = [sum(parts) for parts in zip(*(r[0] for r in ranks.values()), strict=True)]
    sent[how] = ranks[0][1]
    learnt = min(losses[how]) < 0.75 * losses[how][0]
    print(f"{how}: {sent[how]} bytes sent, the loss came down by a quarter: {learnt}")

# %%
compare_lines(
    {how: (range(1, count + 1), values) for how, values in losses.items()},
    x="step",
    y="loss",
    title="What is left out comes later, or never",
)

# %% [markdown]
# **Answer: (b).** Late is not lost. And look at the bytes: one entry in a hundred is not a hundred
# times fewer, since each needs its place, and since what is gathered grows with the number of ranks,
# while the ring's bytes do not.
#
# **In real systems.** Deep Gradient Compression sends one entry in a thousand, without loss of
# accuracy, after four more repairs (Y. Lin and others, ICLR 2018). In large language models one rather sends all of
# it in 16 or 8 bits: `scaling.quantise` shows how.

# %% [markdown]
# ## How many times as fast?
#
# Now with more and more ranks: the GPT, the same batch, the same steps, on this machine.
#
# **Predict.** First 128 samples in a batch, then 8. Which of the two gains more from more ranks, and
# can it become slower than one rank alone?

# %%
import itertools
import os

from labkit.views.curves import speedup


def step_seconds(run):
    """The shortest time between two steps of rank 0: whatever else runs makes others longer."""
    times = [e.time for e in run.events if e.kind == "step" and e.rank == 0]
    return min(b - a for a, b in itertools.pairwise(times))


seconds = {128: {}, 8: {}}
counts = {1, world_size} if fast else {n for n in (1, 2, 4, 8) if n <= world_size}
for n in sorted(counts):
    with Cluster(n, backend=backend, device=device, seed=seed) as some:
        for batch in seconds:
            settings = {"model": "gpt", "batch": batch, "steps": 5 if batch > 8 else 25}
            seconds[batch][n] = step_seconds(some.run(train, **settings).wait(timeout=60))


def found(batch):
    times = seconds[batch]
    gain = times[1] / times[max(times)]
    return f"{batch} samples: {max(times)} ranks, {os.cpu_count()} processors, {gain:.1f} times as fast"


speedup(seconds[128], title=found(128))

# %%
speedup(seconds[8], title=found(8))

# %% [markdown]
# **Answer: the large one; and yes, it can.** (Both pictures were measured, on a machine that may
# have had other things to do. Do they disagree? Run the cell again.) A rank computes with batch/n
# samples, but it always sends 2(n−1)/n of the whole gradient. What does not get smaller is G.
# Amdahl's serial share (1967), and the smaller the batch, the larger that share. His curve levels
# off. A measured one can turn down: more ranks send more messages, and more ranks than processors
# help nobody.
#
# **When not to distribute.** Before adding ranks, put two times side by side: computing, T/n, and
# sending, about 2·S/bandwidth. When the second is no longer the smaller one, a larger batch, a
# larger model, or a faster network come first. The price list of [notebook
# 02](02_ring_all_reduce.ipynb) has the numbers.

# %%
from labkit.reliability import communication

step, gradient_bytes = 0.5, 4 * 25.6e6  # a step of half a second; ResNet-50: 25.6 M parameters
for name, wire in {
    "1 Gbit/s": Wire(50e-6, 1 / 125e6),
    "100 Gbit/s": Wire(10e-6, 1 / 12.5e9),
}.items():
    for n in (8, 64):
        sends = float(communication.ring(wire, n, gradient_bytes))
        print(f"{name:>10}, {n:2} ranks: computes {step / n:.3f} s, sends {sends:.3f} s")

# %% [markdown]
# ## A rank dies in the middle
#
# > **The textbook says** “DDP gives fault tolerance: every rank has the whole model.” **Let us run
# > it.**
#
# torch's own process group and DDP's own all-reduce, with a time-out of one second in place of 30
# minutes. Rank 1 dies before the sixth step.
#
# **Predict.** Who of the survivors hears of it? (a) all, at once, (b) rank 1's neighbours at once,
# the others when their time is up, (c) nobody before the time is up.

# %%
from labkit import At, FaultPlan, Kill


def train_with_ddp(worker, patience):
    """What this rank was told, and after how many seconds of waiting."""
    import time

    from labkit import faults

    worker.init_process_group(seconds=patience)
    learn = data.digits().train.rows(slice(worker.rank, None, worker.world_size))
    learn = learn.to(worker.device)
    ddp = torch.nn.parallel.DistributedDataParallel(models.build("cnn").to(worker.device))
    for step in range(1, 11):
        begin = time.monotonic()
        faults.point("ddp.step")
        try:
            summed_loss(ddp, learn.rows(slice(16))).backward()
        except RuntimeError:
            waited = time.monotonic() - begin
            time.sleep(max(0.0, patience + 0.5 - waited))  # who leaves would close connections
            # Who gives up closes its connections, so what the error says later differs.
            return "connection closed" if waited < patience / 2 else "time is up", waited
        worker.step(step)
    return "nothing", 0.0


strike = FaultPlan(At(Kill(1), point="ddp.step", count=6))
run = cluster.run(train_with_ddp, faults=strike, patience=1.0).wait(timeout=60)
print(*run.deaths.values())
for rank, (said, _) in sorted(run.results.items()):
    print(f"rank {rank}: {said}")

# %%
waits = {f"rank {rank}, {said}": seconds for rank, (said, seconds) in sorted(run.results.items())}
compare_bars(waits, unit="seconds until it knew", title="Two neighbours hear it, the rest wait")

# %% [markdown]
# **Answer: (b).** The ranks next to the dead one have a connection that closes. A rank further away
# waits for neighbours that have given up, as in [notebook 02](02_ring_all_reduce.ipynb): here for a
# second, by default for half an hour. With two ranks there is nobody further away.
#
# > **Verdict.** Every survivor *has* the whole model. None can go on: the sixth gradient is lost, DDP
# > cannot leave out a rank, and nobody tells those who wait. DDP gives you copies. Fault tolerance is
# > what you do with them.

# %% [markdown]
# ## ⤳ A death that is none
#
# > **The textbook says** “Collect the results with `dist.gather(result, gathered)`, where `gathered =
# > [torch.zeros(1) …]`.” The result is an integer. **Let us run it.**
#
# **Predict.** Who raises an error? (a) all, (b) rank 0 alone, and the others go on, (c) rank 0 alone,
# and the others hang.


# %%
def gather_as_written(worker, patience):
    """What this rank was told."""
    import time

    import torch.distributed as dist

    worker.init_process_group(seconds=patience)
    result = torch.tensor([worker.rank], device=worker.device)
    gathered = [torch.zeros(1, device=worker.device) for _ in range(worker.world_size)]
    begin, said = time.monotonic(), "nothing, it went on"
    try:
        dist.gather(result, gathered if worker.rank == 0 else None)
    except (RuntimeError, ValueError) as error:
        said = "different dtypes" if "dtypes" in str(error) else "waited until its time was up"
    time.sleep(max(0.0, patience + 0.5 - (time.monotonic() - begin)))
    return said


cluster.restart(1)
run = cluster.run(gather_as_written, patience=1.0).wait(timeout=60)
for rank, said in sorted(run.results.items()):
    print(f"rank {rank}: {said}")

# %% [markdown]
# **Answer: (c).**
#
# > **Verdict.** The check is local, the operation is not. A rank that does not come, for whatever
# > reason, is a dead rank to the others.

# %% [markdown]
# ## Going on
#
# The lab's own loop, `labkit/training/loop.py`, asks a failure detector while it waits. With
# `on_loss="continue"` the survivors form a new group, agree on who is furthest, share the eight
# shards out anew, and do the interrupted step again. Rank 1 dies in the middle of a backward pass.
#
# **Predict.** The run with a death ends with the weights of (a) no other run: a rank and its data are
# gone, (b) a run without a death, up to rounding, (c) a run without a death, to the last bit.

# %%
settings = {"steps": 30, "on_loss": "continue"}
strike = FaultPlan(At(Kill(1), point="backward", count=16))
for algorithm in ("ring", "in_order"):
    cluster.restart(1)
    calm = cluster.run(train, algorithm=algorithm, **settings).wait(timeout=60).results[0]
    run = cluster.run(train, algorithm=algorithm, faults=strike, **settings).wait(timeout=60)
    after = run.results[0]
    close = abs(after["loss"] / calm["loss"] - 1) < 0.01
    print(
        f"{algorithm}: {len(run.deaths)} dead, loss within 1 %: {close}, "
        f"same weights to the last bit: {after['hash'] == calm['hash']}"
    )
print("the survivors agree:", len({result["hash"] for result in run.results.values()}) == 1)

# %%
run.timeline(title="Rank 1 dies, the others go on")

# %%
run.timeline(around=next(e for e in run.events if e.kind == "death"))

# %% [markdown]
# **Answer: (b), and (c) if you ask for it.** No data is lost with rank 1: others compute its
# shards, from the same samples, with the same random draws. But fewer ranks add them up in another
# order, and rounding differs. `algorithm="in_order"` sends the eight shards' gradients unadded to
# whoever owns a chunk, and adds them as 0 + 1 + … + 7, always. That costs (8/n + 1)/2 times the
# ring's bytes, and buys a run that no death can change. In [notebook 18](18_chaos.ipynb) this tells
# us that a repaired run is right.
#
# **In real systems.** torchft goes on with whoever is left, too, and the effective batch shrinks
# meanwhile: on 300 L40S GPUs, with a failure every minute, 82 % of the steps counted (torchft's
# blog, 2025). Most others stop all ranks and load a [checkpoint](glossary.md#checkpoint): notebooks
# [06](06_checkpoints.ipynb) and [11](11_elastic_restart.ipynb).

# %% [markdown]
# ## What stays in sight
#
# Rank 1 does not die now. It stands still for a second: under a debugger, in a stuck driver, or
# because a scheduler sent SIGSTOP.
#
# **Predict.** What do the others do? (a) go on without it, (b) wait, (c) raise an error.

# %%
from labkit import Pause

cluster.restart(1)
plan = FaultPlan(At(Pause(1, seconds=1.0), step=20))
run = cluster.run(train, faults=plan, **settings).wait(timeout=60)
cluster.close()
print(f"deaths: {len(run.deaths)}, errors: {len(run.errors)}")
print("steps of each rank:", [result["steps"] for _, result in sorted(run.results.items())])

# %%
run.timeline(title="Nobody is dead, and nobody works")

# %% [markdown]
# **Answer: (b).** No connection closes, so nobody is told anything. This time it was a second. If
# rank 1 never came back, the others would wait for a deadline: a minute here, half an hour with the
# defaults. Somebody has to notice silence.

# %% [markdown]
# ### Exercise data_parallel.5 (3 points, 15 minutes; about 12 lines, reference runs in 0.1 s)
#
# An incident. A job of equal ranks takes twice as long as last week, and every profile says: most of
# the time goes into the all-reduce. All ranks but one wait in it, and one is waited for. From the
# logs of twelve steps, written by machines whose clocks differ by up to 100 s, say who it was and
# whether its data came slowly, its processor was slow, or it stood still once, like rank 1 above.

# %% exercise="data_parallel.5"

# %% [markdown]
# ## Summary
#
# - Equal weights, equal gradients, equal weights: one all-reduce keeps all ranks one model.
# - Buckets trade latency against overlap. The last layer's gradient goes first.
# - DDP averages, communicates after every backward pass, and cannot lose a rank.
# - A larger batch wants a larger learning rate, up to a point; beyond it there are too few steps.
# - More ranks pay while computing, T/n, takes longer than sending, 2·S/bandwidth.
# - Fixed logical shards make the result independent of who computes, and of who dies.

# %% [markdown]
# ## Interview questions
#
# <details><summary>DDP fills its buckets in reverse order of the parameters. Why, and what if the
# model uses them in another order?</summary>
#
# Backpropagation reaches the last layers first: their buckets are full first and travel while the
# rest is computed. In another order a bucket waits for its latest gradient, and less is hidden. DDP
# rebuilds its buckets after the first step, in the order that it saw.
# </details>
#
# <details><summary>One rank does not use a layer in this step. What does DDP do?</summary>
#
# The layer's hook never fires, its bucket never fills, and that rank never joins the all-reduce: the
# others wait. `find_unused_parameters=True` walks the graph and marks such parameters as ready.
# </details>
#
# <details><summary>You go from 8 to 64 GPUs, and the loss per epoch gets worse. What are your
# options?</summary>
#
# Keep the global batch and give each GPU less (worse efficiency); scale the rate by N or √N with a
# warm-up, and check; take an optimizer made for large batches (LARS, LAMB); or accept more epochs.
# Beyond some batch size nothing helps.
# </details>
#
# <details><summary>How do you find out whether communication is the bottleneck?</summary>
#
# Time the same step under `no_sync`. Look for gaps between kernels in a profile. Compare
# 2(n−1)/n·S, divided by the measured bus bandwidth, with the length of the backward pass: overlap
# hides only what fits behind it.
# </details>
#
# <details><summary>Two runs with one seed, on 8 and on 16 GPUs, end with different weights. Is it a
# bug?</summary>
#
# Not necessarily: another order of addition, another split of the data, random draws by rank, batch
# statistics over another batch. Each can be taken away (a sum in fixed order, fixed shards, draws by
# shard, layer normalisation) at a price.
# </details>
#
# <details><summary>One of 64 ranks raises an exception in its data loader and exits. What do the
# others see?</summary>
#
# With Gloo or NCCL alone a few see a closed connection, and most wait for a time-out or a watchdog.
# Then the launcher ends them all, and the job goes back to its last checkpoint.
# </details>

# %% [markdown]
# ## Next
#
# [04 Heartbeats](04_heartbeats.ipynb) finds ranks that are silent. The bug that stays in sight: a
# rank that stands still closes no connection, and stops everyone.
