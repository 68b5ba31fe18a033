"""Pictures of failure detectors, of opinions, and of many members."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from pictures import assert_legible, gids, with_gid, words

from labkit.events import Event
from labkit.faults import At, Cut, FaultPlan, Kill, Pause, Restart
from labkit.protocols.heartbeat import Heartbeat, PhiAccrual
from labkit.protocols.swim import Swim
from labkit.simulator.network import Network
from labkit.simulator.qos import QoS, arrivals
from labkit.simulator.scale import Scale
from labkit.simulator.simulation import Simulation
from labkit.views.detectors import mistakes_by_setting, phi_over_time, qos_table, trade_off
from labkit.views.opinions import opinions
from labkit.views.spreading import converging, epidemic, probe, scales


def quality(detection: float, mistakes: int, watched: float = 3600.0) -> QoS:
    return QoS((detection,), (0.02,) * mistakes, (10.0,) * max(0, mistakes - 1), watched)


def test_phi_is_drawn_with_its_beats_its_crash_and_its_suspicion() -> None:
    came = [at for at, _ in arrivals(Network(0.002, 0.03), 0.05, 60, Random(1))]
    figure = phi_over_time(came, PhiAccrual, 4.0, (3, 8), crash=3.0, title="φ grows")
    assert_legible(figure)
    assert gids(figure, "threshold") == ["threshold:3", "threshold:8"]
    (band,) = with_gid(figure, "suspicion")
    assert 3.0 < band.get_x() < 3.3
    assert len(with_gid(figure, "beats")[0].get_xdata()) == len(came)


def test_a_setting_without_a_mistake_is_hollow_and_stands_where_one_would_be() -> None:
    settings = {"100 ms": quality(0.08, 50), "400 ms": quality(0.38, 0)}
    figure = trade_off({"time-outs": settings, "φ": {"φ = 8": quality(0.2, 5)}}, title="Costs")
    assert_legible(figure)
    (right,) = with_gid(figure, "setting:time-outs:400 ms")
    (wrong,) = with_gid(figure, "setting:time-outs:100 ms")
    assert (right.get_ydata()[0], wrong.get_ydata()[0]) == (1.0, 50.0)
    assert right.get_markerfacecolor() == "#FFFFFF" != wrong.get_markerfacecolor()


def test_mistakes_by_setting_has_a_line_for_each_condition_and_a_place_for_none() -> None:
    settings = {"30 ms": quality(0.02, 900), "60 ms": quality(0.05, 3), "90 ms": quality(0.08, 0)}
    calm = {setting: quality(0.02, 0) for setting in settings}
    figure = mistakes_by_setting({"at rest": calm, "under load": settings}, title="Under load")
    assert_legible(figure)
    assert "none" in [text for text, _ in words(figure)]
    (line,) = with_gid(figure, "line:under load")
    assert list(line.get_ydata()) == pytest.approx([900.0, 3.0, 1.0])


def test_the_table_says_never_where_there_was_no_mistake() -> None:
    head, some, none = qos_table({"a": quality(0.1, 2), "b": quality(0.2, 0)}).splitlines()
    assert head.split() == ["T_D", "worst", "T_MR", "T_M", "λ_M", "per", "h", "P_A"]
    assert some.split()[1:3] == ["100", "ms"]
    assert "1.8e+03 s" in some
    assert "never" in none


def test_opinions_are_right_of_the_dead_and_mistakes_of_the_living() -> None:
    plan = FaultPlan(
        At(Kill(2), seconds=1.0), At(Restart(2), seconds=2.0), At(Pause(1, 0.6), seconds=3.0)
    )
    sim = Simulation(Heartbeat, 4, 1, plan, record=True).run(4.5)
    figure = opinions(sim, title="Who suspects whom")
    assert_legible(figure)
    assert gids(figure, "right") == ["right:0:2", "right:1:2", "right:3:2"]
    assert gids(figure, "mistake") == ["mistake:0:1", "mistake:2:1", "mistake:3:1"]
    assert gids(figure, "death") == ["death:2"]
    assert gids(figure, "paused") == ["paused:1"]


def test_a_suspicion_that_becomes_true_is_a_mistake_before() -> None:
    events = [
        *(Event(0.0, 0, rank, "start") for rank in (0, 1)),
        Event(1.0, 0, 0, "suspect", data={"peer": 1}),
        Event(2.0, 0, 1, "death", data={"signal": "SIGKILL"}),
        Event(3.0, 0, 0, "note"),
    ]
    figure = opinions(events)
    for gid, (begin, end) in {"mistake:0:1": (1, 2), "right:0:1": (2, 3)}.items():
        (bar,) = with_gid(figure, gid)
        box = bar.get_paths()[0].get_extents()
        assert (box.x0, box.x1) == (begin, end)


def test_who_suspects_a_rank_that_hangs_is_right() -> None:
    events = [
        *(Event(0.0, 0, rank, "start") for rank in (0, 1)),
        Event(2.0, 0, 0, "suspect", data={"peer": 1}),
        Event(3.0, 0, 1, "note"),
    ]
    assert gids(opinions(events), "mistake") == ["mistake:0:1"]
    assert gids(opinions(events, hanging={1: 1.0}), "right") == ["right:0:1"]


def test_scales_have_both_sides_and_a_line_that_one_core_cannot_pass() -> None:
    swim = [Scale("SWIM", n, n, (5.0, 6.0, t), 2.0) for n, t in ((10, 7.0), (1000, 20.0))]
    beats = [Scale("beats", n, 30, (4.0, 4.1), n - 1.0) for n in (10, 1000)]
    figure = scales({"SWIM": swim, "all to all": beats}, capacity=25_000, title="Both")
    assert_legible(figure)
    assert gids(figure, "last") == ["last:SWIM", "last:all to all"]
    assert gids(figure, "capacity") == ["capacity"]


def test_an_epidemic_ends_with_everyone() -> None:
    heard = {"push": [0.1 * k for k in range(100)], "pull": [0.05 * k for k in range(100)]}
    figure = epidemic(heard, 100, title="News")
    assert_legible(figure)
    assert "push: 9.9" in [text for text, _ in words(figure)]


def test_values_converge_beside_the_law() -> None:
    values = [[(m - 50) * 0.55**k for m in range(100)] for k in range(6)]
    figure = converging(values, title="Mean")
    assert_legible(figure)
    (measured,) = with_gid(figure, "measured")
    assert measured.get_ydata()[1] / measured.get_ydata()[0] == pytest.approx(0.3025)


def test_a_probe_is_the_figure_of_the_paper() -> None:
    cut = FaultPlan(At(Cut(0, 1), seconds=0.0))
    sim = Simulation(partial(Swim, helpers=2), 4, 0, cut, record=True).run(4)
    figure = probe(sim, origin=0, serial=2, title="No ack")
    assert_legible(figure)
    said = sorted(text for text, _ in words(figure) if not text.startswith("rank"))
    assert said == ["2 × ping-req", "No ack", *["ack"] * 4, *["ping"] * 3]
