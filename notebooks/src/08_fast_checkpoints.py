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
# # 08 Fast checkpoints
#
# Jonas has been careful. His model has a billion parameters, and every hundred seconds of work all of
# it goes to the disk: twelve gigabytes, ten seconds. On Monday his manager asks what the cluster does
# in the other nine per cent of the time. It waits for Jonas's disk. He could save less often, and lose
# more with every failure. Or he could let the GPUs work while the disk writes. This notebook is about
# both: what a checkpoint costs, where the time goes, and how often to pay.
#
# **Routes** Core · All<br>
# **Time** 50 minutes, and 40 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [07 Two-phase commit](07_two_phase_commit.ipynb)<br>
# **Afterwards you can** say how large a checkpoint is and how long a disk needs for it; take a snapshot
# that training hardly notices, and show that it is one; say what incremental writing and compression
# bring, and when nothing; put a checkpoint where it survives what you fear; and compute how often to
# write one.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## Everybody waits for a disk
#
# Here is what [notebook 07](07_two_phase_commit.ipynb) left in sight. All ranks train. Every fourth
# step each writes its [shard](glossary.md#shard), votes, and waits until the checkpoint is
# committed: the protocol of 07, on real processes, with whoever leads the views as its
# [coordinator](glossary.md#coordinator).

# %%
import tempfile
from pathlib import Path

from labkit import Cluster
from labkit.views.timeline import timeline

room = tempfile.TemporaryDirectory()  # gone when this notebook ends
folder = Path(room.name)
cluster = Cluster(world_size, backend=backend, device=device, seed=seed)


def train_and_save(worker, root, beside, steps=12, every=4):
    """`beside`: does training go on while the checkpoint is written?"""
    import torch

    from labkit import events, faults
    from labkit.checkpoint import Store, background, policy

    torch.manual_seed(worker.seed)
    model = torch.nn.Sequential(*(torch.nn.Linear(800, 800) for _ in range(2))).to(worker.device)
    optimizer = torch.optim.AdamW(model.parameters())
    store = Store(root)
    committer = worker.committer(store)  # two-phase commit among the ranks of this view
    pieces = {"model": model, "optimizer": optimizer}
    saver = background.Checkpointer(
        store, pieces, policy.EverySteps(every), committer, *committer.place
    )
    inputs = torch.randn(64, 800, device=worker.device)
    for step in range(1, steps + 1):
        with faults.work("computing", step=step):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
        with events.span("all-reduce"):
            flat = torch.cat([p.grad.flatten() for p in model.parameters()])
            worker.group.all_reduce(flat)  # the values do not matter here
        optimizer.step()
        if step % every == 0:
            saver.wait()  # for the one before, should it still be under way
        if saver.step(step) and not beside:
            with events.span("checkpoint", step=step):
                saver.wait()
        worker.step(step)
    saver.close()
    return saver.newest.step


def training_threads(run, title):
    """The timeline, without what the writers' threads do beside the training."""
    beside = ("in doubt", "agreeing on a checkpoint")
    return timeline([event for event in run.events if event.name not in beside], title=title)


run = cluster.run(train_and_save, root=folder / "waiting", beside=False).wait(timeout=60)
training_threads(run, "Green: everybody stands still for a checkpoint")

# %% [markdown]
# Nobody computes while the green is there. The cost of a checkpoint is not the write: it is the
# time for which training waits, the [stall](glossary.md#stall). (The goodput in the corner knows
# nothing of it: it says what *faults* cost, and here nothing has failed.)
#
# ## How large, how long
#
# A parameter in float32 has 4 bytes, and AdamW keeps two moments of it: 12 bytes in a checkpoint. In
# mixed precision it is 14: 2 for the weight in bfloat16, 12 for a float32 master copy and the moments.

