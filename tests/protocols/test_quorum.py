"""A register on R and W of N by hand: Gifford 1979, ABD 1995, Dynamo 2007. Init, act, check."""

from functools import partial

import pytest

from labkit.faults import At, Cut, Delay, FaultPlan, Heal, Kill, Partition, Revive
from labkit.protocols.clients import Answer, Ask, Client, Scripted
from labkit.protocols.effects import Broadcast, Context, Persist, Send, deliver, fire, start
from labkit.protocols.quorum import (
    AFTER,
    BEFORE,
    NEVER,
    Offer,
    Queried,
    Query,
    Register,
    Update,
    Updated,
    Version,
)
from labkit.protocols.raft.machine import Get, Put, execute
from labkit.simulator.linearizability import check
from labkit.simulator.network import Network
from labkit.simulator.simulation import Simulation

CLIENT = 1000
OLD, NEW = Version(1, 0, "old"), Version(2, 1, "new")


def replica(me=0, n=3, stored=None, **settings):
    made = Register(me, tuple(range(n)), Context(1.0), stored or {}, **settings)
    start(made)
    return made


def holding(version, me=0, n=3, **settings):
    return replica(me, n, {"registers": {"x": version}}, **settings)


def answers(effects):
    return [e.message for e in effects if isinstance(e, Send) and e.to == CLIENT]


def operation(effects):
    return next(e.message.operation for e in effects if isinstance(e, Broadcast))


def asked(node, command, serial=1):
    """The effects of the question, and the operation's name."""
    effects = deliver(node, CLIENT, Ask(serial, command))
    return effects, operation(effects)


# -- reads


def test_a_read_returns_the_newest_of_r_versions():
    """Gifford 1979: the representative with the highest version number is current."""
    node = holding(OLD, repair=NEVER)
    first, name = asked(node, Get("x"))

    effects = deliver(node, 1, Queried(name, NEW))

    assert answers(first) == []
    assert answers(effects) == [Answer(1, True, "new", stamp=(2, 1))]
    assert node.version("x") == OLD


def test_a_register_that_was_never_written_reads_as_nothing():
    node = replica()
    _, name = asked(node, Get("x"))

    effects = deliver(node, 1, Queried(name, Version()))

    assert answers(effects) == [Answer(1, True, None, stamp=(0, -1))]


def test_with_r_of_one_the_own_copy_is_enough():
    node = holding(OLD, reads=1, repair=NEVER)

    effects, _ = asked(node, Get("x"))

    assert answers(effects) == [Answer(1, True, "old", stamp=(1, 0))]


def test_an_answer_that_comes_twice_is_one_answer():
    node = holding(OLD, n=5, repair=NEVER)
    _, name = asked(node, Get("x"))

    once = deliver(node, 1, Queried(name, NEW))
    twice = deliver(node, 1, Queried(name, NEW))
    third = deliver(node, 2, Queried(name, OLD))

    assert (answers(once), answers(twice)) == ([], [])
    assert answers(third) == [Answer(1, True, "new", stamp=(2, 1))]


def test_an_answer_to_an_earlier_life_is_not_counted():
    earlier = replica()
    _, name = asked(earlier, Get("x"))
    node = replica(stored={"life": earlier.life})
    asked(node, Get("x"))

    effects = deliver(node, 1, Queried(name, NEW))

    assert effects == []


@pytest.mark.parametrize(("n", "majority"), [(2, 2), (3, 2), (4, 3), (5, 3)])
def test_without_a_word_r_and_w_are_majorities(n, majority):
    """Gifford 1979: r + w > N, so that any two quorums have a member in common."""
    node = replica(n=n)

    assert node.reads == node.writes == majority
    assert node.reads + node.writes > n


# -- repair


def test_a_read_that_repairs_before_it_answers_waits_for_w_copies():
    """ABD 1995: the reader writes back what it is about to return."""
    node = holding(OLD, repair=BEFORE)
    _, name = asked(node, Get("x"))

    seen = deliver(node, 1, Queried(name, NEW))

    assert answers(seen) == [Answer(1, True, "new", stamp=(2, 1))]  # 1 has it, and so have I now
    assert Persist(registers={"x": NEW}) in seen


def test_and_it_waits_longer_if_fewer_have_it():
    node = holding(NEW, repair=BEFORE)
    _, name = asked(node, Get("x"))

    seen = deliver(node, 1, Queried(name, OLD))
    stored = deliver(node, 1, Updated(name))

    assert answers(seen) == []
    assert Broadcast((1,), Update(name, "x", NEW)) in seen
    assert answers(stored) == [Answer(1, True, "new", stamp=(2, 1))]


