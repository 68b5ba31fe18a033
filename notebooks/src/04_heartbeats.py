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
# # 04 Heartbeats
#
# At 02:13 a rank of a job on 64 GPUs stops in a stuck driver call. Its process lives, its connections
# are open, its node answers the monitoring. The other 63 wait for it in an all-reduce, at full power.
# Nina sees it at 08:40, from a loss curve that has no points after two o'clock: six and a half hours,
# 400 GPU hours, and not one error message. Somebody should have noticed silence. In this notebook the
# ranks do, and they pay for it with mistakes.
#
# **Routes** Evening · Core · All<br>
# **Time** 50 minutes, and 60 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [03 Data-parallel training](03_data_parallel_training.ipynb), or [02 Ring
# all-reduce](02_ring_all_reduce.ipynb) on the Evening route<br>
# **Afterwards you can** choose a time-out and say what it costs; say what φ adds, and what it does
# not; find the rank that hangs among those that wait for it; write a liveness probe that does not
# lie; and say from how many members on nobody can listen to everybody.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## The hang, seen by the others
#
# Here is the bug that [notebook 03](03_data_parallel_training.ipynb) left in sight: nobody is dead,
# and nobody works. Next to its training every [rank](glossary.md#rank) now runs a second thread,
# which says “I am alive” to all others every 50 ms: a [heartbeat](glossary.md#heartbeat). Who hears
# none for 200 ms *suspects*, and a [suspicion](glossary.md#suspicion) is all that it is.

# %%
import time
from functools import partial

from labkit import At, Cluster, FaultPlan, Pause
from labkit.protocols.heartbeat import FixedTimeout, Heartbeat

detector = partial(Heartbeat, detector=partial(FixedTimeout, timeout=0.2), stuck=0.5)
cluster = Cluster(
    world_size, backend=backend, device=device, seed=seed, protocols={"detector": detector}
)


def train(worker, steps):
    gradient = worker.tensor(100_000)
    for step in range(1, steps + 1):
        time.sleep(0.01)  # forward and backward
        worker.group.all_reduce(gradient)
        worker.step(step)


# %% [markdown]
# **Predict.** Rank 1 stands still for a second, and then goes on. How long is it suspected? (a) For
# one second, (b) for 0.8 s, (c) for ever. And whom does rank 1 suspect, which has heard nobody for a
# second?

# %%
from labkit.views.opinions import opinions

plan = FaultPlan(At(Pause(1, seconds=1.0), step=20))
run = cluster.run(train, steps=50, faults=plan).wait(timeout=60)
opinions(run, title="Rank 1 stands still for a second: suspected, and trusted again")

# %% [markdown]
# **Answer: (b), and nobody.** After 200 ms of silence the others suspect it, each by itself. With its
# next beat they take it back: it was never dead, so every one of these bars is a
# [mistake](glossary.md#mistake). Rank 1 found a second of silence too, when it woke. But its own timer
# was late by a second: the silence was its own, so it convicts nobody.
#
# No detector can do better. A dead rank and a slow one send the same messages: none. All that a
# detector chooses is how long it waits.

# %% [markdown]
# ## How long to wait
#
# A short time-out finds the dead soon and suspects the living often. How often depends on the machine,
# so measure it here: real processes, beats every 20 ms, first at rest, then computing in Python on
# all cores, then with a data loader written in C that holds Python's interpreter lock for 60 ms.

# %%
listeners = {"detector": partial(Heartbeat, interval=0.02)}
busy = Cluster(world_size, backend=backend, device=device, protocols=listeners)
seconds = 0.6 if fast else 0.8


def at_rest(worker):
    time.sleep(seconds)


def computing(worker):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(i * i for i in range(10_000))


def holding_the_lock(worker):
    import ctypes

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ctypes.PyDLL(None).usleep(60_000)  # a C function that does not let other threads run
        time.sleep(0.02)


# %% [markdown]
# **Predict.** With which time-out does a machine that computes on all cores make no mistake in a
# second? (a) 25 ms, (b) 40 ms, (c) 200 ms. And with the lock held for 60 ms?

# %% tags=["nbval-ignore-output"]
from labkit.simulator.heard import beats, between, of_beats
from labkit.views.detectors import mistakes_by_setting

