"""Primary and backups by hand: Alsberg and Day 1976, and Viewstamped Replication Revisited (VRR,
2012). Init, act, check."""

from functools import partial

import pytest

from labkit.faults import LEADER, At, Delay, FaultPlan, Heal, Kill, Partition
from labkit.protocols.clients import ANY, NEAREST, PRIMARY, Answer, Ask, Scripted
from labkit.protocols.effects import (
    Apply,
    Broadcast,
    Context,
    Persist,
    Send,
    Splice,
    Stored,
    deliver,
    fire,
    start,
    store,
)
from labkit.protocols.primary_backup import (
    NORMAL,
    VIEW_CHANGE,
    DoViewChange,
    Entry,
    GetState,
    NewState,
    Prepare,
    PrepareOk,
    PrimaryBackup,
    StartViewChange,
)
from labkit.protocols.raft.machine import Get, Put, execute
from labkit.simulator.linearizability import check
from labkit.simulator.simulation import Simulation

CLIENT = 1000
A, B, C = (Entry(CLIENT, serial, Put("x", serial)) for serial in (1, 2, 3))


def member(me=0, n=3, view=0, log=(), last_normal=None, **settings):
    last_normal = view if last_normal is None else last_normal
    stored = {"view": view, "last_normal": last_normal, "log": Stored(1, list(log))}
    made = PrimaryBackup(me, tuple(range(n)), Context(1.0), stored, **settings)
    start(made)
    return made


def answers(effects):
    return [e.message for e in effects if isinstance(e, Send) and isinstance(e.message, Answer)]


def sent(effects, kind):
    return [e for e in effects if isinstance(getattr(e, "message", None), kind)]


# -- normal operation, VRR §4.1


def test_the_primary_orders_writes_and_sends_it_to_the_backups():
    primary = member(0)

    effects = deliver(primary, CLIENT, Ask(1, Put("x", 1)))

    assert effects[:2] == [
        Persist(log=Splice(1, (A,))),
        Broadcast((1, 2), Prepare(0, 1, (A,), 0)),
    ]
    assert answers(effects) == []


@pytest.mark.parametrize(("copies", "enough"), [(1, 0), (2, 1), (3, 2)])
def test_it_answers_when_enough_copies_are_durable(copies, enough):
    """Asynchronous, majority, synchronous."""
    primary = member(0, copies=copies)

    effects = [deliver(primary, CLIENT, Ask(1, Put("x", 1)))]
    effects += [deliver(primary, backup, PrepareOk(0, 1)) for backup in (1, 2)]

    assert [len(answers(e)) for e in effects] == [int(i == enough) for i in range(3)]
    assert Apply(1, Put("x", 1)) in effects[enough]


def test_one_backup_that_acknowledges_twice_is_one_copy():
    primary = member(0, copies=3)
    deliver(primary, CLIENT, Ask(1, Put("x", 1)))

    twice = [deliver(primary, 1, PrepareOk(0, 1)) for _ in range(2)]

    assert twice == [[], []]


def test_a_backup_acknowledges_what_is_on_its_disk():
    backup = member(1)

    effects = deliver(backup, 0, Prepare(0, 1, (A,), 0))

    kept = effects.index(Persist(log=Splice(1, (A,))))
    assert kept < effects.index(Send(0, PrepareOk(0, 1)))
    assert backup.values == {}


def test_a_backup_executes_what_the_primary_has_executed():
    backup = member(1, log=(A,))

    effects = deliver(backup, 0, Prepare(0, 2, (B,), 1))

    assert Apply(1, A.command) in effects
    assert backup.values == {"x": 1}


def test_a_backup_that_missed_an_entry_asks_for_it():
    backup = member(1)

    effects = deliver(backup, 0, Prepare(0, 3, (C,), 0))
    filled = deliver(backup, 0, NewState(0, 1, (A, B, C), 0))

    assert sent(effects, PrepareOk) == []
    assert Send(0, GetState(0, 0)) in effects
    assert Send(0, PrepareOk(0, 3)) in filled


