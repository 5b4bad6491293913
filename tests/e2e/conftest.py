"""A local cloud for the end-to-end tests, with ports and a folder of its own, removed afterwards."""

import io
import shutil
from collections.abc import Iterator
from copy import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from rich.console import Console

from sandbox import local
from sandbox.cloud import emulator, stack
from sandbox.server import background
from sandbox.server.client import StandIn
from sandbox.steps import Steps
from tests import installed
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.e2e.relayctl_operator import Operator
from tests.kept_build import kept_build, kept_release
from tests.scratch import scratch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="package")
def workroom() -> Iterator[Path]:
    """A folder for the end-to-end tests: each warm function of a local cloud has a thousand files."""
    with scratch() as folder:
        yield folder


@pytest.fixture(scope="session")
def build() -> Path:
    """The folder with this clone's build."""
    return kept_build().build


@pytest.fixture(scope="package")
def places(workroom: Path, build: Path) -> local.Places:
    return local.Places(ROOT, workroom / "session", build)


@pytest.fixture(scope="package")
def downloads() -> Iterator[Path]:
    """The release's files in a folder outside the clone."""
    with scratch() as folder:
        shutil.copytree(kept_release(), folder / "dist")
        yield folder / "dist"


@pytest.fixture(scope="package")
def cloud(places: local.Places, downloads: Path, quiet: Steps) -> Iterator[local.Local]:
    """The release's stack, whose channel "demo" points at the xMatters stand-in."""
    try:
        emulated = emulator.start(places.cloud)
        vendors = background.start(places.standin, ROOT, places.stack_file)
        installed.stack(downloads, downloads.parent, emulated.endpoint_url)
        # The release is of the clone's sources, which the next local-up need not deploy anew.
        places.deployed_file.write_text(places.workshop.fingerprint())
        yield local.made_known(places, quiet, emulated, vendors, stack.outputs(emulated.endpoint_url))
    finally:
        local.down(places)


@pytest.fixture(scope="package")
def xmatters(cloud: local.Local, places: local.Places) -> StandIn:
    found = background.running(places.standin)
    assert found, "the xMatters stand-in died"
    return found


@pytest.fixture(scope="package")
def operators_channel(cloud: local.Local, xmatters: StandIn) -> Channel:
    return channels.made(cloud, xmatters)


@pytest.fixture(scope="package")
def relayctl(downloads: Path) -> Path:
    """The release's relayctl, installed."""
    return installed.with_pip(downloads, downloads.parent / "relayctl-venv")


@pytest.fixture
def operator(operators_channel: Channel, relayctl: Path) -> Iterator[Operator]:
    """An operator, with empty queues."""
    its_operator = Operator(operators_channel, relayctl)
    yield its_operator
    # Messages stay hidden after tests of policies that forbid their release.
    its_operator.close()


@pytest.fixture
def own_places(workroom: Path, build: Path) -> Iterator[local.Places]:
    """Folders and files for a test that starts a local cloud of its own.

    Processes of the cloud that still run after the test are stopped.
    """
    with TemporaryDirectory(dir=workroom) as name:
        places = local.Places(ROOT, Path(name) / "own", build)
        try:
            yield places
        finally:
            local.down(places)


@pytest.fixture
def built_places(own_places: local.Places, build: Path) -> local.Places:
    """Folders and files for a local cloud whose build exists already, so that the cloud starts sooner."""
    places = replace(own_places, build=own_places.folder / "build")
    shutil.copytree(build, places.build)
    return places


@pytest.fixture(scope="package")
def quiet() -> Steps:
    """Progress output that is discarded."""
    return Steps("test", Console(file=io.StringIO()))
