"""Make the README's pictures from real runs in the local cloud: `make pictures`.

In `docs/pictures`, `page-*.png` show the sandbox's page after a short story, and `story-*.png` one incident's story on
it, light and dark; `demo.svg` and `outage.svg` show acts of `make demo`; `rehearsal.svg` shows the report of `make
rehearsal`. Everything that the command started is stopped at its end.
"""

import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from sandbox import interrupts, local, rehearsal
from sandbox.demo import acts
from sandbox.demo.stage import Stage
from sandbox.environment import leave_aws
from sandbox.errors import SandboxError
from sandbox.steps import Steps
from tools import chromium

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
# CSS pixels. GitHub shows a picture about 840 px wide, so the page is not much wider than its three columns need.
WIDTH, HEIGHT = 1200, 1010
# Sharper than 1 on screens with a high density; above it, a picture has more than 400 KB.
SCALE = 1.25
# Longest wait for anything on the page (milliseconds).
PATIENCE = 30_000
# Acts of the demo, by the picture that shows them.
ACTS = {"demo.svg": (1,), "outage.svg": (2, 3)}
ANSWERED, REFUSED = "Replica lag on pay-db-1 is 340 s", "Certificate ends in 7 days"
RINGING, OWED = "Replication has stopped", "Checkout latency is 2.4 s"

COLUMNS = 80
# Colours of the sandbox's page in the dark; dimmed text keeps a contrast of at least 4.5 to 1.
_GREY, _RED, _GREEN, _YELLOW = (126, 142, 139), (255, 180, 174), (152, 218, 180), (242, 206, 133)
_BLUE, _MAGENTA, _CYAN, _WHITE = (141, 196, 234), (214, 176, 232), (140, 216, 226), (244, 248, 247)
_NORMAL = [(27, 35, 34), _RED, _GREEN, _YELLOW, _BLUE, _MAGENTA, _CYAN, _WHITE]
THEME = TerminalTheme((18, 24, 23), (232, 238, 236), _NORMAL, [_GREY, *_NORMAL[1:]])
# The rule after a title reaches the right edge of the terminal.
_TITLE = re.compile(r"\d  \S.*─\s*$")
_FONT_FACES = re.compile(r"@font-face \{.*?\}\n\s*", re.DOTALL)
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


def main() -> int:
    """Make all pictures. Exit codes: 0 done, 1 failed, 130 Ctrl-C."""
    interrupts.install()
    leave_aws(os.environ)
    places = local.Places(ROOT, ROOT / ".local" / "pictures", ROOT / ".cache" / "sam" / "pictures")
    try:
        for make in (of_page, of_demo, of_rehearsal):
            make(places)
    except (SandboxError, Error, ValueError) as error:
        sys.stderr.write(f"pictures: {error}\n")
        return 1
    except KeyboardInterrupt:
        interrupts.settle()
        sys.stderr.write("pictures: stopped; nothing that it started is left running\n")
        return 130
    finally:
        # Not empty after a failure, whose logs stay, or beside a cloud of `make local-up`.
        local.remove_if_empty(places.folder)
        local.remove_if_empty(ROOT / ".local")
    return 0


@contextmanager
def _browser() -> Iterator[Browser]:
    found = chromium.executable(ROOT)
    if found is None:
        raise SandboxError("no Chromium is installed; `make checks` installs one into the clone")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=list(chromium.ARGUMENTS))


def of_rehearsal(_: local.Places) -> None:
    """Rehearse the sandbox's past, and write a picture of the report. Raises SandboxError."""
    said = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(said):
        rehearsal.run(Path(folder, "rehearsal.html"), opens_browser=False)
    lines = [Text(line) for line in said.getvalue().splitlines()]
    (PICTURES / "rehearsal.svg").write_text(svg(lines, "make rehearsal"))


def of_page(places: local.Places) -> None:
    """Play a story in a cloud of its own, and write light and dark pictures of the page. Raises SandboxError."""
    console = Console(stderr=True)
    steps = Steps("pictures", console)
    with _browser() as browser, local.joined(places, steps) as joined:
        with steps.step("playing the page's story"):
            _play(Stage(joined.up, joined.vendors, steps, console))
        with steps.step("taking the page's pictures"):
            for scheme in ("light", "dark"):
                page = _opened(browser, f"{joined.vendors.control_url}/", scheme)
                page.screenshot(path=PICTURES / f"page-{scheme}.png")
                page.locator("#timeline-part").screenshot(path=PICTURES / f"story-{scheme}.png")


