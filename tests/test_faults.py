"""Planned faults that a rank strikes by itself."""

import threading

from labkit.faults import At, Fault, Kill, Pause
from labkit.faults.points import Armed


def struck(*steps: int) -> list[int]:
    """At which of these steps of one life a fault strikes that is planned for step 20."""
    at: list[int] = []
    armed = Armed((At(Kill(0), step=20),), lambda fault: at.append(step))
    for step in steps:
        armed.reach(step=step)
    return at


def test_a_fault_planned_for_a_step_strikes_there_once() -> None:
    assert struck(18, 19, 20, 21) == [20]
    assert struck(19, 20, 15, 19, 20) == [20]


def test_a_rank_that_takes_the_others_state_and_passes_over_the_step_is_struck_behind_it() -> None:
    assert struck(18, 19, 21, 22) == [21]


def test_a_new_life_is_not_struck_for_what_was_done_before_it() -> None:
    assert struck(21, 22) == []


def test_while_a_fault_is_being_struck_other_threads_pass_the_point_and_strike_theirs() -> None:
    """To strike takes until the driver has said that the fault is in force."""
    struck: list[Fault] = []

    def strike(fault: Fault) -> None:
        struck.append(fault)
        if isinstance(fault, Pause):
            other = threading.Thread(target=armed.reach, args=("disk.fsync",))
            other.start()
            other.join(10.0)

    first, second = Pause(0, seconds=1.0), Kill(0)
    plan = At(first, point="disk.fsync"), At(second, point="disk.fsync", count=2)
    armed = Armed(plan, strike)

    armed.reach("disk.fsync")

    assert struck == [first, second]
