"""Rules on errors and the end of restart storms. Cases 11, 13, 14 and 55."""

from __future__ import annotations

import pytest

from labkit.runtime.restarts import Failure, GiveUp, Restart, Restarts


def failing(cause: str, time: float = 0.0, rank: int = 1, step: int | None = 5) -> Failure:
    return Failure(rank, f"host{rank}", cause, time, step)


@pytest.mark.case(11)
def test_an_exception_is_restarted_and_counted() -> None:
    """Case 11. The first restart of a rank does not wait."""
    restarts = Restarts(limit=2)
    assert restarts.decide(failing("ValueError: bad batch")) == Restart(0.0)
    assert restarts.decide(failing("SIGSEGV", 700.0)) == Restart(0.0)
    end = restarts.decide(failing("KeyError: 'x'", 1400.0))
    assert end == GiveUp(
        "no further restart: 2 restarts are used up. First, rank 1 on host1 failed after step 5: "
        "ValueError: bad batch. Last, rank 1 on host1 failed after step 5: KeyError: 'x'"
    )


def test_where_each_rank_has_an_agent_restarts_are_counted_for_each() -> None:
    """What the one has used up is still there for the other."""
    restarts = Restarts(limit=1, each=True)
    assert restarts.decide(failing("SIGKILL")) == Restart(0.0)
    assert restarts.decide(failing("SIGKILL", rank=2)) == Restart(0.0)
    end = restarts.decide(failing("SIGKILL", 700.0, rank=2))
    assert isinstance(end, GiveUp)
    assert "1 restarts of rank 2 are used up" in end.why


@pytest.mark.case(13)
@pytest.mark.parametrize(
    "cause",
    [
        "MemoryError: ",
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB",
        "RuntimeError: CUDA error: out of memory",
        "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory: std::bad_alloc",
    ],
)
def test_too_little_memory_is_not_tried_again(cause: str) -> None:
    """Case 13."""
    restarts = Restarts()
    end = restarts.decide(failing(cause))
    assert isinstance(end, GiveUp)
    assert cause in end.why
    assert "smaller batch" in end.why
    assert not restarts.excluded


@pytest.mark.parametrize(
    "cause",
    [
        "AcceleratorError: CUDA error: device-side assert triggered",
        "RuntimeError: CUDA error: uncorrectable ECC error encountered",
        "NVRM: Xid 79: GPU has fallen off the bus",
    ],
)
def test_a_broken_device_excludes_its_host_from_then_on(cause: str) -> None:
    restarts = Restarts()
    assert restarts.decide(failing(cause)) == Restart(0.0, frozenset({"host1"}))
    later = restarts.decide(failing("SIGKILL", 1.0, rank=2))
    assert later == Restart(0.0, frozenset({"host1"}))


@pytest.mark.case(14)
def test_a_crash_at_every_start_ends_soon() -> None:
    """Case 14. Whichever rank it is: nobody gets on."""
    restarts = Restarts(cycles=3)
    for time in range(3):
        cause = f"ImportError: number {time}"
        assert isinstance(restarts.decide(failing(cause, time, time, step=None)), Restart)
    end = restarts.decide(failing("ImportError: number 3", 3.0, step=None))
    assert isinstance(end, GiveUp)
    assert (
        "3 restarts in a row came to no step. First, rank 0 on host0 failed before its first"
        in (end.why)
    )
    assert end.why.endswith("number 3")


def test_a_step_between_two_failures_is_progress() -> None:
    restarts = Restarts(cycles=1, limit=100)
    for time in range(20):
        step = None if time % 2 else 1
        assert isinstance(restarts.decide(failing("SIGKILL", time, step=step)), Restart)


@pytest.mark.case(55)
def test_a_flapping_rank_waits_longer_and_longer_until_it_has_been_well() -> None:
    """Case 55: killed every 2 s. The others are not made to wait for its sake."""
    restarts = Restarts(limit=100, longest=10.0)
    waits = [restarts.decide(failing("SIGKILL", 2.0 * n)).after for n in range(7)]  # type: ignore
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert restarts.decide(failing("SIGKILL", 13.0, rank=2)) == Restart(0.0)
    assert restarts.decide(failing("SIGKILL", 12.0 + restarts.forget)) == Restart(0.0)
    assert restarts.decide(failing("SIGKILL", 13.0 + restarts.forget)) == Restart(1.0)
