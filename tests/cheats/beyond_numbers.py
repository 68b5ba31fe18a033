"""A number that no comparison can take: what the grader cannot judge, the whole class waits for."""

POINTS = 0
VERDICT = "FAIL"
CELL = r"""# exercise: why.1
def job_mtbf(gpus, failures_per_node_day):
    return 10**400
"""
