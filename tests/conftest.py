"""What holds for every test."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.environment import leave_aws

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Make the folder of `--basetemp`'s parent: in a fresh clone pytest would fail for want of it."""
    (ROOT / ".cache").mkdir(exist_ok=True)


@pytest.fixture(scope="session", autouse=True)
def _no_aws_account() -> Iterator[None]:
    """Nothing here may reach the AWS account that the environment leads to."""
    before = dict(os.environ)
    leave_aws(os.environ)
    # The runner's workers have it, and relayctl wraps its lines where it is set.
    os.environ.pop("COLUMNS", None)
    yield
    os.environ.clear()
    os.environ.update(before)
