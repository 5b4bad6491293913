"""A whole local cloud for the end-to-end tests: ports of its own, a folder of its own, gone afterwards."""

import io
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console

from sandbox import local
from sandbox.server import background
from sandbox.server.client import StandIn
from sandbox.steps import Steps
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.e2e.relayctl_operator import Operator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def workroom() -> Iterator[Path]:
    """A folder in the clone for these tests."""
    parent = ROOT / ".cache" / "e2e"
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent) as name:
        yield Path(name)


@pytest.fixture(scope="package")
def places(workroom: Path) -> local.Places:
    """Where the session's cloud keeps its things."""
    return local.Places(ROOT, workroom / "session", workroom / "build")


@pytest.fixture(scope="package")
def cloud(places: local.Places, quiet: Steps) -> Iterator[local.Local]:
    """The deployed stack, with the channel "demo" that points at the xMatters stand-in."""
    try:
        yield local.up(places, quiet)
    finally:
        local.down(places)


@pytest.fixture(scope="package")
def xmatters(cloud: local.Local, places: local.Places) -> StandIn:
    """The session's xMatters stand-in."""
    found = background.running(places.standin)
    assert found, "the xMatters stand-in died"
    return found


@pytest.fixture(scope="package")
def operators_channel(cloud: local.Local, xmatters: StandIn) -> Channel:
    """The channel of what operators replay."""
    return channels.made(cloud, xmatters)


@pytest.fixture
def operator(operators_channel: Channel) -> Iterator[Operator]:
    """An operator at queues that are empty."""
    its_operator = Operator(operators_channel)
    yield its_operator
    # Where letting go is forbidden, messages stay hidden.
    its_operator.close()


@pytest.fixture
def own_places(workroom: Path) -> Iterator[local.Places]:
    """Places for a test that starts and stops a cloud itself; whatever it leaves running is stopped."""
    with TemporaryDirectory(dir=workroom) as name:
        places = local.Places(ROOT, Path(name) / "own", workroom / "build")
        try:
            yield places
        finally:
            local.down(places)


@pytest.fixture(scope="package")
def quiet() -> Steps:
    """Progress that nobody reads."""
    return Steps("test", Console(file=io.StringIO()))
