"""Event streams of runs that never happened, as a real cluster would have recorded them.

A step is computing and an all-reduce that ends when the slowest member has arrived; a killed rank
is noticed, agreed upon, a group is formed, and the step is done again. Everything follows from the
arguments and the seed, so a picture drawn from such a run is always the same.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from labkit.events import DRIVER, Event
from labkit.faults import Fault, Kill, Pause, Restart, Slow

START = 1000.0  # seconds; a monotonic clock starts anywhere
NOTICE, AGREE, FORM = 0.028, 0.013, 0.008  # seconds, after facts measured on 2 cores


@dataclass
class Run:
    """The run as it goes; `events` is what it leaves behind."""

    ranks: int
    step_seconds: float = 0.2
    checkpoint_every: int = 0
    rollback: int = 0  # steps that a recovery goes back
    inner: bool = False  # also record the two halves of the ring
    messages: bool = True
    life_of: dict[int, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.events: list[Event] = []
        self.alive = set(range(self.ranks))
        self.time = START
        self.view = 0
        self.step = 0
        self.slow: dict[int, float] = {}
        self.ids = 0

    def record(self, rank: int, time: float, kind: str, name: str = "", /, **data: object) -> None:
        self.events.append(Event(time, 0, rank, kind, name, self.life_of.get(rank, 0), dict(data)))

    def near(self, value: float) -> float:
        return value * self.random.uniform(0.9, 1.1)

    def slice(self, rank: int, name: str, begin: float, end: float, /, **data: object) -> None:
        self.record(rank, begin, "begin", name, **data)
        self.record(rank, end, "end", name)

    def message(self, source: int, target: int, sent: float, took: float, name: str) -> None:
        if not self.messages:
            return
        self.ids += 1
        self.record(source, sent, "send", name, id=f"m{self.ids}", peer=target, bytes=64)
        self.record(target, sent + took, "receive", name, id=f"m{self.ids}", peer=source)

    # -- what happens

    def start(self) -> None:
        for rank in sorted(self.alive):
            self.record(rank, self.time + 0.001 * rank, "start", pid=4000 + rank, device="cpu")
        self.install(self.time + 0.01)

    def install(self, time: float) -> float:
        """All living ranks install the next view and form a group; returns when they are ready."""
        self.view += 1
        members = tuple(sorted(self.alive))
        for rank in members:
            seen = time + self.near(0.001)
            self.record(rank, seen, "view", number=self.view, members=members)
            self.slice(rank, "forming group", seen, time + FORM, view=self.view)
        self.time = time + FORM
        return self.time

    def one_step(self) -> None:
        begin, ready = self.time, {}
        for rank in sorted(self.alive):
            cost = self.near(0.72 * self.step_seconds) * self.slow.get(rank, 1.0)
            self.slice(rank, "computing", begin, begin + cost, step=self.step)
            ready[rank] = begin + cost + 0.0005
        end = max(ready.values()) + self.near(0.25 * self.step_seconds)
        for rank, since in ready.items():
            self.communicate(rank, since, end)
            self.record(rank, end + 0.0003, "step", step=self.step)
        self.time = end + 0.001
        if self.checkpoint_every and self.step and self.step % self.checkpoint_every == 0:
            self.checkpoint()
        self.step += 1

    def communicate(self, rank: int, since: float, end: float, **ended: object) -> None:
        self.record(rank, since, "begin", "all_reduce", step=self.step, bytes=4 << 20)
        if self.inner:
            middle = (since + end) / 2
            self.slice(rank, "reduce_scatter", since + 1e-4, middle)
            self.slice(rank, "all_gather", middle + 1e-4, end - 1e-4)
        self.record(rank, end, "end", "all_reduce", **ended)

    def checkpoint(self) -> None:
        took = self.near(0.3 * self.step_seconds)
        for rank in sorted(self.alive):
            self.slice(rank, "checkpoint", self.time, self.time + took, step=self.step)
        self.record(min(self.alive), self.time + took, "checkpoint", step=self.step)
        self.time += took + 0.001

    def inject(self, fault: Fault, time: float, **more: object) -> None:
        plain = {"fault": type(fault).__name__} | {
            f: getattr(fault, f) for f in fault.__struct_fields__
        }
        ranks = [fault.rank] if hasattr(fault, "rank") else []
        self.record(DRIVER, time, "fault", str(fault), fault=plain, ranks=ranks, **more)

    def kill(self, victim: int) -> None:
        """`victim` dies in the middle of the all-reduce of this step."""
        begin, moment = self.time, self.time + 0.85 * self.step_seconds
        self.inject(Kill(victim), moment)
        self.record(DRIVER, moment + 0.021, "death", rank=victim, signal="SIGKILL", step=self.step)
        for rank in sorted(self.alive):
            cost = self.near(0.72 * self.step_seconds)
            self.slice(rank, "computing", begin, begin + cost, step=self.step)
            self.record(rank, begin + cost + 5e-4, "begin", "all_reduce", step=self.step)
        self.alive.discard(victim)
        noticed = {}
        for rank in sorted(self.alive):
            noticed[rank] = moment + self.near(NOTICE * 0.9)
            self.record(rank, noticed[rank], "lost", peer=victim, view=self.view)
            self.record(rank, noticed[rank] + 2e-4, "end", "all_reduce", error="PeerLost")
        self.agree(max(noticed.values()), noticed, victim)
        self.again()

    def agree(self, start: float, noticed: dict[int, float], victim: int) -> None:
        first = min(self.alive)
        others = sorted(self.alive - {first})
        for rank in others:
            self.message(rank, first, noticed[rank] + 5e-4, 0.003, f"gone {victim}")
        for rank in others:
            self.message(first, rank, start + 0.002, self.near(0.003), "propose")
            self.message(rank, first, start + 0.006, self.near(0.003), "echo")
        self.install(start + AGREE)

    def again(self) -> None:
        self.step = max(0, self.step - self.rollback)
        if self.rollback:
            took = self.near(0.4 * self.step_seconds)
            for rank in sorted(self.alive):
                self.slice(rank, "restoring", self.time, self.time + took, step=self.step)
            self.time += took
        self.one_step()

    def restart(self, rank: int) -> None:
        """A new process takes the rank and the state of the others; a new view holds it."""
        self.inject(Restart(rank), self.time)
        self.life_of[rank] = self.life_of.get(rank, 0) + 1
        begin = self.time + 0.05
        self.record(rank, begin, "start", pid=5000 + rank, device="cpu")
        self.slice(rank, "restoring", begin + 0.01, begin + 0.8 * self.step_seconds)
        self.one_step()
        self.alive.add(rank)
        self.install(max(self.time, begin + 0.8 * self.step_seconds) + 0.004)

    def pause(self, rank: int, seconds: float) -> None:
        """`rank` stands still in the middle of computing; its peers wait in the all-reduce."""
        begin = self.time
        moment = begin + 0.4 * self.step_seconds
        self.inject(Pause(rank, seconds), moment, seconds=seconds)
        ready = {}
        for r in sorted(self.alive):
            cost = self.near(0.72 * self.step_seconds) + (seconds if r == rank else 0.0)
            self.slice(r, "computing", begin, begin + cost, step=self.step)
            ready[r] = begin + cost + 5e-4
        end = max(ready.values()) + 0.25 * self.step_seconds
        for r, since in ready.items():
            self.communicate(r, since, end)
            self.record(r, end + 3e-4, "step", step=self.step)
        self.time, self.step = end + 0.001, self.step + 1

    def straggle(self, rank: int, factor: float, steps: int) -> None:
        fault = Slow(rank, factor)
        self.inject(fault, self.time)
        self.slow[rank] = factor
        for _ in range(steps):
            self.one_step()
        self.slow.clear()
        self.record(DRIVER, self.time, "heal", str(fault))

    def steps(self, count: int) -> Run:
        for _ in range(count):
            self.one_step()
        return self

    def until(self, seconds: float) -> Run:
        while self.time < START + seconds:
            self.one_step()
        return self

    def finished(self) -> list[Event]:
        """The events in order of time, with a clock that respects it."""
        self.events.sort(key=lambda e: e.time)
        return [
            Event(e.time, i, e.rank, e.kind, e.name, e.life, e.data)
            for i, e in enumerate(self.events, 1)
        ]


def typical(ranks: int = 4, seed: int = 0) -> list[Event]:
    """Six seconds: a kill, a replacement, a pause, two checkpoints."""
    run = Run(ranks, checkpoint_every=8, seed=seed)
    run.start()
    run.steps(10).kill(ranks // 2)
    run.steps(1).restart(ranks // 2)
    run.steps(2).pause(1 % ranks, 1.0)
    return run.steps(8).finished()


def long(ranks: int = 8, seconds: float = 60.0, seed: int = 0) -> list[Event]:
    """A minute of 50 ms steps with every kind of trouble, about 50 000 events."""
    run = Run(ranks, 0.05, checkpoint_every=150, rollback=40, inner=True, seed=seed)
    run.start()
    run.until(8.0).kill(2)
    run.steps(20).restart(2)
    run.until(20.0).straggle(5, 3.0, 60)
    run.until(35.0).pause(1, 3.0)
    run.until(44.0).kill(0)
    run.steps(4).kill(7)
    run.steps(60).restart(0)
    return run.until(seconds).finished()


def hang(ranks: int = 4) -> list[Event]:
    """Rank 1 dies, its neighbours raise, and the rank opposite waits until the end of the run."""
    run = Run(ranks, seed=1)
    run.start()
    run.steps(6)
    begin = run.time
    run.inject(Kill(1), begin + 0.16)
    run.record(DRIVER, begin + 0.18, "death", rank=1, signal="SIGKILL", step=run.step)
    for rank in range(ranks):
        run.slice(rank, "computing", begin, begin + 0.14, step=run.step)
        run.record(rank, begin + 0.1405, "begin", "all_reduce", step=run.step)
    for rank in (0, 2):
        run.record(rank, begin + 0.19, "end", "all_reduce", error="RuntimeError")
        run.record(DRIVER, begin + 0.25, "death", rank=rank, exit_code=1, step=run.step)
    run.record(DRIVER, begin + 3.0, "note", "the deadline of 3 s has passed")
    return run.finished()


def random_run(seed: int) -> list[Event]:
    """Anything between 1 and 12 ranks with faults, messages and notes at random."""
    dice = random.Random(seed)
    ranks = dice.randint(1, 12)
    run = Run(
        ranks,
        step_seconds=dice.choice([0.02, 0.1, 0.4]),
        checkpoint_every=dice.choice([0, 2, 7]),
        rollback=dice.choice([0, 0, 3]),
        inner=dice.random() < 0.3,
        seed=seed,
    )
    run.start()
    for _ in range(dice.randint(1, 7)):
        run.steps(dice.randint(1, 12))
        alive, dead = sorted(run.alive), sorted(set(range(ranks)) - run.alive)
        match dice.choice(["kill", "kill", "pause", "slow", "restart", "note"]):
            case "kill" if len(alive) > 1:
                run.kill(dice.choice(alive))
            case "pause":
                run.pause(dice.choice(alive), dice.choice([0.05, 0.5]))
            case "slow":
                run.straggle(dice.choice(alive), 2.5, dice.randint(1, 5))
            case "restart" if dead:
                run.restart(dice.choice(dead))
            case "note":
                run.record(DRIVER, run.time, "note", f"round {run.step}: the experimenter looks up")
    return run.steps(3).finished()
