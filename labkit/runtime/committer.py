"""Checkpoints between real ranks: the host's end of `labkit.protocols.checkpoints`, and what the
writer of a checkpoint waits for.

    store = Store(folder)
    committer = worker.committer(store)      # of the view that the worker is in now
    checkpointer = Checkpointer(store, pieces, EverySteps(10), committer, *committer.place)

The protocol runs in the host's thread, next to that of the views; the writer's thread waits here
for the number of its attempt and for the decision. Faults may strike at the points commit.begin,
commit.prepare, commit.vote, commit.voted, commit.decided and commit.finish of a participant, and
at commit.ask, commit.propose, commit.decide and commit.abort of the one that coordinates.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labkit import events, faults
from labkit.protocols.checkpoints import SAVERS, Ask, Finished, Over, Saver, Want, Wish
from labkit.protocols.codec import encode
from labkit.protocols.effects import Message, Record
from labkit.protocols.two_phase_commit import Voted
from labkit.runtime.engine import Engine
from labkit.runtime.membership import GROUP
from labkit.runtime.messages import Said
from labkit.view import Member

if TYPE_CHECKING:
    from labkit.checkpoint import Store
    from labkit.checkpoint.manifest import Manifest, Shard


POINTS = {
    "prepares": "commit.prepare",
    "has voted yes": "commit.voted",
    "is committed": "commit.decided",
    "is aborted": "commit.decided",
}


class Desk:
    """Where a writer leaves its wish and its vote, and hears what became of them. One a process;
    made on the host's thread, and used from any."""

    def __init__(self, engine: Engine, me: Member, world_size: int) -> None:
        self.engine, self.id = engine, SAVERS + me.rank
        self.cluster = str(engine.folder)  # one word for all ranks, and no other cluster's
        everybody = tuple(range(world_size + 1))
        self.node = engine.run(GROUP, Saver, everybody, trace=False, id=self.id)
        self.node.on_record = self._recorded
        self._changed = threading.Condition()
        self._number: int | None = None  # of the attempt that this rank prepares
        self._outdated = False
        self._outcomes: dict[int, bool] = {}  # by attempt: committed or not
        self._answers: dict[int, bool | None] = {}  # to questions about others; None: open
        self._finished: set[int] = set()

    # -- any thread

    def want(self, wish: Wish, floor: int) -> int | None:
        """Waits for the number of the attempt; None when a member is not in the view any more."""
        with self._changed:
            self._number, self._outdated = None, False
            self._say(Want(wish, floor))
            self._changed.wait_for(lambda: self._number is not None or self._outdated)
            return self._number

    def vote(self, number: int, yes: bool) -> bool:
        """Waits for the decision: whether it is committed."""
        self._say(Voted(number, yes))
        with self._changed:
            self._changed.wait_for(lambda: number in self._outcomes)
            return self._outcomes[number]

    def ask(self, number: int) -> bool | None:
        """What became of an attempt that others have prepared, or an earlier life; None when it is
        still open, or this rank is at it."""
        with self._changed:
            if number == self._number and number not in self._finished:
                return None
            self._answers.pop(number, None)
            if number not in self._outcomes:
                self._say(Ask(number))
            self._changed.wait_for(lambda: number in self._outcomes or number in self._answers)
            return self._outcomes.get(number, self._answers.get(number))

    def finished(self, number: int) -> None:
        """The files of the attempt are as it was decided."""
        with self._changed:
            self._finished.add(number)
        self._say(Finished(number))

    def decided(self) -> dict[int, bool]:
        """What was decided, and is not finished here."""
        with self._changed:
            return {n: yes for n, yes in self._outcomes.items() if n not in self._finished}

    def over(self, run: int) -> None:
        """No function of this run will want anything any more."""
        self._say(Over(run))

    def _say(self, message: Message) -> None:
        said = Said(GROUP, self.id, self.id, encode(message))
        self.engine.loop.call_soon(self.engine.deliver, said)

    # -- the host's thread

    def _recorded(self, record: Record) -> None:
        if record.kind != "save":
            events.record(record.kind, record.name, **record.data)
            return
        if record.name in POINTS:
            faults.point(POINTS[record.name])
        number: int = record.data.get("transaction", 0)
        with self._changed:
            match record.name:
                case "prepares":
                    self._number = number
                case "is outdated":
                    self._outdated = True
                case "is committed" | "is aborted":
                    self._outcomes[number] = record.data["commit"]
                case "is known":
                    self._answers[number] = record.data["commit"]
            self._changed.notify_all()


class ViewCommitter:
    """A `Committer` (labkit.checkpoint.background) of one rank among `members`: what they do not
    all have is no checkpoint. It belongs to their view: in the next one make another.

    The `Checkpointer` that gets it finishes first what an earlier life has left behind in the
    folder: it may wait for a leader.
    """

    def __init__(
        self, desk: Desk, run: int, rank: int, members: tuple[Member, ...], store: Store
    ) -> None:
        self.desk, self.run, self.rank, self.members, self.store = desk, run, rank, members, store
        ranks = [member.rank for member in members]
        self.place = ranks.index(rank), len(ranks)
        store.share(desk.cluster)

    def begin(self, step: int) -> int | None:
        faults.point("commit.begin")
        wish = Wish(self.run, step, self.members)
        with events.span("agreeing on a checkpoint", step=step):
            return self.desk.want(wish, self.store.next_number())

    def vote(
        self, number: int, step: int, shard: Shard | None, metrics: Mapping[str, float]
    ) -> Manifest | None:
        from labkit.checkpoint import BadCheckpoint, CheckpointFailed

        faults.point("commit.vote")
        with events.span("in doubt", step=step):
            committed = self.desk.vote(number, shard is not None)
        try:
            return self._finish(number, committed, self.place[0])
        except (BadCheckpoint, FileNotFoundError) as error:
            text = f"step {step}: it was decided that this is a checkpoint, and then it was damaged"
            raise CheckpointFailed(f"{text}: {error}") from error

    def recover(self) -> None:
        """What was prepared and decided, and then all died: it is finished now. What was prepared
        and is not in the log was not committed, and never will be."""
        from labkit.checkpoint import BadCheckpoint  # which imports torch: the witness does not

        there = self.store.in_doubt()
        for number in sorted(there):
            outcome = self.desk.ask(number)
            if outcome is None:
                continue  # those who are at it will finish it
            what = "committed" if outcome else "not committed"
            events.record("note", f"finds attempt {number} prepared; it was {what}")
            try:
                for place in [self.place[0]] if outcome else there[number]:
                    self._finish(number, outcome, place)
            except BadCheckpoint as error:  # the disk has lost it, or it was being collected
                events.record("note", str(error))
                self.desk.finished(number)
        made = self.store.manifests()
        if made and self.place[0] == 0:
            self.store.point_to(made[-1])
        for number, outcome in self.desk.decided().items():
            if outcome is False or (made and number <= made[-1].number):
                self.desk.finished(number)  # others did it

    def _finish(self, number: int, commit: bool, place: int) -> Manifest | None:
        """The files, and then the word that they are so. When that fails the attempt stays decided,
        and is finished by who recovers."""
        faults.point("commit.finish")
        made = None
        if commit:
            made = self.store.commit_prepared(number, place)
        else:
            self.store.abandon(number, place)
        self.desk.finished(number)
        return made
