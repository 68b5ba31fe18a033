"""A rank's state in its neighbour's memory: real ranks are killed, and their states found again."""

from __future__ import annotations

from typing import Any

import pytest
from outside import wait_until

from labkit import At, Cluster, Kill


def keep_each_step(worker: Any, until: int, size: int) -> list[tuple[int, list[int]] | None]:
    """Each rank has a state of its own, which all replicate after each step. What is found after
    each death: the step, and whose states this rank has; None when they are not in memory."""
    import torch

    from labkit.checkpoint.replica import Replicas
    from labkit.view import PeerLost

    def state(rank: int, step: int) -> dict[str, Any]:
        values = torch.full((1000 + rank,), float(1000 * rank + step))
        return {"values": values, "half": values[:3].half(), "step": step, "pair": (rank, "x")}

    replicas, group = Replicas(), worker.group
    found_at_all: list[tuple[int, list[int]] | None] = []
    step, settled = 0, False
    while step < until:
        try:
            if not settled:
                found = replicas.recover(group)
                step, settled = (found.step if found else 0), True
                for rank, there in found.states.items() if found else ():
                    assert repr(there) == repr(state(rank, step))
                    assert torch.equal(there["values"], state(rank, step)["values"])
                found_at_all.append((step, sorted(found.states)) if found else None)
            step += 1
            group.all_reduce(worker.tensor(4))  # a step of training
            replicas.save(group, step, state(worker.rank, step))
            worker.step(step)
        except PeerLost:
            group, settled = worker.regroup(minimum=size), False
    return found_at_all


def test_a_replacement_gets_what_the_dead_one_had(cluster: Cluster) -> None:
    plan = [At(Kill(2), step=5)]
    run = cluster.run(keep_each_step, faults=plan, elastic=True, until=9, size=4)
    wait_until(lambda: 2 in run.deaths, "rank 2 lives")
    cluster.restart(2)
    results = run.wait().results
    step = results[2][0][0]
    assert step in (4, 5)
    assert results == {rank: [None, (step, [rank])] for rank in (0, 1, 3)} | {2: [(step, [2])]}


def leave_after_three(worker: Any, leaving: tuple[int, ...]) -> Any:
    """What those who stay have of the others' states."""
    import torch

    from labkit.checkpoint.replica import Replicas

    replicas, group = Replicas(), worker.group
    for step in (1, 2, 3):
        replicas.save(group, step, {"values": torch.full((100,), float(worker.rank + step))})
    replicas.bequeath(group, leaves=worker.rank in leaving)
    if worker.rank in leaving:
        return None
    group = worker.regroup()
    found = {r: state["values"][0].item() for r, state in replicas.recover(group).states.items()}
    again = [state["values"][0].item() for state in replicas.recover_all(group)]
    return found, again


def test_any_number_may_leave_who_bequeath_their_states(cluster: Cluster) -> None:
    results = cluster.run(leave_after_three, leaving=(1, 2)).wait().results
    for rank in (0, 3):
        found, again = results[rank]
        assert found == {r: r + 3.0 for r in (rank, 1, 2)}
        assert again == [3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("dead", "found"),
    [
        ((2,), {0: [0], 1: [1], 3: [2, 3]}),
        ((1, 3), {0: [0, 3], 2: [1, 2]}),
        ((1, 2), None),  # the one who had the state of 1 is gone as well: the disk is left
    ],
)
def test_whoever_is_left_has_the_states_of_all(
    cluster: Cluster, dead: tuple[int, ...], found: dict[int, list[int]] | None
) -> None:
    """Killed before the sixth exchange, in which the others lose them."""
    plan = [At(Kill(rank), point="checkpoint.copy", count=6) for rank in dead]
    size = 4 - len(dead)
    results = cluster.run(keep_each_step, faults=plan, until=9, size=size).wait().results
    left = [rank for rank in range(4) if rank not in dead]
    last = {rank: results[rank][-1] for rank in left}
    if found is None:
        assert last == dict.fromkeys(left)
    else:
        (step,) = {end[0] for end in last.values() if end is not None}
        assert step in (4, 5)
        assert last == {rank: (step, found[rank]) for rank in left}
