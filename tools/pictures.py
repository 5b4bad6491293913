"""Make the README's pictures from real runs in the local cloud: `make pictures`.

In `docs/pictures`, `page-*.png` show the sandbox's page after a short story, and `story-*.png` one incident's story on
it, light and dark; `demo.svg` and `outage.svg` show acts of `make demo`; `dashboard.png` shows the template's dashboard
with sample data. Everything that the command started is stopped at its end.

Exit codes: 0 all pictures were written; 1 a story or its picture failed; 69 no Chromium is installed; 130 Ctrl-C.
"""

import argparse
import base64
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from playwright.sync_api import Browser, Error, Page, sync_playwright
from rich.console import Console

from sandbox import local
from sandbox.demo import acts
from sandbox.demo.stage import Stage
from sandbox.environment import leave_aws
from sandbox.errors import SandboxError
from sandbox.steps import Steps
from tools import chromium, dashboard_picture, page_story, png, terminal_picture

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
FAILED, NO_BROWSER, INTERRUPTED = 1, 69, 130
# CSS pixels. GitHub shows a picture about 840 px wide, so the page is not much wider than its three columns need.
WIDTH, HEIGHT = 1200, 1010
# Sharper than 1 on screens with a high density; above it, a picture has more than 300 KB.
SCALE = 1.25
# Longest wait for anything on the page (milliseconds).
PATIENCE = 30_000
# Acts of the demo, by the picture that shows them.
ACTS = {"demo.svg": (1,), "outage.svg": (2, 3)}
# The browser's own decoder: it takes a PNG file, and returns the width, the height, and four bytes for each pixel.
_PIXELS = """async (file) => {
    const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${file}`)).blob());
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
    let text = "";
    for (let at = 0; at < data.length; at += 0x8000) text += String.fromCharCode(...data.subarray(at, at + 0x8000));
    return [bitmap.width, bitmap.height, btoa(text)];
}"""


def main() -> int:
    """Make the pictures that the command line names, else all; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.pictures", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=sorted(MAKERS), help="make these pictures only")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    leave_aws(os.environ)
    places = local.Places(ROOT, ROOT / ".local" / "pictures", ROOT / ".cache" / "sam" / "pictures")
    try:
        for name in [arguments.only] if arguments.only else MAKERS:
            MAKERS[name](places)
    except MissingBrowserError as error:
        sys.stderr.write(f"pictures: {error}\n")
        return NO_BROWSER
    except (SandboxError, Error, ValueError) as error:
        sys.stderr.write(f"pictures: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("pictures: stopped; nothing that it started is left running\n")
        return INTERRUPTED
    finally:
        # Not empty after a failure, whose logs stay, or beside a cloud of `make local-up`.
        local.remove_if_empty(places.folder)
        local.remove_if_empty(ROOT / ".local")
    return 0


class MissingBrowserError(Exception):
    """No Chromium is installed."""


def of_page(places: local.Places) -> None:
    """Play a story in a cloud of its own, and write a light and a dark picture of the page.

    Raises
    ------
    MissingBrowserError
        If no Chromium is installed.
    SandboxError
        If the cloud does not start, or the story does not go on.
    """
    browser_path = chromium.executable(ROOT)
    if browser_path is None:
        raise MissingBrowserError("no Chromium is installed; `make checks` installs one into the clone")
    console = Console(stderr=True)
    steps = Steps("pictures", console)
    with local.joined(places, steps) as joined:
        with steps.step("playing the page's story"):
            story = page_story.play(Stage(joined.up, joined.vendors, steps, console))
        with steps.step("taking the page's pictures"), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path, args=list(chromium.ARGUMENTS))
            # All of them before the slow packing, so that they show the same moment.
            taken: dict[str, bytes] = {}
            for scheme in ("light", "dark"):
                page = _opened(browser, f"{joined.vendors.control_url}/", scheme)
                page_story.show(page, story)
                taken[f"page-{scheme}.png"] = page.screenshot()
                taken[f"story-{scheme}.png"] = page.locator("#timeline-part").screenshot()
            for name, screenshot in taken.items():
                (PICTURES / name).write_bytes(_packed(screenshot, browser))
            browser.close()


def of_demo(places: local.Places) -> None:
    """Run the demo, and write pictures of its acts; raise SandboxError if a claim of the demo does not hold."""
    # No colours and spinners of the user's own terminal: the record keeps the styles by itself.
    console = Console(record=True, width=terminal_picture.COLUMNS, force_terminal=False)
    acts.play(places, console)
    said = console.export_text(styles=True)
    for name, numbers in ACTS.items():
        (PICTURES / name).write_text(terminal_picture.svg(terminal_picture.acts(said, numbers), "make demo"))


def of_dashboard(_: local.Places) -> None:
    """Draw the template's dashboard with sample data. Raises MissingBrowserError if no Chromium is installed."""
    browser_path = chromium.executable(ROOT)
    if browser_path is None:
        raise MissingBrowserError("no Chromium is installed; `make checks` installs one into the clone")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(chromium.ARGUMENTS))
        page = browser.new_page(viewport={"width": dashboard_picture.WIDTH, "height": HEIGHT})
        page.set_content(dashboard_picture.html(dashboard_picture.body(ROOT / "template.yaml")))
        screenshot = page.screenshot(full_page=True)
        (PICTURES / "dashboard.png").write_bytes(_packed(screenshot, browser))
        browser.close()


MAKERS: Mapping[str, Callable[[local.Places], None]] = {"page": of_page, "demo": of_demo, "dashboard": of_dashboard}


def _opened(browser: Browser, url: str, scheme: str) -> Page:
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
    return page


def _packed(screenshot: bytes, browser: Browser) -> bytes:
    """Return a smaller PNG file with the same pixels."""
    # A page of its own: the sandbox's page allows no data URLs to be fetched.
    page = browser.new_page()
    width, height, pixels = page.evaluate(_PIXELS, base64.b64encode(screenshot).decode())
    page.close()
    return png.encode(width, height, base64.b64decode(pixels))


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