spans = {"at rest": [], "computing": [], "holding the lock": []}
for work in (at_rest, computing, holding_the_lock) * 2:
    begin = time.monotonic()
    busy.run(work).wait(timeout=60)
    spans[work.__name__.replace("_", " ")].append((begin + 0.2, time.monotonic()))
heard = beats(busy.directory, "detector")  # when each rank heard each other one
busy.close()

milliseconds = (25, 30, 40, 60, 80, 120, 160, 240)
found = {}
for name, times in spans.items():
    came = [one for begin, end in times for one in between(heard, begin, end)]
    found[name] = {
        f"{ms} ms": of_beats(partial(FixedTimeout, timeout=ms / 1000), came) for ms in milliseconds
    }
mistakes_by_setting(found, title="A time-out that is right at rest is wrong under load")

# %% [markdown]
# Every host writes down when it heard which beat, so all these time-outs listen to the *same* beats.
# A hollow dot is a time-out that made no mistake.

# %% tags=["nbval-ignore-output"]
for name, by_timeout in found.items():
    right = [setting for setting, quality in by_timeout.items() if not quality.mistakes]
    print(f"{name}: no mistake {'from ' + right[0] + ' on' if right else 'with none'}")

# %% [markdown]
# **Answer.** The lines above are yours. At rest a few beats' time is enough. With all cores busy the
# thread that beats waits for its turn: for a core, and for the lock, which Python takes from a thread
# that computes after 5 ms. And no time-out below 60 ms survives a lock that is held for 60 ms, since
# nobody beats meanwhile. There is one way to be right: patience, and every real crash pays for it.
#
# The measures have names (W. Chen, S. Toueg and M. Aguilera, IEEE Trans. Computers 51(5), 2002):
# **[T_D](glossary.md#detection-time)**, from the crash to the suspicion; **T_MR**, from one mistake
# to the next; **T_M**, how long one lasts. From them follow λ_M = 1/T_MR and P_A = 1 − T_M/T_MR,
# the share of time in which a living rank is trusted. Any one of them alone is easy to make
# perfect: suspect always, or never. The art is to have them together.

# %% tags=["nbval-ignore-output"]
from labkit.views.detectors import qos_table, trade_off

print("computing:")
print(qos_table(found["computing"]))

# %% [markdown]
# ## φ: how surprising is this silence?
#
# A time-out is chosen once, by somebody who does not know the machine. The [φ-accrual
# detector](glossary.md#phi) (N. Hayashibara and others, SRDS 2004) watches how regularly beats
# come, and says how surprising the silence is: **φ = −log₁₀ of the probability that the beat is
# still to come**. φ = 3 is one silence in a thousand. Each user of the detector picks a threshold
# of its own.

# %%
from random import Random

from labkit.protocols.heartbeat import PhiAccrual
from labkit.simulator.network import Network
from labkit.simulator.qos import arrivals, of_pair
from labkit.views.detectors import phi_over_time

came = [at for at, _ in arrivals(Network(0.002, 0.03, loss=0.05), 0.05, 60, Random(22))]
phi_over_time(came, PhiAccrual, 4.0, (3, 8), crash=3.0, title="φ grows with the silence")

# %% [markdown]
# Each tooth is the wait for one beat (green). Twice a beat is lost on the way: φ passes 3, and
# falls with the next one. Who acts at φ = 3 is wrong twice here, and who waits for φ = 8 never:
# that costs some 40 ms after the crash at 3 s, from which on φ grows without end.

# %% [markdown]
# **Predict.** The network becomes slower: after five seconds of 10 to 20 ms every message of rank 0
# takes 100 to 200 ms. Who makes mistakes a minute later? (a) The time-out of 110 ms, (b) φ, (c) both.

# %%
from labkit import Slow
from labkit.simulator.simulation import Simulation

slower = FaultPlan(At(Slow(0, 10.0), seconds=5.0))


def mistakes(detector):
    """When somebody began to suspect somebody, in seconds after the change."""
    protocol, network = partial(Heartbeat, detector=detector), Network(0.01, 0.02)
    sim = Simulation(protocol, 5, 1, slower, network, record=True).run(65)
    return [e.time - 5.0 for e in sim.events if e.kind == "suspect"]


