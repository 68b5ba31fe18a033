"""An answer of which each part must be looked at without each other."""

POINTS = 0
VERDICT = "TIMEOUT"
CELL = r"""# exercise: chaos.1
def smallest(faults, job):
    return [str(number) for number in range(400_000)]
"""
