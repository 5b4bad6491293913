"""Routes of the page: its files, its state, its events, its switches, and the replay of dead letters.

======================  ===========================================================================================
GET /                   the page; its files are under ``/page/``
GET /page/state         ``{"bigpanda", "relay", "xmatters", "faults"}``: the vendors' stories, without the time of
                        xMatters' clock, since it changes always; `relay_view`; `switches`
GET /page/events        the same as server-sent events: at once, and whenever it changed
PUT /page/faults        ``{"xmatters"?: a name of `switches.ANSWERS`, "denied"?: [services]}``; answers all switches
POST /page/replay       ``{"incident_id"?}``: `relayctl dlq replay` of an incident, or of all; answers ``{"output"}``
======================  ===========================================================================================

Every other button of the page calls the control API.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from sandbox.cloud import relayctl
from sandbox.cloud.deployment import Find
from sandbox.errors import SandboxError
from sandbox.http.schema import compiled, parse_json
from sandbox.page.relay_view import RelayView
from sandbox.page.switches import Switches
from sandbox.server.in_process import Box, Joining

STATIC = Path(__file__).parent / "static"
FILES: Mapping[str, tuple[str, str]] = {
    "/": ("index.html", "text/html"),
    "/page/page.css": ("page.css", "text/css"),
    "/page/page.js": ("page.js", "text/javascript"),
    "/page/parts.js": ("parts.js", "text/javascript"),
    "/page/dom.js": ("dom.js", "text/javascript"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# The relay is read at most this often, and only while a page is connected.
POLL_SECONDS = 0.3
# The vendors' stories are compared at most this often, for all connected pages together.
PUSH_SECONDS = 0.15
KEEP_ALIVE_SECONDS = 15.0
_REPLAY = compiled({}, {"incident_id": {"type": "string", "minLength": 1, "maxLength": 1024}})

# Returns a part of the page's state.
type Read = Callable[[], Mapping[str, Any]]


class SwitchBoard(Protocol):
    """Interface of the switches; `sandbox.page.switches.Switches` implements it."""

    def state(self) -> dict[str, Any]: ...

    def parse(self, document: object) -> dict[str, Any]: ...

    async def answer(self, way: str) -> None: ...

    def deny(self, services: list[str]) -> None: ...


class Site:
    """The page's routes and state.

    `bigpanda` and `xmatters` return the vendors' stories, `relay` reads the relay's view, and `replay` replays the dead
    letters of an incident (None: of all incidents) and returns relayctl's output.
    """

    def __init__(
        self,
        *,
        bigpanda: Read,
        xmatters: Read,
        relay: Read,
        switches: SwitchBoard,
        replay: Callable[[str | None], str],
    ) -> None:
        self._bigpanda = bigpanda
        self._xmatters = xmatters
        self._relay = _Cached(relay, POLL_SECONDS)
        self._switches = switches
        self._replay = replay
        self._pages = 0
        self._polling: asyncio.Task[None] | None = None
        self._text, self._built_at = "", 0.0

    def join(self, app: web.Application) -> None:
        """Add the page's routes to an application."""
        for path, (name, kind) in FILES.items():
            app.router.add_get(path, _file(STATIC / name, kind))
        app.router.add_get("/page/state", self.state)
        app.router.add_get("/page/events", self.events)
        app.router.add_put("/page/faults", self.switch)
        app.router.add_post("/page/replay", self.replay)

    async def state(self, _: web.Request) -> web.Response:
        await self._relay.refresh()
        return web.Response(text=self._built(), content_type="application/json", headers=HEADERS)

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        response.content_type = "text/event-stream"
        await response.prepare(request)
        async with self._watched():
            shown, spoke_at = "", 0.0
            with contextlib.suppress(ConnectionError):
                # A closed page is noticed here, not only by the next write, so that polling ends with it.
                while request.transport and not request.transport.is_closing():
                    text, now = self._built(), time.monotonic()
                    if text != shown:
                        await response.write(f"data: {text}\n\n".encode())
                        shown, spoke_at = text, now
                    elif now - spoke_at > KEEP_ALIVE_SECONDS:
                        await response.write(b": alive\n\n")
                        spoke_at = now
                    await asyncio.sleep(PUSH_SECONDS)
        return response

    async def switch(self, request: web.Request) -> web.Response:
        wanted = self._switches.parse(parse_json(await request.read()))
        if "xmatters" in wanted:
            await self._switches.answer(wanted["xmatters"])
        if "denied" in wanted:
            try:
                await asyncio.to_thread(self._switches.deny, wanted["denied"])
            except SandboxError as error:
                return _failed(error)
        return web.json_response(self._switches.state(), headers=HEADERS)

    async def replay(self, request: web.Request) -> web.Response:
        wanted = _REPLAY(parse_json(await request.read()), "replay")
        try:
            output = await asyncio.to_thread(self._replay, wanted.get("incident_id"))
        except SandboxError as error:
            return _failed(error)
        return web.json_response({"output": output}, headers=HEADERS)

    def _built(self) -> str:
        """Return the state of the sandbox's web page as JSON; it is built anew after PUSH_SECONDS at the earliest.

        More connected browsers cause no more work.
        """
        if not self._text or time.monotonic() - self._built_at >= PUSH_SECONDS:
            state = {
                "bigpanda": self._bigpanda(),
                "relay": self._relay.value,
                "xmatters": _without_time(self._xmatters()),
                "faults": self._switches.state(),
            }
            self._text, self._built_at = json.dumps(state, default=str), time.monotonic()
        return self._text

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Keep reading the relay's state during the `with` block, while a browser shows the sandbox's web page."""
        self._pages += 1
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll())
        try:
            yield
        finally:
            self._pages -= 1
            if not self._pages:
                self._polling.cancel()

    async def _poll(self) -> None:
        while True:
            await self._relay.refresh()
            await asyncio.sleep(POLL_SECONDS)


class _Cached:
    """A slow read in a thread of its own, made at most every `seconds`, and by one caller at a time."""

    def __init__(self, read: Read, seconds: float) -> None:
        self.value: Mapping[str, Any] = {}
        self._read = read
        self._seconds = seconds
        self._lock: asyncio.Lock | None = None
        self._read_at = float("-inf")

    async def refresh(self) -> None:
        """Read the value anew, and keep it, unless the last read ended less than `seconds` ago."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if time.monotonic() - self._read_at >= self._seconds:
                self.value = await asyncio.to_thread(self._read)
                self._read_at = time.monotonic()


