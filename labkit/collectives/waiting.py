"""The caller's side of a collective: it waits for the end or for a word about the members,
whichever comes first, and never blocks in a call that cannot be left.

An error of the transport is no word yet: it comes at the same moment as a death, and often before
it is known whose. So the detector has a little time to explain it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from labkit.collectives.link import Abandoned
from labkit.view import CollectiveTimeout, PeerLost, Superseded

if TYPE_CHECKING:
    from labkit.collectives.group import Group
    from labkit.collectives.pending import Pending

GRACE = 5.0
"""Seconds in which the detector must explain an error of the transport, which came first."""
SLICE = 0.5


def wait_for(group: Group, pending: Pending) -> Any:
    """The result of the collective. Raises why there is none, and has then left the group; but what
    is a mistake in the call leaves it whole."""
    left, explained = group.deadline, GRACE
    with group.changed:
        while not (pending.ended and pending.error is None):
            if group.abandoned or group.outdated or missing(group, pending) is not None:
                break
            if pending.ended:
                if not could_be_a_death(pending.error) or explained <= 0:
                    break
                explained -= _doze(group)
            else:
                if left <= 0:
                    break
                left -= _doze(group)
        absent = missing(group, pending)
    if pending.ended and pending.error is None:
        return pending.value
    if pending.error is not None and not could_be_a_death(pending.error):
        raise pending.error  # a mistake in the call: nothing was sent, the group is whole
    try:
        raise _failure(group, pending, absent, late=left <= 0)
    finally:
        group.abandon()


def missing(group: Group, pending: Pending) -> int | None:
    """A member that does not come to this collective: dead, or gone before it. Who had completed it
    before its process ended has sent all that the others wait for; unless they find it broken, or
    it died with a GPU, which had yet to send (NCCL's sends end when the data are in a buffer)."""
    if group.dead and getattr(getattr(group, "link", None), "grouped", False):
        return group.lost
    for rank in [*group.dead, *group.farewells]:
        farewell = group.farewells.get(rank)
        left = None if farewell is None else farewell.view
        if farewell is None or left != group.view or farewell.collectives < pending.number:
            return rank
    return group.lost if pending.error is not None else None


def could_be_a_death(error: BaseException | None) -> bool:
    """An error of the transport, which a dead peer may have caused, and no mistake in the call."""
    return isinstance(error, RuntimeError | OSError) and not isinstance(error, NotImplementedError)


def _failure(group: Group, pending: Pending, absent: int | None, late: bool) -> BaseException:
    """Why it has not ended. Asked before the group is left, so that others can ask the same."""
    if absent is not None:
        farewell = None if absent in group.dead else group.farewells.get(absent)
        return PeerLost(absent, group.view, farewell is not None and farewell.goes_on)
    if group.outdated:
        return Superseded(f"there is a newer view than {group.view}")
    if group.abandoned or not (late or pending.error):
        text = f"{pending.name}: the group of {group.view} was left behind"
        return pending.error or Abandoned(text)
    why = (
        group.observer.explain()
        if group.observer is not None
        else "one of them is slow, stopped, cut off, or never called it"
    )
    if pending.error is not None:
        pending.error.add_note(why)
        return pending.error
    return CollectiveTimeout(
        f"{pending.name} of rank {group.members[group.rank]} in {group.view} did not end within "
        f"{group.deadline:g} s, and no member is known to be dead: {why}"
    )


def _doze(group: Group) -> float:
    """Waits for a change; the seconds of it that count, at most one slice however long this process
    itself stood still."""
    begin = time.monotonic()
    group.changed.wait(SLICE)
    return min(time.monotonic() - begin, SLICE)
