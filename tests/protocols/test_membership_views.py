"""The agreement on views, by hand: nodes without an engine, and what their hosts tell them."""

from __future__ import annotations

from typing import Any

from by_hand import leader, node, receivers, sent, timers

from labkit.protocols.effects import Effect, Record, Send, SetTimer, Stored, deliver, fire, start
from labkit.protocols.raft.membership import AskIdentity, Configuration
from labkit.protocols.raft.messages import Appended, AppendEntries
from labkit.protocols.raft.transfer import TimeoutNow, TransferLeadership
from labkit.protocols.views import Connected, Expect, NextView, Views
from labkit.protocols.views.agreement import DOUBT_SECONDS
from labkit.protocols.views.messages import Announce, CurrentView, Report
from labkit.protocols.views.voters import HEAD_START
from labkit.view import Member


def lives(*ranks: int) -> tuple[Member, ...]:
    return tuple(Member(rank, 0) for rank in ranks)


def appended(n: Any, follower: int) -> list[Effect]:
    """The follower has all that the leader has."""
    message = Appended(n.term, True, n.last_index, n.round, n.followers[follower])
    return deliver(n, follower, message)


def report(of: int, *sees: int, count: int = 1, view: int = 0, life: int = 0) -> Report:
    return Report(Member(of, life), count, lives(*sees), view, 0)


def proposed(n: Any) -> list[NextView]:
    return [entry.command for entry in n.log if isinstance(entry.command, NextView)]


def witness(ranks: int = 3) -> Any:
    """The witness of so many ranks, elected, with connections to all of them."""
    n = leader(ranks + 1, kind=WitnessFirst)
    deliver(n, n.me, Connected(Member(n.me, 0), lives(*n.ranks)))
    return n


