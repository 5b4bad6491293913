"""Fixtures of the artefact tests: the release, one from another folder, and the loaded functions."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from sandbox.errors import SandboxError
from tests.artefact import world as worlds
from tests.artefact.builds import Build, release_elsewhere, unpacked
from tests.artefact.runtime_api import PYTHON
from tests.artefact.templates import Stack, of_clone
from tests.artefact.world import Aws, World
from tests.kept_build import kept_release
from tests.scratch import scratch


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """A folder for builds."""
    with scratch() as folder:
        yield folder


@pytest.fixture(scope="session")
def dist() -> Path:
    try:
        return kept_release()
    except SandboxError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def built(dist: Path, workplace: Path) -> Build:
    """The release's stack, unpacked."""
    if not PYTHON.exists():
        pytest.fail(f"there is no {PYTHON}; run `make setup`", pytrace=False)
    return unpacked(dist, workplace / "unpacked")


@pytest.fixture(scope="session")
def dist_elsewhere(workplace: Path) -> Path:
    """The release of the same sources, made in another folder."""
    return release_elsewhere(workplace / "another clone")


@pytest.fixture(scope="session")
def on_aws() -> Stack:
    """The stack with every parameter at its default."""
    return of_clone()


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """moto as AWS on a free port of this machine, with the functions' resources."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield worlds.make_aws(f"http://{host}:{port}")
    server.stop()


@pytest.fixture(scope="session")
def _world(built: Build, aws: Aws, workplace: Path) -> Iterator[World]:
    folder = workplace / "function logs"
    folder.mkdir()
    with worlds.made(built, aws, folder) as world:
        yield world


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    """All loaded functions with an empty ledger; a test that leaves messages on the dead-letter queue fails."""
    yield _world
    _world.box.listening(True)
    _world.box.clear()
    _world.aws.empty_ledger()
    assert _world.queued()[-1] == 0, "the test left a message on the dead-letter queue"
