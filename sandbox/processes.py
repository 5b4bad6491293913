"""Background processes that outlive the command that started them, and are found again by a record on disk.

The record is written as soon as the process runs, so that the process can be stopped even if its starter was killed.
The system may give the process id to another process later. So the record also holds the start time, and a process
is stopped only if its id and its start time are those of the record.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

REMOVAL_SECONDS = 5.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Process:
    """A started process: leader of a process group of its own, which holds its children.

    Attributes:
        pid: The process id.
        began: Its start time, as the operating system writes it; "" if it ended before that could be read.
    """

    pid: int
    began: str


def start[Ready](
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    folder: Path,
    running: Callable[[Path], Ready | None],
    seconds: float,
) -> Ready | None:
    """Start `command` in a session of its own; its record is in `folder`, and its output goes to `log_of(folder)`.

    Wait until `running(folder)` returns a value, and return the value. If the process ends before, or `seconds` are
    over, it is stopped, and None is returned.
    """
    with log_of(folder).open("ab") as output:
        child = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # The process outlives this object, whose finalizer would warn of that; is_running() reaps the process by its id.
    child.returncode = 0
    process = Process(child.pid, _began(child.pid) or "")
    write_atomically(record_in(folder), json.dumps(asdict(process)))
    deadline = time.monotonic() + seconds
    while is_running(process) and time.monotonic() < deadline:
        if found := running(folder):
            return found
        time.sleep(POLL_SECONDS)
    _stop(process)
    return None


def recorded(record: Path) -> Process | None:
    """Return the process that `record` names; None if it no longer runs, or the record cannot be read."""
    try:
        process = Process(**json.loads(record.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return process if is_running(process) else None


def own_record() -> str:
    """Return the record of this process, in the form that `recorded` reads."""
    return json.dumps(asdict(Process(os.getpid(), _began(os.getpid()) or "")))


def is_own(record: Path) -> bool:
    """Return True if `record` names this process."""
    process = recorded(record)
    return process is not None and process.pid == os.getpid()


def is_running(process: Process) -> bool:
    """Return True if this process runs, and not another process with its id."""
    _reap(process.pid)
    return _began(process.pid) == process.began != ""


def record_in(folder: Path) -> Path:
    """Return the path of the record file in `folder`, the folder with the files of one process."""
    return folder / "process.json"


def log_of(folder: Path) -> Path:
    """Return the path of the log beside `folder`, which stays when the folder is removed."""
    return folder.with_name(f"{folder.name}.log")


def stop_in(folder: Path) -> bool:
    """Kill the process that keeps its files in `folder`, and remove the folder; return True if it was running.

    It is killed at once: neither the emulator nor the stand-ins have anything to save.
    """
    process = recorded(record_in(folder))
    if process:
        _stop(process)
    remove(folder)
    return process is not None


def remove(folder: Path) -> None:
    """Remove the folder of stopped processes; retry, since a dying process may still write into it."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            time.sleep(POLL_SECONDS)


def write_atomically(path: Path, text: str) -> None:
    """Write a file that readers see either whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log, indented, for an error message."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return "  (there is no log)"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) or "  (the log is empty)"


def _began(pid: int) -> str | None:
    """Return the start time of a process as the system writes it; None if it is gone, or a zombie."""
    try:
        # After the command, which may hold spaces and brackets, field 1 is the state and field 20 the start time.
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


def _stop(process: Process) -> None:
    with suppress(ProcessLookupError, PermissionError):
        # The group may be gone; macOS raises PermissionError if only zombies are left.
        os.killpg(process.pid, signal.SIGKILL)
    while is_running(process):
        time.sleep(POLL_SECONDS)


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):
        # If an earlier command started the process, it is no child of this one.
        os.waitpid(pid, os.WNOHANG)
