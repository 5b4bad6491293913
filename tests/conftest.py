"""Set-up for all tests."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from sandbox.environment import leave_aws

ROOT = Path(__file__).parents[1]
# End-to-end tests that start local clouds of their own.
STARTS_CLOUDS = {"test_demo.py", "test_sandbox_command.py"}


def pytest_configure() -> None:
    """Make the parent folder of `--basetemp`, because pytest fails in a fresh clone without it."""
    (ROOT / ".cache").mkdir(exist_ok=True)


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist has no types
    """Divides the tests among the processes of the test runner.

    The tests of the shared local cloud run in one process, which deploys it once. Other tests of a file run in one
    process.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "the shared cloud" if _shares_cloud(file) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduler:
    """Return the scheduler of a run with several processes."""
    return Scheduler(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slowest tests first, so that no process runs a slow test alone at the end."""
    items.sort(key=lambda item: _place(item.nodeid.partition("::")[0]))


def _place(file: str) -> int:
    folder = file.split("/")[1]
    return 0 if _shares_cloud(file) else {"simulation": 1, "e2e": 2}.get(folder, 3)


def _shares_cloud(file: str) -> bool:
    return file.startswith("tests/e2e/") and file.rpartition("/")[2] not in STARTS_CLOUDS


@pytest.fixture(scope="session", autouse=True)
def _garbage_is_seen() -> Iterator[None]:
    """Let no cold start of a function hide its objects from the garbage collector, or a test process keeps them all.

    The collector does not count an object that was frozen once, even after `gc.unfreeze`, and so runs too seldom.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "freeze", lambda: None)
        yield


@pytest.fixture(autouse=True)
def _collects_garbage() -> None:
    """Turn the garbage collector on, since the import of the functions' modules turns it off."""
    gc.enable()


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
