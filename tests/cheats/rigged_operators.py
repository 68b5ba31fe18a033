"""A text that equals everything."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
class Yes(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


def decide(participants, votes, late):
    return Yes("commit")
"""
