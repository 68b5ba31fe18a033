"""Asks the link for what is not a link's."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: ring.1
def my_reduce_scatter(link, chunks):
    return link._inmate.ask(link._port, "__class__")
"""
