"""What students hand in, for the tests."""

import json
from dataclasses import replace

import msgspec

from labkit.grading import exercise


def notebook(*sources):
    """The text of a notebook with these code cells."""
    cells = [{"cell_type": "code", "source": source.splitlines(True)} for source in sources]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def hurried(name, seconds=0.8):
    """The exercise with a short deadline: nobody waits five seconds for what never ends."""
    graded = exercise.read(name)
    return replace(graded, about=msgspec.structs.replace(graded.about, seconds=seconds))
