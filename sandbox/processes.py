"""Processes that outlive the command that started them, and are found again by a record on disk.

A record is written as soon as its process runs, so that one whose starter was killed can still be stopped. A
process id alone is not proof: it may belong to somebody else by now. So the record also holds when the
process began, and nothing is stopped unless both agree.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

GRACE_SECONDS = 5.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Process:
    """A process of ours: the leader of a process group of its own, which its children belong to."""

    pid: int
    began: str


def start(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, record: Path) -> Process:
    """Start `command` in a session of its own, output appended to `log`, and write `record`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # It outlives this object, which would complain; is_running() reaps it by its id.
    child.returncode = 0
    process = Process(child.pid, _began(child.pid) or "")
    write_atomically(record, json.dumps(asdict(process)))
    return process


def recorded(record: Path) -> Process | None:
    """The process that `record` names, if it still runs."""
    try:
        process = Process(**json.loads(record.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return process if is_running(process) else None


def is_running(process: Process) -> bool:
    """Whether this very process runs, and not another that got its id."""
    _reap(process.pid)
    return _began(process.pid) == process.began != ""


def stop(process: Process, grace_seconds: float = GRACE_SECONDS) -> None:
    """Stop the process with its whole group: asked first, made to after `grace_seconds`."""
    if not is_running(process):
        return
    _signal_group(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while is_running(process) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    while is_running(process):
        time.sleep(POLL_SECONDS)


def remove(folder: Path) -> None:
    """Remove the folder of processes that were stopped, with what the last of them wrote while it died."""
    deadline = time.monotonic() + GRACE_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            time.sleep(POLL_SECONDS)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that others see either whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log, indented, to be shown under an error."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return "  (it wrote no log)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (its log is empty)"


def _began(pid: int) -> str | None:
    """When a process began, as this system counts it; None if there is none, or only its corpse."""
    try:
        # Fields after the command (which may hold spaces and brackets): state first, start time twentieth.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
        return _began_by_ps(pid)
    return None if fields[0] in "ZX" else fields[19]


def _began_by_ps(pid: int) -> str | None:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath, "LC_ALL": "C"},
    ).stdout.split(maxsplit=1)
    return None if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # gone already; macOS says PermissionError when only corpses are left


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # started by an earlier command, so not ours to reap
