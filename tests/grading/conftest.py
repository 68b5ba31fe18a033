"""Zygotes for the tests of the grader: one for each level that this machine has."""

import pytest

from labkit.grading.jail import JailError, Zygote


@pytest.fixture(scope="module", params=["namespace", "rlimit"])
def zygote(request):
    try:
        made = Zygote(request.param)
    except JailError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture(scope="module")
def best():
    """The strongest jail of this machine."""
    with Zygote("auto") as made:
        yield made


class Borrowed:
    """A zygote that is there already: a new one takes over a second."""

    def __init__(self, zygote):
        self.zygote, self.level, self.jail = zygote, zygote.level, zygote.jail
        self.process = zygote.process

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def close(self):
        pass


@pytest.fixture(scope="module")
def borrowed(best):
    """`grade`, with one worker, uses that jail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("labkit.grading.grade.Zygote", lambda level, slot=0: Borrowed(best))
        yield
