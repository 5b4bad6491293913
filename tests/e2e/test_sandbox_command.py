"""`make sandbox`, `local-up` and `local-down`, as a person runs them: their processes, Ctrl-C, kills and failures."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest
import requests

from sandbox import local, processes
from sandbox.cloud import relayctl
from sandbox.errors import SandboxError
from sandbox.server import background
from sandbox.steps import Steps
from tests.e2e.channels import HEADERS
from tests.e2e.test_demo import command_lines
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 300.0


class Command:
    """`python -m sandbox sandbox`, which runs for a `with` block; its output goes to a file."""

    def __init__(self, places: local.Places, output: Path, *options: str) -> None:
        self._output = output
        with output.open("w") as written:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "sandbox", "--state", str(places.folder), "sandbox", *options],
                cwd=ROOT,
                env=os.environ | {"COLUMNS": "80"},
                stdout=written,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            self.end(signal.SIGINT)

    @property
    def said(self) -> str:
        return self._output.read_text()

    def until(self, text: str) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.said:
            assert self._child.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        """Send the process an operating-system signal, such as SIGINT; return the exit code."""
        self._child.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        return self._child.wait(120)


def _groups() -> set[int]:
    shown = subprocess.run(["ps", "-A", "-o", "stat=,pgid="], capture_output=True, text=True, check=True).stdout
    # A killed worker stays listed as a zombie (Z) until the machine's first process reaps it.
    return {int(line.split()[1]) for line in shown.splitlines() if not line.startswith("Z")}


def test_sandbox_plays_a_script_and_the_next_one_takes_over_from_a_killed_one_and_stops_everything_on_ctrl_c(
    built_places: local.Places, tmp_path: Path
) -> None:
    with Command(built_places, tmp_path / "first.txt", "--script", "incident") as first:
        first.until("Ctrl-C stops everything.")
        vendors = background.running(built_places.standin)
        assert vendors
        assert f"The page:  {vendors.control_url}/" in first.said
        first.until("The script is over.")
        assert "skipped" not in first.said
        assert "export AWS_ENDPOINT_URL=http://127.0.0.1:" in first.said
        [incident] = vendors.live()["incidents"]
        assert (incident["is_open"], incident["assignee"]) == (False, "epearson@acme.example")
        first.end(signal.SIGKILL)
    assert [line for line in first.said.splitlines() if len(line) > 80 and "http" not in line] == []
    assert background.running(built_places.standin)
    with Command(built_places, tmp_path / "second.txt") as second:
        second.until("Ctrl-C stops everything.")
        assert "already running" in second.said
        assert second.end(signal.SIGINT) == 0
        assert "Stopped by Ctrl-C." in second.said
    assert str(built_places.folder) not in command_lines()
    assert [each.name for each in built_places.folder.iterdir()] == ["build"]


def test_local_cloud_that_local_up_joined_outlives_the_command_and_a_kill_and_ends_with_local_down(
    built_places: local.Places, tmp_path: Path, quiet: Steps
) -> None:
    with Command(built_places, tmp_path / "owner.txt") as owner:
        owner.until("Ctrl-C stops everything.")
        first = local.up(built_places, quiet)
        assert owner.end(signal.SIGINT) == 0
    assert processes.recorded(processes.record_in(built_places.cloud))
    # An invoked function leaves a worker process of the cloud.
    requests.post(f"{first.api_url}/bigpanda/demo", json={}, timeout=30)
    os.kill(first.pids["xmatters"], signal.SIGKILL)
    second = local.up(built_places, quiet)
    assert set(first.pids.values()).isdisjoint(second.pids.values())
    relayctl.run(second.aws_endpoint_url, ["channel", "remove", "demo", "--yes"])
    assert local.up(built_places, quiet) == second, "the removed channel is made again"
    assert requests.post(f"{second.api_url}/bigpanda/demo", json={}, headers=HEADERS, timeout=30).status_code == 400
    with Command(built_places, tmp_path / "guest.txt") as guest:
        guest.until("the local cloud was up before, and stays up")
        assert f"{second.sandbox_url}/" in guest.said
        assert guest.end(signal.SIGTERM) == 0
        assert "The local cloud stays up" in guest.said
    assert requests.get(f"{second.sandbox_url}/health", timeout=10).ok
    with Command(built_places, tmp_path / "last.txt") as last:
        last.until("the local cloud was up before, and stays up")
        assert local.down(built_places) is True
        assert last.wait() == 1
        assert "the local cloud was stopped by another command" in last.said
    pids = {*first.pids.values(), *second.pids.values()}
    until(lambda: pids.isdisjoint(_groups()))
    assert [each.name for each in built_places.folder.iterdir()] == ["build"]
    assert local.down(built_places) is False


def test_concurrent_local_cloud_command_is_refused(own_places: local.Places, quiet: Steps) -> None:
    with local.alone(own_places.folder), pytest.raises(SandboxError, match="another command is at work"):
        local.up(own_places, quiet)
