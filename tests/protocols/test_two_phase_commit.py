"""Two-phase commit, handler by handler, after the papers: Mohan, Lindsay and Obermarck 1986 (of
presumed abort), and Bernstein, Hadzilacos and Goodman 1987, chapter 7."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from labkit.protocols.codec import copied, message_decoder
from labkit.protocols.effects import (
    Apply,
    Broadcast,
    CancelTimer,
    Context,
    Effect,
    Persist,
    Protocol,
    Record,
    Send,
    deliver,
    fire,
    start,
)
from labkit.protocols.journal import Codec
from labkit.protocols.two_phase_commit import (
    Acknowledged,
    Begin,
    Coordinator,
    Decision,
    Inquire,
    Participant,
    Prepare,
    Voted,
)

T = 1_000_001  # the first transaction of the first epoch
MEMBERS = (0, 1, 2)
PREPARE = Prepare(T, "step 40", (1, 2), T)


def coordinator(**stored: Any) -> Coordinator:
    node = Coordinator(0, MEMBERS, Context(), stored)
    start(node)
    return node


def participant(kind: type[Participant] = Participant, **stored: Any) -> Participant:
    node = kind(1, MEMBERS, Context(), stored)
    start(node)
    return node


def asking() -> Coordinator:
    node = coordinator()
    deliver(node, 1000, Begin((1, 2), "step 40"))
    return node


def sends(effects: list[Effect]) -> list[Effect]:
    return [effect for effect in effects if isinstance(effect, Send | Broadcast)]


# -- the coordinator


def test_it_asks_all_and_names_them_to_each_other() -> None:
    """Bernstein et al., §7.4: the list of participants goes with the request to vote."""
    node = coordinator()
    effects = deliver(node, 1000, Begin((1, 2), "step 40"))
    assert sends(effects) == [Broadcast((1, 2), PREPARE)]


def test_it_writes_the_commit_and_who_must_hear_of_it_before_it_tells_anyone() -> None:
    """Mohan et al., §2: the commit record, with the names of the subordinates, is forced."""
    node = asking()
    assert deliver(node, 1, Voted(T, True)) == []
    effects = deliver(node, 2, Voted(T, True))
    assert effects[0] == Persist(committed=((T, (1, 2)),))
    assert sends(effects) == [Broadcast((1, 2), Decision(T, True))]


def test_a_no_aborts_and_is_written_nowhere() -> None:
    """Mohan et al., §3: under presumed abort an abort record is not forced."""
    node = asking()
    effects = deliver(node, 2, Voted(T, False))
    assert not any(isinstance(effect, Persist) for effect in effects)
    assert sends(effects) == [Broadcast((1, 2), Decision(T, False))]


def test_a_yes_that_comes_twice_counts_once() -> None:
    node = asking()
    deliver(node, 1, Voted(T, True))
    assert deliver(node, 1, Voted(T, True)) == []
    assert node.committed == {}


def test_who_has_not_voted_is_asked_again_and_when_votes_are_due_it_aborts() -> None:
    node = asking()
    deliver(node, 1, Voted(T, True))
    assert sends(fire(node, "again", T)) == [Broadcast((2,), PREPARE)]
    effects = fire(node, "votes_due", T)
    assert sends(effects) == [Broadcast((1, 2), Decision(T, False))]
    assert CancelTimer("again", T) in effects
    assert deliver(node, 2, Voted(T, True)) == [], "too late"


def test_presumed_abort_is_an_answer_without_a_record() -> None:
    """Mohan et al., §3: who asks about a transaction of which nothing is known is told to abort."""
    node = coordinator(epoch=1, committed=((T, (1, 2)),))
    assert deliver(node, 1, Inquire(T)) == [Send(1, Decision(T, True))]
    assert deliver(node, 1, Inquire(T + 1)) == [Send(1, Decision(T + 1, False))]


def test_while_it_asks_it_does_not_answer() -> None:
    assert deliver(asking(), 1, Inquire(T)) == []


def test_after_a_restart_it_tells_its_commits_again() -> None:
    node = Coordinator(0, MEMBERS, Context(), {"epoch": 1, "committed": ((T, (1, 2)),)})
    effects = start(node)
    assert effects[0] == Persist(epoch=2)
    assert sends(effects) == [Broadcast((1, 2), Decision(T, True))]


def test_a_commit_is_told_until_all_have_acknowledged_it_and_then_forgotten() -> None:
    node = coordinator(epoch=1, committed=((T, (1, 2)),))
    assert deliver(node, 1, Acknowledged(T)) == []
    assert sends(fire(node, "again", T)) == [Broadcast((2,), Decision(T, True))]
    assert deliver(node, 2, Acknowledged(T)) == [CancelTimer("again", T), Persist(committed=())]
    assert deliver(node, 2, Acknowledged(T)) == []


def test_no_number_is_used_twice_in_any_life() -> None:
    first = asking()
    second = coordinator(epoch=first.epoch)
    deliver(second, 1000, Begin((1, 2)))
    assert [*first.asking, *second.asking] == [T, 2_000_001]
    assert deliver(second, 1, Voted(T, True)) == [], "a vote of the earlier epoch"


# -- the participant


def test_a_yes_is_written_with_all_that_a_commit_needs_before_it_is_sent() -> None:
    node = participant()
    effects = deliver(node, 0, PREPARE)
    assert effects[:2] == [Persist(prepared=(PREPARE,), fence=T), Send(0, Voted(T, True))]
    assert node.in_doubt == (T,)


def test_a_prepare_that_comes_twice_is_answered_twice_and_done_once() -> None:
    node = participant(prepared=(PREPARE,), fence=T)
    assert deliver(node, 0, PREPARE) == [Send(0, Voted(T, True))]


def test_a_late_prepare_of_an_earlier_attempt_is_refused() -> None:
    node = participant(fence=T + 1)
    assert deliver(node, 0, PREPARE) == [Send(0, Voted(T, False))]


def test_in_doubt_it_asks_everybody_says_so_and_decides_nothing() -> None:
    """Bernstein et al., §7.4: between its yes and the decision a participant is uncertain."""
    node = participant(prepared=(PREPARE,), fence=T)
    effects = fire(node, "decision_due", T)
    assert effects[0] == Record("note", "is in doubt", transaction=T)
    assert sends(effects) == [Broadcast((0, 2), Inquire(T))]
    assert not any(isinstance(effect, Apply | Persist) for effect in effects)


def test_in_doubt_it_has_nothing_to_tell_a_fellow() -> None:
    """Bernstein et al., §7.4: who is uncertain itself cannot help."""
    node = participant(prepared=(PREPARE,), fence=T)
    assert deliver(node, 2, Inquire(T)) == []


def test_who_has_not_voted_may_abort_for_all_and_then_never_votes_yes() -> None:
    """Bernstein et al., §7.4: who has not voted yet can decide to abort by itself."""
    node = participant()
    assert deliver(node, 2, Inquire(T)) == [Persist(fence=T), Send(2, Decision(T, False))]
    assert deliver(node, 0, PREPARE) == [Send(0, Voted(T, False))]


def test_who_knows_the_decision_tells_a_fellow() -> None:
    node = participant(ended=((T, True),), fence=T)
    assert deliver(node, 2, Inquire(T)) == [Send(2, Decision(T, True))]


def test_a_commit_is_applied_written_down_and_then_acknowledged() -> None:
    node = participant(prepared=(PREPARE,), fence=T)
    effects = [e for e in deliver(node, 0, Decision(T, True)) if not isinstance(e, CancelTimer)]
    end = Persist(prepared=(), ended=((T, True),))
    assert effects == [Apply(T, True), end, Send(0, Acknowledged(T))]
    assert deliver(node, 0, Decision(T, True)) == [Send(0, Acknowledged(T))], "told again"


def test_a_commit_that_a_fellow_tells_is_acknowledged_to_the_coordinator_alone() -> None:
    node = participant(prepared=(PREPARE,), fence=T)
    assert sends(deliver(node, 2, Decision(T, True))) == []
    assert sends(deliver(node, 0, Decision(T, True))) == [Send(0, Acknowledged(T))]


def test_who_has_lost_its_disk_acknowledges_nothing() -> None:
    assert deliver(participant(), 0, Decision(T, True)) == []


def test_after_a_restart_in_doubt_it_asks_at_once() -> None:
    node = Participant(1, MEMBERS, Context(), {"prepared": (PREPARE,), "fence": T})
    assert sends(start(node)) == [Broadcast((0, 2), Inquire(T))]


def test_how_old_transactions_ended_is_forgotten_when_everybody_knows() -> None:
    node = participant(ended=((T, True), (T + 1, False)), fence=T + 1)
    deliver(node, 0, Prepare(T + 2, None, (1, 2), settled=T + 1))
    assert node.ended == {T + 1: False}


# -- what a transaction is: `prepare` and `finish`


class Account(Participant):
    """It pays out what the payload says, if there is enough."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.balance: int = arguments[3].get("balance", 100)

    def prepare(self, m: Prepare) -> bool:
        return self.balance >= m.payload

    def finish(self, m: Prepare, commit: bool) -> dict[str, Any]:
        self.balance -= m.payload if commit else 0
        return {"balance": self.balance}


