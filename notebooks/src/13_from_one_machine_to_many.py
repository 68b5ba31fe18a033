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
# # 13 From one machine to many
#
# Ten to nine, the first morning on the big cluster. The job that survived every kill on the laptop is
# submitted with eight nodes. At 11:02 one node loses its power. At 11:02 and a bit the scheduler, which
# means well, ends the other seven. The training could have gone on; nobody had told the scheduler.
#
# **Routes** All<br>
# **Time** 35 minutes, and 55 for the exercises (you may skip the parts marked ⤳)<br>
# **Before this** [11 Elastic restart](11_elastic_restart.ipynb)<br>
# **Afterwards you can** start the same workers by a fork server, `mpiexec`, `srun` or torchrun; say what
# each of them does by default when a node dies, and what you must tell it; repair a communicator of MPI
# yourself; and find out why a job that runs on one machine hangs on two.

# %% tags=["parameters"]
world_size = 4
backend = "auto"
device = "auto"
seed = 0
fast = False

# %% [markdown]
# ## One job, one fault
#
# Everything in this course starts workers with one command, `python -m labkit.worker --join
# HOST:PORT`. Who runs that command is a *launcher*. The job is the same everywhere, and so is the
# fault: in the middle of an [elastic](glossary.md#elastic) training the machine of rank 1 is gone.
#
# First on this machine, without a fault, for the weights.

# %%
from labkit import Cluster
from labkit.training.loop import train

job = {"model": "cnn", "steps": 40, "algorithm": "in_order"}
with Cluster(world_size, backend=backend, device=device, seed=seed) as cluster:
    calm = cluster.run(train, **job).wait(timeout=60)
calm.timeline(title=f"{job['steps']} steps, and nothing happens")

# %%
verdicts = {}


def survive(cluster, lose, place):
    """Trains while `lose()` takes rank 1's machine away; all ranks must be back for the last step."""
    run = cluster.run(train, elastic=True, minimum=world_size, **job)
    run.wait_step(10, timeout=60)
    lose()
    run.wait(timeout=100)
    same = {result["hash"] for result in run.results.values()} == {calm.results[0]["hash"]}
    verdicts[place] = same and len(run.results) == world_size
    print(f"{place}: all ranks at the end, same weights: {verdicts[place]}")
    return run


# %% [markdown]
# ## Hosts that are none
#
# A *network namespace* is a host as far as the network can tell: a card, an address, a cable. Linux
# makes one in a millisecond, and root may pull its cable. Nothing is closed then and nobody is told:
# that is what a lost machine looks like from the others. Only silence can say it, here after half a
# second of it.
#
# **Predict.** What do the survivors see first? (a) "connection closed by peer", (b) a heartbeat that
# does not come, (c) a time-out of Gloo.

# %% tags=["nbval-ignore-output"]
from labkit.runtime.launch.namespaces import why_not

picture = None
if reason := why_not():
    print(reason)
else:
    hosts = Cluster(world_size, backend="gloo", device="cpu", hosts="namespaces", silence=0.5,
                    max_restarts=2, seed=seed)  # fmt: skip
    with hosts as cluster:
        run = survive(cluster, lambda: cluster.link_down(1), "namespaces")
        picture = run.timeline(title="A cable is pulled: half a second of silence, then a new host")
picture

# %% [markdown]
# **Answer: (b).** A dead process has a kernel that closes its connections, in 30 ms. A dead machine has
# none. TCP would go on for minutes, and Gloo waits as long as its group was told to, half an hour unless
# you say otherwise.
#
# The new life of rank 1 is on another host: the old one may wake up, and what it says then must not
# count ([fencing](glossary.md#fencing)).
#
# ## Slurm, told what you want
#
# > **The textbook says** “The scheduler restarts failed jobs.” **Let us run it.**
#
# It does: the whole job. Three options leave the survivors alone.
#
# | without it | option |
# |---|---|
# | a lost node ends the job | `sbatch --no-kill` |
# | one dead task ends the step, by a signal to all others | `srun --kill-on-bad-exit=0` |
# | when the first task ends, the rest have so many seconds | `srun --wait=0` |
#
# `Cluster(launcher="slurm")` passes them. Below is a real Slurm: one controller and four slurmd's, all
# on this machine, with a key and ports of their own. `lose` kills a slurmd and everything that runs
# below it, and tells the controller, as a health check would.

