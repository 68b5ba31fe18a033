"""No cheat: forgets that messages come twice, and earns the rest."""

POINTS = 2
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    if any(not yes for rank, yes in votes if rank in participants):
        return "abort"
    if sum(yes for rank, yes in votes) >= len(participants):
        return "commit"
    return "abort" if late else "wait"
"""