def test_others_say_who_the_primary_is():
    backup = member(2, view=4)

    effects = deliver(backup, CLIENT, Ask(1, Put("x", 1)))

    assert effects == [Send(CLIENT, Answer(1, False, elsewhere=1))]


def test_a_read_of_the_primary_waits_for_copies_and_a_local_one_does_not():
    primary, backup = member(0), member(1)
    deliver(backup, 0, Prepare(0, 1, (A,), 1))

    confirmed = deliver(primary, CLIENT, Ask(1, Get("x")))
    local = deliver(backup, CLIENT, Ask(1, Get("x"), local=True))

    assert answers(confirmed) == []
    assert answers(local) == [Answer(1, True, 1, stamp=(1, 0))]


def test_a_command_that_arrives_twice_is_executed_once():
    primary = member(0, copies=1)

    once = deliver(primary, CLIENT, Ask(1, Put("x", 1)))
    twice = deliver(primary, CLIENT, Ask(1, Put("x", 1)))

    assert answers(once)
    assert twice == []


# -- promotion, VRR §4.2


def test_a_backup_that_hears_nothing_proposes_the_next_view():
    backup = member(2, log=(A,))

    effects = fire(backup, "silence")

    assert (backup.view, backup.status) == (1, VIEW_CHANGE)
    promise = effects.index(Persist(view=1))
    told = effects.index(Send(1, DoViewChange(1, 0, (A,), 0)))
    assert promise < told
    assert Broadcast((0, 1), StartViewChange(1)) in effects


def test_the_next_in_turn_begins_with_a_majority_of_logs():
    heir = member(1, n=5, log=(A,))

    effects = [
        fire(heir, "silence"),
        deliver(heir, 2, DoViewChange(1, 0, (A, B), 1)),
        deliver(heir, 2, DoViewChange(1, 0, (A, B), 1)),
        deliver(heir, 3, DoViewChange(1, 0, (), 0)),
    ]

    assert [bool(sent(e, NewState)) for e in effects] == [False, False, False, True]
    assert (heir.status, heir.leads, heir.log) == (NORMAL, True, [A, B])
    assert Broadcast((0, 2, 3, 4), NewState(1, 1, (A, B), 1)) in effects[-1]
    assert Persist(view=1, last_normal=1, log=Stored(1, [A, B])) in effects[-1]


def test_of_the_logs_the_latest_view_counts_before_length():
    """VRR §4.2: the log with the largest v'; of several, the one with the largest op-number."""
    heir = member(1, view=3, log=(A,))

    deliver(heir, 0, DoViewChange(4, 0, (B, C), 0))

    assert heir.log == [A]


def test_whoever_has_promised_takes_nothing_from_an_older_primary():
    """The fence. The promise outlives a crash."""
    backup = member(2)
    disk = {}
    for effect in fire(backup, "silence"):
        if isinstance(effect, Persist):
            store(disk, effect.values)
    restarted = PrimaryBackup(2, (0, 1, 2), Context(2.0), disk)
    start(restarted)

    for node in (backup, restarted):
        assert deliver(node, 0, Prepare(0, 1, (A,), 0)) == []
        assert node.log == []


def test_a_late_acknowledgement_of_an_older_view_counts_for_nothing():
    primary = member(1, view=1)
    deliver(primary, CLIENT, Ask(1, Put("x", 1)))

    assert deliver(primary, 2, PrepareOk(0, 1)) == []


def test_a_deposed_primary_takes_over_the_new_log():
    deposed = member(0, log=(A, C))

    asks = deliver(deposed, 1, Prepare(1, 3, (), 2))
    effects = deliver(deposed, 1, NewState(1, 1, (A, B), 2))

    assert Send(1, GetState(1, 0)) in asks
    assert (deposed.view, deposed.leads, deposed.log) == (1, False, [A, B])
    assert Persist(view=1, last_normal=1, log=Stored(1, [A, B])) in effects
    assert deposed.values == {"x": 2}