def test_a_read_that_repairs_after_it_answered_does_not_wait():
    """Dynamo §5: the coordinator updates stale nodes once it has returned."""
    node = holding(NEW, repair=AFTER)
    _, name = asked(node, Get("x"))

    seen = deliver(node, 1, Queried(name, OLD))
    late = deliver(node, 2, Queried(name, OLD))

    assert answers(seen) == [Answer(1, True, "new", stamp=(2, 1))]
    assert Broadcast((1,), Update(name, "x", NEW)) in seen
    assert Send(2, Update(name, "x", NEW)) in late


def test_a_replica_never_goes_back():
    node = holding(NEW)

    effects = deliver(node, 1, Update((1, 1), "x", OLD))

    assert node.version("x") == NEW
    assert effects == [Send(1, Updated((1, 1)))]


def test_replicas_that_meet_end_equal():
    """Dynamo §4.7."""
    node = replica(stored={"registers": {"x": NEW, "y": OLD}})

    deliver(node, 2, Offer({"x": OLD, "y": NEW}))

    assert node.registers == {"x": NEW, "y": NEW}


# -- writes


def test_a_write_goes_beyond_the_newest_of_r_versions():
    node = holding(OLD)
    _, name = asked(node, Put("x", "mine"))

    effects = deliver(node, 1, Queried(name, NEW))

    mine = Version(3, 0, "mine")
    kept, sent = effects[0], effects[1]
    assert kept == Persist(registers={"x": mine}, written={CLIENT: 1})  # before anyone hears of it
    assert sent == Broadcast((1, 2), Update(name, "x", mine))
    assert answers(effects) == []


@pytest.mark.parametrize(("writes", "enough"), [(1, 0), (2, 1), (3, 2)])
def test_a_write_is_acknowledged_by_w_copies(writes, enough):
    """Asynchronous, quorum, synchronous."""
    node = replica(writes=writes)
    _, name = asked(node, Put("x", "mine"))

    effects = [deliver(node, 1, Queried(name, Version()))]
    effects += [deliver(node, other, Updated(name)) for other in (1, 2)]

    heard = [bool(answers(e)) for e in effects]
    assert heard == [i == enough for i in range(3)]


def test_a_replica_that_says_so_twice_is_one_copy():
    node = replica(writes=3)
    _, name = asked(node, Put("x", "mine"))
    deliver(node, 1, Queried(name, Version()))

    assert answers(deliver(node, 1, Updated(name))) == []
    assert answers(deliver(node, 1, Updated(name))) == []
    assert answers(deliver(node, 2, Updated(name)))


def test_two_writes_at_one_coordinator_get_two_versions():
    node = replica(n=5)
    _, first = asked(node, Put("x", "a"), serial=1)
    second = operation(deliver(node, 1001, Ask(1, Put("x", "b"))))

    for other in (1, 2):
        deliver(node, other, Queried(first, OLD))
        deliver(node, other, Queried(second, OLD))

    assert node.version("x") == Version(3, 0, "b")


def test_a_write_that_arrives_twice_is_done_once():
    node = replica()
    _, name = asked(node, Put("x", "mine"))
    deliver(node, 1, Queried(name, Version()))

    assert deliver(node, CLIENT, Ask(1, Put("x", "mine"))) == []
    again = replica(stored={"written": {CLIENT: 1}})
    assert deliver(again, CLIENT, Ask(1, Put("x", "mine"))) == []


def test_silent_replicas_are_asked_again_until_patience_is_over():
    node = replica(n=5, patience=0.5)
    _, name = asked(node, Put("x", "mine"))
    deliver(node, 1, Queried(name, OLD))

    again = fire(node, "retry", name)
    deliver(node, 2, Queried(name, OLD))
    once_more = fire(node, "retry", name)
    node.context.now += 1.0
    given_up = fire(node, "retry", name)

    assert Broadcast((2, 3, 4), Query(name, "x")) in again
    assert Broadcast((1, 2, 3, 4), Update(name, "x", Version(2, 0, "mine"))) in once_more
    assert given_up == []
    assert node.pending == {}


def test_anti_entropy_is_a_setting():
    eager, idle = replica(), replica(anti_entropy=0)

    assert fire(eager, "anti_entropy")
    assert not any(getattr(e, "timer", "") == "anti_entropy" for e in start(idle))


def test_a_replica_that_is_alone_answers_and_has_nobody_to_offer_anything():
    script = (0.1, Put("x", "new")), (2.0, Get("x"))
    client = partial(Scripted, script=script)

    sim = Simulation(Register, n=1, clients={CLIENT: client}).run(5.0)

    assert [call.result for call in sim.node(CLIENT).history] == [None, "new"]


