"""What the explorer says of a bug: its seed, what is left of the schedule, a story of ten lines, a
picture, and a line of code that shows it again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from matplotlib.text import Text

from labkit.simulator.explore import Exploration, describe, explore
from labkit.simulator.invariants import Violation
from labkit.simulator.mutants import applied
from labkit.simulator.mutants.raft import RAFT
from labkit.simulator.scenario import play
from labkit.simulator.scenarios import PLAIN_RAFT
from labkit.simulator.schedule import Schedule
from labkit.views.history import history

BUG = next(mutant for mutant in RAFT if mutant.id == "m05")
ONLY = PLAIN_RAFT._replace(
    invariants=tuple(i for i in PLAIN_RAFT.invariants if i.name == BUG.killer)
)


def explored(processes: int) -> Exploration:
    with applied(BUG):
        return explore(ONLY, seeds=range(BUG.seed - 3, BUG.seed + 5), processes=processes)


@pytest.fixture(scope="module")
def found() -> Iterator[Exploration]:
    return explored(processes=2)


def test_a_bug_is_told_with_its_seed_what_is_left_of_its_schedule_and_ten_lines(
    found: Exploration,
) -> None:
    finding = found.finding
    assert finding is not None
    assert (finding.name, finding.found_with.seed) == (BUG.killer, BUG.seed)
    assert len(finding.schedule.plan) < len(finding.found_with.plan)
    assert len(finding.story.splitlines()) <= 10
    assert finding.story.endswith(finding.what)
    for part in (f"seed {BUG.seed}", finding.story, finding.replay):
        assert part in str(finding)


def test_the_line_of_code_shows_it_again_with_the_bug_and_only_with_it(found: Exploration) -> None:
    """A schedule is plain data: it needs neither the seed's draw nor the run that found it."""
    import labkit.faults

    finding = found.finding
    assert finding is not None
    names = {**vars(labkit.faults), "play": play, "PLAIN_RAFT": ONLY, "Schedule": Schedule}
    names |= {"Network": type(finding.schedule.network)}
    with applied(BUG), pytest.raises(Violation) as again:
        eval(finding.replay, names)
    assert again.value.what == finding.what
    eval(finding.replay, names)


def test_its_picture_has_every_rank_and_ends_where_the_invariant_breaks(found: Exploration) -> None:
    finding = found.finding
    assert finding is not None
    past = history(finding.without_clients())
    assert past.ranks == list(range(finding.schedule.n))
    assert f"{past.origin + past.end:.4f} s" in finding.story.splitlines()[-2]
    words = [text.get_text() for text in finding.timeline().findobj(Text)]
    assert f"{finding.name} breaks: {finding.what}" in words


def test_the_number_of_processes_changes_nothing(found: Exploration) -> None:
    alone = explored(processes=1)
    assert (alone.failing[0], alone.finding) == (found.failing[0], found.finding)


def test_a_schedule_that_breaks_nothing_is_no_finding() -> None:
    with pytest.raises(ValueError, match="breaks no invariant of PLAIN_RAFT"):
        describe(ONLY, Schedule(seed=1, seconds=1.0))
