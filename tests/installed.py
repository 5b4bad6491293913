"""The release as the install guide has it installed: downloaded files, in folders where nothing of the clone is."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Mapping
from pathlib import Path

from sandbox.environment import aws_environment

ROOT = Path(__file__).resolve().parents[1]
INSTALLERS = ROOT / ".venv-installers/bin"
BUCKET = "downloads"


def stack(dist: Path, folder: Path, endpoint_url: str) -> None:
    """Unpack the release's stack into a folder, and deploy it by the install guide's commands into the local cloud."""
    [archive] = dist.glob("*.zip")
    shutil.unpack_archive(archive, folder)
    unpacked = folder / archive.stem
    settings = tomllib.loads((unpacked / "samconfig.toml").read_text())["local"]["deploy"]["parameters"]
    section = (ROOT / "docs/install.md").read_text().partition("\n### Deploy\n")[2].partition("\n### ")[0]
    package, deploy = re.findall(r"^    aws (cloudformation (?:.*\\\n)*.*)", section, re.MULTILINE)
    # The last option of `deploy` lists parameters.
    for command in ("s3 mb s3://<bucket>", package, f"{deploy} {' '.join(settings['parameter_overrides'])}"):
        words = shlex.split(command.replace("<bucket>", BUCKET).replace("\\\n", ""))
        run(INSTALLERS / "aws", *words, folder=unpacked, environment=environment(endpoint_url))


def environment(endpoint_url: str) -> dict[str, str]:
    """Return the environment of a program that was installed: the local cloud, and nothing of the clone."""
    return {"PATH": os.defpath} | aws_environment(endpoint_url)


def with_pip(dist: Path, folder: Path) -> Path:
    """Install relayctl and the packages that it was tested with into a new environment; return the program's path."""
    venv.create(folder, symlinks=True)
    command = ("install", "--require-hashes", "--requirement", "relayctl-requirements.txt")
    _install(Path(sys.executable), "-m", "pip", "--python", str(folder / "bin/python"), *command, folder=dist)
    return folder / "bin/relayctl"


def with_pipx(dist: Path, folder: Path) -> Path:
    """Install relayctl with pipx; return the program's path."""
    homes = {f"PIPX_{name}": str(folder / name) for name in ("HOME", "BIN_DIR", "MAN_DIR", "COMPLETION_DIR")}
    pins = {"PIP_CONSTRAINT": str(_constraints(dist, folder))}
    command = ("install", "--python", sys.executable, str(_wheel(dist)))
    _install(INSTALLERS / "pipx", *command, folder=folder, settings=homes | pins)
    return folder / "BIN_DIR/relayctl"


def with_uv(dist: Path, folder: Path) -> Path:
    """Install relayctl with uv; return the program's path."""
    homes = {f"UV_TOOL_{name}": str(folder / name) for name in ("DIR", "BIN_DIR")}
    pins = ("--constraints", str(_constraints(dist, folder)))
    command = ("tool", "install", "--python", sys.executable, *pins, str(_wheel(dist)))
    _install(Path(sys.executable).with_name("uv"), *command, folder=folder, settings=homes)
    return folder / "BIN_DIR/relayctl"


def run(
    program: Path, *arguments: str, folder: Path, environment: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run a program in a folder with just this environment; assert that it succeeds."""
    assert program.exists(), f"there is no {program}; run `make checks`"
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done


def _wheel(dist: Path) -> Path:
    [wheel] = dist.glob("*.whl")
    return wheel


def _constraints(dist: Path, folder: Path) -> Path:
    """Write which versions to take: a version that came out since then must not fail a test."""
    folder.mkdir()
    pins = re.findall(r"^[\w.-]+==\S+", (dist / "relayctl-requirements.txt").read_text(), re.MULTILINE)
    (folder / "constraints.txt").write_text("\n".join(pins))
    return folder / "constraints.txt"


def _install(program: Path, *arguments: str, folder: Path, settings: Mapping[str, str] | None = None) -> None:
    """Run an installer with this machine's settings for the package index, and with nothing of the clone but caches."""
    kept = {name: each for name, each in os.environ.items() if not name.startswith(("AWS_", "PYTHON", "RELAY_"))}
    caches = {"PIP_CACHE_DIR": str(ROOT / ".cache/pip"), "UV_CACHE_DIR": str(ROOT / ".cache/uv")}
    run(program, *arguments, folder=folder, environment=kept | caches | {"PIP_NO_COMPILE": "1"} | dict(settings or {}))
