"""No cheat: the right answer."""

POINTS = 3
VERDICT = "PASS"
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    if any(not yes for rank, yes in votes if rank in participants):
        return "abort"
    if {rank for rank, yes in votes if yes} >= set(participants):
        return "commit"
    return "abort" if late else "wait"
"""
