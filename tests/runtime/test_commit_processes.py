"""Checkpoints of real ranks, and SIGKILL at every named point of one: there is the old one or the
new one, whole; the others do not wait for the dead; and the next one is written.

Fault cases 29 to 31 and 40 among many ranks, 33 (the coordinator dies after all have voted yes), 34
(a participant dies after its yes), 35 (a decision that comes twice), 32 (one rank cannot write).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from outside import wait_until

import labkit
from labkit import At, Cluster, Kill
from labkit.checkpoint import Store

RANKS, STEPS = 4, 4

PARTICIPANT = ("begin", "prepare", "vote", "voted", "decided", "finish")
COORDINATOR = ("ask", "propose", "decide", "abort")
WRITER = ("snapshot", "copy", "write", "fsync", "rename", "fsync_dir", "durable")
MANIFEST = ("prepared", "commit", "committed")
TIDIED = ("latest", "forget", "collect")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


class End(NamedTuple):
    """Of a rank: the checkpoint that it found in the last view, and the last one that it made."""

    found: int
    last: int


def save_each_step(worker: Any, folder: str, until: int, refuses: tuple[int, int] | None) -> End:
    """From the newest checkpoint on, with one for each step. In `refuses` = (rank, n) the n-th
    checkpoint of this rank fails."""
    import torch

    from labkit.checkpoint import CheckpointFailed, Keep, Store
    from labkit.checkpoint.background import Checkpointer
    from labkit.checkpoint.policy import EverySteps
    from labkit.view import PeerLost

    class Weights:
        """All of them say how many steps they have behind them."""

        values = torch.zeros(400)

        def state_dict(self) -> dict[str, Any]:
            return {"values": self.values}

    weights = Weights()
    store = Store(folder, Keep(last=1))
    write, attempts = store.prepare, iter(range(1, 1000))

    def prepare(*arguments: Any) -> Any:
        if refuses == (worker.rank, next(attempts)):
            raise CheckpointFailed("the disk is full")
        return write(*arguments)

    store.prepare = prepare  # type: ignore[method-assign]

    def newest() -> int:
        """In a new view, once all in it have finished what they were at."""
        nonlocal checkpointer
        known = checkpointer.newest if checkpointer else None
        committer = worker.committer(store)
        if checkpointer is None:
            pieces = {"model": weights}
            checkpointer = Checkpointer(store, pieces, EverySteps(1), committer, *committer.place)
        checkpointer.move(committer, *committer.place)
        worker.group.all_reduce(torch.zeros(1))
        loaded = store.load(*committer.place, reshard=True)  # compares every checksum
        step = loaded.manifest.step if loaded else 0
        assert loaded is None or loaded.state["model"]["values"].eq(step).all(), "a mixture"
        assert loaded is None or all("cut anew" in remark for remark in loaded.remarks)
        assert known is None or known.step <= step, "what was committed is lost"
        return step

    def next_step() -> bool:
        """Until the last checkpoint is a good one: a coordinator that was slow to answer its peers
        may have lost its office in the middle of it."""
        assert checkpointer is not None
        if step < until:
            return True
        checkpointer.wait()
        assert step < until + 20, "no checkpoint is committed any more"
        return checkpointer.newest is None or checkpointer.newest.step < step

    checkpointer: Checkpointer | None = None
    step = found = -1
    while step < 0 or next_step():
        try:
            if step < 0:
                step = found = newest()
            worker.group.all_reduce(torch.zeros(1))
            step += 1
            weights.values.fill_(step)
            worker.step(step)
            assert checkpointer is not None
            checkpointer.step(step)
        except CheckpointFailed:
            pass
        except PeerLost:
            worker.regroup()
            step = -1
    assert checkpointer is not None
    checkpointer.close()
    return End(found, step)


def kill_at(
    cluster: Cluster,
    folder: Path,
    point: str,
    victim: int,
    count: int = 1,
    on: int | None = None,
    refuses: tuple[int, int] | None = None,
) -> bool:
    """A run in which the victim dies there; the others go on, and write on. False when it never
    came there: a manifest is written by whoever is first."""
    before = newest_step(folder)
    plan = [At(Kill(victim), point=point, count=count, on=on)]
    until = before + STEPS
    run = cluster.run(
        save_each_step, faults=plan, folder=str(folder), until=until, refuses=refuses
    ).wait()
    what = f"rank {victim} killed at visit {count} of {point}: {run.results} {run.errors}"
    ends = list(run.results.values())
    assert len(ends) == RANKS - len(run.deaths), what
    assert {*ends} == {ends[0]}, f"{what}: all of them find the same"
    assert before <= ends[0].found <= until <= ends[0].last, what
    assert newest_step(folder) == ends[0].last, what
    if victim < RANKS and run.deaths:
        assert sorted(run.deaths) == [victim], what
        cluster.restart(victim)
    return bool(run.deaths)


def newest_step(folder: Path) -> int:
    store = Store(folder)
    made = store.manifests()
    if not made:
        return 0
    loaded = store.load(0, made[-1].world_size)
    assert loaded is not None
    assert loaded.remarks == []
    return loaded.manifest.step


def all_is_tidy(cluster: Cluster, folder: Path) -> None:
    """After one more run of all ranks, nothing of all that is left behind."""
    before = newest_step(folder)
    until = before + 2
    run = cluster.run(save_each_step, folder=str(folder), until=until, refuses=None).wait()
    assert {end.found for end in run.results.values()} == {before}
    (made,) = Store(folder).manifests()
    assert made.world_size == RANKS
    left = {path.name for path in folder.iterdir()}
    assert left == {made.name, *(file.name for file in made.files), "latest", "lock"}
    assert (folder / "latest").read_text() == made.name + "\n"


@pytest.mark.case(30, 34)
def test_a_participant_is_killed(cluster: Cluster, folder: Path) -> None:
    """34 among them: it dies when it has voted."""
    for point in ("commit.prepare", "commit.vote", "commit.voted", "commit.decided"):
        assert kill_at(cluster, folder, point, victim=2, count=2)
    assert kill_at(cluster, folder, "checkpoint.rename", victim=2, count=3)
    all_is_tidy(cluster, folder)


@pytest.mark.case(31, 40)
def test_the_first_rank_is_killed_which_tidies_up(cluster: Cluster, folder: Path) -> None:
    """31, 40."""
    for point in ("checkpoint.latest", "checkpoint.forget", "checkpoint.collect"):
        assert kill_at(cluster, folder, point, victim=0)
    all_is_tidy(cluster, folder)


@pytest.mark.case(33)
def test_33_the_coordinator_is_killed_which_is_a_rank(cluster: Cluster, folder: Path) -> None:
    cluster.kill(cluster.witness)
    for point in ("commit.ask", "commit.propose", "commit.decide"):
        assert kill_at(cluster, folder, point, victim=leader(cluster), count=2)
    all_is_tidy(cluster, folder)


def test_the_witness_is_killed_which_coordinates(cluster: Cluster, folder: Path) -> None:
    """At what a rank does just then. No rank is lost, so nobody aborts for a view's sake."""
    for point in ("commit.begin", "commit.vote", "commit.finish"):
        kill_at(cluster, folder, point, victim=cluster.witness, count=2, on=2)
        cluster.restart(cluster.witness)
    all_is_tidy(cluster, folder)


