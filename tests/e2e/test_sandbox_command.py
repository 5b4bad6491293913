"""`make sandbox`, as a person runs it: its page, a script, and Ctrl-C."""

import signal
import subprocess
from pathlib import Path

import pytest
import requests

from sandbox import local, processes
from sandbox.server import background
from sandbox.steps import Steps
from tests.e2e.sandbox_process import command


def test_sandbox_names_its_page_plays_a_script_and_stops_all_processes_on_ctrl_c(
    built_places: local.Places, tmp_path: Path
) -> None:
    with command(built_places, tmp_path / "said.txt", "--script", "incident") as running:
        running.until("Ctrl-C stops everything.")
        vendors = background.running(built_places.standin)
        assert vendors
        assert f"The page:  {vendors.control_url}/" in running.said
        running.until("The script is over.")
        assert "skipped" not in running.said
        assert "export AWS_ENDPOINT_URL=http://127.0.0.1:" in running.said
        [incident] = vendors.live()["incidents"]
        assert (incident["is_open"], incident["assignee"]) == (False, "epearson@acme.example")
        assert running.end(signal.SIGINT) == 0
        assert "Stopped by Ctrl-C." in running.said
    assert [line for line in running.said.splitlines() if len(line) > 80 and "http" not in line] == []
    assert str(built_places.folder) not in _command_lines()
    assert [each.name for each in built_places.folder.iterdir()] == ["build"]


def test_sandbox_after_a_killed_one_takes_its_cloud_over_and_stops_it(
    built_places: local.Places, tmp_path: Path
) -> None:
    with command(built_places, tmp_path / "first.txt") as first:
        first.until("Ctrl-C stops everything.")
        first.end(signal.SIGKILL)
    assert background.running(built_places.standin)
    with command(built_places, tmp_path / "second.txt") as second:
        second.until("Ctrl-C stops everything.")
        assert "already running" in second.said
        assert second.end(signal.SIGINT) == 0
    assert str(built_places.folder) not in _command_lines()


def test_sandbox_whose_cloud_is_taken_over_by_local_up_leaves_it_up(
    built_places: local.Places, tmp_path: Path, quiet: Steps
) -> None:
    with command(built_places, tmp_path / "said.txt") as running:
        running.until("Ctrl-C stops everything.")
        up = local.up(built_places, quiet)
        assert running.end(signal.SIGINT) == 0
    assert processes.recorded(processes.record_in(built_places.cloud))
    assert requests.get(f"{up.sandbox_url}/health", timeout=10).ok


def test_sandbox_ends_with_an_error_when_its_cloud_is_stopped(built_places: local.Places, tmp_path: Path) -> None:
    with command(built_places, tmp_path / "said.txt") as running:
        running.until("Ctrl-C stops everything.")
        local.down(built_places)
        assert running.wait() == 1
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
        assert running.wait() == 1
        assert "SCRIPT= takes day or incident" in running.said
    assert not own_places.folder.exists()


def _command_lines() -> str:
    return subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
