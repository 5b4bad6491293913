"""The build and the release of this clone: made once for all processes of a test run. The build is kept."""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from sandbox.cloud import stack
from tools import release

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".cache" / "kept-build"


def kept_build() -> stack.Workshop:
    """Run `sam build` unless that is done for these sources, and return the folders.

    Raises SandboxError if the build fails.
    """
    shop = stack.Workshop(ROOT, FOLDER / "build", FOLDER / "logs")
    with _alone():
        stack.build(shop)
    return shop


@cache
def kept_release() -> Path:
    """Write the release of this clone unless another process of this run did; return its folder.

    Raises SandboxError if the build fails.
    """
    shop, dist, written_by = kept_build(), FOLDER / "dist", FOLDER / "run"
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)
    with _alone():
        if not written_by.exists() or written_by.read_text() != run:
            release.write(shop.template.parent, dist)
            written_by.write_text(run)
    return dist


@contextmanager
def _alone() -> Iterator[None]:
    """Let other processes wait for the length of a `with` block."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