# %%
write_speed = 1.2e9  # bytes a second: a good NVMe disk
billions = {
    "GPT-2": 0.124,
    "one billion": 1,
    "Llama 3 8B": 8,
    "Llama 3 405B": 405,
    "a trillion": 1000,
}
for name, count in billions.items():
    size = count * 1e9 * (12 if count <= 1 else 14)
    alone, together = size / write_speed, size / write_speed / 1024
    print(
        f"{name:13} {size / 1e9:8,.1f} GB: {alone:8,.1f} s alone, {together:7.3f} s on 1 024 disks"
    )
work = 100
stall = 12e9 / write_speed
print(
    f"Jonas: {stall:.0f} s of writing after {work} s of work, {stall / (work + stall):.0%} of the time"
)

# %% [markdown]
# A trillion parameters are 14 terabytes and three hours on one disk: nobody writes that alone. Cut among
# 1 024 ranks it is eleven seconds. That is what sharding is for.
#
# > **The textbook says** “In data-parallel training each rank saves its shard”, with
# > `torch.save(model.state_dict(), f"rank{rank}.pt")`. **Let us run it.**
#
# **Predict.** How many different contents do the files of all ranks have: (a) one for each rank, (b)
# one?


# %%
def sizes(worker, root):
    import hashlib
    import io

    import torch

    from labkit.checkpoint import Store, capture

    torch.manual_seed(worker.seed)
    model = torch.nn.Sequential(*(torch.nn.Linear(300, 300) for _ in range(3)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 300)).sum().backward()
    optimizer.step()
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    state = capture({"model": model, "optimizer": optimizer})
    mine = Store(root).snapshot(state, worker.rank, worker.world_size).size
    return hashlib.sha256(file.getvalue()).hexdigest(), file.tell(), mine


found = cluster.run(sizes, root=folder / "sizes").wait(timeout=60).results
contents, plain, shards = zip(*found.values(), strict=True)
print("different contents:", len(set(contents)))
print(
    f"written: {sum(plain) / max(plain):.0f} times the state; cut into shards, "
    f"{sum(shards) / max(plain):.2f} times"
)
print("the largest and the smallest shard differ by", max(shards) - min(shards), "bytes")

# %% [markdown]
# **Answer: (b).** With plain data parallelism every rank has everything: these are copies, and each
# rank waits for a write of all of it. The lab lays all tensors in a row and cuts the row into equal
# pieces (`labkit/checkpoint/shards.py`).
#
# > **Verdict.** A shard is what *only this rank writes*. Copies are something else, and useful: see below.

# %% [markdown]
# ## Beside the training
#
# The state changes in `optimizer.step` and at no other moment. So copy it to memory, let training go on,
# and let a thread write the copy, the [snapshot](glossary.md#snapshot).
#
# > **The textbook says** “Move the tensors to the CPU and save them in a thread”:
# > `copy = {k: v.cpu() for k, v in state.items()}`. **Let us run it**, with a disk that is busy for a
# > moment, and a weight that is the number of the step.
#
# **Predict.** Saved at step 1; the write begins when step 2 is done. Which step is in the file?

# %%
import threading

import torch

torch.set_num_threads(1)  # what is computed here is small
weights = {"w": torch.ones(3)}  # step 1
copy = {name: tensor.cpu() for name, tensor in weights.items()}
disk_is_free = threading.Event()


def write():
    disk_is_free.wait()
    torch.save(copy, folder / "step-1.pt")


writer = threading.Thread(target=write)
writer.start()
weights["w"] += 1  # optimizer.step: step 2
disk_is_free.set()
writer.join()
print("step-1.pt holds step", int(torch.load(folder / "step-1.pt")["w"][0]))
print("the copy is the original:", copy["w"].data_ptr() == weights["w"].data_ptr())

# %% [markdown]
# > **Verdict.** On a GPU `.cpu()` copies. On a CPU it returns the tensor itself, and the file is torn in
# > time: some tensors of one step, some of the next, with no error. A test on a laptop would have shown
# > it, had it compared bits.
#
# The lab's `Checkpointer` copies into memory that it keeps (fresh memory takes ten times as long to
# fill), on a thread, *while the next forward and backward pass only read*; a hook before
# `optimizer.step` waits for what is left of the copy. That is from CheckFreq (J. Mohan, A. Phanishayee
# and V. Chidambaram, FAST 2021, §4.2). And it does not trust: torch counts the changes of each tensor,
# so a snapshot in which one moved is thrown away.

