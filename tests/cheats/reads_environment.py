"""Looks for the solution in the environments of all processes."""

POINTS = {"namespace": 0, "rlimit": 3}
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import glob
import os

texts = list(os.environ.values())
for path in glob.glob("/proc/*/environ"):
    try:
        texts += open(path).read().split(chr(0))
    except OSError:
        continue
names = {}
found = next(text for text in texts if "def decide" in text)
exec("#" + found.partition("#")[2], names)


def decide(participants, votes, late):
    return names["decide"](participants, votes, late)
"""
