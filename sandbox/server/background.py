"""The sandbox's server as a background process: start, find again, stop."""

import json
import os
import sys
from pathlib import Path

from sandbox import processes
from sandbox.environment import without_aws
from sandbox.errors import SandboxError
from sandbox.server.client import StandIn

START_SECONDS = 20.0


def start(folder: Path, root: Path, stack_file: Path | None = None) -> StandIn:
    """Start the server on free ports of 127.0.0.1 from the clone at `root`, and wait until it is ready.

    Its page shows the relay that `stack_file` names; the file may come later.

    Raises SandboxError if the server does not start; the message holds the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _ready(folder).unlink(missing_ok=True)
    cloud = ("--stack-file", str(stack_file.absolute())) if stack_file else ()
    found = processes.start(
        [sys.executable, "-m", "sandbox.server", str(_ready(folder)), *cloud],
        env=without_aws(os.environ) | {"HOME": str(folder), "TMPDIR": str(folder)},
        cwd=root,
        folder=folder,
        running=running,
        seconds=START_SECONDS,
    )
    if found is None:
        log = processes.log_of(folder)
        raise SandboxError(
            f"the stand-ins for xMatters and BigPanda did not start; the end of {log}:\n{processes.tail(log)}"
        )
    return found


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
