"""Raft's snapshots by hand: each test is a sentence of the paper, §7."""

from __future__ import annotations

from typing import Any

from by_hand import (
    append,
    applied,
    disk,
    leader,
    node,
    position,
    sent,
    terms,
    yes,
)

from labkit.protocols.effects import Persist, Send, Stored, deliver
from labkit.protocols.raft.entries import Snapshot
from labkit.protocols.raft.messages import Appended
from labkit.protocols.raft.snapshots import InstallSnapshot


def with_snapshot(**more: Any) -> Any:
    """Entries 1 to 4 are folded into a snapshot, 5 and 6 are in the log; both of term 2."""
    first = node(log=(1, 1, 2, 2, 2, 2), compact=4)
    effects = deliver(first, 1, append(2, 6, 2, [], commit=4))
    return first, disk(effects, {"log": Stored(1, list(first.log)), **more})


def test_what_is_applied_is_folded_into_a_snapshot_and_leaves_the_log() -> None:
    n, stored = with_snapshot()

    assert (n.snapshot.index, n.snapshot.term, terms(n)) == (4, 2, [2, 2])
    assert stored["snapshot"] == n.snapshot
    assert (stored["log"].first, len(stored["log"].items)) == (5, 2)


def test_snapshot_and_log_change_on_the_disk_together() -> None:
    n = node(log=(1, 1), compact=2)

    effects = deliver(n, 1, append(1, 2, 1, [], commit=2))

    (written,) = [e.values for e in effects if isinstance(e, Persist)]
    assert set(written) == {"snapshot", "log"}


def test_a_restart_begins_with_the_snapshot() -> None:
    _, stored = with_snapshot()
    n = node(**stored, term=2)

    assert (n.commit_index, n.last_applied, n.last_index) == (4, 4, 6)
    assert n.machine.values == {"x": "4/2"}
    effects = deliver(n, 1, append(2, 6, 2, [], commit=6))
    assert applied(effects) == [5, 6]


def test_a_follower_that_lacks_what_is_gone_is_sent_the_snapshot() -> None:
    _, stored = with_snapshot()
    n = leader(**stored, term=2)

    effects = deliver(n, 1, Appended(3, False, 1, 1))

    assert sent(effects) == [InstallSnapshot(3, n.snapshot, n.round)]


def test_after_the_snapshot_come_the_entries_behind_it() -> None:
    _, stored = with_snapshot()
    n = leader(**stored, term=2)
    deliver(n, 1, Appended(3, False, 1, 1))

    (more,) = sent(deliver(n, 1, yes(3, 4)))

    assert (more.prev_index, more.prev_term, len(more.entries)) == (4, 2, 3)


def test_a_snapshot_replaces_a_log_that_is_another() -> None:
    source, _ = with_snapshot()
    n = node(me=1, log=(1, 1, 1, 1, 1), term=2)

    effects = deliver(n, 0, InstallSnapshot(2, source.snapshot, 1))

    assert (n.last_index, n.commit_index, terms(n)) == (4, 4, [])
    assert n.machine.values == source.machine.values
    assert position(effects, Persist) < position(effects, Send)
    assert sent(effects) == [yes(2, 4)]


def test_what_follows_the_snapshot_in_the_same_history_is_kept() -> None:
    source, _ = with_snapshot()
    n = node(me=1, log=(1, 1, 2, 2, 2), term=2)

    deliver(n, 0, InstallSnapshot(2, source.snapshot, 1))

    assert (n.last_index, terms(n)) == (5, [2])


def test_an_old_snapshot_takes_nothing_back() -> None:
    n = node(log=(1, 1), term=1)
    deliver(n, 1, append(1, 2, 1, [], commit=2))

    effects = deliver(n, 1, InstallSnapshot(1, Snapshot(1, 1, n.state()), 1))

    assert sent(effects) == [yes(1, 1)]
    assert not any(isinstance(e, Persist) for e in effects)
    assert n.last_applied == 2


def test_a_snapshot_of_an_earlier_term_is_refused() -> None:
    n = node(term=5)

    effects = deliver(n, 1, InstallSnapshot(4, Snapshot(9, 4, n.state()), 1))

    assert sent(effects) == [Appended(5, False, 0, 0)]
    assert n.last_index == 0