def test_what_an_asynchronous_primary_had_executed_alone_is_undone():
    deposed = member(0, copies=1)
    deliver(deposed, CLIENT, Ask(1, Put("x", "lost")))
    assert deposed.values == {"x": "lost"}

    deliver(deposed, 1, NewState(1, 1, (B,), 1))

    assert deposed.values == {"x": 2}


# -- in the simulator


def run(*script, plan=(), copies=None, reads_from=PRIMARY, n=3, patience=0.5):
    client = partial(
        Scripted, script=script, writes_to=PRIMARY, reads_from=reads_from, patience=patience
    )
    protocol = partial(PrimaryBackup, copies=copies)
    return Simulation(protocol, n, faults=FaultPlan(*plan), clients={CLIENT: client})


def test_a_backup_takes_over():
    """A client that gets no answer asks somebody else, and learns who the primary is."""
    script = [(1.0, Put("x", 1)), *((3.0 + i, Get("x")) for i in range(8))]
    sim = run(*script, plan=[At(Kill(LEADER), seconds=2.0)])

    assert sim.run_until(lambda s: s.now > 2 and s.leader() is not None, within=3)
    sim.run(12)

    assert sim.leader() == 1
    assert sim.node(CLIENT).history[-1].result == 1


def test_asynchronous_replication_loses_what_it_acknowledged():
    """The primary is cut off from its backups, not from its client, and then it dies."""
    cut = Partition(((0,), (1, 2)))
    plan = [At(cut, seconds=0.99), At(Kill(0), seconds=1.05), At(Heal(), seconds=1.1)]
    script = [(1.0, Put("x", 1)), *((3.0 + i, Get("x")) for i in range(8))]

    lost = run(*script, plan=plan, copies=1).run(12).node(CLIENT).history
    safe = run(*script, plan=plan).run(12).node(CLIENT).history

    assert (lost[0].returned is not None, lost[-1].returned is not None) == (True, True)
    assert lost[-1].result is None
    assert not check(lost, execute)
    assert safe[0].returned is None  # the client was never told that it was done
    assert check(safe, execute)


def test_synchronous_replication_to_all_stops_with_the_first_death():
    sim = run((2.0, Put("x", 1)), plan=[At(Kill(2), seconds=1.0)], copies=3).run(4)

    assert sim.node(CLIENT).history[0].returned is None


def test_a_primary_in_the_minority_answers_nothing_and_its_successor_does():
    plan = [At(Partition(((0, CLIENT), (1, 2))), seconds=1.0)]
    other = partial(Scripted, script=((3.0, Put("x", 2)),), writes_to=1)
    clients = {CLIENT: partial(Scripted, script=((2.0, Put("x", 1)),), writes_to=0), 1001: other}
    sim = Simulation(PrimaryBackup, 3, faults=FaultPlan(*plan), clients=clients).run(4)

    assert sim.node(CLIENT).history[0].returned is None
    assert sim.node(1001).history[0].returned is not None


@pytest.mark.parametrize(("where", "fresh"), [(PRIMARY, True), (ANY, False), (NEAREST, False)])
def test_reads_of_copies_are_fast_and_may_be_stale(where, fresh):
    """The backups learn of what is executed with the primary's next message, up to T/3 later."""
    script = [(1 + i, call) for i in range(10) for call in (Put("x", i), Get("x"))]
    sim = run(*script, reads_from=where)
    for other in (0, 1):
        sim.inject(Delay(other, CLIENT, 0.02))
    sim.run(15)

    reads = [call for call in sim.node(CLIENT).history if isinstance(call.command, Get)]
    results = [call.result for call in reads]

    assert len(reads) == 10
    assert (results == list(range(10))) is fresh
