"""The kernel's half of the panels: what the browser is told, and what a click does."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labkit.events import DRIVER, Event, EventLog
from labkit.faults import (
    At,
    Cut,
    FaultPlan,
    Heal,
    Kill,
    LinkDown,
    LinkUp,
    Partition,
    Pause,
    Slow,
    describe,
)
from labkit.protocols.raft import Raft
from labkit.runtime.panel import ClusterStage
from labkit.runtime.spelling import spelled
from labkit.simulator.simulation import Simulation
from labkit.views.panel.knowledge import known_at
from labkit.views.panel.live import LivePanel
from labkit.views.panel.pace import Pace
from labkit.views.panel.script import Click, Script, line
from labkit.views.panel.sources import where
from labkit.views.panel.strip import Strip

ROOT = Path(__file__).resolve().parents[1]


def event(time: float, rank: int, kind: str, name: str = "", **data: Any) -> Event:
    return Event(time, round(1000 * time), rank, kind, name, 0, data)


def fault(time: float, what: Any) -> Event:
    return event(time, DRIVER, "fault", str(what), **describe(what))


def death(time: float, rank: int) -> Event:
    return Event(
        time, round(1000 * time), DRIVER, "death", "SIGKILL", 0, {"rank": rank, "signal": "SIGKILL"}
    )


def told(strip: Strip, now: float, *events: Event) -> dict[str, Any]:
    for each in events:
        strip.take(each)
    return strip.news(now, late=0.0)


def shares(frame: dict[str, Any], rank: int) -> dict[str, float]:
    """Seconds of each activity in bins of 0.1 s."""
    found: dict[str, float] = {}
    for lane, _, parts in frame["bins"]:
        for name, share in parts if lane == rank else ():
            found[name] = round(found.get(name, 0.0) + 0.1 * share, 4)
    return found


# -- the diagram


def test_what_each_rank_does_is_told_as_shares_of_bins() -> None:
    strip = Strip(range(2), 10.0, 0.1)
    frame = told(
        strip,
        10.4,
        event(10.0, 0, "begin", "computing"),
        event(10.15, 0, "end", "computing"),
        event(10.2, 0, "begin", "all_reduce"),
        event(10.35, 0, "end", "all_reduce"),
    )
    assert shares(frame, 0) == {"computing": 0.15, "all reduce": 0.15}
    assert shares(frame, 1) == {}


def test_a_span_that_is_open_goes_on_without_an_event() -> None:
    strip = Strip(range(1), 0.0, 0.1)
    first = told(strip, 0.25, event(0.0, 0, "begin", "computing"))
    assert shares(first, 0) == {"computing": 0.25}
    assert [bins[1] for bins in told(strip, 0.45)["bins"]] == [2, 3, 4], "2 was not complete"
    assert "bins" in told(strip, 0.5)


def test_waiting_for_the_dead_or_the_paused_is_no_communication() -> None:
    strip = Strip(range(2), 0.0, 0.1)
    strip.take(event(0.0, 0, "begin", "all_reduce"))
    assert shares(told(strip, 0.2, fault(0.2, Pause(1))), 0) == {"all reduce": 0.2}
    assert shares(told(strip, 0.4), 0) == {"waiting": 0.2}
    alone = event(0.4, 0, "view", "view 2 {0}", number=2, members=(0,))
    assert shares(told(strip, 0.7, alone), 0) == {"all reduce": 0.3}, "it counts on nobody else"


@pytest.mark.parametrize(
    ("cut", "end"),
    [
        (Partition(((0, 1), (2, 3))), event(0.4, DRIVER, "heal")),
        (LinkDown(1), fault(0.4, LinkUp(1))),
        (LinkDown(1), event(0.4, 1, "start", life=1)),
    ],
)
def test_waiting_for_who_is_cut_off_is_no_communication(cut: Any, end: Event) -> None:
    strip = Strip(range(4), 0.0, 0.1)
    strip.take(event(0.0, 0, "begin", "all_reduce"))
    assert shares(told(strip, 0.2, fault(0.2, cut)), 0) == {"all reduce": 0.2}
    assert shares(told(strip, 0.4, end), 0) == {"waiting": 0.2}
    frame = told(strip, 0.6)
    assert shares(frame, 0) == {"all reduce": 0.2}
    assert [(band["begin"], band["end"]) for band in frame["bands"]] == [(0.2, 0.4)]


def test_a_death_is_when_it_was_shot_and_a_view_is_named_once() -> None:
    strip = Strip(range(3), 0.0)
    marks = told(
        strip,
        1.0,
        fault(0.5, Kill(2)),
        death(0.53, 2),
        event(0.6, 0, "view", "view 2 {0,1}", number=2, members=(0, 1)),
        event(0.61, 1, "view", "view 2 {0,1}", number=2, members=(0, 1)),
    )["marks"]
    assert [(m["kind"], m["lane"], m["t"]) for m in marks] == [
        ("fault", 2, 0.5),
        ("death", 2, 0.5),
        ("view", 0, 0.6),
        ("view", 1, 0.61),
    ]
    assert [m["first"] for m in marks if m["kind"] == "view"] == [True, False]
    assert "marks" not in told(strip, 1.1), "told once"


def test_faults_that_last_are_bands_until_they_are_healed() -> None:
    strip = Strip(range(3), 0.0)
    assert told(strip, 1.0, fault(0.5, Cut(0, 1)))["bands"][0]["end"] is None
    healed = told(strip, 2.0, event(1.5, DRIVER, "heal"))["bands"]
    assert healed == [
        {"label": "Cut(source=0, target=1)", "ranks": [0, 1], "begin": 0.5, "end": 1.5}
    ]


def test_a_rank_is_slow_until_it_gets_another_speed() -> None:
    strip = Strip(range(3), 0.0)
    slower = [fault(0.5, Slow(0, 2.0)), fault(0.6, Slow(1, 2.0)), fault(1.0, Slow(0, 4.0))]
    frame = told(strip, 3.0, *slower, fault(2.0, Slow(0, 1.0)))
    spans = [(band["ranks"], band["begin"], band["end"]) for band in frame["bands"]]
    assert spans == [([0], 0.5, 1.0), ([1], 0.6, None), ([0], 1.0, 2.0)]
    assert [mark["label"] for mark in frame["marks"]] == ["Slow(rank=0, factor=1.0)"]


def test_messages_are_told_when_they_arrive_and_counted_when_they_are_many() -> None:
    strip = Strip(range(2), 0.0)
    sent = [event(0.1 + i / 1000, 0, "send", "hello", id=str(i), peer=1) for i in range(70)]
    got = [event(0.3 + i / 1000, 1, "receive", "hello", id=str(i), peer=0) for i in range(70)]
    frame = told(strip, 1.0, *sent, *got)
    assert len(frame["arrows"]) == 60
    assert frame["hidden"] == 10
    assert frame["arrows"][0][1:] == [0, 1, 0.1, 0.3, "hello"]
    assert strip.in_flight() == {}


def test_an_event_that_a_function_made_up_harms_no_panel() -> None:
    strip = Strip(range(2), 0.0)
    kinds = ("mark", "gone", "t", "advance_all", "band of my own")
    assert "marks" not in told(strip, 1.0, *(event(0.1, 0, kind, "mine") for kind in kinds))


def test_goodput_is_one_without_faults_and_falls_while_no_step_counts() -> None:
    pace = Pace()
    for step in range(1, 21):
        for rank in range(2):
            pace.take(event(0.1 * step, rank, "step", step=step))
    assert pace.goodput(2.0) == pytest.approx(1.0)
    pace.take(fault(2.0, Kill(1)))
    assert pace.goodput(4.0) == pytest.approx(0.5, abs=0.02)
    pace.take(event(4.0, 0, "step", step=20))  # done again: it counts once
    assert pace.done == 20


# -- clicks as code


def test_every_click_is_a_line_and_all_of_them_a_plan() -> None:
    before = SimpleNamespace(number=1, call="before", plan=FaultPlan())
    planned = FaultPlan(At(Slow(1, 2.0), step=5))
    run = SimpleNamespace(number=2, call="run = begin(faults=plan)", plan=planned)
    script = Script()
    assert script.plan() == script.lines() == ""
    script.clicks.append(Click(Kill(0), "run 1, step 7", before, 0.5))
    script.clicks.append(Click(Kill(2), "run 2, step 40", run, 1.234))
    script.clicks.append(Click(Partition(((1,), (0, 2, 3))), "run 2, step 52", run, 2.0))
    script.clicks.append(Click(Heal(), "between runs"))
    assert script.lines().splitlines()[1:] == [
        "cluster.kill(2)                    # run 2, step 40",
        "cluster.partition([1], [0, 2, 3])  # run 2, step 52",
        "cluster.heal()                     # between runs",
    ]
    names: dict[str, Any] = {"begin": lambda faults: faults}
    exec(script.plan(), names)
    struck = (At(Kill(2), seconds=1.23), At(Partition(((1,), (0, 2, 3))), seconds=2.0))
    assert names["run"].entries == planned.entries + struck, "those of its plan, and the clicks"


def test_a_run_is_spelled_as_it_was_started() -> None:
    """As far as an argument is plain; the others are named."""
    assert (
        spelled("train", True, {"steps": 30, "algorithm": "in_order", "widths": (8, 4)})
        == "run = cluster.run(train, elastic=True, steps=30, algorithm='in_order', widths=(8, 4), "
        "faults=plan)"
    )
    many = {"data": list(range(1000)), "model": object(), "rate": math.inf, "seed": 3}
    assert spelled("job", False, many) == (
        "run = cluster.run(job, seed=3, faults=plan)  # and data, model, rate, as before"
    )
    assert spelled("<lambda>", False, {}).startswith("# ")


def test_clicks_again_line_by_line() -> None:
    assert line(Slow(1, 4.0)) == "cluster.slow(1, 4.0)"
    assert line(Kill(0), "sim") == "sim.inject(Kill(rank=0))"


class Stage:
    """A cluster of three ranks and a witness that does nothing."""

    ranks = (0, 1, 2, 3)
    closed = False
    silence: float | None = None

    def __init__(self, *dead: int) -> None:
        self.dead = dead

    def listen(self, call: Any) -> None: ...
    def inject(self, fault: Any) -> None: ...
    def run(self) -> None: ...

    def rows(self) -> list[dict[str, Any]]:
        return [{"rank": rank, "alive": rank not in self.dead} for rank in self.ranks]


@pytest.mark.parametrize("silence", [None, 1.0])
def test_after_a_fault_that_closes_no_connection_it_says_whether_anybody_will_notice(
    silence: float | None,
) -> None:
    panel, said = LivePanel(Stage()), []
    panel.front.send = lambda message, buffers=None: said.append(message.get("text"))
    panel.stage.silence = silence
    waits = "the others wait" if silence is None else ""
    for act, words in (("pause", waits), ("resume", ""), ("cut off", waits), ("kill", "")):
        panel.inject(panel._fault(act, 1))
        last = next(text for text in reversed(said) if text is not None)
        assert words in last if words else last == ""
    panel.stage.closed = True
    panel.leave()


def test_a_random_fault_strikes_the_living_and_no_two_are_alike() -> None:
    panel = LivePanel(Stage(1))
    panel.tick(0.0)
    drawn = [panel._any_fault() for _ in range(20)]
    assert not [fault for fault in drawn if 1 in describe(fault)["ranks"]]
    assert len(set(map(str, drawn))) > 15
    panel.stage.dead = panel.stage.ranks
    panel.tick(0.1)
    with pytest.raises(RuntimeError, match="restart a rank first"):
        panel._any_fault()
    panel.stage.closed = True
    panel.leave()
    assert not panel.thread.is_alive()


def test_a_run_that_begins_while_the_last_ones_picture_is_drawn_begins_with_its_name() -> None:
    stage = Stage()
    stage.closed = True
    panel, said = LivePanel(stage), []
    panel.leave()
    panel.front.send = lambda message, buffers=None: said.append(message.get("frame", {}))
    panel.began = panel.strip.begin = 0.0

    def draw() -> Any:
        stage.run = lambda: following
        late = event(8.9, 0, "step", step=99)  # of the run before
        panel.fresh.append([late, *(event(9.1 + 0.1 * i, 0, "step", step=i) for i in range(5))])
        return SimpleNamespace(png=lambda: b"")

    first = SimpleNamespace(number=1, name="first", started=0.0, done=True, timeline=draw)
    following = SimpleNamespace(number=2, name="following", started=9.0, done=False)
    stage.run = lambda: first
    for now in (1.0, 8.0, 9.6, 10.0):
        panel.tick(now)
    frames = [frame for frame in said if "run" in frame or "steps" in frame]
    assert [frame["run"]["number"] for frame in frames] == [1, 2]
    assert "steps" in frames[1]
    assert panel.pace.done == 5, "a step of the run before is none of this one"


# -- the rows


def seat(rank: int, host: str) -> SimpleNamespace:
    view = SimpleNamespace(number=1)
    known = {"rank": rank, "host": host, "view": view, "pid": os.getpid(), "died": None, "step": 3}
    more = {"replaced": False, "heard": 0.0, "life": 0, "term": 1, "leader": 0, "state": "ready"}
    return SimpleNamespace(**known, **more)


def test_memory_is_that_of_this_machine_and_of_its_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()

    def nvidia_smi() -> dict[int, float]:
        asked.set()
        return {os.getpid(): 512.0}

    monkeypatch.setattr("labkit.runtime.panel.gpu_memory_mb", nvidia_smi)
    driver = SimpleNamespace(
        seats={0: seat(0, "here"), 1: seat(1, "there")},
        placement=SimpleNamespace(ranks=[SimpleNamespace(device="cuda:0")]),
        launcher=SimpleNamespace(here=lambda host: host == "here"),
        loop=SimpleNamespace(call_soon=lambda *_: None),
        broadcast=None,
        changed=threading.Lock(),
        in_force=[],
        closed=False,
        silence=None,
    )
    stage = ClusterStage(driver)  # type: ignore[arg-type]
    for _ in driver.seats:
        stage._pinged = 0.0
        stage.rows()
    assert asked.wait(10)
    stage.gpus.join()
    near, far = stage.rows()
    assert near["memory"] > 1
    assert near["gpu"] == 512
    assert (far["memory"], far["gpu"]) == (None, None), "that number is another process here"


# -- the line that recorded an event


@pytest.mark.parametrize(
    ("happened", "file", "text"),
    [
        (event(0, 1, "view", "view 2 {0}", number=2, members=(0,)), "runtime/host.py", '"view"'),
        (fault(0, Kill(2)), "runtime/inject.py", '"fault"'),
        (event(0, 0, "step", step=3), "runtime/context.py", '"step"'),
        (event(0, 0, "lost", peer=2, view=1), "runtime/host.py", '"lost"'),
        (event(0, 0, "begin", "restoring", step=3), "training/state.py", '"restoring"'),
    ],
)
def test_an_event_is_traced_to_the_line_that_recorded_it(
    happened: Event, file: str, text: str
) -> None:
    said = where(happened)
    assert said.count("labkit/") == 1, said
    place = said.split("recorded at ")[1].split("  ")[0]
    path, number = place.split(":")
    assert path == f"labkit/{file}"
    assert text in (ROOT / path).read_text().splitlines()[int(number) - 1]


def test_a_message_of_a_protocol_is_traced_to_who_sends_it() -> None:
    said = where(event(0, 0, "send", "RequestVote", id="x", peer=1, bytes=0), simulated=True)
    assert "labkit/protocols/raft/election.py" in said
    helped = event(0, 0, "send", "AppendEntries", id="x", peer=1, bytes=0)
    assert "labkit/protocols/raft/log.py" in where(helped, simulated=True)
    assert "outside" in where(event(0, 0, "unheard of"))


def test_a_note_names_the_line_that_wrote_it() -> None:
    """Whatever it says: its words may come from anywhere."""
    told: list[Event] = []
    log = EventLog(stream=told.append)
    log.record("note", "a remark")
    with log.span("computing"):
        pass
    assert where(told[0]).startswith("note a remark: recorded at tests/test_panel.py:")
    assert where(told[0]).endswith('log.record("note", "a remark")')
    assert "at" not in told[1].data


# -- who knew what


def test_between_a_death_and_the_news_of_it_nobody_knows() -> None:
    story = [
        *(event(0.0, r, "view", "view 1 {0,1,2}", number=1, members=(0, 1, 2)) for r in range(3)),
        fault(1.0, Kill(2)),
        event(1.1, 0, "lost", peer=2, view=1),
        death(1.2, 2),
        event(1.3, 0, "view", "view 2 {0,1}", number=2, members=(0, 1)),
    ]

    def knows(time: float) -> dict[int, str]:
        return {row["rank"]: row["knows"] for row in known_at(story, time)}

    assert set(knows(0.9).values()) == {""}
    assert knows(1.05) == {
        0: "does not know that rank 2 is dead",
        1: "does not know that rank 2 is dead",
        2: "",
        -1: "",
    }
    assert knows(1.15)[0] == "has missed rank 2"
    assert knows(1.25)[-1] == "has been told of the death of rank 2"
    assert knows(1.35)[0] == ""
    assert knows(1.35)[1] == "does not know that rank 2 is dead"
    states = {row["rank"]: row["state"] for row in known_at(story, 1.05)}
    assert states[2] == "dead"


def test_before_the_first_view_of_a_run_they_know_the_one_in_which_it_began() -> None:
    story = [event(0.5, 0, "step", step=1), fault(1.0, Kill(1)), death(1.2, 1)]
    rows = {row["rank"]: row for row in known_at(story, 1.1, 1, (0, 1))}
    assert rows[0]["view"] == rows[1]["view"] == "1 {0,1}"
    assert rows[0]["knows"] == "does not know that rank 1 is dead"
    early = {row["rank"]: row for row in known_at(story, 0.1, 1, (0, 1))}
    assert early.keys() == rows.keys(), "a row for all, whatever the slider showed before"
    assert early[0]["step"] is None
    assert [row["rank"] for row in known_at(story, 0.1)] == [0, DRIVER], "also who is silent yet"


# -- a simulation, led by hand


@pytest.fixture
def panel() -> Iterator[Any]:
    panel = Simulation(Raft, n=3, seed=5).panel()
    yield panel
    panel.close()


def test_back_is_the_same_way_with_one_step_less(panel: Any) -> None:
    traces = []
    for _ in range(60):
        traces.append(panel.sim.recorder.hash())
        panel.step()
    panel.click("inject", Kill(panel.sim.leader() or 0))
    panel.step()
    for expected in [None, *reversed(traces)]:
        panel.back()
        if expected is not None:
            assert panel.sim.recorder.hash() == expected
    assert panel.steps == 0
    assert not panel.clicks


def test_the_code_of_the_clicks_leads_to_the_same_place(panel: Any) -> None:
    while not panel.sim.flying():
        panel.step()
    panel.click("drop", panel.sim.flying()[0].number)
    panel.click("deliver", panel.sim.flying()[-1].number)
    for _ in range(30):
        panel.step()
    panel.click("inject", Kill(1))
    panel.step()
    assert "from labkit.protocols.raft import Raft\n" in panel.code
    names: dict[str, Any] = {}
    exec(panel.code, names)
    assert names["sim"].recorder.hash() == panel.sim.recorder.hash()


def test_a_message_that_was_dropped_never_arrives(panel: Any) -> None:
    while not panel.sim.flying():
        panel.step()
    number, source, target, _, message = panel.sim.flying()[0]
    panel.click("drop", number)
    with pytest.raises(ValueError, match="not on its way"):
        panel.sim.deliver(number)
    for _ in range(20):
        panel.step()
    heard = [x for x in panel.sim.recorder.trace if x.what == "message" and x.detail is message]
    assert (source, target) not in [(x.peer, x.node) for x in heard]


def test_a_message_that_is_delivered_comes_before_all_others(panel: Any) -> None:
    while len(panel.sim.flying()) < 2:
        panel.step()
    last = panel.sim.flying()[-1]
    panel.click("deliver", last.number)
    arrived = [x for x in panel.sim.recorder.trace if x.what == "message"]
    assert (arrived[-1].peer, arrived[-1].node) == (last.source, last.target)
    assert last.number not in [each.number for each in panel.sim.flying()]


def test_a_plan_strikes_in_the_panel_too() -> None:
    plan = FaultPlan(At(Kill(0), seconds=0.05))
    panel = Simulation(Raft, n=3, seed=5, faults=plan).panel()
    while (panel.sim.due() or 1.0) <= 0.06:
        panel.step()
    panel.close()
    assert not panel.sim.alive(0)
