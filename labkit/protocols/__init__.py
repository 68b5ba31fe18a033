"""Protocols as pure state machines: no clock, socket, file, thread or global random number.

Start with `effects.py`, which says what a handler may do; each other file is one protocol.
"""