for name, detector in (
    ("time-out 110 ms", partial(FixedTimeout, timeout=0.11)),
    ("φ = 8", PhiAccrual),
):
    found = mistakes(detector)
    first, rest = sum(t < 10 for t in found), sum(t >= 10 for t in found)
    print(f"{name:16} {first:4} mistakes in the first ten seconds, {rest:4} in the 50 after them")

# %% [markdown]
# **Answer: (a).** φ learns what is usual now. Five settings of each, on a network that loses one
# message in ten and holds one in fifty up for a while:

# %%
network = Network(loss=0.1, tail=0.02, tail_seconds=0.1)
count = 20_000 if fast else 40_000
by_kind = {
    "time-outs": {
        f"{ms} ms": of_pair(partial(FixedTimeout, timeout=ms / 1000), network, beats=count)
        for ms in (80, 120, 170, 220, 270)
    },
    "φ-accrual": {
        f"φ = {phi}": of_pair(partial(PhiAccrual, threshold=phi), network, beats=count)
        for phi in (4, 8, 12, 16, 24)
    },
}
trade_off(by_kind, title="On one network the best time-out is as good as φ: if you know it")

# %%
print(qos_table(by_kind["time-outs"] | by_kind["φ-accrual"]))

# %% [markdown]
# φ is not the better detector. On a network that does not change, a time-out that was tuned for it is
# at least as good at every point. φ is the detector that nobody has to tune again. (Losses are not
# normally distributed; φ takes them for a wide bell and waits a little longer than it needs to.)
#
# **In real systems.** Akka suspects at φ = 8 with σ ≥ 100 ms; Cassandra at φ = 8 of an exponential
# law, which is 18.4 times the mean interval. hashicorp's memberlist probes every second and bears a
# suspicion for 4 · log₁₀ n seconds. torchft's lighthouse waits 5 s for a beat.
#
# ## ⤳ A line left out
#
# Most bugs of detectors are not in the formula. Take the line away by which an observer excuses its
# own stalls, and let the simulator look for what breaks.

# %%
from labkit.simulator.explore import explore
from labkit.simulator.mutants import applied, detectors
from labkit.simulator.scenarios import HEARTBEAT

bug = next(mutant for mutant in detectors.DETECTORS if mutant.id == "d13")
rule = HEARTBEAT._replace(invariants=[i for i in HEARTBEAT.invariants if i.name == bug.killer])
print(bug.title)
with applied(bug):
    print(explore(rule, seeds=20, processes=1).finding.story)

# %% [markdown]
# A laptop that was closed and opened again does this, and so does a process in a long garbage
# collection. Ten more such lines stand in `labkit/simulator/mutants/detectors.py`, each with its
# source. Here is one for you to break: three nodes, six seconds, three faults.

# %%
from labkit.simulator.attack import attack
from labkit.simulator.puzzles import PUZZLES

print(PUZZLES["d07"].story)
print(attack("d07", At(Pause(0, 1.0), seconds=2.0)))  # not yet: change this line

# %% [markdown]
# ## The rank that beats and does not work
#
# Heartbeats come from a thread of their own. That keeps them on time while the training computes, and
# it is their weakness: now rank 1 does not stop. Its training thread waits for a lock that nobody will
# release.


# %%
def train_until(worker, steps, stuck_at):
    gradient = worker.tensor(100_000)
    for step in range(1, steps + 1):
        while worker.rank == 1 and step == stuck_at:
            time.sleep(0.01)  # waits for a lock that nobody releases
        worker.group.all_reduce(gradient)
        worker.step(step)


# %% [markdown]
# **Predict.** After how long do the others suspect rank 1? (a) 0.2 s, (b) 0.5 s, (c) never.

# %%
run = cluster.run(train_until, steps=50, stuck_at=20).wait_step(19, timeout=30)
time.sleep(1.0)
run.cancel()
print("last step of each rank:", sorted(run.steps.values()))

# %% tags=["nbval-ignore-output"]
suspects = sorted({e.data["peer"] for e in run.events if e.kind == "suspect"})
print("suspected in a second:", suspects or "nobody")

