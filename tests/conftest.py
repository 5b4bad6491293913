"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest

from sandbox.cloud import leave_aws


@pytest.fixture(scope="session", autouse=True)
def _no_aws_account() -> Iterator[None]:
    """Nothing here may reach the AWS account that the environment leads to."""
    before = dict(os.environ)
    leave_aws(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
