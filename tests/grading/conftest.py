"""Zygotes for the tests of the grader: one for each level that this machine has."""

import pytest

from labkit.grading.jail import JailError, Zygote


@pytest.fixture(scope="session", params=["namespace", "rlimit"])
def zygote(request):
    try:
        made = Zygote(request.param)
    except JailError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture(scope="session")
def best():
    """The strongest jail of this machine."""
    with Zygote("auto") as made:
        yield made
