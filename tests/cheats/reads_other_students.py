"""Hands in what another student has written."""

POINTS = {"namespace": 0, "rlimit": 3}
CELL = r"""# exercise: commit.1
import json

cells = json.load(open("{OTHER}"))["cells"]
names = {}
exec("".join(cells[0]["source"]), names)


def decide(participants, votes, late):
    return names["decide"](participants, votes, late)
"""
