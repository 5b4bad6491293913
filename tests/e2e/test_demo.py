"""The demo, as a person runs it: to its end, to a failure, and to Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from sandbox import local
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


def test_demo_keeps_every_promise_within_80_columns_and_leaves_no_process(built_places: local.Places) -> None:
    state = built_places.folder
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
    # A long claim goes on in the next line.
    told = " ".join(done.stdout.split())
    for promise in (
        "Jane, first of database-oncall, is rung",
        "Ed is rung at once",
        "his answer is a comment in BigPanda",
        "and the incident is assigned to him",
        "is over, and the relay ended its page",
        "nothing is lost",
        "nothing is stale",
        "critical first",
        "the retry queue is empty",
        "the dead-letter queue is empty",
        "no phone rang for it",
        "people are notified by other means: the fallback topic",
        "a phone is called another way, not by xMatters",
        "and it gets a text, if nobody takes the call",
        "the next run of the sweeper does not repeat it",
    ):
        assert promise in told
    assert "✗" not in done.stdout
    assert [each.name for each in state.iterdir()] == ["build"]
    assert str(state) not in command_lines()


def test_ctrl_c_stops_all_processes_of_the_demo_in_a_terminal_that_is_not_utf_8(built_places: local.Places) -> None:
    command = [sys.executable, "-X", "utf8=0", "-m", "sandbox", "--state", str(built_places.folder), "demo"]
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    with subprocess.Popen(
        command, cwd=ROOT, env=ascii_only, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        until((built_places.cloud / "process.json").exists)
        child.send_signal(signal.SIGINT)
        said, _ = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "nothing that it started is left running" in said
    assert "demo: starting the cloud \\u2026" in said
    assert str(built_places.folder) not in command_lines()
    assert not list(built_places.folder.glob("*.log"))


def command_lines() -> str:
    return subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
