"""An error with the name of another."""

POINTS = 0
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    raise type("NotImplementedError", (Exception,), {})("<b>PASS</b>")
"""
