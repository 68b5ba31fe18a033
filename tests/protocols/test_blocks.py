"""Blocks, their copies, and what happens when a store is lost: GFS 2003. Init, act, check."""

from collections import Counter
from functools import partial

import pytest

from labkit.faults import Kill, WipeDisk
from labkit.protocols.blocks import (
    STREAMS,
    Blocks,
    Copy,
    Data,
    Fetch,
    Heartbeat,
    Kept,
    Locate,
    Located,
    Manager,
    Reader,
    Store,
)
from labkit.protocols.effects import Context, Persist, Send, SetTimer, deliver, fire, start
from labkit.simulator.invariants.blocks import on_disks
from labkit.simulator.simulation import Simulation

READER = 1000


def member(me, n=5, stored=None, **settings):
    made = Blocks(me, tuple(range(n)), Context(1.0), stored or {}, **settings)
    start(made)
    return made


def copies(effects):
    return [(e.message.block, e.message.source, e.to) for e in effects if is_copy(e)]


def is_copy(effect):
    return isinstance(effect, Send) and isinstance(effect.message, Copy)


def test_the_first_member_is_the_manager_and_the_others_are_stores():
    assert isinstance(member(0), Manager)
    assert isinstance(member(1), Store)


# -- the manager


def test_the_manager_knows_what_heartbeats_say():
    """GFS §2.6.2: a store has the final word over what is on its own disk."""
    manager = member(0, copies=1)

    effects = deliver(manager, 1, Heartbeat((7,)))
    found = deliver(manager, READER, Locate(7))
    deliver(manager, 1, Heartbeat(()))
    gone = deliver(manager, READER, Locate(7))

    assert Persist(names=(7,)) in effects
    assert found == [Send(READER, Located(7, (1,)))]
    assert gone == [Send(READER, Located(7, ()))]


def test_a_block_with_too_few_copies_is_copied_to_who_has_none():
    manager = member(0, n=3, copies=2)
    deliver(manager, 1, Heartbeat((7,)))

    effects = deliver(manager, 2, Heartbeat(()))

    assert copies(effects) == [(7, 1, 2)]
    assert deliver(manager, 2, Heartbeat(())) == [SetTimer("silence", 0.5, key=2)]  # under way


def test_the_block_with_the_fewest_copies_goes_first():
    """GFS §4.3: one that has lost two of its copies before one that has lost one."""
    manager = member(0, n=4, copies=3)
    for store in (1, 2):
        deliver(manager, store, Heartbeat((1, 2) if store == 1 else (1,)))
    manager.under_way.clear()

    effects = deliver(manager, 3, Heartbeat(()))

    assert next(block for block, _, _ in copies(effects)) == 2


def test_a_store_has_few_copies_under_way_at_a_time():
    """GFS §4.3: re-replication must not take the network from those who read."""
    manager = member(0, n=4, copies=2)
    deliver(manager, 1, Heartbeat(tuple(range(10))))

    effects = [deliver(manager, 2, Heartbeat(())), deliver(manager, 3, Heartbeat(()))]

    assert [len(copies(e)) for e in effects] == [STREAMS, 0]  # the source has no more to give


def test_a_silent_store_does_not_count_and_what_it_had_is_copied():
    manager = member(0, n=4, copies=2)
    for store, blocks in ((1, (7,)), (2, (7,)), (3, ())):
        deliver(manager, store, Heartbeat(blocks))

    effects = fire(manager, "silence", 1)

    assert copies(effects) == [(7, 2, 3)]
    assert deliver(manager, READER, Locate(7)) == [Send(READER, Located(7, (2,)))]


def test_a_copy_that_never_arrives_is_begun_again():
    manager = member(0, n=3, copies=2)
    deliver(manager, 1, Heartbeat((7,)))

    begun = deliver(manager, 2, Heartbeat(()))
    again = fire(manager, "overdue", (7, 2))

    assert SetTimer("overdue", 1.0, key=(7, 2)) in begun
    assert copies(again) == [(7, 1, 2)]