def test_what_a_commit_changes_is_durable_in_one_piece_with_it() -> None:
    """So that a crash between the two cannot pay twice, or never."""
    node = participant(Account)
    deliver(node, 0, Prepare(T, 30, (1, 2)))
    effects = deliver(node, 0, Decision(T, True))
    assert Persist(prepared=(), ended=((T, True),), balance=70) in effects


def test_who_cannot_prepare_votes_no() -> None:
    node = participant(Account)
    assert deliver(node, 0, Prepare(T, 130, (1, 2))) == [Persist(fence=T), Send(0, Voted(T, False))]


class Slow(Participant):
    def prepare(self, m: Prepare) -> None:
        """Somebody has begun to write."""

    def finish(self, m: Prepare, commit: bool) -> dict[str, Any]:
        assert not commit
        self.stopped = m.transaction
        return {}


def test_a_prepare_that_takes_time_is_voted_on_when_it_is_done() -> None:
    node = participant(Slow)
    assert deliver(node, 0, PREPARE) == deliver(node, 0, PREPARE) == []
    effects = deliver(node, 1001, Voted(T, True))
    assert effects[:2] == [Persist(prepared=(PREPARE,), fence=T), Send(0, Voted(T, True))]
    assert deliver(node, 1001, Voted(T, True)) == []