# %% tags=["nbval-ignore-output"]
import runpy

slurm = runpy.run_path("../cluster/slurm/test-cluster")
missing = [name for name in slurm["NEEDED"] if not slurm["program"](name)]
picture = None
if missing:
    print(f"There is no {missing[0]} here, so the next cell shows a run of another machine.")
    print(f"To have it here: {slurm['PACKAGES']}")
else:
    with (
        slurm["running"]() as folder,
        slurm["allocated"](folder),
        Cluster(world_size, "gloo", "cpu", "slurm", max_restarts=4, seed=seed) as cluster,
    ):
        run = survive(cluster, lambda: slurm["lose"](folder, "n2"), "Slurm")
        nodes = [row["host"] for row in cluster.status().rows[:world_size]]
        print(f"ranks are on {', '.join(nodes)} at the end")
        picture = run.timeline(title="Node n2 is lost: its rank comes back on another node")

# %% tags=["nbval-ignore-output"]
from IPython.display import Image

picture or Image("../notebooks/pictures/13_slurm.png")

# %% [markdown]
# Slurm has not replaced anything: an allocation that loses a node is smaller from then on. The lab
# starts the next life of the rank by another `srun`, on the node that holds fewest ranks. The gap in the
# lane is a new Python that imports torch. The others could have trained on; they wait, because this job
# asks for all of its ranks (`minimum=world_size`).
#
# What if the *first* node dies, with the driver on it? Then nobody is left who could start anything,
# and `--no-kill` keeps Slurm from ending the job: it would stand there, empty, until its time is over.
# So the job's script leaves a guard on the last node, which requeues the job, and training goes on from
# its [checkpoint](glossary.md#checkpoint).
#
# **In real systems.** `#SBATCH --signal=TERM@60` gives every rank notice before the time limit, and
# Slurm sends the same signal before a preemption: the ranks complete their step, write a checkpoint, and
# leave. `cluster/slurm/notebook.sbatch` has it all.
#
# ## MPI, which gives up, and MPI, which does not
#
# The MPI standard has no word for a dead rank: by default it takes the whole job along
# (`MPI_ERRORS_ARE_FATAL`). Open MPI's ULFM asks to be told instead: `mpiexec --with-ft ulfm`. The lab's
# workers under it use no MPI at all, and survive as everywhere.
#
# Below only the process of rank 1 dies, since `mpiexec` has this one machine. With a host file it may be
# the whole host: the ranks on it are missed after three seconds of silence, and begin anew on another;
# `mpiexec` itself waits for the lost one for ever, and is ended.

# %% tags=["nbval-ignore-output"]
with Cluster(world_size, "gloo", "cpu", "mpi", max_restarts=2, seed=seed) as cluster:
    run = survive(cluster, lambda: cluster.kill(1), "MPI, the lab's own recovery")
run.timeline(title="Under mpiexec: the same picture, with a slower start of the next life")

# %% [markdown]
# ## ⤳ Revoke, shrink, agree
#
# And with MPI's own means? Four calls of ULFM do what this course has built: an error instead of a
# hang, `Revoke` to get everybody out (the neighbours know of the death, the rank opposite need
# not), `Shrink` to agree on the survivors, and `Agree` on one word, which is yes only if
# all say so.
#
# | ULFM | the lab |
# |---|---|
# | `MPI_ERR_PROC_FAILED` | `PeerLost` |
# | `Revoke` | the failure detector's word to every group ([04](04_heartbeats.ipynb)) |
# | `Shrink` | a view, agreed on by majority ([09](09_raft_electing_a_coordinator.ipynb)), and `regroup()` |
# | `Agree` | a step counts once all have applied it ([11](11_elastic_restart.ipynb)) |

