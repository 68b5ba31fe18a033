"""Every shard by two ranks: who dies costs no work, who computes something else is named.

Most ranks are threads over a memory link, as in test_training; the last tests are real processes.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import Died, World, training
from test_training import plain as plain  # a fixture

from labkit import At, Cluster, CorruptWeights, FaultPlan, Kill, PoisonGradient, RunError
from labkit.training import exact as exact_sums
from labkit.training import loop, train
from labkit.training.redundant import (
    RedundantBuckets,
    SilentCorruption,
    arbiter,
    differing,
    first_with,
    outvoted,
)
from labkit.training.sampler import SHARDS

LAST = 3  # the step, counted from 0, in which something happens
redundant = partial(training, redundancy=2)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch, plain: None) -> Counter[tuple[int, int]]:
    """How often each (step, shard) was computed, by all ranks together."""
    counts: Counter[tuple[int, int]] = Counter()
    lock = threading.Lock()

    def counted(seed: int, step: int, shard: int) -> None:
        with lock:
            counts[step, shard] += 1

    torch.use_deterministic_algorithms(True)  # one switch for all threads
    monkeypatch.setattr(exact_sums, "deterministic", lambda on: on)
    monkeypatch.setattr(loop, "randomness", counted)
    yield counts
    torch.use_deterministic_algorithms(False)


def undisturbed() -> str:
    return World(1).run(partial(training, exact=True))[0]["hash"]


def in_step(monkeypatch: pytest.MonkeyPatch, method: str, strike: Callable[..., None]) -> None:
    """`strike(buckets, rank)` before this method of the buckets, in step LAST."""
    original = getattr(RedundantBuckets, method)

    def struck(self: Any, *arguments: Any, **named: Any) -> Any:
        # `next_step` is ahead by one after `begin`
        if self.next_step - (method != "begin") == LAST:
            strike(self, self.group.members[self.group.rank])
        return original(self, *arguments, **named)

    monkeypatch.setattr(RedundantBuckets, method, struck)


# -- who has what


TABLE = [{0: 5, 1: 6}, {1: 6, 2: 7}, {2: 8, 0: 5}]


def test_the_first_copy_counts_and_a_third_rank_decides_between_two_that_differ() -> None:
    assert [first_with(TABLE, shard) for shard in range(3)] == [0, 0, 1]
    assert differing(TABLE) == [2]
    assert arbiter(TABLE, 2) == 0
    assert outvoted(TABLE, 2) == ([1, 2], False)
    TABLE[0][2] = 7
    assert outvoted(TABLE, 2) == ([2], True)
    assert arbiter(TABLE, 2) is None


# -- training, threads as ranks


@pytest.mark.parametrize("size", [1, 2, 3, 4, 9])
def test_the_weights_are_those_of_exact_sums(size: int, computed: Counter[Any]) -> None:
    results = World(size).run(redundant)
    twice = Counter(computed)
    assert {result["hash"] for result in results.values()} == {undisturbed()}
    assert set(twice.values()) == {1 if size == 1 else 2}
    assert len(twice) == 6 * SHARDS


def test_a_death_in_the_sum_costs_no_work(
    computed: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collective is done again by the survivors, who still have all rows."""

    def dies(buckets: Any, rank: int) -> None:
        if rank == 2:
            raise Died

    in_step(monkeypatch, "wait", dies)
    results = World(4).run(partial(redundant, on_loss="continue"))
    once = Counter(computed)
    assert isinstance(results.pop(2), Died)
    assert {result["hash"] for result in results.values()} == {undisturbed()}
    assert set(once.values()) == {2}


