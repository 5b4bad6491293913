"""relayctl as the install guide has it installed: a wheel of this clone, beside the pinned packages alone."""

import re
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"relay": ROOT / "layers/relay/relay", "relayctl": ROOT / "relayctl"}


def install(built: Path, folder: Path) -> Path:
    """Install the wheel into a new environment; return the program's path.

    The pinned packages are linked from this environment, so that nothing is downloaded.
    """
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements/relayctl.txt").read_text(), re.MULTILINE):
        for top in {file.parts[0] for file in metadata.files(name) or ()} - {"..", "__pycache__"}:
            (packages / top).symlink_to(Path(str(metadata.distribution(name).locate_file(top))))
    _pip("--python", str(folder / "bin/python"), "install", "--no-deps", "--no-index", str(built))
    return folder / "bin/relayctl"


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
