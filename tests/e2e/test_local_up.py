"""Starts and ends of local clouds: sources that changed, other commands, kills, Ctrl-C and failures."""

import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sandbox import local, processes
from sandbox.cloud import emulator
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


def test_emulator_that_answers_with_another_token_is_not_taken_for_ours(tmp_path: Path) -> None:
    with emulator.started(tmp_path / "one") as one:
        process = emulator.running(tmp_path / "one")
        assert process == one
        shutil.copytree(tmp_path / "one", tmp_path / "two", ignore=shutil.ignore_patterns("tmp"))
        (tmp_path / "two" / "address").write_text(f"{one.endpoint_url} another-token")
        assert emulator.running(tmp_path / "two") is None
    assert emulator.running(tmp_path / "one") is None
    # A child that was killed with the emulator may hold the socket a moment longer.
    until(lambda: _refuses(urlsplit(one.endpoint_url).port or 0))


def _refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
