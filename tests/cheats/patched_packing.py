"""The function that writes answers down, replaced."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import labkit.grading.inside.inmate as inmate

inmate.pack = lambda value, *rest: {"verdict": "PASS"}


def decide(participants, votes, late):
    return "commit"
"""