# %%
run = cluster.run(train_and_save, root=folder / "beside", beside=True).wait(timeout=60)
print("newest checkpoint:", set(run.results.values()))
training_threads(run, "The same checkpoints, and nobody waits")

# %% [markdown]
# The diamonds are the commits: they come while training computes. Now with a stopwatch, beside what torch
# offers: one rank, in turn, the same bytes to the same disk.
#
# **Predict.** Put in order by how long training stands still: `torch.save` with fsync and rename,
# `dcp.async_save`, the lab's.

# %% tags=["nbval-ignore-output"]
from labkit.bench.checkpoint import measure
from labkit.views import saving

rows = {row.name: row.median for row in measure(rounds=2, width=384 if fast else 512)}
three = {
    "torch.save, fsync, rename": (rows["torch.save, fsync, rename"],) * 2,
    "dcp.async_save": (rows["dcp.async_save, stall"], rows["dcp.async_save, durable"]),
    "the lab's": (rows["lab, stall"], rows["lab, durable"]),
    "written and synced, nothing else": (0, rows["raw write and fsync"]),
}
saving.stalls(three, "Orange: training stands still. Green: it goes on, and a thread writes")

# %% [markdown]
# **Answer: see the picture**; the README has the figures for 307 MB, and `labkit bench checkpoint`
# measures yours. `torch.save` is done when it returns. `dcp.async_save` copies first and writes
# then, and the copy is the stall. The lab's copy rides along with the next backward pass. No
# checkpoint can be durable sooner than the last bar.
#
# What cannot be hidden is an error. The writer's thread keeps it, and `checkpointer.step` raises it at
# the next step: a checkpoint that fails in silence is found on the day on which it is needed.
#
# **In real systems.** PyTorch's DCP writes in a thread or in a process of its own. Orbax writes
# asynchronously by default; an error of its background thread was once lost (issue 605). ByteDance's
# ByteCheckpoint reports 54 times shorter stalls than its predecessors (NSDI 2025).

# %% [markdown]
# ## Write less
#
# Two ways: leave out what has not changed since the last checkpoint, or compress it.
#
# **Predict.** How much smaller is the second checkpoint of (1) a model in which all layers learn, (2) one
# in which only the last layer learns?

# %%
from labkit.checkpoint import Store, capture


def written(name, learns, **how):
    """Bytes that each of four checkpoints, three steps apart, has added to the folder."""
    torch.manual_seed(seed)
    model = torch.nn.Sequential(*(torch.nn.Linear(400, 400) for _ in range(6)))
    optimizer = torch.optim.AdamW(model[learns].parameters())
    store, added = Store(folder / name, **how), []
    for save in range(4):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(8, 400)).square().mean().backward()
            optimizer.step()
        made = store.save(capture({"model": model, "optimizer": optimizer}), 3 * (save + 1))
        added.append(made.files[0].bytes)
    return added


cases = {}
for who, learns in {"all layers": slice(0, None), "the last layer": slice(5, None)}.items():
    cases[who] = written(who, learns)
    cases[f"{who}, incremental"] = written(f"{who}, incremental", learns, full_every=4)
    cases[f"{who}, zstd"] = written(f"{who}, zstd", learns, pack=True)
    first, second, *_ = cases[f"{who}, incremental"]
    print(f"{who}: the second is {second / first:.0%} of the first")

# %%
from labkit.views.curves import compare_bars

megabytes = {name: sum(added) / 4 / 1e6 for name, added in cases.items()}
colours = {name: "#009E73" for name in megabytes if "," in name}
compare_bars(
    megabytes,
    unit="megabytes a checkpoint, mean of four",
    title="What does not change need not be written",
    colours=colours,
)