# %%
program = """
import os, signal
import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD.Dup()
for handle in (MPI.COMM_WORLD, comm):
    handle.Set_errhandler(MPI.ERRORS_RETURN)      # tell me, do not end me
rank, size, step = comm.Get_rank(), comm.Get_size(), 0
mine, total = np.ones(1000), np.empty(1000)
while step < 20:
    if step == 10 and rank == 1 and comm.Get_size() == size:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        comm.Allreduce(mine, total)
        step += 1
    except MPI.Exception:
        comm.Revoke()                             # everybody out, also who waits for somebody else
        comm = MPI.Intracomm(comm.Shrink())       # agreed: these are left
        comm.Set_errhandler(MPI.ERRORS_RETURN)
        steps = np.array([step])
        comm.Allreduce(MPI.IN_PLACE, steps, MPI.MIN)
        step = int(steps[0])                      # from here, what some have done twice
left = comm.Get_size()
right = comm.Agree(int(total[0] == left))         # agreed: the same word at all, whoever dies now
if comm.Get_rank() == 0:
    print(f"{size - left} of {size} died, {left} did all {step} steps: {bool(right)}", flush=True)
os._exit(0)                                       # MPI_Finalize waits for the dead, at times for ever
"""

# %%
import os
import subprocess
import sys

from labkit.runtime.launch.mpi import find_mpiexec, for_mpiexec

options = [
    "-n",
    str(max(world_size, 2)),
    "--oversubscribe",
    "--bind-to",
    "none",
    "--with-ft",
    "ulfm",
]
mpiexec = [find_mpiexec(), *options, sys.executable, "-c", program]
done = subprocess.run(
    mpiexec, env=for_mpiexec(os.environ), capture_output=True, text=True, timeout=60
)
print(done.stdout.strip().splitlines()[-1])

# %% [markdown]
# One rank died and the others did all steps. (In an `Allreduce` Open MPI tells everybody of the death:
# here it ends without `Revoke`, too. A ring of `Sendrecv` without it hangs: the neighbours have left,
# and the others wait for them.) What MPI does not give: somebody who starts a new rank 1, a state for
# it, and a majority. `Shrink` believes whoever cannot be reached to be dead; in a network
# that is cut in two, both halves shrink, and both go on.
#
# ## Why it hangs on two machines
#
# The three causes that every mailing list knows, and what the lab does about them:
#
# 1. **A host's own name means 127.0.1.1** (Debian writes it into `/etc/hosts`). A rank that tells the
#    others to meet it there tells each of them to talk to itself. The lab's workers advertise the
#    address of their *route to the driver*: an address that has been used is one that works.
# 2. **Two network cards**, and the library takes the wrong one. Gloo and NCCL get the card that has
#    that address (`GLOO_SOCKET_IFNAME`, `NCCL_SOCKET_IFNAME`), unless you have set them.
# 3. **A firewall** between the nodes, open for ssh alone. `labkit doctor` cannot see that from here.

# %%
from labkit.runtime.address import route_to

print("this machine reaches itself at", route_to("127.0.0.1"), "and not by its name")

# %% [markdown]
# ## Clocks
#
# The timelines above are drawn from events that each rank stamps itself, with a clock that begins at its
# host's boot. Between two machines that clock may be months apart. The driver asks each worker a few
# times what time it is, takes the quickest answer, and puts its events where they belong; `status()`
# shows the offset where there is one. (Cristian, 1989: half of the way there and back, give or take the
# other half.)
#
# ## Who does what when a node dies

