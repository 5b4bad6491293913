"""A run of `make sandbox`: the local cloud and its web page until Ctrl-C, and a demo script if one is named."""

import time
import webbrowser

from rich.console import Console
from rich.text import Text

from sandbox import interrupts, local, processes
from sandbox.demo.script import SCRIPTS, Player
from sandbox.errors import SandboxError
from sandbox.steps import Steps

POLL_SECONDS = 0.5


def run(places: local.Places, console: Console, *, script: str = "", opens_browser: bool = False) -> None:
    """Start the local cloud, print the URL of the sandbox's web page, play `script`, and wait until Ctrl-C.

    Raises SandboxError if there is no such script, or if the local cloud does not start or ends by itself. Raises
    KeyboardInterrupt on Ctrl-C while the cloud is being started.
    """
    if script and script not in SCRIPTS:
        raise SandboxError(f"there is no script {script!r}; SCRIPT= takes {' or '.join(SCRIPTS)}")
    with local.joined(places, Steps("sandbox", console)) as joined:
        try:
            _show(console, joined)
            if opens_browser:
                webbrowser.open(f"{joined.vendors.control_url}/")
            if script:
                Player(joined.vendors, lambda line: console.print(Text(line))).play(SCRIPTS[script])
                console.print("The script is over. Go on by clicks, or press Ctrl-C to stop.")
            while processes.is_running(joined.vendors.process):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            interrupts.settle()
            end = "The local cloud stays up; make local-down stops it." if joined.stays else ""
            console.print(Text(f"\nStopped by Ctrl-C. {end}".rstrip()))
            return
        raise SandboxError("the local cloud was stopped by another command, or its stand-ins failed")


def _show(console: Console, joined: local.Joined) -> None:
    lines = [
        f"The page:  {joined.vendors.control_url}/",
        "Open an incident on it, answer the phones, switch faults on.",
        "Ctrl-C stops this command; the local cloud was up before, and stays up."
        if joined.stays
        else "Ctrl-C stops everything.",
        "For relayctl and aws in another terminal:",
        *(f"export {name}={value}" for name, value in local.credentials(joined.up).items()),
    ]
    console.print()
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    console.print()