def test_a_manager_that_restarts_remembers_names_and_asks_nobody_for_places():
    manager = member(0, n=3, copies=2, stored={"names": (7,)})

    assert deliver(manager, READER, Locate(7)) == [Send(READER, Located(7, ()))]
    deliver(manager, 1, Heartbeat((7,)))
    assert deliver(manager, READER, Locate(7)) == [Send(READER, Located(7, (1,)))]


# -- a store


def test_a_store_says_that_it_has_a_block_when_it_is_on_the_disk():
    store = member(1)

    effects = deliver(store, READER, Data(7, "x"))

    assert effects == [
        Persist(blocks={7: "x"}),
        Send(0, Heartbeat((7,))),
        Send(READER, Kept(7)),
    ]


def test_a_store_gets_its_copies_from_another_store():
    store = member(1)

    assert deliver(store, 0, Copy(7, source=2)) == [Send(2, Fetch(7))]
    deliver(store, 2, Data(7, "x"))
    assert deliver(store, 0, Copy(7, source=2)) == []


def test_one_block_is_sent_at_a_time_and_readers_come_first():
    store = member(1, stored={"blocks": {7: "x", 8: "y"}}, transfer=0.01)

    first = deliver(store, 2, Fetch(7))
    for asker, block in ((3, 8), (READER, 8)):
        assert deliver(store, asker, Fetch(block)) == []
    then = [fire(store, "sent") for _ in range(3)]

    assert first == [SetTimer("sent", 0.01)]
    assert [e[0] for e in then] == [
        Send(2, Data(7, "x")),
        Send(READER, Data(8, "y")),
        Send(3, Data(8, "y")),
    ]


# -- in the simulator


def running(stores=8, blocks=24, **settings):
    client = {READER: partial(Reader, blocks=blocks)}
    sim = Simulation(partial(Blocks, **settings), stores + 1, clients=client)
    assert sim.run_until(lambda s: least(s, blocks) >= 3, within=5)
    return sim


def least(sim, blocks=24):
    """Of the block with the fewest copies on living stores, how many."""
    alive = [i for i in sim.members[1:] if sim.alive(i)]
    held = Counter(b for i in alive for b in sim.on_disk(i).get("blocks", {}))
    return min(held[block] for block in range(blocks))


@pytest.mark.parametrize("fault", [Kill, WipeDisk])
def test_after_a_loss_every_block_has_its_copies_again_while_reads_go_on(fault):
    sim = running()
    reads = len(sim.node(READER).reads)

    sim.inject(fault(3))
    assert least(sim) == 2
    healed = sim.run_until(lambda s: least(s) >= 3, within=3)

    during = sim.node(READER).reads[reads:]
    assert healed
    assert len(during) >= 5
    assert max(there - asked for _, asked, there in during) < 0.5


def test_two_losses_one_after_the_other_lose_nothing_and_two_at_once_lose_nothing():
    for gap in (0.0, 2.0):
        sim = running()
        sim.inject(WipeDisk(3))
        sim.run(gap)
        sim.inject(WipeDisk(5))
        sim.run(4)
        assert least(sim) >= 3


def test_as_many_losses_at_once_as_there_are_copies_lose_blocks():
    sim = running(stores=4)

    for rank in (1, 2, 3):
        sim.inject(WipeDisk(rank))
    sim.run(3)

    assert any(on_disks(sim, block) == [] for block in range(24))


def test_more_stores_repair_a_loss_sooner():
    """Every store has a part of what was lost, and copies it: GFS §4.3, declustering."""
    seconds = {}
    for stores in (4, 12):
        sim = running(stores, blocks=96, transfer=0.02)
        sim.inject(WipeDisk(3))
        lost, begin = least(sim, 96), sim.now
        assert lost == 2
        assert sim.run_until(lambda s: least(s, 96) >= 3, within=20)
        seconds[stores] = sim.now - begin
    assert seconds[12] < 0.6 * seconds[4]


def test_a_reader_gets_what_was_written():
    sim = running()
    sim.inject(WipeDisk(2))
    sim.run(5)

    assert sim.node(READER).contents == {b: f"samples of block {b}" for b in range(24)}
