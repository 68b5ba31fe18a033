"""The host's end of the agreement on views: what it sees goes in, the views come out.

The agreement itself is `labkit.protocols.views`. One thread uses this, the host's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from labkit import events, faults
from labkit.protocols.checkpoints import Saver, ViewsAndCheckpoints
from labkit.protocols.codec import encode, message_decoder
from labkit.protocols.effects import Message, Record, stored_types
from labkit.protocols.heartbeat import FixedTimeout, Heartbeat
from labkit.protocols.journal import Codec
from labkit.protocols.views import Connected, Expect, Views
from labkit.protocols.views.agreement import DOUBT_SECONDS, TIMEOUT_SECONDS
from labkit.runtime.engine import Engine
from labkit.runtime.messages import Said
from labkit.runtime.placement import BEATS
from labkit.view import Member, View

GROUP = "views"

POINTS = {
    "asks for votes": "commit.ask",
    "proposes to commit": "commit.propose",
    "decides to commit": "commit.decide",
    "decides to abort": "commit.abort",
}
"""Of the coordinator of checkpoints, before it says so to anybody."""


def read_types() -> None:
    """What the nodes make of their annotations, ahead of time: it takes 4 ms each."""
    for protocol in (ViewsAndCheckpoints, Saver):
        message_decoder(protocol)
        Codec(stored_types(protocol))


def agreeing(silence: float | None) -> partial[ViewsAndCheckpoints]:
    """Who listens for silence notices by it that the leader is gone. Raft's own beats only mend
    what was lost on the way then, and come half as often."""
    if silence is None:
        return partial(ViewsAndCheckpoints)
    doubt = DOUBT_SECONDS + 2 * silence / BEATS
    return partial(ViewsAndCheckpoints, doubt=doubt, timeout=2 * TIMEOUT_SECONDS)


def beating(silence: float) -> partial[Heartbeat]:
    """All beat at the same time and look when they beat, so the look at the end of a silence comes
    sooner after the last beat than that by what the beat took on its way: a fifth of an interval is
    allowed for it. Else the next look would find what this one misses by a millisecond."""
    beat = silence / BEATS
    return partial(
        Heartbeat, interval=beat, detector=partial(FixedTimeout, timeout=silence - beat / 5)
    )


class Membership:
    """Of `me`, one of `world_size` ranks, which comes into a view once it is `ready`, or the
    witness. `install(view)` is called for each view, `drop(member)` for who is in it no more, and
    for who has been silent for `silence` seconds."""

    def __init__(
        self,
        engine: Engine,
        me: Member,
        world_size: int,
        silence: float | None,
        ready: bool,
        install: Callable[[View], None],
        drop: Callable[[Member], None],
    ) -> None:
        self.engine, self.me, self.install, self.drop = engine, me, install, drop
        self.ready = ready
        self.alive: set[Member] = set()
        self.view = View(0, ())  # the one that is installed
        self.members: frozenset[Member] = frozenset()  # of it
        self.excluded: set[Member] = set()  # who was left out of one: that life is over
        everybody = tuple(range(world_size + 1))
        self.node = engine.run(GROUP, agreeing(silence), everybody, trace=False)
        self.node.on_record = self._recorded
        self._say_connected()
        if silence is not None:
            beats = engine.run("beats", beating(silence), everybody, trace=False)
            beats.on_record = self._suspected

    def joined(self, member: Member) -> None:
        """A connection to `member` is open."""
        self.alive.add(member)
        self._say_connected()

    def lost(self, member: Member) -> None:
        """The connection to `member` is closed."""
        self.alive.discard(member)
        self._say_connected()

    def get_ready(self) -> None:
        """It may come into the view now."""
        if not self.ready:
            self.ready = True
            self._say_connected()

    def expect(self, roster: Iterable[Member]) -> None:
        """The launcher says who is on the way: the view does not grow before they are here."""
        self._say(Expect(tuple(sorted(roster))))

    def why_no_view(self) -> str | None:
        """A sentence, if the voters are too few to agree on anything."""
        views = self.node.machine
        return views.why_no_quorum() if isinstance(views, Views) else None

    def leadership(self) -> tuple[int, int | None]:
        """The term, and who leads in it as far as this one knows."""
        views = self.node.machine
        return (views.term, views.leader) if isinstance(views, Views) else (0, None)

    def _say_connected(self) -> None:
        self._say(Connected(self.me, tuple(sorted(self.alive)), self.ready))

    def _say(self, message: Message) -> None:
        self.engine.deliver(Said(GROUP, self.me.rank, self.me.rank, encode(message)))

    def _recorded(self, record: Record) -> None:
        """How the voters elect and follow one another is of no interest in a run's record."""
        if record.name in POINTS:
            faults.point(POINTS[record.name])
        elif record.kind == "pause":
            events.record("note", record.name)
        elif record.kind == "view":
            # Not the node's view of now: it may have come to two of them in one handler.
            members = frozenset(map(Member, record.data["members"], record.data["lives"]))
            self.excluded |= self.members - members
            self.members = members
            self.view = View(record.data["number"], record.data["members"])
            self.install(self.view)
            for member in sorted(self.excluded & self.alive):
                self.drop(member)  # the leader has lost it: gone for one is gone for all

    def _suspected(self, record: Record) -> None:
        """Silence is made a closed connection, and is then what that is."""
        for member in sorted(self.alive):
            if record.kind == "suspect" and record.data["peer"] == member.rank:
                self.drop(member)
