"""The demo, as a person runs it: to its end, to a failure, and to Ctrl-C."""

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from sandbox import local
from sandbox.demo import acts
from sandbox.errors import SandboxError

ROOT = Path(__file__).resolve().parents[2]


def test_demo_keeps_every_promise_within_80_columns_and_leaves_no_process(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = subprocess.run(
        [sys.executable, "-m", "sandbox", "--state", str(state), "demo"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "80"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Every claim holds" in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line.rstrip()) > 80] == []
    for promise in (
        "the dead-letter queue is empty",
        "the retry queue and the chore queue are empty",
        "of each open incident reached xMatters once",
    ):
        assert any(line.startswith("✓") and promise in line for line in done.stdout.splitlines()), promise
    assert "✗" not in done.stdout
    assert [each.name for each in state.iterdir()] == ["build"]
    assert str(state) not in _command_lines()


def test_demo_reports_a_broken_promise_and_keeps_the_logs(own_places: local.Places, tmp_path: Path) -> None:
    for name in (".cache", ".venv", ".venv-sam", "sandbox"):
        (tmp_path / name).symlink_to(ROOT / name)
    # Copies, since the SAM CLI builds relative paths that do not exist behind a symbolic link.
    for name in ("functions", "layers"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("samconfig.toml", "template.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "events").mkdir()
    only = "bigpanda_6_no_incident.json"
    (tmp_path / "events" / only).symlink_to(ROOT / "events" / only)
    places = local.Places(tmp_path, own_places.folder, own_places.build)
    with pytest.raises(SandboxError, match=f"4 signals reached xMatters(.|\n)*logs are in {places.folder}"):
        acts.play(places, Console(file=io.StringIO()))
    assert not places.cloud.exists()
    assert "RequestId" in (places.folder / "functions.log").read_text()
    assert str(places.folder) not in _command_lines()


def test_ctrl_c_stops_all_processes_of_the_demo(own_places: local.Places) -> None:
    command = [sys.executable, "-m", "sandbox", "--state", str(own_places.folder), "demo"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        deadline = time.monotonic() + 300
        while not own_places.stack_file.exists():
            assert time.monotonic() < deadline, "it never came up"
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "nothing that it started is left running" in said
    assert str(own_places.folder) not in _command_lines()
    assert not list(own_places.folder.glob("*.log"))


def test_demo_without_samples_fails_before_any_process_starts(tmp_path: Path) -> None:
    places = local.Places(tmp_path, tmp_path / "state", tmp_path / "build")
    with pytest.raises(SandboxError, match="no share from BigPanda"):
        acts.play(places, Console(file=io.StringIO()))
    assert not places.folder.exists()


def _command_lines() -> str:
    return subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