# %% [markdown]
# **Answer: (c).** Everything that a machine can ask about rank 1 is fine: it runs, it beats, it is
# reachable. A failure that some see and others do not is a [gray failure](glossary.md#gray-failure)
# (P. Huang and others, HotOS 2017), and a heartbeat from another thread is on the wrong side.
#
# So a beat has to say something about the *work*. The obvious number is the step. But look: all ranks
# are at step 19. Those who wait stand as still as the one that they wait for.
#
# **Predict.** What must the beats carry, so that rank 1 can be told from the others? (a) The time of
# the last step, (b) whether the rank has come to the all-reduce, (c) nothing helps.


# %%
from collections import Counter


def train_and_tell(worker, steps, stuck_at):
    gradient = worker.tensor(100_000)
    for step in range(1, steps + 1):
        while worker.rank == 1 and step == stuck_at:
            time.sleep(0.01)
        worker.progress(2 * step - 1)  # has come to the collective: it travels with the beats
        worker.group.all_reduce(gradient)
        worker.progress(2 * step)  # has left it
        worker.step(step)


run = cluster.run(train_and_tell, steps=50, stuck_at=20).wait_step(19, timeout=30)
end = time.monotonic() + 30
while time.monotonic() < end:
    pairs = {(e.rank, e.data["peer"]) for e in run.events if "does not work" in e.name}
    votes = Counter(peer for _, peer in pairs)
    if world_size - 1 in votes.values():
        break
    time.sleep(0.05)
time.sleep(0.3)  # a little more of it, for the picture
run.cancel()
print("blamed by all others:", [rank for rank, n in votes.items() if n == world_size - 1])

# %%
since = max(e.time for e in run.events if e.kind == "step" and e.rank == 1)
opinions(run, title="All stand still, one is behind: the others name it", hanging={1: since})

# %% [markdown]
# **Answer: (b).** Rank 1 is at 38, the others are at 39. The rule is one line: *its count has stood
# still for half a second, and it is behind somebody*. Whoever waits is not behind, and is left alone.
#
# **In real systems.** PyTorch's [flight recorder](glossary.md#flight-recorder) does the same after
# the fact: it numbers the collectives of every rank, and the rank whose number is behind when the
# [watchdog](glossary.md#watchdog) fires (after ten minutes, by default) is the one to look at.
# Meta's Llama 3 report (2024, §3.3.4) used it on 16 384 GPUs, for the same reason: one
# [straggler](glossary.md#straggler) slows all others, and looks like slow communication.

# %% [markdown]
# ## The liveness probe that lies
#
# > **The textbook says** “liveness probes could catch a deadlock, where an application is running,
# > but unable to make progress” (Kubernetes, *Configure Liveness, Readiness and Startup Probes*).
# > **Let us run it**, with the [probe](glossary.md#liveness-probe) that every tutorial shows: a
# > small server in the process that says 200.

# %%
from urllib.error import HTTPError
from urllib.request import urlopen


