"""The fault cases of distributed training, each with the outcome that a user expects of it.

A test says with `@pytest.mark.case(33)` that it holds a case to its outcome; `pytest -k case_33`
runs those that do.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent

CASES = {
    # a process
    1: "SIGKILL in the backward pass: the survivors go on, with equal parameters",
    2: "SIGKILL inside an all-reduce of four: also the rank across leaves it",
    3: "SIGKILL of rank 0 and of the coordinator: another leads, no step is lost",
    4: "two ranks at once that are no neighbours: a majority with the witness goes on",
    5: "fewer ranks than the minimum: a pause, and training again when one joins",
    6: "all ranks killed: training goes on from the last durable checkpoint",
    7: "SIGTERM: a checkpoint within the grace period, exit 0, training again at that step",
    8: "SIGINT from a notebook: a clean stop, no process left",
    9: "SIGSTOP: taken for dead, and fenced when it wakes",
    10: "the interpreter's lock is held: voted out, its line shown, killed and replaced",
    11: "an exception in a step: shown with rank and step, the restart counted",
    12: "a crash in native code: as 1, the signal reported",
    13: "no memory: not tried again",
    14: "a crash at every start: the restarts end",
    15: "a slow start: not taken for dead",
    # the network
    16: "heartbeats lost, and nothing else: no two views of one number, fenced once",
    17: "a partition of two and two: one side at most makes progress",
    18: "a partition of three and one that heals: the one catches up with the majority",
    19: "a link that is cut one way: one leader in a term at most",
    20: "messages 200 ms late: nobody is taken for dead",
    21: "control messages lost, doubled, out of order: nothing is done twice",
    22: "a connection reset within a tensor: the step is done again, no part of it applied",
    23: "keys of an earlier group in the store: ignored",
    24: "a port that is in use: another one",
    # collectives and numbers
    25: "collectives that do not match: an error that names them, no hang",
    26: "a gradient that is no number on one rank: no rank applies the step",
    27: "weights of one replica silently corrupted: found at the next comparison",
    28: "a straggler, three times slower: flagged, dropped if wanted, not taken for dead",
    # checkpoints
    29: "killed at any byte of a shard: the old one or the new one, whole",
    30: "killed between the shard's rename and the commit: the same",
    31: "killed between the commit and `latest`, or tidying up: the same",
    32: "one rank cannot write: it votes no, nothing is visible, training goes on",
    33: "the coordinator dies after all have voted yes: the log decides, for all alike",
    34: "a participant dies between its yes and the decision: it hears the same one",
    35: "a decision that comes twice: is carried out once",
    36: "bit flips, cut or missing shards, a manifest that does not fit: found, an older one used",
    37: "two runs in one folder: the second is refused",
    38: "the next one while one is being written, and changes behind the snapshot: never torn",
    39: "an error of the background writer: raised at the next step",
    40: "tidying up: never takes the last good one, and leaves no half one when interrupted",
    41: "loaded by another number of ranks: the same parameters",
    42: "going on in the middle of an epoch: the next samples, random numbers, rate and step",
    43: "a format of another version: an error that says so",
    # Raft
    44: "the leader is killed: one new leader, of a later term",
    45: "a split vote: is resolved",
    46: "an old leader returns: steps down",
    47: "a voter restarts: it keeps its vote",
    48: "an even number of voters, and a tie: no leader in that term",
    49: "logs in conflict: overwritten, and nothing that was committed is lost",
    50: "clocks that jump, processes that stand still: safe all the same",
    # joining
    51: "one joins during a step: it waits for the step's end",
    52: "one joins while another fails: both are seen to",
    53: "the peer that sends the state dies: another one sends it",
    54: "a rank restarts quickly: a new incarnation of it",
    55: "a rank that dies every 2 s: waits longer and longer",
}


def marked(file: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef):
            for mark in node.decorator_list:
                if ast.unparse(mark).startswith("pytest.mark.case("):
                    assert node.name.startswith("test_"), f"{node.name} is no test"
                    assert isinstance(mark, ast.Call)
                    yield from ((ast.literal_eval(number), node.name) for number in mark.args)


def test_every_case_has_a_test_and_every_number_is_a_case() -> None:
    found = [pair for file in sorted(TESTS.rglob("test_*.py")) for pair in marked(file)]
    assert sorted(CASES) == list(range(1, 56))
    assert {number for number, _ in found} == CASES.keys()