@pytest.mark.case(32)
def test_32_one_rank_cannot_write_and_training_goes_on(cluster: Cluster, folder: Path) -> None:
    job = {"folder": str(folder), "until": 4}
    run = cluster.run(save_each_step, refuses=(1, 2), **job).wait()
    assert {end.last for end in run.results.values()} == {4}
    assert newest_step(folder) == 4
    all_is_tidy(cluster, folder)


def leader(cluster: Cluster) -> int:
    """The rank that leads the views, which the witness does not, once all ranks vote: those that
    are back from the dead are voters a little later, and without the witness one of two that vote
    is no majority."""

    def leads(worker: Any) -> bool:
        views = worker._host.membership.node.machine
        return bool(views.leads and set(range(worker.world_size)) <= set(views.voters))

    leading: list[int] = []

    def found() -> bool:
        results = cluster.run(leads).wait().results
        leading[:] = [rank for rank, answer in results.items() if answer]
        return len(leading) == 1

    wait_until(found, "nobody leads")
    return leading[0]


def grid(protocol: str, names: Sequence[str], visits: int) -> list[tuple[str, int]]:
    return [(f"{protocol}.{name}", count) for name in names for count in range(1, 1 + visits)]


GRID = {
    "participant": grid("commit", PARTICIPANT, 2),
    "write": grid("checkpoint", WRITER[:4], 4),
    "rename": grid("checkpoint", WRITER[4:], 4),
    "manifest": grid("checkpoint", MANIFEST, 2),
}
"""In pieces of a minute or two: at which visit of which point."""
TIDIES = {"tidied": grid("checkpoint", TIDIED, 4)}
COORDINATES = {"coordinator": [*grid("commit", COORDINATOR[:3], 3), ("commit.abort", 1)]}


def test_the_grid_has_every_point_that_has_a_name() -> None:
    """But for uploads, of which nothing is visible before the last: tests/checkpoint/test_tiers."""
    sources = "".join(file.read_text() for file in Path(labkit.__file__).parent.rglob("*.py"))
    named = set(re.findall(r'"((?:checkpoint|commit)\.[a-z]\w+)"', sources))
    tried = {point for piece in (GRID | TIDIES | COORDINATES).values() for point, _ in piece}
    assert tried == named - {"checkpoint.upload"}


@pytest.mark.case(29)
@pytest.mark.long
@pytest.mark.parametrize(
    ("victim", "piece"), [*((rank, name) for name in GRID for rank in (0, 2)), (0, "tidied")]
)
def test_killed_anywhere(cluster: Cluster, folder: Path, victim: int, piece: str) -> None:
    points = (GRID | TIDIES)[piece]
    struck = [kill_at(cluster, folder, point, victim, count) for point, count in points]
    assert sum(struck) > 0.8 * len(points)
    all_is_tidy(cluster, folder)


@pytest.mark.case(33)
@pytest.mark.long
@pytest.mark.parametrize("piece", [*COORDINATES, *GRID])
def test_the_coordinator_is_killed_anywhere(cluster: Cluster, folder: Path, piece: str) -> None:
    """As a rank that leads, at its own points and at a participant's."""
    cluster.kill(cluster.witness)
    for point, count in (GRID | COORDINATES)[piece]:
        first = leader(cluster)
        refuses = ((first + 1) % RANKS, 2) if point == "commit.abort" else None
        kill_at(cluster, folder, point, first, count, refuses=refuses)
    all_is_tidy(cluster, folder)


@pytest.mark.long
@pytest.mark.parametrize("piece", GRID)
def test_the_witness_is_killed_anywhere(cluster: Cluster, folder: Path, piece: str) -> None:
    """At what a rank does then, but for points to which it does not come without the witness."""
    for point, count in GRID[piece]:
        if point not in ("commit.prepare", "commit.voted", "commit.decided"):
            kill_at(cluster, folder, point, cluster.witness, count, on=2)
            cluster.restart(cluster.witness)
    all_is_tidy(cluster, folder)