def test_a_prepare_that_takes_time_is_stopped_by_an_abort() -> None:
    node = participant(Slow)
    deliver(node, 0, PREPARE)
    assert deliver(node, 0, Decision(T, False)) == [Persist(fence=T)]
    assert node.stopped == T
    assert deliver(node, 1001, Voted(T, True)) == []


def test_a_prepare_that_is_done_after_a_later_one_comes_too_late() -> None:
    """Nothing earlier than the fence gets a yes: the order of the numbers is the order of all."""
    node = participant(Slow)
    for transaction in (T, T + 1):
        deliver(node, 0, Prepare(transaction, None, (1, 2), T))
    deliver(node, 1001, Voted(T + 1, True))
    assert deliver(node, 1001, Voted(T, True)) == [Send(0, Voted(T, False))]
    assert node.in_doubt == (T + 1,)


# -- as processes have it


@pytest.mark.parametrize("kind", [Coordinator, Participant])
def test_messages_and_disks_come_back_from_bytes_as_they_were(kind: type[Protocol]) -> None:
    for m in (PREPARE, Voted(T, True), Decision(T, False), Inquire(T), Acknowledged(T)):
        assert copied(m) == m
    message_decoder(kind)
    codec = Codec(kind.stored_types)
    stored: Mapping[str, Any] = {"epoch": 1, "committed": ((T, (1, 2)),), "fence": T}
    stored = {**stored, "prepared": (PREPARE,), "ended": ((T - 1, True),)}
    node = kind(1, MEMBERS, Context(), codec.decode(codec.encode(stored)))
    same = kind(1, MEMBERS, Context(), stored)
    if isinstance(node, Participant):
        assert (node.prepared, node.ended) == (same.prepared, same.ended)  # type: ignore[attr-defined]
    assert sends(start(node)) == sends(start(same))
