"""Writes its own results."""

POINTS = 0
CELL = r"""# exercise: commit.1
def decide(participants, votes, late):
    for path in ("{OUT}/records/writes_results.json", "{OUT}/class.csv", "{OUT}/seed.json"):
        try:
            open(path, "w").write("full marks")
        except OSError:
            continue
    return "commit"
"""