def of_demo(places: local.Places) -> None:
    """Run the demo, and write pictures of its acts; raise SandboxError if a claim of the demo does not hold."""
    # No colours and spinners of the user's own terminal: the record keeps the styles by itself.
    console = Console(record=True, width=COLUMNS, force_terminal=False)
    acts.play(places, console)
    said = console.export_text(styles=True)
    for name, numbers in ACTS.items():
        (PICTURES / name).write_text(svg(lines_of(said, numbers), "make demo"))


def lines_of(text: str, numbers: Sequence[int]) -> list[Text]:
    """Return the lines of these acts of the demo, which follow each other; raise ValueError if one is missing."""
    lines = [Text.from_ansi(line) for line in text.splitlines()]
    begins = {int(line.plain[0]): index for index, line in enumerate(lines) if _TITLE.match(line.plain)}
    if missing := sorted(set(numbers) - begins.keys()):
        raise ValueError(f"the demo printed no act {missing[0]}")
    end = begins.get(max(numbers) + 1, len(lines))
    while not lines[end - 1].plain.strip():
        end -= 1
    return lines[begins[min(numbers)] : end]


def svg(lines: Sequence[Text], title: str) -> str:
    """Return the picture of a terminal window with these lines."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(line, soft_wrap=True)
    picture = console.export_svg(title=title, theme=THEME, unique_id="demo")
    # A picture on GitHub loads no fonts; each computer has one of these.
    return _FONT_FACES.sub("", picture).replace("Fira Code, monospace", _FONTS) + "\n"


def _play(stage: Stage) -> None:
    """Let a page be answered, a signal be refused, a phone ring, and a signal be owed while xMatters is down."""
    answered = stage.open(ANSWERED, "critical")
    rung = stage.until("Jane is rung", lambda: stage.ringing(answered, "jdoe"))
    stage.vendors.answer(rung[0]["id"], "Escalate")
    rung = stage.until("Ed is rung", lambda: stage.ringing(answered, "epearson"))
    stage.vendors.answer(rung[0]["id"], "Acknowledge", "I restart the replica")
    stage.until("BigPanda has Ed's comment", lambda: stage.vendors.comments(answered))
    stage.until("the incident is assigned to Ed", lambda: stage.incident(answered)["assignee"])
    stage.vendors.script({"kind": "status", "status": 400})
    refused = stage.open(REFUSED)
    stage.until("the relay answers the share", lambda: _is_shared(stage, refused))
    ringing = stage.open(RINGING, "critical")
    stage.until("Jane is rung", lambda: stage.ringing(ringing, "jdoe"))
    stage.vendors.listen(is_open=False)
    owed = stage.open(OWED, "critical")
    stage.until("the relay answers the share", lambda: _is_shared(stage, owed))


def _is_shared(stage: Stage, incident_id: str) -> bool:
    return any(each["status"] for each in stage.webhooks(incident_id))


def _opened(browser: Browser, url: str, scheme: str) -> Page:
    """Open the page, wait until it shows the story's end, and choose the incident that was answered."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": HEIGHT},
        device_scale_factor=SCALE,
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        timezone_id="UTC",
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.locator("#connection[data-state=live]").wait_for()
    page.locator("#owed").get_by_text(OWED).first.wait_for()
    page.locator("#dead").get_by_text(REFUSED).first.wait_for()
    page.locator(".notice[data-state=ringing]").filter(has_text=RINGING).first.wait_for()
    page.locator("#incidents").get_by_role("button", name=ANSWERED, exact=True).click()
    page.locator("#timeline").get_by_text("acknowledged xMatters page").first.wait_for()
    # The mouse stays on no control, and no control has the focus.
    page.mouse.move(0, 0)
    page.evaluate("() => { document.activeElement?.blur(); scrollTo(0, 0); }")
    return page


if __name__ == "__main__":
    sys.exit(main())
