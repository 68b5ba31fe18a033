"""Programs that do the same work, each in another system, and each with its own deadline.

A peer is measured as its users meet it: a program of its own, started by its own launcher. It says
what happens in lines of JSON on its standard output (`say.py`), with times of the host's monotonic
clock, which is one clock for all processes. The lab's own side is measured in the same way.
"""
