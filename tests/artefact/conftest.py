"""What the artefact tests share: what `sam build` made, and once more from another folder."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.artefact.builds import ROOT, Build, build, build_elsewhere
from tests.artefact.templates import Stack, of_clone


@pytest.fixture(scope="session")
def workplace() -> Iterator[Path]:
    """A folder for whatever is built, gone at the end; pytest's own would stay, outside the clone."""
    parent = ROOT / ".cache" / "artefact"
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=parent) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def built(workplace: Path) -> Build:
    """What `sam build` makes of this clone."""
    return build(ROOT, workplace / "this")


@pytest.fixture(scope="session")
def built_elsewhere(workplace: Path) -> Build:
    """What `sam build` makes of the same sources in another folder."""
    return build_elsewhere(workplace)


@pytest.fixture(scope="session")
def on_aws() -> Stack:
    """The stack with every parameter at its default."""
    return of_clone()
