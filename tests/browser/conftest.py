"""Headless Chromium, and a server of the sandbox's web page.

The server has a prepared state, and records the page's calls.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from sandbox.page.site import Site
from sandbox.server.listener import Listener, own_pages_only
from tests.browser import story
from tools import chromium

ROOT = Path(__file__).resolve().parents[2]
# Longest wait for anything on the page (milliseconds).
PATIENCE = 10_000


@dataclass
class Stage:
    """Server of the sandbox's web page: it has a state that tests change, and records the page's HTTP calls.

    Attributes:
        url: Address of the page.
        state: The state that the page shows.
        calls: The page's calls: method, path and body.
        error: Error text for the next calls of the control API; None to accept them.
    """

    url: str = ""
    state: dict[str, Any] = field(default_factory=story.evening)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    error: str | None = None

    # The switches and the replay, as the site has them.
    def switches(self) -> dict[str, Any]:
        return dict(self.state["faults"])

    def replay(self, incident_id: str | None) -> str:
        self.calls.append(("POST", "/page/replay", {"incident_id": incident_id}))
        return "1 moved to the retry queue"

    async def record(self, request: web.Request) -> web.Response:
        """Record a call of the sandbox's web page to the stand-ins' control API.

        The answer is 200, or 400 if `error` is set.
        """
        self.calls.append((request.method, request.path, await request.json()))
        if self.error:
            return web.json_response({"error": self.error}, status=400)
        return web.json_response({"id": story.LAG, "title": "A new incident"})


class _Switches:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def state(self) -> dict[str, Any]:
        return dict(self._stage.state["faults"])

    def parse(self, document: object) -> dict[str, Any]:
        assert isinstance(document, dict)
        self._stage.calls.append(("PUT", "/page/faults", document))
        return document

    async def answer(self, way: str) -> None:
        self._stage.state["faults"]["xmatters"] = way

    def deny(self, services: list[str]) -> None:
        self._stage.state["faults"]["denied"] = services


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium.

    It ends with its module, since Playwright's event loop would keep later tests from running their own.
    """
    path = chromium.executable(ROOT)
    if path is None:
        pytest.skip("no Chromium: none is installed, and `make checks` got none from the npm registry")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=list(chromium.ARGUMENTS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Stage]:
    """The running server of the sandbox's web page.

    The server has a thread of its own, since Playwright's event loop runs in the main thread.
    """
    stage = Stage()
    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(stage, ready, done)), daemon=True)
    thread.start()
    assert ready.wait(PATIENCE)
    yield stage
    done.set()
    thread.join()


async def _serve(stage: Stage, ready: threading.Event, done: threading.Event) -> None:
    listener = Listener()
    site = Site(
        bigpanda=lambda: stage.state["bigpanda"],
        xmatters=lambda: stage.state["xmatters"],
        relay=lambda: stage.state["relay"],
        switches=_Switches(stage),
        replay=stage.replay,
    )

    def application() -> web.Application:
        app = web.Application(middlewares=[own_pages_only])
        site.join(app)
        app.router.add_route("*", "/{path:.*}", stage.record)
        return app

    stage.url = f"{listener.url}/"
    await listener.serve(application)
    ready.set()
    await asyncio.to_thread(done.wait)
    await listener.stop()


@pytest.fixture
def stage(served: Stage) -> Stage:
    """The server of the sandbox's web page, reset to the state of `story.evening` and without recorded calls."""
    served.state, served.calls, served.error = story.evening(), [], None
    return served


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with contextlib.closing(browser.new_context(viewport={"width": 1280, "height": 900}, timezone_id="UTC")) as made:
        made.set_default_timeout(PATIENCE)
        yield made


@pytest.fixture
def page(context: BrowserContext, stage: Stage) -> Page:
    """The sandbox's web page, open in the browser and connected to its server."""
    return opened(context, stage)


def opened(context: BrowserContext, stage: Stage) -> Page:
    """Open the sandbox's web page, and wait until the page shows the state."""
    page = context.new_page()
    page.goto(stage.url)
    page.locator("#connection[data-state=live]").wait_for()
    page.locator(".person").first.wait_for()
    return page
