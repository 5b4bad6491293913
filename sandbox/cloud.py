"""The local cloud: MiniStack as a process of its own, reachable from this machine only.

It runs functions with the Python it runs on itself, hands its whole environment down to them, and leaves
their code behind in its temporary folder; so it gets this project's Python, a clean environment, and a folder
that is removed with it.
"""

import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from sandbox import processes

REGION = "us-east-1"
START_SECONDS = 30.0
START_ATTEMPTS = 5


class SandboxError(Exception):
    """Something local could not be done; the message says what, and what to do about it."""


@dataclass(frozen=True)
class Cloud:
    """A running local cloud: where it listens, and the folder that holds all it writes."""

    endpoint_url: str
    process: processes.Process
    folder: Path


def start(folder: Path) -> Cloud:
    """Start a cloud on a free port of 127.0.0.1, with all its files in `folder`, and wait until it answers.

    Its log is `folder` with `.log` after it, and stays when the folder goes. Raises SandboxError when the
    cloud does not come up, with the end of that log.
    """
    for _ in range(START_ATTEMPTS):
        started = _try_to_start(folder, _free_port())
        if started:
            return started
        if "already in use" not in processes.tail(_log(folder)):
            break
    raise SandboxError(
        f"the local cloud did not start; the end of {_log(folder)}:\n{processes.tail(_log(folder))}\n"
        "Is this machine very busy? Try again; `make clean` and then the same command starts from nothing."
    )


def running(folder: Path) -> Cloud | None:
    """The cloud that was started in `folder`, if it is still there and answers."""
    process = processes.recorded(_record(folder))
    if process is None:
        return None
    endpoint_url, token = (folder / "address").read_text().split()
    return Cloud(endpoint_url, process, folder) if _answers(endpoint_url, token) else None


def stop(folder: Path) -> bool:
    """Stop the cloud of `folder` with its workers and remove the folder; whether there was one running."""
    process = processes.recorded(_record(folder))
    if process:
        processes.stop(process)
    processes.remove(folder)
    return process is not None


@contextmanager
def started(folder: Path) -> Iterator[Cloud]:
    """A cloud for the length of a `with` block."""
    try:
        yield start(folder)
    finally:
        stop(folder)


def aws_environment(endpoint_url: str) -> dict[str, str]:
    """The AWS_* variables that reach the cloud at `endpoint_url`, and can reach no other."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without anything that could lead to somebody's AWS account."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def leave_aws(environment: MutableMapping[str, str]) -> None:
    """Take out of `environment` whatever leads to somebody's AWS account; clients name their endpoint."""
    kept = without_aws(environment) | aws_environment("http://127.0.0.1:1")
    environment.clear()
    environment.update(kept)


def _try_to_start(folder: Path, port: int) -> Cloud | None:
    home, temporary = folder / "home", folder / "tmp"
    for place in (home, temporary):
        place.mkdir(parents=True, exist_ok=True)
    endpoint_url, token = f"http://127.0.0.1:{port}", uuid.uuid4().hex
    (folder / "address").write_text(f"{endpoint_url} {token}")
    _log(folder).unlink(missing_ok=True)
    process = processes.start(
        [sys.executable, "-m", "ministack"],
        env=_environment(home, temporary, port, token),
        cwd=home,
        log=_log(folder),
        record=_record(folder),
    )
    deadline = time.monotonic() + START_SECONDS
    while processes.is_running(process) and time.monotonic() < deadline:
        if _answers(endpoint_url, token):
            return Cloud(endpoint_url, process, folder)
        time.sleep(processes.POLL_SECONDS)
    processes.stop(process)
    return None


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
        # It would look for containers to reap on a machine that has Docker; nothing here needs any.
        "DOCKER_HOST": f"unix://{temporary}/no-docker",
        # Shown by the health check: this is how we know that the cloud which answers is the one we started.
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


def _record(folder: Path) -> Path:
    return folder / "process.json"


def _log(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.log")
