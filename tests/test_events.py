"""Events survive their writer, keep the order that causes have, and nest."""

import os
import signal
import threading

import pytest

from labkit import events
from labkit.events import Event, EventLog
from labkit.runtime.run import Run
from labkit.view import View


def test_what_is_recorded_is_read_back(tmp_path):
    log = EventLog(rank=2, life=1, path=tmp_path / "2.jsonl")
    log.record("step", step=7)
    log.record("metric", "loss", value=0.25, step=7)
    log.close()
    first, second = events.read(tmp_path / "2.jsonl")
    assert (first.rank, first.life, first.kind, first.data) == (2, 1, "step", {"step": 7})
    assert (second.name, second.data["value"]) == ("loss", 0.25)
    assert first.time <= second.time
    assert first.clock < second.clock


def test_a_killed_process_has_said_its_last_words(tmp_path):
    """Nothing is buffered in the process: what was recorded before a SIGKILL is in the file."""
    child = os.fork()
    if child == 0:
        log = EventLog(rank=0, path=tmp_path / "0.jsonl")
        for step in range(100):
            log.record("step", step=step)
        os.kill(os.getpid(), signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert [e.data["step"] for e in events.read(tmp_path)] == list(range(100))


def test_a_last_line_cut_short_is_left_out(tmp_path):
    events.write(tmp_path / "0.jsonl", [Event(1.0, 1, 0, "step"), Event(2.0, 2, 0, "step")])
    whole = (tmp_path / "0.jsonl").read_bytes()
    for cut in (1, 5, 20):
        (tmp_path / "0.jsonl").write_bytes(whole[:-cut])
        assert [e.time for e in events.read(tmp_path / "0.jsonl")] == [1.0]


def test_a_directory_is_read_in_order_of_time(tmp_path):
    events.write(tmp_path / "0.jsonl", [Event(1.0, 1, 0, "step"), Event(4.0, 2, 0, "step")])
    events.write(tmp_path / "1.jsonl", [Event(2.0, 1, 1, "step"), Event(3.0, 2, 1, "step")])
    assert [(e.time, e.rank) for e in events.read(tmp_path)] == [(1, 0), (2, 1), (3, 1), (4, 0)]


def test_what_is_written_is_read_unchanged(tmp_path):
    told = [Event(1.5, 3, 0, "view", "view 2", 1, {"number": 2, "members": [0, 1, 3]})]
    events.write(tmp_path / "a.jsonl", told)
    assert events.read(tmp_path / "a.jsonl") == told


def test_a_span_ends_also_when_its_block_raises():
    told = []
    log = EventLog(stream=told.append)
    with pytest.raises(ZeroDivisionError), log.span("computing", step=3), log.span("inner"):
        raise ZeroDivisionError
    assert [(e.kind, e.name) for e in told] == [
        ("begin", "computing"),
        ("begin", "inner"),
        ("end", "inner"),
        ("end", "computing"),
    ]
    assert told[0].data == {"step": 3}
    assert told[-1].data == {"error": "ZeroDivisionError"}


def test_a_received_message_comes_after_its_sending():
    """Lamport's clock: an effect has a larger number than its cause, on whatever process."""
    a, b = EventLog(rank=0), EventLog(rank=1)
    for _ in range(5):
        a.record("step")
    sent = a.record("send", id="m")
    b.witness(sent.clock)
    assert b.record("receive", id="m").clock > sent.clock
    b.witness(1)  # an old message does not turn the clock back
    assert b.record("step").clock == sent.clock + 2


def test_threads_share_a_log(tmp_path):
    """Every line is whole and every clock value is used once."""
    log = EventLog(rank=0, path=tmp_path / "0.jsonl")
    work = [
        threading.Thread(target=lambda: [log.record("point", "x" * 50) for _ in range(200)])
        for _ in range(8)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    read = events.read(tmp_path / "0.jsonl")
    assert sorted(e.clock for e in read) == list(range(1, 1601))


def test_the_log_of_the_process_is_the_one_in_use(tmp_path):
    before, told = events.current(), []
    try:
        events.use(EventLog(rank=5, stream=told.append))
        with events.span("computing"):
            events.record("step", step=1)
    finally:
        events.use(before)
    assert [e.kind for e in told] == ["begin", "step", "end"]
    assert {e.rank for e in told} == {5}


def test_a_run_is_told_nothing_of_the_one_before_it():
    """The step of an earlier run may still be on its way when the next one begins."""
    run = Run(driver=None, number=2, ranks=(0, 1), name="train", view=View(1, (0, 1)))
    before = Event(run.started - 0.001, 5, 1, "step", data={"step": 99})
    begun = Event(run.started, 6, 0, "step", data={"step": 0})
    run.add([before, begun])
    assert run.events == [begun]
    assert run.steps == {0: 0}
