"""A job's life, event by event: `play(fleet, failures, span)` says what became of its time.

A discrete-event simulation in the manner of AIReSim (arXiv 2603.07041), and far smaller. Between
two events nothing changes, so time jumps from one to the next; the seed decides everything.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np

from labkit.reliability.fleet import SPENT, Course, Failures, Fleet

ROUNDING = 1e-6
"""Of a step: a moment that close to the border of two steps is the border."""

Work = tuple[float, float]
"""Useful time, and the progress made in it."""


def play(fleet: Fleet, failures: Failures, span: float, seed: int = 0) -> Course:
    """One life of the job, `span` long; the same seed gives the same life."""
    return Life(fleet, failures, np.random.default_rng(seed)).live(span)


def average(
    fleet: Fleet, failures: Failures, span: float, trials: int = 20, seed: int = 0
) -> Course:
    """The mean of `trials` lives, without their stretches."""
    lives = [play(fleet, failures, span, seed + i) for i in range(trials)]
    names = [field.name for field in fields(Course) if field.name != "stretches"]
    means = {name: float(np.mean([getattr(life, name) for life in lives])) for name in names}
    return Course(**means, stretches=())


class Life:
    """The state of one life, and a handler for each kind of event."""

    def __init__(self, fleet: Fleet, failures: Failures, random: np.random.Generator) -> None:
        self.fleet, self.failures, self.random = fleet, failures, random
        self.now, self.order = 0.0, 0
        # A checkpoint holds whole steps.
        step = fleet.step
        whole = step and fleet.interval < math.inf
        self.rhythm = math.ceil(fleet.interval / step) * step if whole else fleet.interval
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        # The job: what its groups do, and what all of them that are up do together.
        self.states, self.up = ["up"] * fleet.groups, fleet.groups
        self.versions = [0] * fleet.groups  # a group's later fate voids its earlier events
        self.phase, self.version, self.phase_end = "useful", 0, math.inf
        self.work: Work = (0.0, 0.0)
        self.snapshot: Work = (0.0, 0.0)  # what the last checkpoint holds,
        self.durable: Work = (0.0, 0.0)  # and what the last one that is durable holds
        self.era = 0  # how often everything in memory was lost
        self.hot, self.cold = fleet.hot or 0, fleet.cold
        self.queue: deque[int] = deque()  # groups that wait for a machine
        self.count, self.present, self.failing = 0, 0.0, False
        self.spent = dict.fromkeys(SPENT, 0.0)
        self.stretches: list[tuple[float, float, str, int]] = []

    def live(self, span: float) -> Course:
        self.resume()
        while self.events and self.events[0][0] < span:
            at, _, handler, arguments = heapq.heappop(self.events)
            self.advance(at)
            handler(*arguments)
        self.advance(span)
        self.spent["useful"] = self.work[0]
        shares = {name: time / span for name, time in self.spent.items()}
        progress, present = self.work[1] / span, self.present / span
        return Course(
            **shares,
            progress=progress,
            present=present,
            failures=self.count,
            stretches=tuple(self.stretches),
        )

    def after(self, delay: float, handler: Callable[..., None], *arguments: Any) -> None:
        self.order += 1  # events of one moment come in the order in which they were planned
        heapq.heappush(self.events, (self.now + delay, self.order, handler, arguments))

    def advance(self, to: float) -> None:
        """Time passes in which nothing changes."""
        passed, doing = to - self.now, self.doing()
        self.present += passed * self.up
        if doing == "useful":
            useful, progress = self.work
            self.work = useful + passed, progress + passed * self.up / self.fleet.groups
        else:
            self.spent[doing] += passed
        if passed:
            last = self.stretches[-1] if self.stretches else None
            if last and last[2:] == (doing, self.up):
                self.stretches[-1] = (last[0], to, doing, self.up)
            else:
                self.stretches.append((self.now, to, doing, self.up))
        self.now = to

    def doing(self) -> str:
        if self.up >= self.fleet.least:
            return self.phase
        for state in ("noticing", "restarting"):
            if state in self.states:
                return state
        return "waiting"

    # -- failures

    def plan_failure(self) -> None:
        self.failing = True
        self.after(float(self.failures.gap(self.random)), self.fail)

    def fail(self) -> None:
        self.failing = False
        if not self.failures.while_up:
            self.plan_failure()
        states, places = self.states, range(self.fleet.groups)
        if self.failures.aimed:
            there = [g for g in places if states[g] == "up"]
            there = there or [g for g in places if states[g] == "restarting"]
            if there:
                self.lose(there[int(self.random.integers(len(there)))])
        elif states[g := int(self.random.integers(len(states)))] in ("up", "restarting"):
            self.lose(g)

    def lose(self, group: int) -> None:
        fleet, was_up = self.fleet, self.states[group] == "up"
        self.count += 1
        done = self.step_done()
        delay = fleet.detection + (fleet.step - done if fleet.finishes_step and done else 0.0)
        self.become(group, "noticing")
        self.after(delay, self.noticed, group, self.versions[group])
        if fleet.hot is not None:
            self.after(fleet.repair, self.repaired)
        if not was_up:
            return
        if self.up == 1:  # nobody is left who has the state
            self.era += 1
            self.fall_back(self.durable)
        elif done:
            useful, progress = self.work
            self.fall_back((useful - done, progress - done * self.up / fleet.groups))
        self.up -= 1
        if self.up >= fleet.least:
            self.stall("noticing", delay)

    def step_done(self) -> float:
        """How much of a step has been done and would be lost with it."""
        if not self.fleet.step or self.doing() != "useful":
            return 0.0
        done = self.work[0] % self.fleet.step
        near = ROUNDING * self.fleet.step
        return done if near < done < self.fleet.step - near else 0.0

    def fall_back(self, to: Work) -> None:
        self.spent["lost"] += self.work[0] - to[0]
        self.work = to
        self.snapshot = min(self.snapshot, to)

    def noticed(self, group: int, version: int) -> None:
        if version == self.versions[group]:
            self.become(group, "waiting")
            self.seek(group)

    # -- machines

    def seek(self, group: int) -> None:
        if self.fleet.hot is None or self.hot > 0:
            self.hot -= 1
            self.restart(group, self.versions[group])
        elif self.cold > 0:
            self.cold -= 1
            self.after(self.fleet.boot, self.restart, group, self.versions[group])
        else:
            self.queue.append(group)

    def repaired(self) -> None:
        if self.queue:
            group = self.queue.popleft()
            self.after(self.fleet.boot, self.restart, group, self.versions[group])
        elif self.hot < (self.fleet.hot or 0):
            self.hot += 1
        else:
            self.cold += 1

    def restart(self, group: int, version: int) -> None:
        if version == self.versions[group]:
            self.become(group, "restarting")
            self.after(self.fleet.restart, self.ready, group, self.versions[group])

    def ready(self, group: int, version: int) -> None:
        """A restarted group takes part, from the border of two steps on."""
        if version != self.versions[group]:
            return
        running, done = self.up >= self.fleet.least, self.step_done()
        if running and self.phase == "useful" and done:
            self.after(self.fleet.step - done, self.ready, group, version)
        elif running and self.phase == "writing":
            self.after(self.phase_end - self.now, self.ready, group, version)
        else:
            self.become(group, "up")
            self.up += 1
            if running and self.phase == "useful":
                self.stall("restarting", self.fleet.join)
            elif not running and self.up >= self.fleet.least:
                self.resume()

    def become(self, group: int, state: str) -> None:
        self.states[group] = state
        self.versions[group] += 1

    # -- what those that are up do together

    def stall(self, phase: str, seconds: float) -> None:
        self.phase, self.version = phase, self.version + 1
        self.phase_end = self.now + seconds
        self.after(seconds, self.over, self.version)

    def over(self, version: int) -> None:
        if version != self.version or self.up < self.fleet.least:
            return
        if self.phase == "noticing" and self.fleet.regroup:
            self.stall("restarting", self.fleet.regroup)
            return
        if self.phase == "writing":
            self.snapshot = self.work
            self.after(self.fleet.flush, self.flushed, self.era, self.snapshot)
        self.resume()

    def resume(self) -> None:
        self.phase, self.version, self.phase_end = "useful", self.version + 1, math.inf
        if not self.failing:
            self.plan_failure()
        if self.fleet.interval < math.inf:
            since = self.work[0] - self.snapshot[0]
            self.after(max(self.rhythm - since, 0.0), self.save, self.version)

    def save(self, version: int) -> None:
        if version == self.version:
            self.stall("writing", self.fleet.write)

    def flushed(self, era: int, snapshot: Work) -> None:
        if era == self.era:
            self.durable = snapshot
