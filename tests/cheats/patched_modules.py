"""Modules of the grader, as far as they are here, made to say yes."""

POINTS = 0
CELL = r"""# exercise: commit.1
import random
import sys

for module in list(sys.modules.values()):
    for name in ("difference", "same", "judge", "compare", "score"):
        if hasattr(module, name):
            setattr(module, name, lambda *arguments, **options: None)
random.Random.choice = lambda self, some: some[0]


def decide(participants, votes, late):
    return "commit"
"""
