"""Another program that reads what this one may not."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import subprocess


def decide(participants, votes, late):
    return subprocess.run(["cat", "{SOLUTION}"], capture_output=True).stdout
"""
