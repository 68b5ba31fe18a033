"""Planned faults that a rank strikes by itself."""

from labkit.faults import At, Kill
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
