"""CheckQuorum (Ongaro's thesis, §6.2): a leader that a majority no longer answers steps down.

Without it a leader that can send but not hear rules for ever: its beats keep the others quiet, and
nothing is ever committed. A leader that was paused finds its own beat late and steps down as well:
it cannot know what the others have decided in the meantime.
"""

from __future__ import annotations

from typing import Any

from labkit.protocols.effects import Effects
from labkit.protocols.raft.pre_vote import PreVote


class CheckQuorum(PreVote):
    """`check_quorum=False` leaves it out."""

    def __init__(self, *arguments: Any, check_quorum: bool = True, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.check_quorum = check_quorum
        self.beat_at = 0.0  # on leaders

    def become_leader(self) -> Effects:
        self.beat_at = self.context.now
        yield from super().become_leader()

    def on_beat(self) -> Effects:
        late = self.context.now - self.beat_at > self.timeout
        self.beat_at = self.context.now
        if self.check_quorum and (late or not self.hears_a_quorum()):
            yield from self.become_follower(None)
        else:
            yield from super().on_beat()

    def hears_a_quorum(self) -> bool:
        since = self.context.now - self.timeout
        return self.is_quorum({self.me, *(f for f, at in self.heard_at.items() if at >= since)})
