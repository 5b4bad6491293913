"""The AWS emulator: MiniStack as a separate process, reachable from this machine only, and by no web page.

MiniStack runs the functions with its own Python, passes its whole environment on to them, and leaves their code in its
temporary folder. It therefore gets this project's Python, a clean environment, and a folder that is removed with it.
"""

import os
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from sandbox import processes
from sandbox.environment import REGION
from sandbox.errors import SandboxError

START_SECONDS = 30.0
START_ATTEMPTS = 5


@dataclass(frozen=True)
class Emulator:
    """A running emulator: its address and its process."""

    endpoint_url: str
    process: processes.Process


def start(folder: Path) -> Emulator:
    """Start an emulator on a free port of 127.0.0.1, with all its files in `folder`, and wait until it answers.

    Raises SandboxError if the emulator does not start; the message holds the end of its log.
    """
    log = processes.log_of(folder)
    for _ in range(START_ATTEMPTS):
        started = _try_to_start(folder, _free_port())
        if started:
            return started
        if "already in use" not in processes.tail(log):
            break
    raise SandboxError(
        f"the local cloud did not start; the end of {log}:\n{processes.tail(log)}\n"
        "Is this machine very busy? Try again; `make clean` and then the same command starts from nothing."
    )


def running(folder: Path) -> Emulator | None:
    """Return the emulator that was started in `folder`, or None if it no longer runs or does not answer."""
    process = processes.recorded(processes.record_in(folder))
    if process is None:
        return None
    endpoint_url, token = (folder / "address").read_text().split()
    return Emulator(endpoint_url, process) if _answers(endpoint_url, token) else None


def stop(folder: Path) -> bool:
    """Stop the emulator of `folder` with its workers and remove the folder; return True if it was running."""
    return processes.stop_in(folder)


@contextmanager
def started(folder: Path) -> Iterator[Emulator]:
    """Run an emulator for the length of a `with` block."""
    try:
        yield start(folder)
    finally:
        stop(folder)


def _try_to_start(folder: Path, port: int) -> Emulator | None:
    home, temporary = folder / "home", folder / "tmp"
    for place in (home, temporary):
        place.mkdir(parents=True, exist_ok=True)
    endpoint_url, token = f"http://127.0.0.1:{port}", uuid.uuid4().hex
    (folder / "address").write_text(f"{endpoint_url} {token}")
    processes.log_of(folder).unlink(missing_ok=True)
    return processes.start(
        # -P keeps this folder off the path of Python, and so out of the functions.
        [sys.executable, "-P", str(Path(__file__).with_name("guarded_emulator.py"))],
        env=_environment(home, temporary, port, token),
        cwd=home,
        folder=folder,
        running=running,
        seconds=START_SECONDS,
    )


def _environment(home: Path, temporary: Path, port: int, token: str) -> dict[str, str]:
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "STATE_DIR": str(temporary / "state"),
        "S3_DATA_DIR": str(temporary / "s3"),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        # On a machine with Docker, MiniStack would look for containers to remove; nothing here needs containers.
        "DOCKER_HOST": f"unix://{temporary}/no-docker",
        # The health check shows this value, and so tells this emulator from any other that answers on the port.
        "MINISTACK_EDITION": token,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
    }


def _answers(endpoint_url: str, token: str) -> bool:
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"{endpoint_url}/_ministack/health", timeout=2)
            return bool(answer.ok and answer.json().get("edition") == token)
    except (requests.RequestException, ValueError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
