"""Control API of the sandbox: read what the vendors received, declare what they hold, script faults. Answers are JSON.

===========================  =======================================================================
GET /health                  ``{"status": "ok", "xmatters_url"}``
GET /signals                 ``{"signals": […]}``: every request to a trigger, with ``accepted`` and ``fault``;
                             filters: ``?incident_id=``, ``?accepted=true|false``, ``?since_index=`` (inclusive)
DELETE /signals              forget all signals
GET, PUT, DELETE /faults     ``{"faults": […]}`` still to be met; replace the script by a list; clear the script
GET, PUT /listening          ``{"open": true|false}``: state of xMatters' port
GET /functions               ``{"functions": […]}``: the triggers, secrets masked
PUT /functions/<uuid>        ``{"auth": {…}, "token_seconds"?}``: make or replace a trigger; answers its ``url``
GET, DELETE /tokens          ``{"requests": […]}`` for OAuth tokens; revoke all tokens
GET, DELETE /events          ``{"events": […]}`` made by signals, with those that the REST API does not find yet;
                             filter: ``?incident_id=``; forget events and their calls
GET /events/calls            ``{"calls": […]}``: every request to the events API, by ``route``
GET, PUT /events/making      ``{"per_signal"?: 1, "delay_seconds"?: 0}``: number of events that each later signal makes,
                             and seconds until the REST API finds them
PUT /events/credentials      ``{"auth": {…}, "token_seconds"?}``: credentials of the REST API; answers them masked
GET, PUT /directory          ``{"people": […], "groups": […]}`` of xMatters, each ``{"targetName", "status"?}``; a group
                             may have ``"onCall": [names]``
GET /directory/calls         ``{"calls": […]}``: every request for people, groups and on-call, by ``route``
GET /bigpanda                ``{"bigpanda_url"}``
GET /bigpanda/comments       ``{"comments": […]}`` in BigPanda; filter: ``?incident_id=``
GET /bigpanda/assignments    ``{"assignments": […]}`` in BigPanda; filter: ``?incident_id=``
GET /bigpanda/releases       ``{"releases": […]}``: calls that ended a callback lock; filter: ``?incident_id=``
GET, DELETE /bigpanda/calls  ``{"calls": […]}``: every request to BigPanda, by ``route``; filter: ``?incident_id=``;
                             forget all calls, comments and assignments included
PUT /bigpanda/keys           ``{"api_key"}``: add a key that the API takes
PUT /bigpanda/apps           ``{"app_key"}``: add an app key that the callback service takes
GET, PUT /bigpanda/users     ``{"users": […]}``, each ``{"id", "userName", "emails"?: [{"value"}]}``
GET /bigpanda/incidents      ``{"incidents": {environment: […]}}``
PUT /bigpanda/incidents      ``{"environment_id", "incidents": […]}``: replace the incidents of an environment, each
                             ``{"id", "status", "active", "changed_at", "folders"}`` and optional members of API v2
/bigpanda/live…              live incidents and their sharing: `sandbox.server.control_bigpanda`
===========================  =======================================================================

Invalid input is answered 400 with ``{"error"}``, which names the entry and the key. Requests from other sites'
pages are answered 403 (`sandbox.server.guard`). The page of the sandbox joins this API (`sandbox.page.site`).
The routes of phones, clock and flow are in `sandbox.server.control_phones`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.bigpanda.api import BigPanda
from sandbox.http.calls import Call
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, compiled, parse_json
from sandbox.server.control_bigpanda import LiveControl
from sandbox.server.control_phones import PhonesControl
from sandbox.server.guard import own_pages_only
from sandbox.server.listener import Listener
from sandbox.xmatters.api import XMatters
from sandbox.xmatters.pages import Page
from sandbox.xmatters.signals import Signal
from sandbox.xmatters.triggers import Trigger

_LISTENING = compiled({"open": {"type": "boolean"}}, {})
_AUTH = compiled({"auth": {"type": "object"}}, {"token_seconds": {"type": "integer", "default": 900}})
_MAKING = compiled({}, {"per_signal": {}, "delay_seconds": {}})

_DIRECTORY = compiled({}, {"people": {"default": []}, "groups": {"default": []}})
_KEY = compiled({"api_key": {"type": "string", "minLength": 1}}, {})
_APP = compiled({"app_key": {"type": "string", "minLength": 1}}, {})
_USERS = compiled({"users": {"type": "array"}}, {})
_INCIDENTS = compiled({"environment_id": {"type": "string", "minLength": 1}, "incidents": {"type": "array"}}, {})


class Control:
    """Routes of the control API, which reads and changes the stand-ins, the faults, and xMatters' port."""

    def __init__(self, xmatters: XMatters, bigpanda: BigPanda, script: Script, vendor: Listener) -> None:
        self._xmatters = xmatters
        self._bigpanda = bigpanda
        self._script = script
        self._vendor = vendor

    def application(self, join: Callable[[web.Application], None] | None = None) -> web.Application:
        """Return the routes as a web application; `join` adds further routes."""
        app = web.Application(middlewares=[own_pages_only, _invalid_is_400], client_max_size=0)
        if join:
            join(app)
        app.router.add_get("/health", self.health)
        app.router.add_get("/signals", self.signals)
        app.router.add_delete("/signals", self.forget_signals)
        app.router.add_get("/faults", self.faults)
        app.router.add_put("/faults", self.script)
        app.router.add_delete("/faults", self.forget_faults)
        app.router.add_get("/listening", self.listening)
        app.router.add_put("/listening", self.listen)
        app.router.add_get("/functions", self.functions)
        app.router.add_put("/functions/{function}", self.declare)
        app.router.add_get("/tokens", self.token_requests)
        app.router.add_delete("/tokens", self.revoke)
        app.router.add_get("/events", self.events)
        app.router.add_delete("/events", self.forget_events)
        app.router.add_get("/events/calls", self.event_calls)
        app.router.add_get("/events/making", self.making)
        app.router.add_put("/events/making", self.make)
        app.router.add_put("/events/credentials", self.declare_rest)
        app.router.add_get("/directory", self.directory)
        app.router.add_put("/directory", self.declare_directory)
        app.router.add_get("/directory/calls", self.directory_calls)
        PhonesControl(self._xmatters).add_to(app)
        app.router.add_get("/bigpanda", self.bigpanda)
        app.router.add_get("/bigpanda/comments", self.comments)
        app.router.add_get("/bigpanda/assignments", self.assignments)
        app.router.add_get("/bigpanda/releases", self.releases)
        app.router.add_get("/bigpanda/calls", self.calls)
        app.router.add_delete("/bigpanda/calls", self.forget_calls)
        app.router.add_put("/bigpanda/keys", self.let_in)
        app.router.add_put("/bigpanda/apps", self.let_app_in)
        app.router.add_get("/bigpanda/users", self.users)
        app.router.add_put("/bigpanda/users", self.declare_users)
        app.router.add_get("/bigpanda/incidents", self.incidents)
        app.router.add_put("/bigpanda/incidents", self.declare_incidents)
        LiveControl(self._bigpanda).add_to(app)
        return app

    async def health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "xmatters_url": self._vendor.url})

    async def signals(self, request: web.Request) -> web.Response:
        wanted = _filter(request.query.get("incident_id"), _flag(request, "accepted"), _index(request))
        found = [signal.as_json() for signal in self._xmatters.triggers.signals.all() if wanted(signal)]
        return web.json_response({"signals": found})

    async def forget_signals(self, request: web.Request) -> web.Response:
        self._xmatters.triggers.signals.clear()
        return await self.signals(request)

    async def faults(self, _: web.Request) -> web.Response:
        return web.json_response({"faults": [fault.as_json() for fault in self._script.left()]})

    async def script(self, request: web.Request) -> web.Response:
        self._script.rewrite(await _json(request))
        return await self.faults(request)

    async def forget_faults(self, request: web.Request) -> web.Response:
        self._script.rewrite([])
        return await self.faults(request)

    async def listening(self, _: web.Request) -> web.Response:
        return web.json_response({"open": self._vendor.is_open})

    async def listen(self, request: web.Request) -> web.Response:
        if _LISTENING(await _json(request), "listening")["open"]:
            await self._vendor.open()
        else:
            await self._vendor.close()
        return await self.listening(request)

    async def functions(self, _: web.Request) -> web.Response:
        return web.json_response({"functions": [_masked(each) for each in self._xmatters.triggers.all()]})

    async def declare(self, request: web.Request) -> web.Response:
        wanted = _AUTH(await _json(request), "function")
        trigger = self._xmatters.triggers.declare(
            wanted["auth"], request.match_info["function"], wanted["token_seconds"]
        )
        return web.json_response(_masked(trigger) | {"url": trigger.url})

    async def token_requests(self, _: web.Request) -> web.Response:
        return web.json_response({"requests": [each.as_json() for each in self._xmatters.token_requests]})

    async def revoke(self, request: web.Request) -> web.Response:
        self._xmatters.tokens.revoke()
        return await self.token_requests(request)

    async def events(self, request: web.Request) -> web.Response:
        return web.json_response({"events": _of_incident(request, self._xmatters.events.all())})

    async def forget_events(self, request: web.Request) -> web.Response:
        self._xmatters.events.clear()
        return await self.events(request)

    async def event_calls(self, _: web.Request) -> web.Response:
        return web.json_response({"calls": [call.as_json() for call in self._xmatters.events.calls.all()]})

    async def making(self, _: web.Request) -> web.Response:
        return web.json_response(self._xmatters.events.making())

    async def make(self, request: web.Request) -> web.Response:
        self._xmatters.events.make(**_MAKING(await _json(request), "making"))
        return await self.making(request)

    async def declare_rest(self, request: web.Request) -> web.Response:
        wanted = _AUTH(await _json(request), "document")
        accepts = self._xmatters.events.declare(wanted["auth"], wanted["token_seconds"])
        return web.json_response({"auth": accepts.masked(), "token_seconds": wanted["token_seconds"]})

    async def directory(self, _: web.Request) -> web.Response:
        return web.json_response(self._xmatters.directory.document())

    async def declare_directory(self, request: web.Request) -> web.Response:
        self._xmatters.directory.declare(**_DIRECTORY(await _json(request), "directory"))
        return await self.directory(request)

    async def directory_calls(self, _: web.Request) -> web.Response:
        return web.json_response({"calls": [each.as_json() for each in self._xmatters.directory.calls.all()]})

    async def bigpanda(self, _: web.Request) -> web.Response:
        return web.json_response({"bigpanda_url": self._bigpanda.url})

    async def comments(self, request: web.Request) -> web.Response:
        return web.json_response({"comments": _of_incident(request, self._bigpanda.comments())})

    async def assignments(self, request: web.Request) -> web.Response:
        return web.json_response({"assignments": _of_incident(request, self._bigpanda.assignments())})

    async def releases(self, request: web.Request) -> web.Response:
        return web.json_response({"releases": _of_incident(request, self._bigpanda.releases())})

    async def calls(self, request: web.Request) -> web.Response:
        return web.json_response({"calls": _of_incident(request, self._bigpanda.calls.all())})

    async def forget_calls(self, request: web.Request) -> web.Response:
        self._bigpanda.clear()
        return await self.calls(request)

    async def let_in(self, request: web.Request) -> web.Response:
        self._bigpanda.let_in(_KEY(await _json(request), "key")["api_key"])
        return await self.bigpanda(request)

    async def let_app_in(self, request: web.Request) -> web.Response:
        self._bigpanda.let_app_in(_APP(await _json(request), "app")["app_key"])
        return await self.bigpanda(request)

    async def users(self, _: web.Request) -> web.Response:
        return web.json_response({"users": list(self._bigpanda.users())})

    async def declare_users(self, request: web.Request) -> web.Response:
        self._bigpanda.declare_users(_USERS(await _json(request), "document")["users"])
        return await self.users(request)

    async def incidents(self, _: web.Request) -> web.Response:
        return web.json_response({"incidents": dict(self._bigpanda.incidents())})

    async def declare_incidents(self, request: web.Request) -> web.Response:
        wanted = _INCIDENTS(await _json(request), "document")
        self._bigpanda.declare_incidents(wanted["environment_id"], wanted["incidents"])
        return await self.incidents(request)


