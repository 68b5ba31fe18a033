"""The pictures of notebook 00: what an order makes of the messages, and what a check shows."""

import random
from functools import partial

import pytest

from labkit import At, Cut, FaultPlan
from labkit.checks import Case
from labkit.grading import exercise
from labkit.protocols.swim import Swim
from labkit.simulator.simulation import Simulation
from labkit.views.space_time import backwards, messages, space_time
from labkit.views.spreading import probe
from labkit.views.suspects import suspects_picture
from labkit.views.token import HOME, token_picture

TOKEN, SUSPECTS = exercise.read("cluster.1"), exercise.read("cluster.2")
pass_token, suspects = (graded.define(graded.reference) for graded in (TOKEN, SUSPECTS))
LOG = [
    (0, "send", "a"),
    (2, "receive", "b"),
    (1, "receive", "a"),
    (0, "send", "lost"),
    (1, "send", "b"),
    (2, "crash", None),
]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def arrows(figure):
    return [
        text.arrow_patch for axes in figure.axes for text in axes.texts if text.get_text() == ""
    ]


def test_a_message_that_is_lost_has_no_arrow():
    assert sorted(messages(LOG)) == [(0, 2), (4, 1)]
    assert len(arrows(space_time(LOG))) == 2


def test_where_it_was_going_a_cross_is_on_the_way_of_a_message_that_is_lost():
    (axes,) = space_time(LOG, lost={3: 1}).axes  # from rank 0, the first lane, to the second
    crosses = [dots.get_offsets()[0] for dots in axes.collections if dots.get_linewidth()[0] == 2]
    assert [(x > 3, 0 < line < 1) for x, line in crosses] == [(True, True)]


def test_a_lost_ping_of_swim_is_drawn_and_what_has_arrived_is_not():
    cut = FaultPlan(At(Cut(0, 1), seconds=0.0))
    sim = Simulation(partial(Swim, helpers=2), 4, 0, cut, record=True).run(4)
    (axes,) = probe(sim, origin=0, serial=2).axes
    assert sum(dots.get_linewidth()[0] == 2 for dots in axes.collections) == 1
    assert len(arrows(axes.figure)) == 8  # two requests, two pings, four acks


def test_what_arrives_before_it_is_sent_is_counted_and_stands_out():
    figure = space_time(LOG)
    assert figure.get_suptitle() == "1 of 2 messages arrive before they are sent"
    colours = [arrow.get_edgecolor() for arrow in arrows(figure)]
    assert len(set(colours)) == 2


def test_a_logical_clock_turns_every_arrow_forward():
    clock = [1, 4, 2, 2, 3, 5]
    assert backwards(LOG, clock).startswith("0 of 2")
    assert backwards(LOG, [1, 3, 2, 2, 3, 5]).startswith("1 of 2")  # equal is not after
    figure = space_time(LOG, places=clock)
    assert [t for t in texts(figure) if not t.startswith("rank")] == [str(n) for n in clock]


def test_the_suspects_of_a_known_incident():
    assert suspects(LOG, 5) == [0, 1, 2, 4]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("prop", SUSPECTS.properties, ids=lambda prop: prop.title)
def test_a_drawn_incident_keeps_each_rank_in_order_and_has_one_crash(prop, seed):
    log, crash = prop.draw(random.Random(seed))
    assert [kind for _, kind, _ in log].count("crash") == 1
    assert log[crash][1] == "crash"
    assert all(log[a][0] != log[b][0] or a < b for a, b in messages(log))


def test_the_picture_of_an_answer_names_the_missed_and_the_innocent():
    figure = suspects_picture([Case((LOG, 5), [0, 1, 2, 4], [0, 1, 3])])
    assert figure.get_suptitle() == "2 of 4 suspects found, 1 wrongly accused"
    said = texts(figure)
    assert (said.count("missed"), said.count("innocent"), said.count("crash")) == (2, 1, 1)
    assert suspects_picture([Case((LOG, 5), [0], None)]) is None


class Mailbox:
    """A worker whose left neighbour has sent these tokens already."""

    def __init__(self, rank, world_size, tokens):
        self.rank, self.world_size, self.tokens, self.sent = rank, world_size, tokens, []

    def receive(self, source):
        assert source == (self.rank - 1) % self.world_size
        return self.tokens.pop(0)

    def send(self, to, value):
        self.sent.append((to, value))


def test_the_token_as_one_rank_sees_it():
    worker = Mailbox(1, 3, [[0], [0, 1, 2, 0]])
    assert pass_token(worker, laps=2) == [0, 1, 2, 0, 1]
    assert worker.sent == [(2, [0, 1]), (2, [0, 1, 2, 0, 1])]


@pytest.mark.parametrize("home", [[0, 1, 0, 1], [0, 1], [1, "x", 0, 1, 0, 1, 0], None, 7])
def test_any_token_can_be_drawn(home):
    case = Case((2, 2), {HOME: [0, 1, 0, 1]}, {HOME: home})
    figure = token_picture([case, case])
    assert len(figure.axes) == 2
    assert "of 4 stamps" in figure.axes[0].get_title(loc="left")