class WitnessFirst(Views):
    """`by_hand.leader` elects node 0: here that is the witness, so that its id comes first."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.witness = 0
        self.ranks = tuple(member for member in self.members if member)


def with_view(ranks: int = 3) -> Any:
    """A witness whose ranks 1, 2, … are in a view that is committed everywhere."""
    n = witness(ranks)
    deliver(n, 0, Expect(lives(*n.ranks)))
    for rank in n.ranks:
        deliver(n, rank, report(rank, *(r for r in n.members if r != rank)))
    for rank in n.ranks:
        appended(n, rank)
    assert n.machine.view == NextView(1, lives(*n.ranks))
    return n


# -- the view


def test_the_first_view_waits_until_all_that_are_expected_see_one_another() -> None:
    n = witness()
    deliver(n, 0, Expect(lives(1, 2, 3)))

    deliver(n, 1, report(1, 0, 2, 3))
    deliver(n, 2, report(2, 0, 1, 3))
    deliver(n, 3, report(3, 0, 1))  # not 2, who sees it
    assert proposed(n) == []
    deliver(n, 3, report(3, 0, 1, 2, count=2))

    assert proposed(n) == [NextView(1, lives(1, 2, 3))]


def test_nothing_is_proposed_before_the_launcher_has_spoken() -> None:
    n = witness(1)

    deliver(n, 1, report(1, 0))

    assert proposed(n) == []


def test_the_view_shrinks_as_soon_as_the_leader_loses_a_member() -> None:
    n = with_view()

    effects = deliver(n, 0, Connected(Member(0, 0), lives(1, 3)))

    assert proposed(n)[-1] == NextView(2, lives(1, 3))
    assert receivers(effects, AppendEntries)[:3] == [1, 2, 3]


def test_another_loss_is_proposed_behind_one_that_is_under_way() -> None:
    n = with_view()

    deliver(n, 0, Connected(Member(0, 0), lives(1, 3)))
    deliver(n, 0, Connected(Member(0, 0), lives(3)))

    assert proposed(n)[1:] == [NextView(2, lives(1, 3)), NextView(3, lives(3))]


def test_a_later_life_of_a_rank_is_another_member() -> None:
    n = with_view()

    deliver(n, 0, Expect((*lives(1, 2), Member(3, 1))))
    deliver(n, 0, Connected(Member(0, 0), (*lives(1, 2), Member(3, 1))))
    assert proposed(n)[-1] == NextView(2, lives(1, 2))
    for rank in (1, 2):
        peers = tuple(member for member in (*lives(0, 1, 2), Member(3, 1)) if member.rank != rank)
        deliver(n, rank, Report(Member(rank, 0), 5, peers, 1, 0))
    deliver(n, 3, report(3, 0, 1, 2, life=1))

    assert proposed(n)[-1] == NextView(3, (*lives(1, 2), Member(3, 1)))


def test_the_launcher_may_expect_the_dead_for_a_while() -> None:
    """Who is lost keeps nobody else out of the view."""
    n = with_view()
    again = Member(2, 1)
    deliver(n, 0, Connected(Member(0, 0), lives(1)))

    deliver(n, 0, Expect((Member(1, 0), again, Member(3, 0))))
    deliver(n, 0, Connected(Member(0, 0), (Member(1, 0), again)))
    deliver(n, 1, Report(Member(1, 0), 5, (Member(0, 0), again), 1, 0))
    deliver(n, 2, report(2, 0, 1, life=1))

    assert proposed(n)[-1].members == (Member(1, 0), again)


def test_a_new_life_is_asked_for_its_first_report() -> None:
    """Its reports are numbered anew: that one of that number is here says nothing."""
    n = with_view()
    deliver(n, 0, Connected(Member(0, 0), (*lives(1, 2), Member(3, 1))))

    assert asked(fire(n, "beat")) == {1: 1, 2: 1, 3: -1}


def test_who_has_just_come_is_asked_at_once_and_no_other() -> None:
    """It does not know who leads, and a beat is 0.1 s: the longest part of its way back."""
    n = with_view()
    lost = deliver(n, 0, Connected(Member(0, 0), lives(1, 2)))
    back = deliver(n, 0, Connected(Member(0, 0), (*lives(1, 2), Member(3, 1))))

    assert asked(lost) == {}
    assert asked(back) == {3: -1}


def asked(effects: list[Effect]) -> dict[int, int]:
    """To whom the leader has announced the view, and which of its reports has arrived."""
    sends = [effect for effect in effects if isinstance(effect, Send)]
    return {e.to: e.message.heard for e in sends if isinstance(e.message, Announce)}


def test_a_leader_that_hands_over_leaves_the_next_view_to_its_successor() -> None:
    n = with_view()
    deliver(n, 9, TransferLeadership(1))

    deliver(n, 0, Connected(Member(0, 0), lives(1, 3)))
    assert len(proposed(n)) == 1
    fire(n, "transfer")  # it came to nothing
    fire(n, "beat")

    assert proposed(n)[-1] == NextView(2, lives(1, 3))


def test_a_member_that_has_lost_another_is_believed_after_a_while() -> None:
    """The leader may see the other die in a moment; else of two that are parted the first stays."""
    n = with_view()

    deliver(n, 3, report(3, 0, 2, count=9, view=1))
    assert len(proposed(n)) == 1
    n.context.now += DOUBT_SECONDS
    fire(n, "beat")

    assert proposed(n)[-1] == NextView(2, lives(1, 2))


def test_a_connection_that_broke_and_is_whole_again_gives_a_view_of_the_same_members() -> None:
    """Two members have left their group, and the others with them: they wait for another view."""
    n = with_view()

    deliver(n, 3, report(3, 0, 2, count=9, view=1))
    assert len(proposed(n)) == 1  # nothing is decided while it may be a death
    mended = Report(Member(3, 0), 10, lives(0, 1, 2), 1, 0, broken=1)
    deliver(n, 3, mended)
    fire(n, "beat")

    assert proposed(n)[1:] == [NextView(2, lives(1, 2, 3))]


def test_a_member_remembers_that_it_has_lost_another_until_the_next_view() -> None:
    n = node(Views, 2)
    deliver(n, 2, Connected(Member(2, 0), lives(0, 1)))
    deliver(n, 0, Announce(1, NextView(4, lives(1, 2)), -1))

    deliver(n, 2, Connected(Member(2, 0), lives(0)))
    deliver(n, 2, Connected(Member(2, 0), lives(0, 1)))

    assert n.report().broken == 4


def test_who_is_not_ready_is_in_no_view_and_keeps_nobody_out() -> None:
    n = with_view()
    again, late = Member(2, 1), Member(3, 1)
    here = (Member(1, 0), again, late)
    deliver(n, 0, Expect(here))
    deliver(n, 0, Connected(Member(0, 0), here))
    assert proposed(n)[-1].members == lives(1)

    deliver(n, 1, Report(Member(1, 0), 5, (Member(0, 0), again, late), 1, 0))
    deliver(n, 2, Report(again, 1, (Member(0, 0), Member(1, 0), late), 0, 0))
    assert len(proposed(n)) == 2  # rank 3 is on the way as well
    deliver(n, 3, Report(late, 1, (Member(0, 0), Member(1, 0), again), 0, 0, ready=False))
    assert proposed(n)[-1].members == (Member(1, 0), again)
    deliver(n, 3, Report(late, 2, (Member(0, 0), Member(1, 0), again), 0, 0, ready=True))

    assert proposed(n)[-1].members == here


def test_who_notices_a_silence_first_is_not_the_one_who_goes() -> None:
    """The others, and the leader, notice it a beat later: the doubt is longer than that."""
    n = with_view()
    n.doubt = DOUBT_SECONDS + 0.2

    deliver(n, 3, report(3, 0, 1, count=9, view=1))  # has lost rank 2
    n.context.now += DOUBT_SECONDS + 0.1
    fire(n, "beat")
    assert len(proposed(n)) == 1
    deliver(n, 0, Connected(Member(0, 0), lives(1, 3)))

    assert proposed(n)[-1] == NextView(2, lives(1, 3))


def test_a_report_from_before_the_view_says_nothing_of_its_members() -> None:
    n = with_view()

    deliver(n, 3, report(3, 0, 2, count=9, view=0))
    n.context.now += 2 * DOUBT_SECONDS
    fire(n, "beat")

    assert len(proposed(n)) == 1


def test_an_old_report_does_not_replace_a_newer_one() -> None:
    n = witness()
    deliver(n, 0, Expect(lives(1, 2, 3)))

    deliver(n, 1, report(1, 0, 2, 3, count=2))
    deliver(n, 1, report(1, 0, count=1))
    deliver(n, 2, report(2, 0, 1, 3))
    deliver(n, 3, report(3, 0, 1, 2))

    assert proposed(n) == [NextView(1, lives(1, 2, 3))]


def test_a_view_takes_effect_only_as_the_next_one() -> None:
    machine = CurrentView()

    assert machine.apply(NextView(1, lives(0, 1)))
    assert not machine.apply(NextView(1, lives(0)))
    assert not machine.apply(NextView(3, lives(0)))

    assert machine.view == NextView(1, lives(0, 1))
    again = CurrentView()
    again.restore(machine.snapshot())
    assert again.view == machine.view


def test_a_new_leader_goes_on_from_a_view_that_it_cannot_know_to_be_committed() -> None:
    n = node(Views, 0, 3, log=Stored(1, list(with_view(2).log)), term=1)
    deliver(n, 0, Connected(Member(0, 0), lives(1, 2)))

    assert n.last_view() == NextView(1, lives(1, 2))
    assert n.machine.view == NextView()


# -- who installs it


def installed(effects: list[Effect]) -> list[str]:
    return [e.name for e in effects if isinstance(e, Record) and e.kind == "view"]


def test_a_rank_installs_what_the_leader_announces_and_reports() -> None:
    n = node(Views, 0, 3)
    deliver(n, 0, Connected(Member(0, 0), lives(1, 2)))

    effects = deliver(n, 2, Announce(1, NextView(4, lives(0, 1)), -1))

    assert installed(effects) == ["view 4 {0,1}"]
    assert sent(effects, Report) == [Report(Member(0, 0), 2, lives(1, 2), 4, 0)]
    assert n.leader == 2
    again = deliver(n, 2, Announce(1, NextView(4, lives(0, 1)), heard=2))
    assert installed(again) == []
    assert sent(again) == []


def test_a_life_that_is_not_in_a_view_leaves_it_alone() -> None:
    n = node(Views, 0, 3)
    deliver(n, 0, Connected(Member(0, 1), lives(1, 2)))

    effects = deliver(n, 2, Announce(1, NextView(4, lives(0, 1)), -1))

    assert installed(effects) == []


def test_only_the_own_host_is_believed_about_connections() -> None:
    n = node(Views, 0, 3)

    deliver(n, 1, Connected(Member(0, 0), lives(1, 2)))
    deliver(n, 1, Expect(lives(0)))

    assert n.connected == ()
    assert n.life is None
    assert n.expected is None


# -- the voters


def voters(n: Any) -> list[int]:
    found = [e.command for e in n.log if isinstance(e.command, Configuration)]
    return [node for node, _ in found[-1].voters] if found else []


def test_the_voters_follow_the_view_one_at_a_time() -> None:
    n = with_view(4)

    deliver(n, 0, Connected(Member(0, 0), lives(1, 2)))
    appended(n, 1), appended(n, 2)
    assert voters(n) == [0, 1, 2, 4]
    appended(n, 1), appended(n, 2)

    assert voters(n) == [0, 1, 2]


def test_of_two_voters_only_the_leader_stays() -> None:
    n = with_view(2)

    deliver(n, 0, Connected(Member(0, 0), lives(1)))
    appended(n, 1)

    assert n.machine.view.members == lives(1)
    assert voters(n) == [0, 1]  # the dead one first: without rank 1 nothing could be agreed on
    appended(n, 1)
    assert voters(n) == [0]


def test_a_rank_that_is_back_is_taken_in_again() -> None:
    n = with_view()
    n.voters.pop(3)
    n.configurations = [(0, tuple(sorted(n.voters.items())))]
    n.use_configuration()

    effects = appended(n, 1) + appended(n, 2)

    assert receivers(effects, AskIdentity) == [3]


def test_a_voter_that_has_lost_its_disk_is_taken_out_first() -> None:
    n = with_view()

    deliver(n, 3, Report(Member(3, 0), 9, lives(0, 1, 2), 1, identity=77))
    fire(n, "beat")

    assert voters(n) == [0, 1, 2]


def test_at_most_seven_vote() -> None:
    disk = Views.found(0, tuple(range(11)))

    assert [node for node, _ in disk["voters"]] == [0, 1, 2, 3, 4, 5, 10]


def test_a_leader_hands_over_to_the_witness_once_that_has_the_log() -> None:
    n = leader(3, kind=Views)
    deliver(n, 0, Connected(Member(0, 0), lives(1, 2)))
    deliver(n, 0, Expect(lives(0, 1)))
    deliver(n, 1, report(1, 0, 2))
    assert sent(appended(n, 1), TransferLeadership) == []

    (wish,) = sent(appended(n, 2), TransferLeadership)

    assert receivers(deliver(n, 0, wish), TimeoutNow) == [2]


def test_when_the_leader_is_gone_the_others_stand_in_turn_the_witness_first() -> None:
    nodes = {me: node(Views, me, 4) for me in (1, 2, 3)}
    for me, n in nodes.items():
        others = tuple(member for member in lives(0, 1, 2, 3) if member.rank != me)
        deliver(n, me, Connected(Member(me, 0), others))
        deliver(n, 0, AppendEntries(1, 0, 0, (), 0, 0))

    wait: dict[int, float] = {}
    for me, n in nodes.items():
        others = tuple(member for member in lives(1, 2, 3) if member.rank != me)
        effects = deliver(n, me, Connected(Member(me, 0), others))
        wait[me] = [e.after for e in effects if isinstance(e, SetTimer)][-1]

    assert wait == {3: 0.0, 1: HEAD_START, 2: 2 * HEAD_START}


def test_the_witness_stands_once_the_ranks_have_come() -> None:
    n = Views(2, (0, 1, 2), node(Views).context, Views.found(2, (0, 1, 2)))
    start(n)

    effects = deliver(n, 2, Connected(Member(2, 0), lives(0)))

    assert timers(effects) == ["election"]
    assert [e for e in effects if isinstance(e, Send)] == []


def test_the_witness_stands_at_once_when_all_that_are_expected_have_come() -> None:
    n = Views(2, (0, 1, 2), node(Views).context, Views.found(2, (0, 1, 2)))
    start(n)
    deliver(n, 2, Expect(lives(0, 1, 2)))

    waits = {}
    for here in (lives(0), lives(0, 1)):
        (timer,) = deliver(n, 2, Connected(Member(2, 0), here))
        assert isinstance(timer, SetTimer)
        waits[here] = timer.after

    assert waits == {lives(0): HEAD_START, lives(0, 1): 0.0}


def test_who_has_no_majority_says_who_has_to_come_back() -> None:
    n = node(Views, 0, 5)
    deliver(n, 0, Connected(Member(0, 0), lives(1, 2, 3, 4)))

    effects = deliver(n, 0, Connected(Member(0, 0), lives(4)))

    (said,) = [e.name for e in effects if isinstance(e, Record)]
    assert said == (
        "2 of 5 voters are here (rank 0, the witness): there is no next view until rank 1 or "
        "rank 2 or rank 3 returns with its disk: cluster.restart(1, 2, 3)"
    )


def test_a_witness_that_lost_its_disk_is_voted_out_and_in_again() -> None:
    n = leader(3, kind=Views)
    deliver(n, 0, Connected(Member(0, 0), lives(1, 2)))
    deliver(n, 0, Expect(lives(0, 1)))
    deliver(n, 1, report(1, 0, 2))
    appended(n, 1)
    deliver(n, 2, Report(Member(2, 0), 1, lives(0, 1), 0, identity=99))

    fire(n, "beat")
    assert voters(n) == [0, 1]
    appended(n, 1)

    assert n.learners.keys() == {2}
