"""The lifelines of a transaction: what they show, not how they look."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

from labkit.faults import CrashAt, Partition, Restart
from labkit.protocols.three_phase_commit import ThreePhaseCommit
from labkit.protocols.two_phase_commit import two_phase_commit
from labkit.simulator.lifelines import lifelines
from labkit.simulator.simulation import Simulation
from labkit.simulator.transactions import Once
from labkit.views import commit
from labkit.views.commit import QUESTION, Arrow, Lifelines


def simulation(protocol: Any = two_phase_commit) -> Simulation:
    client = partial(Once, coordinators=(0,), clerks=(1, 2))
    return Simulation(protocol, 3, 1, clients={1000: client}, record=True).run(0.9)


def states(run: Lifelines, lane: int) -> list[str]:
    return [band.state for band in run.bands if band.lane == lane]


def test_a_lane_shows_what_the_disk_says() -> None:
    run = lifelines(simulation().run(2))
    assert run.names == ["coordinator", "rank 1", "rank 2"]
    assert states(run, 0) == ["working", "asking", "committed"]
    assert states(run, 1) == states(run, 2) == ["working", "in doubt", "committed"]
    for lane in range(3):
        bands = [band for band in run.bands if band.lane == lane]
        assert all(a.end == b.begin for a, b in pairwise(bands))


def test_arrows_are_the_messages_in_words_and_who_is_dead_gets_none() -> None:
    sim = simulation()
    sim.inject(CrashAt(0, 1))  # rank 1 alone is asked
    sim.run(2).inject(Restart(0))
    run = lifelines(sim.run(2))
    words = [(a.sender, a.to, a.word, a.received is None) for a in run.arrows]
    assert (0, 1, "prepare", False) in words
    assert (1, 0, "yes", True) in words
    assert (1, 0, QUESTION, True) in words
    assert (2, 1, "abort", False) in words
    assert states(run, 0) == ["working", "dead", "working"]
    assert states(run, 1) == ["working", "in doubt", "aborted"]
    assert [lane for lane, _ in run.crosses] == [0]
    assert [name for _, name in run.faults] == ["restart"]


def test_three_phases_have_a_state_more() -> None:
    sim = simulation(partial(ThreePhaseCommit, delay=0.02))
    sim.run_until(lambda sim: len(sim.node(0).uncertain) == 1, within=3)
    sim.inject(Partition(((0, 1), (2,))))
    run = lifelines(sim.run(2))
    assert states(run, 1) == ["working", "in doubt", "precommitted", "committed"]
    assert not any(arrow.sender == arrow.to for arrow in run.arrows)


def test_a_word_stands_beside_its_arrow_and_on_no_other_word() -> None:
    arrows = [Arrow(0, 1, t, t + 0.1, "prepare") for t in (0.3, 0.301, 0.302)]
    run = Lifelines(["a", "b"], [], arrows)
    figure = commit.lifelines(run, (0.0, 1.0), "three at once, room for two")
    written = [text.get_text().strip() for text in figure.axes[0].texts]
    assert written.count("prepare") == 2
    assert len(figure.axes[0].texts) == 3 + 2, "an arrow each"


def test_six_runs_stand_two_in_a_row_under_their_headings() -> None:
    run = lifelines(simulation().run(2))
    figure = commit.crashes({f"Q{q}": run for q in range(6)}, (0.9, 2.0), "all alike")
    assert [axes.get_title("left") for axes in figure.axes] == [f"Q{q}" for q in range(6)]
    legend = {text.get_text() for text in figure.texts}
    assert {"all alike", "in doubt", "committed", "nothing on the disk"} <= legend
    assert "aborted" not in legend, "only what there is"
