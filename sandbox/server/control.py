"""Control API of the sandbox: read what the vendors received, declare what they hold, script faults. Answers are JSON.

The page, the demo and the scripts call it, and so do tests that run the stand-ins as a process. `StandIn` of
`sandbox.server.client` has a method for each route, which says what the route takes and answers; the page joins the API
with routes of its own (`sandbox.page.site`). What is declared has the form that `People.declare`, `Callbacks.declare`,
`Sharing.declare`, `life.opened`, `sandbox.bigpanda.incidents` and `sandbox.http.faults` describe.

Invalid input is answered 400, an unknown id 404, and an action that an incident's state forbids 409: each with
``{"error"}``, which names the entry and the key. Requests from other sites' pages are answered 403
(`sandbox.server.listener`).
"""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.bigpanda.api import BigPanda
from sandbox.bigpanda.life import Impossible
from sandbox.bigpanda.live import UnknownIncident
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, compiled, parse_json
from sandbox.server.listener import Listener, own_pages_only
from sandbox.xmatters.api import XMatters
from sandbox.xmatters.notifying import UnknownError

_TEXT = {"type": "string", "minLength": 1}
_LISTENING = compiled({"open": {"type": "boolean"}})
_AUTH = compiled({"auth": {"type": "object"}})
_KEY = compiled({"api_key": _TEXT})
_INCIDENTS = compiled({"environment_id": _TEXT, "incidents": {"type": "array"}})
_SILENT = compiled({"silent": {"type": "boolean"}})
_ELSEWHERE = compiled({"elsewhere": {"type": "boolean"}})
_ANSWER = compiled(
    {"notification": {"type": "integer"}, "response": {"type": "string"}},
    {"comment": {"type": ["string", "null"], "maxLength": 4000, "default": None}},
)
_TURN = compiled({"seconds": {"type": "number"}})


class Control:
    """Routes of the control API, which reads and changes the stand-ins, the faults, and xMatters' port."""

    def __init__(self, xmatters: XMatters, bigpanda: BigPanda, script: Script, vendor: Listener) -> None:
        self._xmatters = xmatters
        self._bigpanda = bigpanda
        self._script = script
        self._vendor = vendor

    def application(self, join: Callable[[web.Application], None] | None = None) -> web.Application:
        """Return the routes as a web application; `join` adds further routes."""
        app = web.Application(middlewares=[own_pages_only, _errors_in_words], client_max_size=0)
        if join:
            join(app)
        xmatters, bigpanda, sharing = self._xmatters, self._bigpanda, self._bigpanda.live.sharing
        for path, shown in (
            ("/health", lambda: {"status": "ok"}),
            ("/signals", lambda: {"signals": [each.as_json() for each in xmatters.triggers.signals.all()]}),
            ("/calls", self._calls),
            ("/phones", xmatters.story),
            ("/bigpanda/live", bigpanda.story),
        ):
            app.router.add_get(path, _showing(shown))
        for path, change, shown in (
            ("/faults", self._script.rewrite, self._faults),
            ("/events/credentials", lambda said: xmatters.events.declare(_AUTH(said, "document")["auth"]), dict),
            ("/phones", xmatters.people.declare, xmatters.story),
            ("/phones/callbacks", xmatters.callbacks.declare, dict),
            ("/flow", xmatters.workflow.set, xmatters.workflow.settings),
            ("/bigpanda/keys", lambda said: bigpanda.let_in(_KEY(said, "key")["api_key"]), dict),
            ("/bigpanda/incidents", self._declare_incidents, dict),
            ("/bigpanda/live/channel", sharing.declare, bigpanda.story),
            (
                "/bigpanda/live/silent",
                lambda said: sharing.silence(_SILENT(said, "document")["silent"]),
                bigpanda.story,
            ),
            ("/bigpanda/live/elsewhere", self._turn_away, bigpanda.story),
        ):
            app.router.add_put(path, _taking(change, shown))
        app.router.add_put("/listening", self.listen)
        app.router.add_put("/functions/{function}", self.declare_trigger)
        app.router.add_post("/phones/answer", self.answer)
        app.router.add_post("/clock", _taking(self._turn, lambda: xmatters.story()["clock"]))
        app.router.add_get("/bigpanda/comments", self.comments)
        app.router.add_post("/bigpanda/live/incidents", self.open_incident)
        app.router.add_post("/bigpanda/live/incidents/{incident}/{action}", self.act)
        return app

    async def listen(self, request: web.Request) -> web.Response:
        if _LISTENING(await _json(request), "listening")["open"]:
            await self._vendor.open()
        else:
            await self._vendor.close()
        return web.json_response({"open": self._vendor.is_open})

    async def declare_trigger(self, request: web.Request) -> web.Response:
        auth = _AUTH(await _json(request), "function")["auth"]
        trigger = self._xmatters.triggers.declare(auth, request.match_info["function"])
        return web.json_response({"function": trigger.function, "url": trigger.url})

    async def answer(self, request: web.Request) -> web.Response:
        wanted = _ANSWER(await _json(request), "answer")
        answered = self._xmatters.notifier.answer(wanted["notification"], wanted["response"], wanted["comment"])
        return web.json_response(answered.as_json())

    async def comments(self, request: web.Request) -> web.Response:
        incident_id = request.query.get("incident_id")
        found = self._bigpanda.done("comment")
        return web.json_response({"comments": [each.as_json() for each in found if incident_id == each.incident_id]})

    async def open_incident(self, request: web.Request) -> web.Response:
        return web.json_response(self._bigpanda.live.open(await _json(request)), status=201)

    async def act(self, request: web.Request) -> web.Response:
        incident_id, action = request.match_info["incident"], request.match_info["action"]
        return web.json_response(self._bigpanda.live.act(incident_id, action))

    def _calls(self) -> dict[str, Any]:
        found = [*self._xmatters.events.calls.all(), *self._bigpanda.calls.all()]
        return {"calls": [call.as_json() for call in found]}

    def _faults(self) -> dict[str, Any]:
        return {"faults": [fault.as_json() for fault in self._script.left()]}

    def _declare_incidents(self, document: object) -> None:
        wanted = _INCIDENTS(document, "document")
        self._bigpanda.declare_incidents(wanted["environment_id"], wanted["incidents"])

    def _turn_away(self, document: object) -> None:
        self._bigpanda.live.sharing.turn_away(is_elsewhere=_ELSEWHERE(document, "document")["elsewhere"])

    def _turn(self, document: object) -> None:
        try:
            self._xmatters.clock.turn(_TURN(document, "clock")["seconds"])
        except ValueError as error:
            raise InvalidError(str(error)) from None


def _showing(shown: Callable[[], object]) -> Handler:
    """Return the handler of a route that shows something."""

    async def handle(_: web.Request) -> web.Response:
        return web.json_response(shown())

    return handle


def _taking(change: Callable[[Any], object], shown: Callable[[], object]) -> Handler:
    """Return the handler of a route that takes a document, and then shows something."""

    async def handle(request: web.Request) -> web.Response:
        change(await _json(request))
        return web.json_response(shown())

    return handle


@web.middleware
async def _errors_in_words(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (UnknownError, UnknownIncident) as error:
        return web.json_response({"error": str(error)}, status=404)
    except Impossible as error:
        return web.json_response({"error": str(error)}, status=409)
    except InvalidError as error:
        return web.json_response({"error": str(error)}, status=400)


async def _json(request: web.Request) -> Any:
    return parse_json(await request.read())
