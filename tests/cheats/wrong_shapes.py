"""Sends to ranks that there are not, what is no tensor."""

POINTS = 0
VERDICT = "ERROR"
CELL = r"""# exercise: ring.1
def my_reduce_scatter(link, chunks):
    link._inmate.ask(link._port, "start", [("chunk", 99), (3, None)], [])
"""
