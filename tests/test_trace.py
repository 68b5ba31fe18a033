"""The Chrome trace: slices nest, flows have two ends, nothing stays open."""

import json
from collections import defaultdict

import pytest
import synthetic
from pictures import run_of

from labkit.events import DRIVER
from labkit.views.chrome import DRIVER_PID, chrome_trace, write_chrome_trace


def slices(trace):
    """(pid, thread name, slice name, begin, end, args) of every B with its E; they must nest."""
    names = {
        (r["pid"], r["tid"]): r["args"]["name"]
        for r in trace["traceEvents"]
        if r["ph"] == "M" and r["name"] == "thread_name"
    }
    stacks, found = defaultdict(list), []
    for r in trace["traceEvents"]:
        thread = r["pid"], r["tid"]
        if r["ph"] == "B":
            stacks[thread].append(r)
        elif r["ph"] == "E":
            begin = stacks[thread].pop()
            assert begin["ts"] <= r["ts"]
            found.append(
                (r["pid"], names[thread], begin["name"], begin["ts"], r["ts"], begin["args"])
            )
    assert not any(stacks.values()), "a slice stays open"
    return found


@pytest.mark.parametrize(
    "events", [synthetic.typical(4), synthetic.hang(), synthetic.long(3, 10.0)]
)
def test_every_slice_is_closed_and_times_never_go_back(events):
    trace = chrome_trace(events)
    begun = sum(e.kind == "begin" for e in events)
    assert len(slices(trace)) == begun
    last = defaultdict(float)
    for r in trace["traceEvents"]:
        if r["ph"] in "BE":
            assert r["ts"] >= last[r["pid"], r["tid"]]
            last[r["pid"], r["tid"]] = r["ts"]


def test_slices_nest_and_carry_the_lamport_clock():
    events = run_of(
        (1.0, 0, "begin", "step", {"step": 4}),
        (1.1, 0, "begin", "all_reduce", {"bytes": 8}),
        (1.3, 0, "end", "all_reduce", {}),
        (1.3, 0, "begin", "optimizer", {}),
        (1.4, 0, "end", "optimizer", {}),
        (1.4, 0, "end", "step", {}),
    )
    found = [(name, a, b, args["clock"]) for _, _, name, a, b, args in slices(chrome_trace(events))]
    assert found == [
        ("all_reduce", 1e5, 3e5, 1),
        ("optimizer", 3e5, 4e5, 3),
        ("step", 0, 4e5, 0),
    ]


def test_open_slices_of_a_killed_rank_are_closed_at_its_death():
    events = run_of(
        (0.0, 1, "begin", "step", {}),
        (0.5, 1, "begin", "computing", {}),
        (1.0, DRIVER, "fault", "", {"fault": {"fault": "Kill", "rank": 1}, "ranks": [1]}),
        (1.2, DRIVER, "death", "", {"rank": 1, "signal": "SIGKILL"}),
        (2.0, 1, "start", "", {}),
        (2.5, 1, "begin", "computing", {}),
        (3.0, 1, "end", "computing", {}),
    )
    found = {(thread, name): (a, b) for _, thread, name, a, b, _ in slices(chrome_trace(events))}
    assert found == {
        ("main", "step"): (0, 1e6),
        ("main", "computing"): (5e5, 1e6),
        ("main, life 1", "computing"): (2.5e6, 3e6),
    }


def test_slices_that_overlap_without_nesting_go_to_different_rows():
    events = run_of(
        (0.0, 0, "begin", "a", {}),
        (1.0, 0, "begin", "b", {}),
        (2.0, 0, "end", "a", {}),
        (2.5, 0, "begin", "c", {"thread": "group"}),
        (3.0, 0, "end", "b", {}),
        (3.5, 0, "end", "c", {}),
    )
    found = {name: (thread, a, b) for _, thread, name, a, b, _ in slices(chrome_trace(events))}
    assert found == {
        "a": ("main", 0, 2e6),
        "b": ("main (2)", 1e6, 3e6),
        "c": ("group", 2.5e6, 3.5e6),
    }


def test_a_message_is_a_flow_between_two_slices():
    events = synthetic.typical(4)
    records = chrome_trace(events)["traceEvents"]
    starts = {r["id"]: r for r in records if r["ph"] == "s"}
    ends = {r["id"]: r for r in records if r["ph"] == "f"}
    assert set(starts) == set(ends) == {e.data["id"] for e in events if e.kind == "send"}
    inside = {(r["pid"], r["tid"], r["ts"]) for r in records if r["ph"] == "X"}
    for id in starts:
        assert starts[id]["ts"] < ends[id]["ts"]
        assert all((r["pid"], r["tid"], r["ts"]) in inside for r in (starts[id], ends[id]))
        assert ends[id]["bp"] == "e"


def test_a_lost_message_is_no_flow():
    records = chrome_trace(run_of((0.0, 0, "send", "", {"id": "m", "peer": 1})))["traceEvents"]
    assert not [r for r in records if r["ph"] in "sf"]


def test_processes_and_moments_have_names():
    records = chrome_trace(synthetic.typical(4))["traceEvents"]
    names = {r["pid"]: r["args"]["name"] for r in records if r.get("name") == "process_name"}
    assert names == {DRIVER_PID: "driver", **{r: f"rank {r}" for r in range(4)}}
    instants = {r["name"]: r for r in records if r["ph"] == "i"}
    assert instants["Kill(rank=2)"]["s"] == "g"
    assert instants["death"]["pid"] == 2
    assert instants["death"]["args"]["signal"] == "SIGKILL"


def test_a_metric_is_a_counter():
    events = run_of((0.0, 0, "metric", "loss", {"value": 0.5, "step": 1}))
    (counter,) = [r for r in chrome_trace(events)["traceEvents"] if r["ph"] == "C"]
    assert (counter["name"], counter["args"]) == ("loss", {"value": 0.5})


def test_the_file_is_json(tmp_path):
    events = run_of(
        (0.0, 0, "view", "", {"number": 1, "members": (0, 1)}), (1.0, 0, "note", "é", {})
    )
    write_chrome_trace(tmp_path / "trace.json", events)
    assert json.loads((tmp_path / "trace.json").read_text("utf-8"))["traceEvents"]