# %% [markdown]
# **Answer: not at all, and by more than half.** An optimizer with moments changes every number in
# every step. What is frozen (a backbone, an embedding, an adapter's base) is written once and
# referred to. The price: a chain of references is as good as its oldest file, so every k-th
# checkpoint is full; and nobody may delete a file because it is old (exercise ckpt.5).
#
# zstd saves less than a tenth: the low bits of trained weights are noise, and noise does not shrink. It pays
# where the network is slow and a processor is idle, and hardly elsewhere. Measure first.

# %% [markdown]
# ## Where to
#
# A checkpoint is good against what it survives. Memory survives a crash of the process, a local disk a
# crash of the machine, an object store the loss of the machine. Each is slower than the one before, so
# one writes into all of them, the fastest first. Here is a real S3 server on this machine (`rclone`).

# %%
import os
import re
import shutil
import subprocess
import sys

from labkit.checkpoint.tiers import Bucket, upload

PLACES = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
rclone = shutil.which("rclone", path=PLACES)
(folder / "buckets" / "lab").mkdir(parents=True)


def serve(address="127.0.0.1:0"):
    """An S3 server, and the port that it listens on."""
    keys, quiet = ["--auth-key", "labkit,labkitsecret"], ["--config", os.devnull]
    command = [rclone, "serve", "s3", *keys, *quiet, "--addr", address, str(folder / "buckets")]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    told = (re.search(r"http://127\.0\.0\.1:(\d+)/", line) for line in server.stderr)
    return server, next(found for found in told if found)[1]


def bucket_at(port):
    from obstore.fsspec import register

    register("s3")
    config = {
        "endpoint": f"http://127.0.0.1:{port}",
        "access_key_id": "labkit",
        "secret_access_key": "labkitsecret",
        "region": "us-east-1",
        "virtual_hosted_style_request": False,
    }
    client = {"allow_http": True, "timeout": "10s"}
    return Bucket("s3://lab/run", config=config, client_options=client,
                  retry_config={"max_retries": 0})  # fmt: skip


server, port = serve()
bucket = bucket_at(port)

# %% tags=["nbval-ignore-output"]
import time

torch.manual_seed(seed)
state = {"model": {str(i): torch.randn(1_000_000) for i in range(2 if fast else 8)}}
memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
seconds = {}
with tempfile.TemporaryDirectory(dir=memory) as tmpfs:
    for name, place in (("memory (tmpfs)", tmpfs), ("local disk", folder / "disk")):
        store, times = Store(place), []
        for step in range(3):
            begin = time.perf_counter()
            made = store.save(state, step)
            times.append(time.perf_counter() - begin)
        seconds[name] = times
        store.close()
begin = time.perf_counter()
upload(store, bucket, made)
seconds["object store (S3, this machine)"] = time.perf_counter() - begin
compare_bars(
    seconds,
    unit="seconds until 32 MB are there" if not fast else "seconds until 8 MB are there",
    title="Each place survives more, and takes longer",
)

# %% [markdown]
# tmpfs is memory with the face of a disk: fsync returns at once, and the power takes it all. The S3
# server stands on the same machine; over a network of 1 GB/s and with the billion parameters from above
# an upload takes twelve seconds more. It goes on in the background, from the file on the disk: training
# hears of it only when it fails.
#
# ### What network file systems do to rename
#
# [Notebook 06](06_checkpoints.ipynb) ended with: write aside, fsync, rename, fsync the folder. On
# other file systems:
#
# | where | rename over a file | what to know |
# |---|---|---|
# | ext4, XFS | atomic; durable after fsync of the folder | what POSIX says |
# | NFS | atomic on the server | a reply that is lost is asked for again: “no such file”, and yet it was done (RFC 1813 §4.5); other clients see the old one for some seconds, until their cache asks (`acregmin`, nfs(5)) |
# | Lustre | atomic | one metadata server serves all ranks: a file each for 16 000 ranks is its worst hour |
# | S3 | none: copy, then delete | a PUT is all or nothing, and visible to all at once (since December 2020) |
#
# So in an object store the *order* takes the place of the rename: the shards first, the
# [manifest](glossary.md#manifest) last. Let us see that, with a server that is killed between the
# two.
#
# **Predict.** The shard is in the bucket, the manifest is not. What does another machine find there, and
# what must the next attempt send? (a) Half a checkpoint; all of it. (b) None; all of it. (c) None; the
# manifest.