def test_a_death_before_the_sum_leaves_one_copy_and_nothing_to_do_again(
    computed: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who hears of it before it has begun the step finds the copies of the others."""

    def dies(buckets: Any, rank: int) -> None:
        if rank == 2:
            raise Died

    in_step(monkeypatch, "begin", dies)
    results = World(4).run(partial(redundant, on_loss="continue"))
    counts = [computed[LAST, shard] for shard in range(SHARDS)]
    assert isinstance(results.pop(2), Died)
    assert {result["hash"] for result in results.values()} == {undisturbed()}
    assert set(counts) <= {1, 2}


def test_what_two_neighbours_take_with_them_is_computed_again(
    computed: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 2 and 3 the share of 2 is lost: two survivors compute it, as always."""

    def die(buckets: Any, rank: int) -> None:
        if rank in (2, 3):
            raise Died

    in_step(monkeypatch, "wait", die)
    results = World(4).run(partial(redundant, on_loss="continue"))
    counts = [computed[LAST, shard] for shard in range(SHARDS)]
    assert [results.pop(rank).__class__ for rank in (2, 3)] == [Died, Died]
    assert {result["hash"] for result in results.values()} == {undisturbed()}
    assert counts == [2, 2, 2, 2, 4, 4, 2, 2]


def test_what_was_computed_for_a_step_that_another_has_applied_is_dropped(
    computed: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rank 0 applies the step, and rank 2 dies before rank 1 has its sum."""
    applied = threading.Event()
    world = World(3, tell_at_once=False)

    def at_step(worker: Any, step: int) -> None:
        if (worker.rank, step) == (0, LAST + 1):
            applied.set()

    def held(buckets: Any, rank: int) -> None:
        if rank == 1:
            buckets.group.all_reduce_async = broken(buckets.group, applied, world)

    def dies(buckets: Any, *words: int) -> None:
        begin(buckets, *words)
        if buckets.next_step == LAST + 2 and buckets.group.view.number == 1:
            assert buckets.group.members[buckets.group.rank] != 1
            if buckets.group.members[buckets.group.rank] == 2:
                raise Died

    begin = RedundantBuckets.begin
    in_step(monkeypatch, "wait", held)
    monkeypatch.setattr(RedundantBuckets, "begin", dies)
    results = world.run(partial(redundant, on_loss="continue"), at_step=at_step)
    assert isinstance(results.pop(2), Died)
    assert {result["hash"] for result in results.values()} == {undisturbed()}


def broken(group: Any, applied: threading.Event, world: World) -> Callable[..., Any]:
    """An all-reduce that takes part, and never says so to its caller: he hears of a death."""
    start = type(group).all_reduce_async

    def all_reduce_async(tensor: torch.Tensor, **named: Any) -> Any:
        pending = start(group, tensor, **named)
        real = pending.wait

        def wait() -> Any:
            real()
            assert applied.wait(30)
            world.tell(2)
            group.abandon()
            raise loop.PeerLost(2, group.view)

        pending.wait = wait
        return pending

    return all_reduce_async


# -- silent corruption


def flip(buckets: Any, bit: int = 23) -> None:
    """One bit of a weight."""
    with torch.no_grad():
        weight = buckets.buckets[-1].parameters[0].view(-1)[:1]
        weight.copy_((weight.view(torch.int32) ^ (1 << bit)).view(torch.float32))


def test_a_rank_with_a_wrong_weight_is_named_by_all_and_nothing_is_applied(
    computed: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_step(monkeypatch, "begin", lambda buckets, rank: flip(buckets) if rank == 1 else None)
    applied: list[int] = []
    results = World(4).run(redundant, at_step=lambda worker, step: applied.append(step))
    for error in results.values():
        assert isinstance(error, SilentCorruption)
        assert error.ranks == (1,)
        assert error.shards == (0, 1, 2, 3)
        assert f"step {LAST + 1}: results differ, rank 1 in shards 0, 1, 2, 3" in str(error)
    assert max(applied) == LAST


def test_one_wrong_gradient_is_named_by_its_rank_and_shard(
    computed: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but a third rank's copy tells which of the two is wrong."""

    def poison(buckets: Any, rank: int) -> None:
        if rank == 3 and 6 in buckets.kept.rows:
            buckets.kept.rows[6][17] += 1

    in_step(monkeypatch, "_show", poison)
    for error in World(4).run(redundant).values():
        assert isinstance(error, SilentCorruption)
        assert (error.ranks, error.shards) == ((3,), (6,))
    assert computed[LAST, 6] == 3
    assert computed[LAST, 5] == 2


def test_of_two_ranks_nobody_can_tell_who_is_wrong(
    computed: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_step(monkeypatch, "begin", lambda buckets, rank: flip(buckets) if rank == 1 else None)
    error = World(2).run(redundant)[0]
    assert error.ranks == (0, 1)
    assert "with three ranks or more a third would decide" in str(error)


def test_where_nobody_can_tell_nobody_goes_on(
    computed: Counter[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two are wrong, each in its own way, and a right one is under suspicion with them."""

    def strike(buckets: Any, rank: int) -> None:
        if rank in (1, 2):
            flip(buckets, bit=22 + rank)

    in_step(monkeypatch, "begin", strike)
    for error in World(4).run(partial(redundant, on_loss="continue")).values():
        assert isinstance(error, SilentCorruption)
        assert error.ranks == (0, 1, 2)
        assert not error.sure


def test_a_gradient_that_does_not_fit_is_still_named(
    computed: Counter[Any],
) -> None:
    results = World(2).run(partial(redundant, exact=exact_sums.Exact(62)))
    assert all(isinstance(error, OverflowError) for error in results.values())
    assert "use Exact(fraction_bits=" in str(results[0])


def test_more_than_two_is_refused() -> None:
    error = World(1).run(partial(training, redundancy=3))[0]
    assert "redundancy=3: a shard is computed by 1 rank or by 2" in str(error)


# -- real processes


@pytest.fixture
def cluster_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    monkeypatch.setenv("LABKIT_RUNS", str(tmp_path))
    return partial(Cluster, backend="gloo", device="cpu")


@pytest.mark.slow
def test_killed_ranks_leave_the_weights_of_a_run_without_deaths(
    cluster_of: Callable[..., Cluster],
) -> None:
    steps = {"steps": 10, "redundancy": 2}
    with cluster_of(1) as cluster:
        alone = cluster.run(train, **steps).wait(timeout=60).results[0]
    plan = FaultPlan(
        At(Kill(2), point="ring.reduce_scatter", count=10), At(Kill(0), point="forward", count=26)
    )
    with cluster_of(4) as cluster:
        run = cluster.run(train, faults=plan, on_loss="continue", **steps).wait(timeout=60)
    assert sorted(run.deaths) == [0, 2]
    assert {result["hash"] for result in run.results.values()} == {alone["hash"]}


@pytest.mark.case(27)
@pytest.mark.slow
@pytest.mark.parametrize("fault", [CorruptWeights(1), PoisonGradient(1, value=1e-3)])
def test_what_corrupts_a_real_rank_is_found_in_its_step(
    cluster_of: Callable[..., Cluster], fault: Any
) -> None:
    """27: silent corruption of one replica's weights, or of one gradient."""
    with cluster_of(3) as cluster:
        run = cluster.run(train, steps=8, redundancy=2, faults=FaultPlan(At(fault, step=3)))
        with pytest.raises(Exception, match="step 4: results differ, rank 1 in shards"):
            run.wait(timeout=60)


@pytest.fixture
def alone(cluster_of: Callable[..., Cluster]) -> str:
    """The weights after ten steps without a fault."""
    with cluster_of(1) as cluster:
        return str(cluster.run(train, steps=10, redundancy=2).wait(timeout=60).results[0]["hash"])


def hashes(run: Any) -> dict[int, str]:
    return {rank: result["hash"] for rank, result in run.results.items()}


def steps_of(run: Any, rank: int) -> list[int]:
    return [e.data["step"] for e in run.events if e.kind == "step" and e.rank == rank]


@pytest.mark.case(27)
@pytest.mark.slow
@pytest.mark.parametrize("fault", [CorruptWeights(1), PoisonGradient(1, value=1e-3)])
def test_only_the_rank_that_is_named_has_another_life(
    cluster_of: Callable[..., Cluster], tmp_path: Path, alone: str, fault: Any
) -> None:
    """27. The others go on from where they are, and do no step again. What a rank with wrong
    weights has taken part in writing is followed by another checkpoint."""
    kept = tmp_path / "kept"
    job: dict[str, Any] = {"steps": 10, "redundancy": 2, "elastic": True, "minimum": 4}
    with cluster_of(4, max_restarts=4) as cluster:
        job |= {"checkpoints": kept, "every": 6, "faults": FaultPlan(At(fault, step=6))}
        run = cluster.run(train, **job).wait(timeout=60)
    assert hashes(run) == dict.fromkeys(range(4), alone)
    assert set(run.deaths) == {1}
    assert [e.name for e in run.events if "anew" in e.name] == ["the launcher starts rank 1 anew"]
    told = [e.name for e in run.events if "SilentCorruption" in e.name]
    assert len(told) == 1
    assert "rank 1 raised SilentCorruption after step 6: step 7: results differ" in told[0]
    for rank in (0, 2, 3):
        assert steps_of(run, rank) == list(range(1, 11))
    made = [path.name.split(".")[1] for path in sorted(kept.glob("*.manifest"))]
    assert made[-1] == "step-7"


@pytest.mark.slow
def test_without_another_life_the_others_go_on_and_the_end_names_it(
    cluster_of: Callable[..., Cluster], alone: str
) -> None:
    plan = FaultPlan(At(CorruptWeights(1), step=3))
    with cluster_of(4) as cluster:
        run = cluster.run(train, steps=10, redundancy=2, on_loss="continue", faults=plan)
        with pytest.raises(RunError, match="step 4: results differ, rank 1 in shards"):
            run.wait(timeout=60)
    assert hashes(run) == dict.fromkeys((0, 2, 3), alone)


def with_a_bad_adder(worker: Any, bad: int, **job: Any) -> dict[str, Any]:
    """The processor of rank `bad` is broken: another life of it is no better."""
    if worker.rank == bad:
        right = exact_sums.Exact.encode
        exact_sums.Exact.encode = lambda self, values: right(self, values) + 1
    return train(worker, **job)


@pytest.mark.slow
def test_a_rank_that_is_named_again_and_again_is_left_out(
    cluster_of: Callable[..., Cluster],
) -> None:
    job: dict[str, Any] = {"steps": 300, "redundancy": 2}
    with cluster_of(3, max_restarts=1) as cluster:
        quiet = cluster.run(train, **job).wait(timeout=60).results[0]["hash"]
        run = cluster.run(with_a_bad_adder, bad=1, elastic=True, **job)
        with pytest.raises(RunError, match="rank 1 raised SilentCorruption"):
            run.wait(timeout=60)
    assert [e.name for e in run.events if "anew" in e.name] == ["the launcher starts rank 1 anew"]
    assert any("1 restarts are used up" in e.name for e in run.events)
    assert hashes(run) == {0: quiet, 2: quiet}