@web.middleware
async def _invalid_is_400(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except InvalidError as error:
        return web.json_response({"error": str(error)}, status=400)


async def _json(request: web.Request) -> Any:
    return parse_json(await request.read())


def _masked(trigger: Trigger) -> dict[str, Any]:
    return {
        "function": trigger.function,
        "url": trigger.url.partition("?")[0],
        "auth": trigger.auth.masked(),
        "token_seconds": trigger.token_seconds,
    }


def _of_incident(request: web.Request, found: Sequence[Call | Page]) -> list[dict[str, Any]]:
    incident_id = request.query.get("incident_id")
    return [each.as_json() for each in found if incident_id in (None, each.incident_id)]


def _filter(incident_id: str | None, accepted: bool | None, since: int) -> Callable[[Signal], bool]:
    def wanted(signal: Signal) -> bool:
        return (
            signal.index >= since and accepted in (None, signal.accepted) and incident_id in (None, signal.incident_id)
        )

    return wanted


def _flag(request: web.Request, key: str) -> bool | None:
    flags = {None: None, "true": True, "false": False}
    value = request.query.get(key)
    if value not in flags:
        raise InvalidError(f"{key} must be true or false")
    return flags[value]


def _index(request: web.Request) -> int:
    value = request.query.get("since_index", "0")
    if not value.isdecimal():
        raise InvalidError("since_index must be a whole number, 0 or more")
    return int(value)