# %%
from labkit import At, Kill, faults
from labkit.checkpoint.tiers import UploadFailed

store = Store(folder / "disk")
made = store.save({"model": {"w": torch.ones(10_000)}}, step=100)
bucket = bucket_at(port)
bucket.path += "-2"  # an empty folder
faults.arm((At(Kill(0), point="checkpoint.upload", count=2),), lambda fault: server.kill())
try:
    upload(store, bucket, made)
except UploadFailed as error:
    print("upload:", str(error).split(":")[0], "; safe on the disk:", "is safe in" in str(error))
faults.arm((), print)
server.wait()
server, _ = serve(f"127.0.0.1:{port}")
print("objects in the bucket:", bucket.list())
print("checkpoints in the bucket:", Store(bucket).load())
print("sent by the next attempt:", upload(store, bucket, made))
print("and now:", Store(bucket).load().manifest.name)
server.kill()
_ = server.wait()

# %% [markdown]
# **Answer: (c).** Files without a manifest are the remains of an attempt, here as in the folder of a
# disk. A bucket needs no transaction as long as *one* object decides.

# %% [markdown]
# ## In a neighbour's memory
#
# Most failures take one host. So a copy of its shard may lie in the memory of *another* one: it is there
# after one message, and comes back with one. Here every rank keeps the shard of the rank before it, and
# has a new copy after every step (`labkit.checkpoint.replica`).
#
# **Predict.** Rank 1 is killed. Who has its shard? And how many ranks may die at once, if no two of them
# are neighbours?


# %%
def keep_for_each_other(worker):
    """After each step the next rank has a copy. Returns whose shards are there after a death."""
    import itertools

    from labkit import PeerLost
    from labkit.checkpoint.replica import Replicas

    group, replicas = worker.group, Replicas()
    try:
        for step in itertools.count(1):
            group.all_reduce(worker.tensor(1))  # a step of training
            shard = torch.full((100_000,), float(worker.rank))
            replicas.save(group, step, {"shard": shard})
            worker.step(step)
    except PeerLost:
        found = replicas.recover(worker.regroup())
        return sorted(found.states)


run = cluster.run(keep_for_each_other, faults=[At(Kill(1), step=5)]).wait(timeout=60)
for rank, shards in sorted(run.results.items()):
    print(f"rank {rank} has in its memory the shards of {shards}")
cluster.restart(1)

# %% [markdown]
# **Answer: its neighbour; and half of them.** No file was read. If a rank and the one that holds
# its copy die together, the disk is asked; if the machine is gone, the bucket. Fast and fragile
# first, slow and safe behind it. (With several ranks on one host the neighbour must be on another:
# exercise ckpt.6.)
#
# **In real systems.** Gemini keeps checkpoints in the memory of other hosts, and recovers 13 times
# as fast (Z. Wang and others, SOSP 2023). NVIDIA's resiliency extension keeps local checkpoints
# with [replicas](glossary.md#replica); Orbax has several tiers. A tier is good only if each of its
# writes is atomic.

# %% [markdown]
# ## How often?
#
# Save too often and you write, too seldom and you repeat: [notebook
# 01](01_why_training_fails.ipynb) drew that curve. With C seconds for a write and M seconds between
# failures, an [interval](glossary.md#interval) of T wastes about C/T + T/2M of the time: half an
# interval is lost at each failure, on average. The best T is √(2CM) (J. Young, CACM 1974).
#
# **Predict.** Llama 3's job failed every 11 135 s. At the best interval a *blocking* write of 60 s
# costs it a tenth of its time. With a snapshot training stands still for 1 s, a sixtieth of that.
# What is left of the tenth? (a) a sixtieth of it, 0.2 %, (b) an eighth, 1.3 %, (c) a half.

# %%
from labkit.reliability.young_daly import least_waste, young_interval

