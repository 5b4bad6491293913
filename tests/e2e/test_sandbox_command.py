"""`make sandbox`, as a person runs it: its page, a script, Ctrl-C, and beside a cloud that runs already."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from sandbox import local, processes
from sandbox.server import background
from sandbox.steps import Steps

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 300.0


class Command:
    """A running `python -m sandbox sandbox`; its output goes to a file."""

    def __init__(self, places: local.Places, output: Path, *options: str) -> None:
        self._output = output
        self.places = places
        with output.open("w") as written:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "sandbox", "--state", str(places.folder), "sandbox", *options],
                cwd=ROOT,
                env=os.environ | {"COLUMNS": "80"},
                stdout=written,
                stderr=subprocess.STDOUT,
            )

    @property
    def said(self) -> str:
        """The output so far."""
        return self._output.read_text()

    def until(self, text: str) -> None:
        """Wait for a text in the output."""
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.said:
            assert self._child.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> int:
        """Send a signal, and return the exit code."""
        self._child.send_signal(number)
        return self._child.wait(120)


@contextmanager
def command(places: local.Places, output: Path, *options: str) -> Iterator[Command]:
    running = Command(places, output, *options)
    try:
        yield running
    finally:
        if running._child.poll() is None:
            running.end(signal.SIGINT)


def test_sandbox_names_its_page_plays_a_script_and_stops_all_processes_on_ctrl_c(
    own_places: local.Places, tmp_path: Path
) -> None:
    with command(own_places, tmp_path / "said.txt", "--script", "incident") as running:
        running.until("Ctrl-C stops everything.")
        vendors = background.running(own_places.standin)
        assert vendors
        assert f"The page:  {vendors.control_url}/" in running.said
        running.until("The script is over.")
        assert "skipped" not in running.said
        [incident] = vendors.live()["incidents"]
        assert (incident["is_open"], incident["assignee"]) == (False, "epearson@acme.example")
        assert running.end(signal.SIGINT) == 0
        assert "Stopped by Ctrl-C." in running.said
    assert [line for line in running.said.splitlines() if len(line) > 80 and "http" not in line] == []
    assert str(own_places.folder) not in _command_lines()
    assert [each.name for each in own_places.folder.iterdir()] == ["build"]


def test_sandbox_after_a_killed_one_takes_its_cloud_over_and_stops_it(own_places: local.Places, tmp_path: Path) -> None:
    with command(own_places, tmp_path / "first.txt") as first:
        first.until("Ctrl-C stops everything.")
        first.end(signal.SIGKILL)
    assert background.running(own_places.standin)
    with command(own_places, tmp_path / "second.txt") as second:
        second.until("Ctrl-C stops everything.")
        assert "already running" in second.said
        assert second.end(signal.SIGINT) == 0
    assert str(own_places.folder) not in _command_lines()


def test_sandbox_beside_a_running_cloud_uses_it_and_leaves_it_up(
    cloud: local.Local, places: local.Places, tmp_path: Path
) -> None:
    output = tmp_path / "said.txt"
    with command(local.Places(ROOT, places.folder, places.folder / "build"), output) as running:
        running.until("the local cloud was up before, and stays up")
        assert f"{cloud.sandbox_url}/" in running.said
        assert running.end(signal.SIGTERM) == 0
        assert "The local cloud stays up" in running.said
    assert requests.get(f"{cloud.sandbox_url}/health", timeout=10).ok
    assert places.stack_file.exists()


def test_sandbox_whose_cloud_is_taken_over_by_local_up_leaves_it_up(
    own_places: local.Places, tmp_path: Path, quiet: Steps
) -> None:
    with command(own_places, tmp_path / "said.txt") as running:
        running.until("Ctrl-C stops everything.")
        up = local.up(own_places, quiet)
        assert running.end(signal.SIGINT) == 0
    assert processes.recorded(processes.record_in(own_places.cloud))
    assert requests.get(f"{up.sandbox_url}/health", timeout=10).ok


def test_sandbox_ends_with_an_error_when_its_cloud_is_stopped(own_places: local.Places, tmp_path: Path) -> None:
    with command(own_places, tmp_path / "said.txt") as running:
        running.until("Ctrl-C stops everything.")
        local.down(own_places)
        assert running._child.wait(120) == 1
        assert "the local cloud was stopped by another command" in running.said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sandbox_interrupted_while_it_starts_leaves_no_process(
    own_places: local.Places, tmp_path: Path, number: signal.Signals
) -> None:
    with command(own_places, tmp_path / "said.txt") as running:
        running.until("building the functions")
        assert running.end(number) == 130
        assert "nothing that it started is left running" in running.said
    assert str(own_places.folder) not in _command_lines()
    assert not own_places.owner.exists()


def test_unknown_script_is_refused_before_anything_starts(own_places: local.Places, tmp_path: Path) -> None:
    with command(own_places, tmp_path / "said.txt", "--script", "night") as running:
        assert running._child.wait(60) == 1
        assert "SCRIPT= takes day or incident" in running.said
    assert not own_places.folder.exists()


def _command_lines() -> str:
    return subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
