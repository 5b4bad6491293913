"""The sandbox's server as a background process: start, find again, stop."""

import json
import os
import sys
import time
from pathlib import Path

from sandbox import processes
from sandbox.environment import without_aws
from sandbox.errors import SandboxError
from sandbox.server.client import StandIn

START_SECONDS = 20.0


def start(folder: Path, root: Path, stack_file: Path | None = None) -> StandIn:
    """Start the server on free ports of 127.0.0.1 from the clone at `root`, and wait until it is ready.

    Its page shows the relay that `stack_file` names; the file may come later.

    Its log is a file beside `folder`: the folder's name with `.log` appended. The log stays when the folder is removed.

    Raises SandboxError if the server does not start; the message holds the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    _ready(folder).unlink(missing_ok=True)
    cloud = ("--stack-file", str(stack_file.absolute())) if stack_file else ()
    process = processes.start(
        [sys.executable, "-m", "sandbox.server", str(_ready(folder)), *cloud],
        env=without_aws(os.environ) | {"HOME": str(folder), "TMPDIR": str(folder)},
        cwd=root,
        log=log,
        record=processes.record_in(folder),
    )
    deadline = time.monotonic() + START_SECONDS
    while processes.is_running(process) and time.monotonic() < deadline:
        if found := running(folder):
            return found
        time.sleep(processes.POLL_SECONDS)
    processes.stop(process)
    raise SandboxError(
        f"the stand-ins for xMatters and BigPanda did not start; the end of {log}:\n{processes.tail(log)}"
    )


def running(folder: Path) -> StandIn | None:
    """Return the server that was started in `folder`, or None if it no longer runs or is not ready."""
    process = processes.recorded(processes.record_in(folder))
    if process is None:
        return None
    try:
        ready = json.loads(_ready(folder).read_text())
        found = StandIn(ready["control_url"], ready["xmatters_url"], ready["bigpanda_url"], process)
        found.check_health()
    except (OSError, ValueError, KeyError, SandboxError):
        return None
    return found


def stop(folder: Path) -> bool:
    """Stop the server of `folder` and remove the folder; return True if it was running."""
    return processes.stop_in(folder)


def _ready(folder: Path) -> Path:
    return folder / "ready.json"