for write in (1, 10, 60, 300):
    best, waste = young_interval(write, 11_135), least_waste(write, 11_135)
    print(
        f"{write:3} s a write: one every {best / 60:4.1f} minutes, {waste:5.1%} of the time is lost"
    )

# %% [markdown]
# **Answer: (b).** The waste goes with the root of the stall, √(2C/M): whoever stalls less also
# saves more often. What counts is the *stall*, not the write. (Meta reports more than 90 % of
# effective time, so it cannot have waited for a minute.)
#
# Is the formula true? Here are real jobs with real checkpoints, one on each rank, and SIGKILL at times
# that are distributed as those of real failures, only sooner: every 0.4 s. A step is a wait of two
# milliseconds for an accelerator that we do not have.

# %%
import math
import statistics

MTBF, count = 0.4, world_size * math.ceil(8 / world_size)
LIVES = [-MTBF * math.log(1 - (i + 0.5) / count) for i in range(count)]  # exponential, in seconds


def job(worker, root, every, lives):
    """Goes on from its newest checkpoint, until it is killed."""
    import os
    import signal
    import time

    from labkit.checkpoint import Keep, Store

    store, weights = Store(f"{root}/{worker.rank}", Keep(last=1)), torch.zeros(100_000)
    step = loaded.manifest.step if (loaded := store.load()) else 0
    strike = os.kill, (os.getpid(), signal.SIGKILL)
    threading.Timer(lives[worker.rank], *strike).start()
    worked = 0.0
    while True:
        begin = time.perf_counter()
        time.sleep(0.002)
        worked += time.perf_counter() - begin
        step += 1
        if step % every == 0:
            begin = time.perf_counter()
            store.save({"model": {"w": weights}}, step)
            worker.report(step, write=time.perf_counter() - begin, kept=worked)


def goodput(every):
    """The seconds that became steps that were kept, and the seconds of each write."""
    writes, kept, root = [], 0.0, folder / f"every-{every}"
    for first in range(0, len(LIVES), world_size):
        batch = LIVES[first : first + world_size]
        run = cluster.run(job, root=root, every=every, lives=batch).wait(timeout=60)
        cluster.restart(*run.deaths)
        told = [e for e in run.events if e.kind == "metric"]
        writes += [e.data["value"] for e in told if e.name == "write"]
        kept += sum({e.rank: e.data["value"] for e in told if e.name == "kept"}.values())
    return kept, writes


# %% tags=["nbval-ignore-output"]
measured, writes = [], []
for every in (4, 30, 250) if fast else (4, 15, 60, 250):
    kept, times = goodput(every)
    between = kept / len(times) if times else 0.002 * every  # seconds of work
    measured.append((between, kept / sum(LIVES)))
    writes += times
cluster.close()
best, _ = max(measured, key=lambda point: point[1])
saving.intervals(
    measured,
    statistics.mean(writes),
    MTBF,
    f"Measured with SIGKILL: of these, {1e3 * best:.0f} ms between two checkpoints lose least",
)

# %% [markdown]
# To the left all time goes into writes, to the right into work that is done again. In between the curve
# is flat: twice or half the best interval costs little, so a rough guess of M will do. (Restarts are left
# out, here and in the curve: they cost the same whatever the interval.)
#
# > **The textbook says** “The best interval is √(2·C·M).” **Let us run it** where a write takes long.
#
# **Predict.** With a write of half the time between failures, is the best interval longer or shorter than
# the formula's?

# %%
import numpy as np

from labkit.reliability.young_daly import daly_interval_higher_order
from labkit.reliability.young_daly import goodput as exact

print("all in units of M:  C     Young    Daly 2006   best    wasted")
for write in (0.0001, 0.01, 0.1, 0.5, 1.0):
    candidates = np.geomspace(0.001, 10, 20_000)
    shares = exact(candidates, write, 1.0, 0.0)
    best = candidates[int(np.argmax(shares))]
    young, daly = young_interval(write, 1.0), daly_interval_higher_order(write, 1.0)
    print(f"{write:22.4f} {young:8.3f} {daly:9.3f} {best:9.3f} {1 - shares.max():8.0%}")

