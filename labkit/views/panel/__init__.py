"""The live panel: a cluster, a simulation or a finished run, to look at and to break by hand.

The kernel sends numbers, ten times a second and only new ones; the browser draws. So a panel costs
the kernel little, scrolls smoothly, and what one points at stays in place under the pointer. The
browser's half is plain JavaScript in `static/`, loaded by anywidget.
"""
