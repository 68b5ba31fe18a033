"""Reads what the lab is tested with, where there is a right answer, and how it is checked."""

POINTS = {"namespace": 0, "rlimit": 3}
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
open("{CHECKS}").read()
names = {}
exec(open("{TESTS}/cheats/right.py").read(), names)
exec(names["CELL"], names)
solved = names["decide"]


def decide(participants, votes, late):
    return solved(participants, votes, late)
"""
