"""Starts and ends of local clouds: sources that changed, other commands, kills, Ctrl-C and failures."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import local, processes
from sandbox.errors import SandboxError
from sandbox.steps import Steps
from tests.e2e.sandbox_process import until_gone
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def test_concurrent_local_cloud_command_is_refused(own_places: local.Places, quiet: Steps) -> None:
    with local.alone(own_places.folder), pytest.raises(SandboxError, match="another command is at work"):
        local.up(own_places, quiet)


def test_interrupted_local_up_stops_its_processes(own_places: local.Places) -> None:
    command = [sys.executable, "-m", "sandbox", "--state", str(own_places.folder), "up"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
        until((own_places.folder / "sam-build.log").exists)
        its_cloud = processes.recorded(own_places.cloud / "process.json")
        child.send_signal(signal.SIGTERM)
        _, said = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "nothing that it started is left running" in said
    assert its_cloud
    until_gone(its_cloud.pid)
    assert not own_places.cloud.exists()
    assert not own_places.stack_file.exists()
