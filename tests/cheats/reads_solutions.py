"""Reads the published solution where it stands on the disk."""

POINTS = {"namespace": 0, "rlimit": 3}
CELL = r"""# exercise: commit.1
text = open("{SOLUTION}").read()
names = {}
exec(text.split("raise NotImplementedError")[0], names)
solved = names["decide"]


def decide(participants, votes, late):
    return solved(participants, votes, late)
"""
