"""Benchmark of the sandbox: how soon `make sandbox` is ready, and its page interactive and up to date.

The page runs in a real headless Chromium. Waits are measured by the clock of this machine, in the browser and outside.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from bench.figures import Aim, Figure, Section, measured
from bench.functions import ROOT
from sandbox import local, team
from sandbox.errors import SandboxError
from sandbox.server import background
from sandbox.server.client import StandIn
from tools import chromium

READY_SECONDS, INTERACTIVE_SECONDS, VISIBLE_SECONDS = 15.0, 1.0, 0.5
READY = "Ctrl-C stops everything."
PATIENCE_SECONDS = 300.0
# The time at which a text first stands in the page, in milliseconds since the epoch.
_SEEN = """text => new Promise(resolve => {
    const look = () => document.querySelector("#incidents").textContent.includes(text) && (resolve(Date.now()), true);
    if (!look()) {
        const watching = new MutationObserver(() => look() && watching.disconnect());
        watching.observe(document.querySelector("#incidents"), { childList: true, subtree: true, characterData: true });
    }
})"""


def section(folder: Path, rounds: int) -> Section:
    """Measure, and return the table. Raises SandboxError if a part does not start."""
    first, later = _ready(folder / "ready"), _ready(folder / "ready")
    rows = [
        measured("make sandbox ready, the first time", "s", first),
        measured("  with functions that are built", "s", later, aim=Aim(READY_SECONDS)),
    ]
    browser = chromium.executable(ROOT)
    if browser is None:
        return Section("sandbox", "The sandbox", rows, ("No Chromium is installed: the page was not measured.",))
    return Section("sandbox", "The sandbox", [*rows, *_of_page(folder / "page", browser, rounds)], (_note(rounds),))


def _ready(folder: Path) -> float:
    """Return how long `make sandbox` takes to name its page (seconds); it is stopped afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    output, places = folder / "said.txt", local.Places(ROOT, folder / "cloud", folder / "build")
    began = time.monotonic()
    with output.open("w") as written:
        command = [sys.executable, "-m", "sandbox", "--state", str(places.folder), "sandbox"]
        child = subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=written, stderr=subprocess.STDOUT)
    try:
        while READY not in output.read_text():
            if child.poll() is not None or time.monotonic() > began + PATIENCE_SECONDS:
                raise SandboxError(f"the sandbox did not start; its output is in {output}")
            time.sleep(0.02)
        return time.monotonic() - began
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(PATIENCE_SECONDS)


def _of_page(folder: Path, browser: str | Path, rounds: int) -> Iterator[Figure]:
    with _page(folder, browser) as (page, standin):
        opened = [_interactive(page, standin.control_url) for _ in range(rounds)]
        seen = []
        for number in range(rounds):
            title = f"incident {number} of the benchmark"
            page.evaluate(f"window.seen = ({_SEEN})({title!r}); 0")
            began = 1000 * time.time()
            standin.open_incident(title=title)
            seen.append((float(page.evaluate("window.seen")) - began) / 1000)
    yield measured("page interactive", "s", *opened, aim=Aim(INTERACTIVE_SECONDS))
    yield measured("new incident visible on the page", "s", *seen, aim=Aim(VISIBLE_SECONDS))
    yield measured("  the longest", "s", max(seen), aim=Aim(VISIBLE_SECONDS))


@contextmanager
def _page(folder: Path, browser: str | Path) -> Iterator[tuple[Page, StandIn]]:
    standin = background.start(folder, ROOT)
    try:
        standin.have_phones(team.PEOPLE, team.GROUPS)
        with sync_playwright() as playwright:
            running = playwright.chromium.launch(executable_path=browser, args=list(chromium.ARGUMENTS))
            yield running.new_page(), standin
            running.close()
    finally:
        background.stop(folder)


def _interactive(page: Page, url: str) -> float:
    """Return the seconds until a newly loaded page shows xMatters' people, and the button "Open" can be clicked."""
    page.goto("about:blank")
    began = time.monotonic()
    page.goto(url, wait_until="commit")
    page.locator(".person").first.wait_for()
    page.get_by_role("button", name="Open", exact=True).click(trial=True)
    return time.monotonic() - began


def _note(rounds: int) -> str:
    return (
        f"{rounds} loads of the page in one headless Chromium without the relay, and {rounds} incidents opened over "
        "the control API. `make sandbox` starts the local cloud, both vendors and the relay."
    )
