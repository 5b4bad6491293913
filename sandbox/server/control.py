"""Control API of the sandbox: read what the vendors received, declare what they hold, script faults. Answers are JSON.

The page, the demo and the scripts call it, and so do tests that run the stand-ins as a process. `StandIn` of
`sandbox.server.client` has a method for each route, which says what the route takes and answers; the page joins the API
with routes of its own (`sandbox.page.site`). What is declared has the form that `People.declare`, `Callbacks.declare`,
`Sharing.declare`, `life.opened`, `sandbox.bigpanda.incidents` and `sandbox.http.faults` describe.

Invalid input is answered 400, an unknown id 404, and an action that an incident's state forbids 409: each with
``{"error"}``, which names the entry and the key. Requests from other sites' pages are answered 403
(`sandbox.server.listener`).
"""

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.bigpanda.api import BigPanda
from sandbox.bigpanda.life import Impossible
from sandbox.bigpanda.live import UnknownIncident
from sandbox.http.calls import Call
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, compiled, parse_json
from sandbox.server.listener import Listener, own_pages_only
from sandbox.xmatters.api import XMatters
from sandbox.xmatters.notifying import UnknownError
from sandbox.xmatters.pages import Page

_TEXT = {"type": "string", "minLength": 1}
_LISTENING = compiled({"open": {"type": "boolean"}}, {})
_AUTH = compiled({"auth": {"type": "object"}}, {})
_KEY = compiled({"api_key": _TEXT}, {})
_INCIDENTS = compiled({"environment_id": _TEXT, "incidents": {"type": "array"}}, {})
_SILENT = compiled({"silent": {"type": "boolean"}}, {})
_ELSEWHERE = compiled({"elsewhere": {"type": "boolean"}}, {})
_ANSWER = compiled(
    {"notification": {"type": "integer"}, "response": {"type": "string"}},
    {"comment": {"type": ["string", "null"], "maxLength": 4000, "default": None}},
)
_TURN = compiled({"seconds": {"type": "number"}}, {})


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
        app.router.add_get("/health", self.health)
        app.router.add_get("/signals", self.signals)
        app.router.add_put("/faults", self.script)
        app.router.add_put("/listening", self.listen)
        app.router.add_put("/functions/{function}", self.declare_trigger)
        app.router.add_get("/calls", self.calls)
        app.router.add_get("/events", self.events)
        app.router.add_put("/events/credentials", self.declare_rest)
        app.router.add_get("/phones", self.phones)
        app.router.add_put("/phones", self.declare_phones)
        app.router.add_post("/phones/answer", self.answer)
        app.router.add_put("/phones/callbacks", self.declare_callbacks)
        app.router.add_post("/clock", self.turn)
        app.router.add_put("/flow", self.set_flow)
        app.router.add_get("/bigpanda/comments", self.comments)
        app.router.add_put("/bigpanda/keys", self.let_in)
        app.router.add_put("/bigpanda/incidents", self.declare_incidents)
        app.router.add_get("/bigpanda/live", self.live)
        app.router.add_put("/bigpanda/live/channel", self.declare_channel)
        app.router.add_put("/bigpanda/live/silent", self.silence)
        app.router.add_put("/bigpanda/live/elsewhere", self.turn_away)
        app.router.add_post("/bigpanda/live/incidents", self.open_incident)
        app.router.add_post("/bigpanda/live/incidents/{incident}/{action}", self.act)
        return app

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def signals(self, _: web.Request) -> web.Response:
        return web.json_response({"signals": [each.as_json() for each in self._xmatters.triggers.signals.all()]})

    async def script(self, request: web.Request) -> web.Response:
        self._script.rewrite(await _json(request))
        return web.json_response({"faults": [fault.as_json() for fault in self._script.left()]})

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

    async def events(self, request: web.Request) -> web.Response:
        return web.json_response({"events": _of_incident(request, self._xmatters.events.all())})

    async def calls(self, _: web.Request) -> web.Response:
        found = [*self._xmatters.events.calls.all(), *self._bigpanda.calls.all()]
        return web.json_response({"calls": [call.as_json() for call in found]})

    async def declare_rest(self, request: web.Request) -> web.Response:
        self._xmatters.events.declare(_AUTH(await _json(request), "document")["auth"])
        return web.json_response({})

    async def phones(self, _: web.Request) -> web.Response:
        return web.json_response(self._xmatters.story())

    async def declare_phones(self, request: web.Request) -> web.Response:
        self._xmatters.people.declare(await _json(request))
        return await self.phones(request)

    async def answer(self, request: web.Request) -> web.Response:
        wanted = _ANSWER(await _json(request), "answer")
        answered = self._xmatters.notifier.answer(wanted["notification"], wanted["response"], wanted["comment"])
        return web.json_response(answered.as_json())

    async def declare_callbacks(self, request: web.Request) -> web.Response:
        self._xmatters.callbacks.declare(await _json(request))
        return web.json_response({})

    async def turn(self, request: web.Request) -> web.Response:
        seconds = _TURN(await _json(request), "clock")["seconds"]
        try:
            self._xmatters.clock.turn(seconds)
        except ValueError as error:
            raise InvalidError(str(error)) from None
        return web.json_response(self._xmatters.story()["clock"])

    async def set_flow(self, request: web.Request) -> web.Response:
        self._xmatters.workflow.set(await _json(request))
        return web.json_response(dict(self._xmatters.workflow.settings()))

    async def comments(self, request: web.Request) -> web.Response:
        return web.json_response({"comments": _of_incident(request, self._bigpanda.done("comment"))})

    async def let_in(self, request: web.Request) -> web.Response:
        self._bigpanda.let_in(_KEY(await _json(request), "key")["api_key"])
        return web.json_response({})

    async def declare_incidents(self, request: web.Request) -> web.Response:
        wanted = _INCIDENTS(await _json(request), "document")
        self._bigpanda.declare_incidents(wanted["environment_id"], wanted["incidents"])
        return web.json_response({})

    async def live(self, _: web.Request) -> web.Response:
        return web.json_response(self._bigpanda.story())

    async def declare_channel(self, request: web.Request) -> web.Response:
        self._bigpanda.live.sharing.declare(await _json(request))
        return await self.live(request)

    async def silence(self, request: web.Request) -> web.Response:
        self._bigpanda.live.sharing.silence(_SILENT(await _json(request), "document")["silent"])
        return await self.live(request)

    async def turn_away(self, request: web.Request) -> web.Response:
        is_elsewhere = _ELSEWHERE(await _json(request), "document")["elsewhere"]
        self._bigpanda.live.sharing.turn_away(is_elsewhere=is_elsewhere)
        return await self.live(request)

    async def open_incident(self, request: web.Request) -> web.Response:
        return web.json_response(self._bigpanda.live.open(await _json(request)), status=201)

    async def act(self, request: web.Request) -> web.Response:
        incident_id, action = request.match_info["incident"], request.match_info["action"]
        return web.json_response(self._bigpanda.live.act(incident_id, action))


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


def _of_incident(request: web.Request, found: Sequence[Call | Page]) -> list[dict[str, Any]]:
    incident_id = request.query.get("incident_id")
    return [each.as_json() for each in found if incident_id in (None, each.incident_id)]