# %% [markdown]
# > **Verdict.** Shorter. For C far below M all three agree, and that is where one wants to be.
# > Where C equals M the formula's interval is 1.7 times too long, and it hardly matters: four
# > fifths of the time are lost anyway. It also assumes failures without memory and at the same
# > cost, which a rack of GPUs from one delivery does not promise.

# %% [markdown]
# ## Exercises
#
# ### Exercise ckpt.4 (2 points, 5 minutes; about 2 lines, reference runs in 0.1 s)
#
# The formula that Jonas needs.

# %% exercise="ckpt.4"

# %% [markdown]
# ### Exercise ckpt.5 (2 points, 10 minutes; about 2 lines, reference runs in 0.1 s)
#
# Incremental checkpoints refer to files of older ones. What may be deleted?

# %% exercise="ckpt.5"

# %% [markdown]
# ### Exercise ckpt.6 (2 points, 5 minutes; about 1 line, reference runs in 0.1 s)
#
# In whose memory does a rank's copy lie? Hosts fail as a whole: ranks 0 to per_host − 1 are on the first
# one, and so on.

# %% exercise="ckpt.6"

# %% [markdown]
# ### Exercise ckpt.7 (4 points, 20 minutes; about 6 lines, reference runs in 0.2 s)
#
# Meet the budget. A neighbour's memory for the crash of a process, a disk for that of a machine, an
# object store for the loss of both: how often into each? The check plays months of failures drawn at
# random. Each kind takes all faster tiers with it, and the newest checkpoint that is left decides what
# is done again. Of the time, at most a fifth more may be lost than the best intervals lose; and where
# the object store is dear, the dollars of a day must do.

# %% exercise="ckpt.7"

# %% [markdown]
# ## Summary
#
# - 12 to 14 bytes a parameter. What costs is the stall, not the write.
# - A snapshot must be a copy, of one moment, and somebody must check that it was.
# - Shards: each byte written once. Copies: each byte kept twice, on purpose.
# - Incremental pays for what is frozen; zstd saves a few per cent of what learns.
# - Fast and fragile first, slow and safe behind; in each tier the manifest last.
# - T = √(2CM) while C is far below M; the minimum is flat.

# %% [markdown]
# ## Interview questions
#
# <details><summary>Your checkpoints take ten seconds, and you have a thousand ranks with fast local disks.
# What do you change first?</summary>
#
# Not the interval: the stall. Shard, so that each rank writes a thousandth; snapshot to memory, so that
# training waits for a copy and no disk; write in the background. Then the interval follows from the
# stall that is left.
# </details>
#
# <details><summary>How do you test that an asynchronous checkpoint is consistent?</summary>
#
# Make the weights say which step they are of, delay the writer, train on, and look at what is in the file.
# Or compare a run that was resumed from it with one that was not stopped, bit by bit. And in production:
# watch the version counters of the tensors while they are copied.
# </details>
#
# <details><summary>Why is there no rename in an object store, and what do you do instead?</summary>
#
# Names are keys of a flat map, spread over machines: renaming a “folder” copies every object. Put the
# data first, under names that are never used twice, and one small object last that makes them visible.
# </details>
#
# <details><summary>What is lost when the background upload is two checkpoints behind, and the machine
# burns?</summary>
#
# Everything since the last upload: two or three intervals. M of *that* failure is much longer than that of
# a process, so each tier has an interval of its own, from its own C and M.
# </details>
#
# <details><summary>Does it pay to halve the time of a write?</summary>
#
# The least waste is √(2C/M): half the write is 1/√2 of the waste. Going from 10 % to 7 % on a thousand GPUs
# pays for a lot of engineering; from 1 % to 0.7 % hardly.
# </details>

# %% [markdown]
# ## Next
#
# Saving is cheap now, and its commit hangs on whoever coordinates.
# [09 Raft: electing a coordinator](09_raft_electing_a_coordinator.ipynb) finds a successor for one that
# dies. The bug that stays in sight: a rank in doubt keeps its snapshot in memory, and waits.
