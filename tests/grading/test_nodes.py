"""A student's protocol in a jail: driven by the grader's simulator, a process for each life."""

from functools import partial

import pytest

from labkit.faults import At, FaultPlan, Restart
from labkit.grading.calls import StudentError
from labkit.grading.inside.channel import Garbled
from labkit.grading.jail import Cell, JailError
from labkit.grading.nodes import MOST_EFFECTS, blamed_on, lives_of
from labkit.simulator.simulation import Simulation

COUNTS = """
import builtins
from labkit.protocols.effects import Persist, Protocol, Record, SetTimer

kept = []

class Counts(Protocol):
    def __init__(self, me, members, context, stored):
        super().__init__(me, members, context, stored)
        self.durable = stored.get("count", 0)
        builtins.lives = getattr(builtins, "lives", 0) + 1
        kept.append(me)

    @property
    def leads(self):
        return self.me == 1

    def on_start(self):
        yield SetTimer("tick", 1 + self.context.random.random(), "key")

    def on_tick(self, key):
        self.durable += 1
        yield Persist(count=self.durable)
        yield Record("note", "has", count=self.durable, now=self.context.now,
                     lives=builtins.lives, kept=len(kept))
        yield SetTimer("tick", 1 + self.context.random.random(), key)
"""


def notes(sim):
    return [(e.rank, e.data) for e in sim.events if e.kind == "note"]


def run(factory):
    plan = FaultPlan(At(Restart(1), seconds=3.0))
    return Simulation(factory, 2, seed=5, faults=plan, record=True).run(8.0)


def cell(body, name="Node"):
    source = f"""
from labkit.protocols.effects import *
from labkit.protocols.raft.messages import Vote
class {name}(Protocol):
    def on_start(self):
        {body}
"""
    return Cell("raft.2", source, name)


def test_it_runs_as_it_does_in_a_notebook(zygote):
    """The same timers, random numbers, disks and leader; and nothing outlives a crash."""
    names = {"__name__": "cell"}
    exec(COUNTS, names)
    here = run(names["Counts"])

    with zygote.jail(Cell("raft.2", COUNTS, "Counts"), seconds=10, ranks=3) as jailed:
        there = run(lives_of(jailed))

    assert there.leader() == here.leader() == 1
    assert there.stored == here.stored
    common = ("count", "now")
    assert [[d[k] for k in common] for _, d in notes(there)] == [
        [d[k] for k in common] for _, d in notes(here)
    ]
    assert len(notes(there)) > 6
    assert {(d["lives"], d["kept"]) for _, d in notes(there)} == {(1, 1)}


def test_there_are_as_many_lives_as_processes(best):
    with (
        best.jail(Cell("raft.2", COUNTS, "Counts"), seconds=10, ranks=2) as jailed,
        pytest.raises(JailError, match="more lives"),
        blamed_on(jailed),
    ):
        run(lives_of(jailed))


@pytest.mark.parametrize(
    ("body", "error", "sentence"),
    [
        ("yield 3", StudentError, "3 is not an effect"),
        ("yield SetTimer('x', -1.0)", StudentError, "in the past"),
        (f"yield from [CancelTimer('x')] * {MOST_EFFECTS + 1}", StudentError, "may be"),
        ("yield Broadcast((0,) * 600, Vote(1, True))", StudentError, "may be"),
        ("yield Send(77, Vote(1, True))", StudentError, "no such node"),
        ("yield Persist(log=Splice(9, ()))", StudentError, "leaves a gap"),
        ("yield SetTimer('nothing', 0.1)", StudentError, "on_nothing"),
        ("yield Send(0, 'hello')", Garbled, "Send.message cannot be str"),
        ("yield SetTimer('x', float('inf'))", Garbled, "not finite"),
        ("raise ValueError('mine')", StudentError, "mine"),
        ("return object()", StudentError, "not iterable"),
    ],
)
def test_what_no_simulator_can_perform_is_the_answers_error(best, body, error, sentence):
    with (
        best.jail(cell(body), seconds=10) as jailed,
        pytest.raises(error, match=sentence),
        blamed_on(jailed),
    ):
        Simulation(lives_of(jailed), 1, seed=1).run(1.0)


def test_a_node_in_this_process_raises_as_it_is():
    def broken(*arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), blamed_on(broken):
        Simulation(partial(broken), 1, seed=1).run(1.0)
