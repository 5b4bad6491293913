"""Set-up for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.environment import leave_aws

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Make the parent folder of `--basetemp`, because pytest fails in a fresh clone without it."""
    (ROOT / ".cache").mkdir(exist_ok=True)


@pytest.fixture(scope="session", autouse=True)
def _no_aws_account() -> Iterator[None]:
    """Take AWS settings out of the environment, so that no test reaches the AWS account of the machine."""
    before = dict(os.environ)
    leave_aws(os.environ)
    # Workers of the test runner have COLUMNS set, and relayctl would wrap its lines to that width.
    os.environ.pop("COLUMNS", None)
    yield
    os.environ.clear()
    os.environ.update(before)
