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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Divide the tests among the processes of the test runner.

    All tests of the shared local cloud run in one process, which deploys it once. Other tests of a file run in one
    process. What takes longest comes first, so that no process is left alone with it at the end. This runs before the
    hook of pytest-xdist that reads the groups.
    """
    for item in items:
        uses_cloud = "cloud" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("cloud" if uses_cloud else str(item.path)))
    items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    if "cloud" in getattr(item, "fixturenames", ()):
        return 0
    folder = item.path.relative_to(ROOT / "tests").parts[0]
    return {"simulation": 1, "e2e": 2}.get(folder, 3)


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