def joining(find: Find) -> Joining:
    """Return the function that adds the page to a sandbox's control API; `find` returns the deployment to show."""

    def joined(box: Box) -> Callable[[web.Application], None]:
        site = Site(
            bigpanda=box.bigpanda.story,
            xmatters=box.xmatters.story,
            relay=RelayView(find).read,
            switches=Switches(box.faults, box.vendor, find),
            replay=lambda incident_id: _replayed(find, incident_id),
        )
        return site.join

    return joined


def _without_time(story: Mapping[str, Any]) -> Mapping[str, Any]:
    clock = story.get("clock") or {}
    return {**story, "clock": {name: value for name, value in clock.items() if name != "now"}}


def _replayed(find: Find, incident_id: str | None) -> str:
    deployment = find()
    if deployment is None:
        raise SandboxError("there is no local cloud, so there are no dead letters")
    of_one = ["--incident", incident_id] if incident_id else []
    # The page shows the outcomes by itself.
    return relayctl.run(deployment.aws_endpoint_url, ["dlq", "replay", "--yes", "--no-wait", *of_one])


def _failed(error: SandboxError) -> web.Response:
    return web.json_response({"error": str(error)}, status=502, headers=HEADERS)


def _file(path: Path, kind: str) -> Callable[[web.Request], Any]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=path.read_bytes(), content_type=kind, charset="utf-8", headers=HEADERS)

    return answer