# %% tags=["nbval-ignore-output"]
for place, verdict in verdicts.items():
    print(f"{place:<28} same weights as without a fault: {verdict}")

# %% [markdown]
# | launcher | by default | told to | starts the next life |
# |---|---|---|---|
# | fork server, namespaces | the others are told, or hear nothing | | the lab, in milliseconds |
# | `mpiexec` | the job ends | `--with-ft ulfm` | the lab, by another `mpiexec` |
# | `srun` | the step ends, the job ends | `--no-kill --kill-on-bad-exit=0 --wait=0` | the lab, by another `srun` |
# | torchrun | the agent ends *all* of its workers and starts them anew | one agent a rank | the agent |
# | Kubernetes | the pod starts anew | a StatefulSet, `/progress` as its liveness probe | Kubernetes |
#
# ## Exercises
#
# ### Exercise hosts.1 (4 points, 15 minutes; about 10 lines, reference runs in 0.1 s)
#
# An allocation that loses a node is smaller from then on. Who starts where? Whoever sits on a node that is
# still there stays: a rank that moves needs a new Python, and its state from somebody else.

# %% exercise="hosts.1"

# %% [markdown]
# ### Exercise hosts.2 (3 points, 15 minutes; about 7 lines, reference runs in 0.1 s)
#
# Rank 0 closes a connection, on this host. Rank 5 hears silence, on another. Which came first? You have a
# stamp of each, and a few questions that one host has asked the other. Sometimes nobody knows, and then
# that is the answer.

# %% exercise="hosts.2"

# %% [markdown]
# ### Exercise hosts.3 (4 points, 25 minutes; about 12 lines, reference runs in 0.1 s)
#
# The morning from the beginning of this notebook, with the logs of all hosts. Everybody remembers that the
# scheduler has ended the job. Name what went wrong first, and on which host. The picture of the check puts
# the clocks right for you; your function must do that itself.

# %% exercise="hosts.3"

# %% [markdown]
# ## Summary
#
# - One command starts a worker; who runs it is a detail that the job need not know.
# - A dead process closes its connections, a dead machine does not: only silence tells.
# - Schedulers are built to end jobs cleanly. To survive a node you must forbid them to help.
# - ULFM gives MPI an error, a way out and an agreement; not a majority, nor a replacement.
# - Advertise the address that has worked. Ask for progress, not for health.
#
# ## Interview questions
#
# <details><summary>Your job on Slurm ends when one of sixteen nodes dies, though your framework is
# elastic. What do you look at?</summary>
# Whether the allocation was made with --no-kill, and the step with --kill-on-bad-exit=0 and --wait=0. By
# default the loss of a node ends the job, and the first bad exit of a task ends the step.</details>
#
# <details><summary>A rank is SIGKILLed: the others know within 30 ms. Its machine loses power: they know
# after minutes. Why?</summary>
# The kernel of a killed process closes its sockets, and the peers read an end of file. Without power there
# is no kernel; TCP finds out by retransmissions that time out. Heartbeats with a deadline of your own are
# the only quick sign.</details>
#
# <details><summary>torchrun restarts your workers when one of them dies. Why may that cost more than
# the death?</summary>
# An agent ends all of its workers, and with them what they had in memory: all go back to the last
# checkpoint. With one agent for each rank only the dead one starts anew, and its state comes from a
# neighbour.</details>
#
# <details><summary>What does MPI_Comm_revoke do that an error code does not?</summary>
# Only ranks that talk to the dead one are sure to get the error. The others may wait for
# somebody who has left it. Revoke interrupts them, too.</details>
#
# <details><summary>Why is a liveness probe on a TCP port worse than none?</summary>
# A rank that hangs in a collective still accepts connections: the probe says that all is well, and you
# believe it.</details>
#
# ## Next
#
# [18 Chaos](18_chaos.ipynb): everything at once. What this notebook leaves open: every rank here waits for
# the slowest, and on many machines there is always one that is slow today.
