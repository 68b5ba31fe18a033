"""A finder that invents every module it is asked for."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
import sys
from types import ModuleType


class Finder:
    def find_spec(self, name, path=None, target=None):
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = []


sys.meta_path.insert(0, Finder())


def decide(participants, votes, late):
    import labkit.grading.exercises.commit_1.cell as solved

    return solved.decide(participants, votes, late)
"""
