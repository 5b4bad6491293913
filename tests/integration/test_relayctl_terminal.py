"""relayctl in a real terminal of 80 columns: prompts, echo, and the question before a drop."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
URL = "https://acme.xmatters.com/api/integration/1/functions/f1/triggers?apiKey=canary-url&recipients=Ops"


class Terminal:
    """A terminal of 80 columns that runs relayctl."""

    # Ends a test that hangs; nothing takes so long, even on a busy machine.
    STUCK_SECONDS = 120
    # Python misses a Ctrl-C that comes between the output of a prompt and its read, so a person presses it again.
    AGAIN_SECONDS = 5
    CTRL_C = "\x03"

    def __init__(self, child: subprocess.Popen[bytes], device: int) -> None:
        self._child = child
        self._device = device
        self._deadline = time.monotonic() + self.STUCK_SECONDS
        self._typed = ""
        self.shown = ""

    def until(self, text: str) -> None:
        """Wait until the terminal shows the text."""
        while text not in self.shown:
            assert self._read(), f"it ended without {text!r}:\n{self.shown}"

    def type(self, text: str) -> None:
        """Type the text."""
        self._typed = text
        os.write(self._device, text.encode())

    def end(self) -> int:
        """Wait for the end of relayctl; return the exit code."""
        while self._read():
            pass
        return self._child.wait(self.STUCK_SECONDS)

    def _read(self) -> bool:
        """Wait for more output; return False at the end."""
        while not select.select([self._device], [], [], self.AGAIN_SECONDS)[0]:
            assert time.monotonic() < self._deadline, self.shown
            if self._typed.endswith(self.CTRL_C):
                self.type(self.CTRL_C)
        try:
            data = os.read(self._device, 4096)
        except OSError:
            return False  # Linux raises it once the process has closed the terminal
        self.shown += data.decode()
        return bool(data)


@contextmanager
def relayctl(*arguments: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    environment = {
        "PATH": os.defpath,
        "TERM": "xterm",
        "COLUMNS": "80",
        "LANG": "C.UTF-8",
        "PYTHONPATH": "layers/relay",
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.relayctl_process", *arguments],
        cwd=ROOT,
        env=environment,
        # Only the controlling terminal of the process turns Ctrl-C into a signal.
        preexec_fn=partial(os.login_tty, theirs),  # noqa: PLW1509
    )
    os.close(theirs)
    try:
        yield Terminal(child, ours)
    finally:
        child.kill()
        child.wait()
        os.close(ours)


def test_missing_credentials_are_prompted_for_without_echo() -> None:
    with relayctl("channel", "set", "payments", "--auth", "basic") as terminal:
        for question, answer in (
            ("trigger url: ", URL),
            ("username: ", "relay"),
            ("password: ", "canary-password"),
        ):
            terminal.until(question)
            terminal.type(f"{answer}\n")
        terminal.until("kept ")
        assert terminal.end() == 0
    before, _, kept = terminal.shown.partition("kept ")
    assert "relay" in before
    assert "canary" not in before
    assert URL in kept
    assert '"password": "canary-password"' in kept


def test_ctrl_c_at_a_prompt_stores_nothing() -> None:
    with relayctl("channel", "set", "payments") as terminal:
        terminal.until("trigger url: ")
        terminal.type("half of it\x03")
        assert terminal.end() == 130
    assert "Aborted!" in terminal.shown
    assert "kept nothing" in terminal.shown
    assert "half of it" not in terminal.shown


def test_drop_shows_what_would_go_and_names_owed_criticals_before_it_asks() -> None:
    with relayctl("dlq", "drop", "--all", "--reason", "wrong trigger URL") as terminal:
        terminal.until("still owed? [y/N]: ")
        asked = terminal.shown
        terminal.type("y\n")
        assert terminal.end() == 0
    assert "  by channel  noc 3" in asked
    assert all(f"  critical    noc {n:024x}  0s" in asked for n in range(3))
    assert "Delete 3 messages for good, with 3 criticals that are still owed?" in " ".join(asked.split())
    assert "3 dropped" in terminal.shown
    assert '"reason": "wrong trigger URL"' in terminal.shown
    assert all(len(line) <= 80 for line in lines(terminal) if not line.startswith('{"audit"'))


def lines(terminal: Terminal) -> list[str]:
    """Return the output line by line without colours; each version of an overwritten status is a line."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.shown))


def test_output_of_a_stored_change_is_whole_in_an_encoding_without_its_characters(
    tmp_path: Path,
) -> None:
    (tmp_path / "url").touch(mode=0o600)
    (tmp_path / "url").write_text(URL)
    rotate = ("channel", "rotate", "payments", "trigger", "--trigger-url", f"@{tmp_path}/url")
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.relayctl_process", *rotate],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": "layers/relay", "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"xmatters.trigger_url: " in done.stdout
    assert " → https://".encode() in done.stdout
    assert URL.encode() in done.stdout.partition(b"kept ")[2]
