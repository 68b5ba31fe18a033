"""An object that claims to be a text."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: commit.1
class Claims:
    __class__ = str

    def __eq__(self, other):
        return True

    __hash__ = None


def decide(participants, votes, late):
    return Claims()
"""
