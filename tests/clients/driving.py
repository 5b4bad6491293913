"""Runner of python-xmatters in a process of its own: the calls and their outcomes."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sandbox.server.in_process import Box

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PYTHON = ROOT / ".venv-python-xmatters/bin/python"
# Well above the time of any test: a client that never ends must not stop the whole run.
_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """Outcome of one call of the client.

    Attributes:
        value: what the client returned, as JSON types; None after an error.
        error: name of the exception that the client raised; None without one.
        message: the exception's text.
    """

    value: Any = None
    error: str | None = None
    message: str = ""


def python_xmatters(box: Box, login: Mapping[str, str], calls: Sequence[Sequence[Any]]) -> list[Outcome]:
    """Let python-xmatters do calls, and return the outcome of each; `drive_python_xmatters` describes the calls."""
    if not PYTHON.exists():
        pytest.fail("python-xmatters is not installed: run 'make checks'")
    steps = [[[each] if isinstance(each, str) else list(each) for each in call] for call in calls]
    command = [str(PYTHON), "-I", str(HERE / "drive_python_xmatters.py")]
    said = {"url": box.xmatters_url, "login": dict(login), "calls": steps}
    # Nothing else of this process's environment: a proxy would be asked for 127.0.0.1.
    environment = {"PATH": "/usr/bin:/bin", "REQUESTS_CA_BUNDLE": str(box.xmatters_authority)}
    done = subprocess.run(
        command, input=json.dumps(said), env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return [Outcome(**each) for each in json.loads(done.stdout)]
