"""From one view to the next, as the function of a run goes on with the ranks that are left, or that
have come."""

from __future__ import annotations

from labkit import events
from labkit.collectives.detection import Farewell
from labkit.runtime.host import Host
from labkit.runtime.messages import Start
from labkit.view import RunOver, View

_SLICE = 0.5


class Following:
    """Of one run on one rank: which `view` it is in; empty for a rank that joins under way."""

    def __init__(self, host: Host, start: Start) -> None:
        self.host, self.run, self.rank = host, start.run, host.me.rank
        self.elastic = start.elastic
        self.view = View(start.view, start.members)
        self.joins = not start.members  # until it has been in a group
        self._lives = {rank: host.lives.get(rank) for rank in start.members}

    def next(self, timeout: float, minimum: int, step: int | None) -> None:
        """Waits for the next view: its members of this run, whose function is not over. `step` is
        the last one, to be named. Raises TimeoutError and RunOver, as `Worker.regroup` says."""
        with self.host.view_changed:
            waited, said = 0.0, None
            while not self.host.view_changed.wait_for(
                lambda: self._is_next(minimum), min(_SLICE, timeout)
            ):
                why = self._why_too_few(minimum)
                if self.elastic and why is not None:
                    if why != said:
                        events.record("note", f"pauses: {why}")
                    said = why
                    continue
                waited += _SLICE
                if waited >= timeout:
                    advice = why or "a member that stands still has to be resumed or killed"
                    raise TimeoutError(
                        f"rank {self.rank}, step {step}: no view after {self.view} within "
                        f"{timeout:g} s; {advice}"
                    )
            if self._over():
                raise RunOver(f"run {self.run} was over before rank {self.rank} could join it")
            self.view = View(self.host.view.number, self._staying())

    def _is_next(self, minimum: int) -> bool:
        members = self._staying()
        new = self.host.view.number > self.view.number or members != self.view.members
        return self._over() or (new and self.rank in members and len(members) >= minimum)

    def _over(self) -> bool:
        """For one that is about to join."""
        return self.joins and bool(self._left()) and self._staying() in ((), (self.rank,))

    def _left(self) -> dict[int, Farewell]:
        return self.host.departures.left.get(self.run, {})

    def _staying(self) -> tuple[int, ...]:
        members, left = self.host.view.members, self._left()
        return tuple(rank for rank in members if self._takes_part(rank) and rank not in left)

    def _takes_part(self, rank: int) -> bool:
        """Unless the run is elastic, a later life of a rank knows nothing of it."""
        same_life = rank in self._lives and self.host.lives.get(rank) == self._lives[rank]
        return self.elastic or same_life

    def _why_too_few(self, minimum: int) -> str | None:
        """What the members that are left wait for, if they are too few to go on."""
        missing = minimum - len(self.host.view.members)
        few = f"{missing} more of {minimum} ranks must come back"
        return self.host.membership.why_no_view() or (few if missing > 0 else None)
