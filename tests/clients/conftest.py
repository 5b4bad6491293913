"""python-xmatters, a client of xMatters that others wrote, run against the stand-in over https.

It was written for the real xMatters, so it judges the stand-in independently. It runs as a process of its own, in an
environment that `make checks` installs. Where it contradicts xMatters' documents or recordings, a test states the
difference, and the docstring of the stand-in's module names it.
"""

from collections.abc import Iterator

import pytest

from sandbox.server.in_process import Box, running
from tests.stand_in import TENANT


@pytest.fixture(scope="module")
def running_box() -> Iterator[Box]:
    """A stand-in whose xMatters speaks https, shared by a module's tests."""
    with running(is_https=True) as box:
        yield box


@pytest.fixture
def box(running_box: Box) -> Iterator[Box]:
    """The stand-in with the tests' people and groups; emptied after each test."""
    running_box.xmatters.people.declare(TENANT)
    yield running_box
    running_box.clear()
