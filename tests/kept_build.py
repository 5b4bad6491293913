"""The output of `sam build` for this clone: made once for all processes of a test run, and kept for the next run."""

import fcntl
from pathlib import Path

from sandbox.cloud import stack

ROOT = Path(__file__).parents[1]


def kept_build() -> stack.Workshop:
    """Build the clone's sources unless that is done, and return the folders. Other processes wait meanwhile.

    Raises SandboxError if the build fails.
    """
    folder = ROOT / ".cache" / "kept-build"
    folder.mkdir(parents=True, exist_ok=True)
    shop = stack.Workshop(ROOT, folder / "build", folder / "logs")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stack.build(shop)
    return shop