# -- in the simulator


def scripted(*script, at):
    return partial(Scripted, script=script, writes_to=at, reads_from=at)


def while_a_write_is_under_way(repair):
    """R = W = 2 of 3. Twice what node 0 sends to the others is lost: the write's updates, and then
    the repair of the first read, which is at 0. The second read, at 1, hears 1 and 2.

    Every message takes 10 ms.
    """
    cuts = [At(Cut(0, o), seconds=t) for t in (1.025, 1.075) for o in (1, 2)]
    heals = [At(Heal(), seconds=t) for t in (1.035, 1.085)]
    sim = Simulation(
        partial(Register, repair=repair, anti_entropy=0, retry=0.15),
        network=Network(low=0.01, high=0.01),
        faults=FaultPlan(*cuts, *heals, At(Cut(0, 1), seconds=1.095)),
        clients={
            1000: scripted((0.1, Put("x", "old")), (1.0, Put("x", "new")), at=0),
            1001: scripted((1.05, Get("x")), at=0),
            1002: scripted((1.10, Get("x")), at=1),
        },
    )
    sim.run(3)
    return [call for client in (1000, 1001, 1002) for call in sim.node(client).history]


@pytest.mark.parametrize(("repair", "atomic"), [(NEVER, False), (AFTER, False), (BEFORE, True)])
def test_r_plus_w_above_n_is_not_atomic_unless_reads_repair_before_they_answer(repair, atomic):
    """ABD 1995: a read that returned the new value, then one that returned the old."""
    *_, first, second = history = while_a_write_is_under_way(repair)

    assert (first.result, second.result) == ("new", "old")
    assert (first.returned < second.invoked) is not atomic  # it waits for its repair
    assert bool(check(history, execute)) is atomic


@pytest.mark.parametrize("writes", [1, 2])
def test_r_plus_w_of_n_or_less_returns_stale_values(writes):
    sim = Simulation(
        partial(Register, reads=1, writes=writes, repair=NEVER, anti_entropy=0),
        faults=FaultPlan(At(Cut(0, 2), seconds=0.0)),
        clients={
            1000: scripted((1.0, Put("x", "new")), at=0),
            1001: scripted((2.0, Get("x")), at=2),
        },
    )

    sim.run(3)

    (write,), (read,) = sim.node(1000).history, sim.node(1001).history
    assert write.returned is not None
    assert read.result is None
    assert not check([write, read], execute)


def test_a_minority_answers_nothing():
    sim = Simulation(
        Register,
        n=5,
        faults=FaultPlan(At(Partition(((0, 1), (2, 3, 4))), seconds=0.0)),
        clients={
            1000: scripted((1.0, Put("x", 1)), (2.0, Get("x")), at=0),
            1001: scripted((1.0, Put("x", 2)), (2.0, Get("x")), at=3),
        },
    )

    sim.run(4)

    assert [call.returned for call in sim.node(1000).history] == [None, None]
    assert [call.result for call in sim.node(1001).history] == [None, 2]


@pytest.mark.parametrize("lost", [(0, 1), (0, 4), (2, 3)])
def test_an_acknowledged_write_outlives_any_minority(lost):
    reader = next(i for i in range(5) if i not in lost)
    sim = Simulation(
        partial(Register, anti_entropy=0),
        n=5,
        faults=FaultPlan(*(At(Kill(rank), seconds=1.1) for rank in lost)),
        clients={
            1000: scripted((1.0, Put("x", 1)), at=0),
            1001: scripted((2.0, Get("x")), at=reader),
        },
    )

    sim.run(3)

    assert sim.node(1000).history[0].returned < 1.1
    assert sim.node(1001).history[0].result == 1


def test_a_replica_that_slept_catches_up():
    plan = FaultPlan(At(Kill(2), seconds=0.5), At(Revive(), seconds=2.0))
    sim = Simulation(Register, faults=plan, clients={1000: scripted((1.0, Put("x", 1)), at=0)})

    caught_up = sim.run_until(
        lambda s: s.alive(2) and s.now > 2 and s.node(2).version("x").value == 1, within=20
    )

    assert caught_up


def test_clients_measure_who_is_near():
    sim = Simulation(
        partial(Register, reads=1),
        clients={
            1000: partial(
                Client, choose=lambda r, s: Get("x"), reads_from="nearest", pause=0.01, patience=0.2
            )
        },
    )
    for far in (0, 1):
        sim.inject(Delay(far, 1000, 0.1))
    sim.run(5)

    assert min(sim.node(1000).trip, key=sim.node(1000).trip.get) == 2
    assert sim.node(1000).server == 2
