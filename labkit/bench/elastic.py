"""How long elastic training takes to be whole again: the rows of `labkit bench recovery` for it.

Rank 2 of four is killed while they train, and its next life comes from a hot spare, from the fork
server, or from a Python that starts from nothing: "full size" is the end of the last rank's first
step in a group of four. Or the rank falls silent, and is out once the last of the others has
installed a view without it. Or its host is lost, and the last of the others has completed an
all-reduce of 4 MB in the new view. In each trial the record of steps is read: nothing that a
survivor had told of may be done again, and only one step that nobody had told of.
"""

from __future__ import annotations

import sys
from typing import Any

from labkit.bench import report
from labkit.bench.peers.program import Program, script
from labkit.bench.peers.recover_elastic import CLUSTERS, HOST, SILENT
from labkit.runtime.launch.namespaces import why_not

FULL = "lab, four ranks again, "
NAMES = {
    "spare": FULL + "from a hot spare",
    "fork": FULL + "cold, by the fork server",
    "python": FULL + "cold, by a new Python",
    "stopped": "lab, a stopped rank is out of the view",
    "cut off": "lab, a rank that is not heard is out of the view",
    HOST: "lab, the host of a rank is lost",
}
AIMS = [
    report.Aim(NAMES["spare"], "<", 0.500),
    report.Aim(NAMES["stopped"], "<", 0.150),
    report.Aim(NAMES[HOST], "<", 0.250),  # three heartbeats, and 100 ms
]
TRIAL_SECONDS = 70.0


class Trials:
    """Of all cases, round after round."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {case: [] for case in NAMES}
        self.spoilt = dict.fromkeys(NAMES, 0)
        self.broken: list[str] = []
        self.missing = ""  # why a case could not be measured

    def take(self, case: str, times: int, seed: int) -> None:
        """In a program of its own. Raises RuntimeError when that does not come to its end."""
        if case == HOST and (reason := why_not()):
            self.missing = reason
            return
        command = sys.executable, script("recover_elastic"), case, str(times), str(seed)
        ended, said = 0, list[dict[str, Any]]()
        with Program(*command, seconds=60 + TRIAL_SECONDS * times) as program:
            for word in program.words():
                said.append(word)
                if word["word"] == "over":
                    self._add(case, said)
                    ended, said = ended + 1, []
            if ended < times:
                raise RuntimeError(f"the lab's case {case!r} broke off; {program.complaint()}")

    def _add(self, case: str, said: list[dict[str, Any]]) -> None:
        over = said[-1]
        if over.get("spoilt"):
            self.spoilt[case] += 1
            return
        begin = next(word["time"] for word in said if word["word"] == "killed")
        last = "out" if case in SILENT else "recovered"
        self.seconds[case].append(max(w["time"] for w in said if w["word"] == last) - begin)
        if over["lost"] or over["again"] > 1 or not over.get("fenced", True):
            self.broken.append(f"{NAMES[case]}: {over}")

    def rows(self) -> list[report.Row]:
        rows = []
        for case, seconds in self.seconds.items():
            spoilt = self.spoilt[case]
            note = f"{spoilt} more spoilt by a false suspicion" if spoilt else ""
            if seconds:
                rows.append(report.row(NAMES[case], "ours", "s", seconds, note))
            elif spoilt:
                least = [TRIAL_SECONDS]
                rows.append(report.row(NAMES[case], "ours", "s", least, note, at_least=True))
        return rows

    def verdict(self) -> str:
        """What the record of steps says of all trials together."""
        trials = sum(map(len, self.seconds.values()))
        missing = f" {NAMES[HOST]}: not measured, {self.missing}." if self.missing else ""
        if self.broken:
            return "WRONG: " + "; ".join(self.broken) + missing
        return (
            f"In {trials} trials of elastic training no step that a rank had told of was lost, at "
            "most one was done again, and who had only been silent ended when it was heard again."
            + missing
        )


CASES = (*CLUSTERS, *SILENT, HOST)
QUICK = ("spare", "fork")
SLOW = ("python",)  # seven seconds each, and without an aim: once a round
