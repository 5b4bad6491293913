"""A running `make sandbox`: a process, and what it printed so far."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox import local
from tests.waiting import until

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

    def stop(self) -> None:
        """Stop the process with SIGINT, as Ctrl-C does, if the process still runs."""
        if self._child.poll() is None:
            self.end(signal.SIGINT)


@contextmanager
def command(places: local.Places, output: Path, *options: str) -> Iterator[Command]:
    """Run the command for a `with` block; its output goes to the file `output`."""
    running = Command(places, output, *options)
    try:
        yield running
    finally:
        running.stop()


def until_gone(group: int) -> None:
    until(lambda: group not in _groups())


def _groups() -> set[int]:
    shown = subprocess.run(["ps", "-A", "-o", "stat=,pgid="], capture_output=True, text=True, check=True).stdout
    # A killed worker stays listed as a zombie (Z) until the machine's first process reaps it.
    return {int(line.split()[1]) for line in shown.splitlines() if not line.startswith("Z")}