def serve(worker, healthy):
    """Answers GET with 200 while healthy(), else with 503, on a port that it reports."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Probe(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if healthy() else 503)
            self.end_headers()

        def log_message(self, *text):
            pass

    server = HTTPServer(("127.0.0.1", 0), Probe)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    worker.report(port=server.server_port)


def ask(port):
    try:
        return urlopen(f"http://127.0.0.1:{port}", timeout=5).status
    except HTTPError as answer:
        return answer.code


# %% [markdown]
# Rank 1 hangs as before. **Predict.** What does each rank's probe say, if it (1) always answers, and
# (2) answers 503 when the last step is more than half a second old? Whom would Kubernetes restart?


# %%
def train_and_serve(worker, steps, stuck_at, honest):
    last = [time.monotonic()]
    serve(worker, lambda: not honest or time.monotonic() - last[0] < 0.5)
    gradient = worker.tensor(100_000)
    for step in range(1, steps + 1):
        while worker.rank == 1 and step == stuck_at:
            time.sleep(0.01)
        worker.group.all_reduce(gradient)
        last[0] = time.monotonic()
        worker.step(step)


def probe_all(honest):
    run = cluster.run(train_and_serve, steps=50, stuck_at=20, honest=honest)
    run.wait_step(19, timeout=30)
    time.sleep(0.8)  # longer than an honest probe is patient
    ports = {e.rank: e.data["value"] for e in run.events if e.name == "port"}
    answers = [ask(int(port)) for _, port in sorted(ports.items())]
    run.cancel()
    return answers


print("a probe that answers:       ", set(probe_all(honest=False)))
print("a probe that looks at steps:", set(probe_all(honest=True)))

# %% [markdown]
# > **Verdict.** It lies twice. The first probe says 200 of a rank that is deadlocked, since its
# > server has a thread of its own. The second says 503 of *every* rank, and Kubernetes would restart
# > them all, the innocent with the guilty. A probe knows one process. Whom to blame is known only to
# > somebody who compares them, as the beats do.
#
# And a probe that restarts what is slow makes it worse: under load a healthy rank misses its
# deadline, is killed, and its work falls on the others, which are then slower still. Ask the liveness
# probe for what only a restart can cure, and nothing else.

# %% [markdown]
# ## From a suspicion to a step
#
# A suspicion by itself changes nothing, and who is suspected may wake up at any moment and write.
# To go on without it takes two things. The others must *agree* that it is out, so that no two of
# them go on with different members. And it must do no harm when it wakes:
# [*fencing*](glossary.md#fencing) is the word for that. `silence=0.5` switches both on. (Half a
# second, since from now on a mistake costs a rank.)

# %%
from labkit import PeerLost

cluster.close()
cluster = Cluster(world_size, backend=backend, device=device, seed=seed, silence=0.5)


def train_on(worker, steps):
    gradient, step = worker.tensor(100_000), 1
    while step <= steps:
        time.sleep(0.01)
        try:
            worker.group.all_reduce(gradient)
        except PeerLost:
            worker.regroup()  # with those who are left; this step once more
            continue
        worker.step(step)
        step += 1


# %% [markdown]
# **Predict.** Rank 1 stands still for a second and a half. How long does training stop, and what does
# rank 1 do when it wakes? (a) 1.5 s, and all go on; (b) about half a second, and it comes back to
# the others; (c) about half a second, and it ends.

# %% tags=["nbval-ignore-output"]
plan = FaultPlan(At(Pause(1, seconds=1.5), step=30))
run = cluster.run(train_on, steps=100, faults=plan).wait(timeout=60)
cluster.close()

# %%
done = {steps for rank, steps in run.steps.items() if rank not in run.deaths}
print("ended:", sorted(run.deaths), " all others did their 100 steps:", done == {100})

# %% tags=["nbval-ignore-output"]
from itertools import pairwise

steps = [e.time for e in run.events if e.kind == "step" and e.rank == 0]
print(f"no step for {max(b - a for a, b in pairwise(steps)):.2f} s")

# %%
from labkit.views.timeline import timeline

told = [e for e in run.events if e.kind != "note"]
timeline(told, title="Still, suspected, out: the others go on, and it ends when it wakes")

# %% [markdown]
# **Answer: (c).** Six and a half hours have become half a second, and nobody outside did anything:
# this notebook only injected the fault. The ranks took the silence for a death, agreed on
# [view](glossary.md#view) 2, and did the step again. Rank 1 woke, found that a later view had gone
# on without it, and ended before it could say a word. A [launcher](glossary.md#launcher) may start
# it anew.
#
# The price stands further above: a time-out this short takes a healthy rank for dead as soon as a
# data loader holds the lock for too long. And if the network is cut in two halves, each suspects
# the other. Why only one of them may go on is a question for [notebook
# 09](09_raft_electing_a_coordinator.ipynb).
#
# **In real systems.** Kubernetes waits 50 s for a node's lease (40 s until version 1.31), and five
# minutes more until it starts its pods elsewhere. HDFS takes a data node for dead after 10½ minutes of
# silence. Both can wait, since others have the same data; a synchronous training job cannot.

# %% [markdown]
# ## Ten thousand members
#
# Until now everybody has listened to everybody. With n [members](glossary.md#member) that is n − 1
# messages for each in every interval, sent and read.
#
# **Predict.** A message costs 20 µs to send or to read. Beats go out every second. From how many
# members on do beats take a tenth of a core? (a) 250, (b) 2 500, (c) 25 000.

# %%
from labkit.simulator.scale import heartbeats, swim
from labkit.views.spreading import converging, epidemic, probe, scales

for n in (100, 1000, 2500, 10_000):
    measured = heartbeats(n)
    print(
        f"{n:6,} members: {measured.messages:5,.0f} messages a second each, "
        f"{measured.busy(20e-6):6.2%} of a core, all have noticed after {measured.last:.1f} s"
    )

# %% [markdown]
# **Answer: (b).** And that is a detector that needs four seconds. To find a crash in 200 ms, with a
# beat every 50 ms, 10 000 members would each need eight cores for nothing else, and the network would
# carry two billion messages a second.
#
# **[SWIM](glossary.md#swim)** (A. Das, I. Gupta and A. Motivala, DSN 2002) asks for less: each
# member pings *one* other in every period, chosen at random. If no ack comes, others are asked to
# ping it, since it may be only the way that is broken. Here is that moment, on a network in which
# nothing gets from 0 to 1:

# %%
from labkit import Cut
from labkit.protocols.swim import Swim

cut = FaultPlan(At(Cut(0, 1), seconds=0.0))
sim = Simulation(partial(Swim, helpers=2), 4, 0, cut, record=True).run(4)
probe(sim, origin=0, serial=2, title="No ack from rank 1: ranks 2 and 3 ping it for rank 0")

# %% [markdown]
# Without an ack through helpers either, the member is *suspected*, and everybody is told. It has some
# seconds to refute: with a higher [incarnation](glossary.md#incarnation), which nobody but itself may
# give. News travel on the pings and acks that are sent anyway.
#
# **Predict.** 10 000 members, one crashes. How many messages a second does each send, and how long
# does it take until *all* know? (a) 2 and 20 s, (b) 14 and 5 s, (c) 2 and an hour.

# %%
sizes = (10, 100, 1000) + (() if fast else (10_000,))
measured = {
    "SWIM": [swim(n) for n in sizes],
    "all to all": [heartbeats(n) for n in sizes],
}
for here in measured["SWIM"]:
    print(
        f"{here.members:6,} members: {here.messages:.1f} messages a second each, noticed by the first "
        f"after {here.first:4.1f} s, by all after {here.last:4.1f} s"
    )

# %%
scales(measured, capacity=25_000, title="SWIM costs each member the same, however many there are")

# %% [markdown]
# **Answer: (a).** The load of a member does not depend on n at all; the time grows with log n, since
# that is how long news take to reach all, and how long a suspicion waits for a refutation. Consul,
# Nomad and Uber's Ringpop run on it. For a training job with a few dozen hosts, listening to all is
# faster, and the suspicion of a *few* neighbours, told to all, is what most systems do.

# %% [markdown]
# ## ⤳ Gossip
#
# Why log n? A rumour spreads as an epidemic ([gossip](glossary.md#gossip)). Each of 500 members
# talks to a random one in every second: it tells what it knows (*push*), or asks for news (*pull*),
# or both (A. Demers and others, PODC 1987).
#
# **Predict.** Which is faster at the end, when nearly all know? (a) push, (b) pull, (c) equal.

# %%
from labkit.protocols.gossip import Averaging, Rumours

n = 500
heard_of_it = {}
for how in ("push", "pull", "push-pull"):
    spread = partial(Rumours, how=how, tired=float("inf"), begins={0: "fire"})
    sim = Simulation(spread, n, seed=0, record=True).run(15)
    heard_of_it[how] = [e.time for e in sim.events if e.name == "has heard fire"]
epidemic(heard_of_it, n, title="Pull ends faster than push, and both together are the fastest")

# %% [markdown]
# **Answer: (b).** At the end a push mostly hits those who know: of the share s that has not heard,
# s/e is left after a round. A pull by one who has not heard nearly always succeeds: s² is left.
#
# The same exchange computes. Two members meet and both take the mean of their values: after some
# periods everyone has the mean of all, and nobody has added anything up (M. Jelasity and others,
# TOCS 2005). Models have been trained that way: each worker averages its weights with a few others,
# and there is no all-reduce (X. Lian and others, NeurIPS 2017).

# %%
values = []
sim = Simulation(partial(Averaging, value={i: float(i) for i in range(n)}), n, seed=1).run(0.02)
for _ in range(12):
    values.append([node.value for node in sim.nodes.values()])
    sim.run(1.0)
converging(values, title="Everyone meets the mean, and nobody computes it")

# %% [markdown]
# ## Exercises
#
# ### Exercise hb.1 (2 points, 10 minutes; about 3 lines, reference runs in 0.1 s)
#
# A time-out is wrong when so many beats in a row are lost that the silence outlasts it.

# %% exercise="hb.1"

# %% [markdown]
# ### Exercise hb.2 (3 points, 15 minutes; about 5 lines, reference runs in 0.1 s)
#
# φ of a silence, if intervals are normally distributed. Beware: the probability is 0 in floating point
# from 38 deviations on, and log 0 is no number. Beyond 20 deviations z use the tail's own logarithm,
# ln P ≈ −z²/2 − ln(z·√(2π)).

# %% exercise="hb.2"

# %% [markdown]
# ### Exercise hb.3 (3 points, 10 minutes; about 2 lines, reference runs in 0.1 s)
#
# Who hangs? Each rank's beats carry a count: 2·step − 1 when it has come to the all-reduce of a step,
# 2·step when it has left it.

# %% exercise="hb.3"

# %% [markdown]
# ### Exercise hb.4 (3 points, 15 minutes; about 2 lines, reference runs in 0.1 s)
#
# What SWIM believes of a member: (incarnation, status), with status "alive", "suspect" or "faulty".
# News come late, twice, and in any order, and everybody must end with the same belief.

# %% exercise="hb.4"

# %% [markdown]
# ### Exercise hb.5 (3 points, 10 minutes; about 1 line, reference runs in 1 s)
#
# A budget. The check kills nodes and counts mistakes in a simulated network, for the setting that you
# choose from its figures.

# %% exercise="hb.5"

# %% [markdown]
# ## Summary
#
# - Silence proves nothing. A detector chooses between finding the dead late and suspecting the living.
# - T_D, T_MR and T_M say what it chose. Measure them on the machine, under load.
# - φ adapts to the network; a time-out that was tuned for it is as good until it changes.
# - A beat must say how far the *work* has come, and blame falls on who is behind, not on who waits.
# - Fence before going on: what is only suspected may still write.
# - All-to-all ends at some thousand members. SWIM's load is constant, its delay grows with log n.

# %% [markdown]
# ## Interview questions
#
# <details><summary>Why can no detector be both complete and accurate in an asynchronous network?</summary>
#
# A message may take arbitrarily long, so the silence of a slow process and of a dead one are the same
# observation for any finite time. If a detector could tell, consensus would be solvable with one
# crash, which Fischer, Lynch and Paterson (1985) exclude. Real systems assume that delays are bounded
# *most of the time* (T. Chandra and S. Toueg, JACM 1996).
# </details>
#
# <details><summary>Your time-out is 10 s, and beats go out every 5 s. What is wrong?</summary>
#
# One lost beat and a little delay make a mistake. The ratio says how many losses in a row are borne:
# with p the loss, mistakes come with p^k. Beat more often before you wait longer: it costs messages
# and not detection time.
# </details>
#
# <details><summary>All 512 ranks hang in an all-reduce. Which one do you look at?</summary>
#
# The one that has not entered it: compare the sequence numbers of collectives (the flight
# recorder), or stacks (py-spy on all hosts: 511 alike, one different). If all have entered, compare
# shapes and operations: that is [notebook 05](05_hangs_deadlocks_nans.ipynb). </details>
#
# <details><summary>A node is suspected, another takes over its work, and then the first one wakes up.
# How do you make that harmless?</summary>
#
# Fence it before the takeover (kill it, cut its power or its storage), or give each takeover a higher
# number that storage and peers check: a message with an older number is refused. Here views and terms
# are such numbers.
# </details>
#
# <details><summary>Why does SWIM suspect before it declares somebody faulty, and why need refutations
# an incarnation number?</summary>
#
# To give a slow member time to answer, so that one lost ping does not cost its place. Without a number
# nobody could say whether “alive” is newer than “suspect”; only the member itself may raise it, so an
# old “alive” on its way through the network refutes nothing.
# </details>

# %% [markdown]
# ## Next
#
# Rank 1 was behind, and so it was found. What if all ranks have come to the collective, and it does
# not end: other shapes, another order, or a gradient that is not a number? That is [05 Hangs,
# deadlocks, NaNs](05_hangs_deadlocks_nans.ipynb). The bug that stays in sight: the others have the
# state of a rank that dies, and nobody has it when all die at once. On the Evening route go on to
# [06 Checkpoints](06_checkpoints.ipynb), which begins there.
