"""Control API of xMatters' people, phones, clock and flow. Answers are JSON.

===========================  =======================================================================
GET, PUT /phones             people, groups, pages, notifications, callbacks, as `XMatters.story` returns them; PUT
                             replaces people and groups: ``{"people"?: […], "groups"?: […]}``, as
                             `sandbox.xmatters.people` describes them
POST /phones/answer          ``{"notification": id, "response": "Acknowledge"|"Escalate", "comment"?}``: answer as the
                             person whose device it is; answers the notification
POST /phones/end             ``{"page": UUID or number}``: terminate a page, as a user in xMatters does
PUT /phones/callbacks        ``{"url", "header"?: {"name", "value"}, "shape"?: "flow"|"legacy", "kinds"?: […],
                             "function"?: uuid}``: destination of the callbacks for the pages of one trigger, or of
                             all; answers it masked
POST /clock                  ``{"seconds": n}``: turn xMatters' clock ahead; answers ``{"now", "ahead_seconds"}``
GET, PUT /limits             ``{"trigger"?: n, "rest"?: n}``: xMatters' rate limits in requests a minute; null for none
GET, PUT /flow               ``{"mode"?: "page"|"no_page", "floods"?: bool}``: the flow behind the triggers
===========================  =======================================================================

Invalid input is answered 400, an unknown id 404, each with ``{"error"}``.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

from sandbox.clock import LONGEST_TURN_SECONDS
from sandbox.http.schema import InvalidError, compiled, parse_json
from sandbox.xmatters.api import XMatters
from sandbox.xmatters.notifying import UnknownError

_ANSWER = compiled(
    {"notification": {"type": "integer"}, "response": {"type": "string"}},
    {"comment": {"type": ["string", "null"], "maxLength": 4000, "default": None}},
)
_END = compiled({"page": {"type": "string"}}, {})
_TURN = compiled({"seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_TURN_SECONDS}}, {})


class PhonesControl:
    """Routes of the control API for xMatters' people, phones, clock and flow."""

    def __init__(self, xmatters: XMatters) -> None:
        self._xmatters = xmatters

    def add_to(self, app: web.Application) -> None:
        """Add the routes to the control API."""
        app.router.add_get("/phones", self.phones)
        app.router.add_put("/phones", self.declare)
        app.router.add_post("/phones/answer", _unknown_is_404(self.answer))
        app.router.add_post("/phones/end", _unknown_is_404(self.end))
        app.router.add_put("/phones/callbacks", self.callbacks)
        app.router.add_post("/clock", self.turn)
        app.router.add_get("/limits", self.limits)
        app.router.add_put("/limits", self.set_limits)
        app.router.add_get("/flow", self.flow)
        app.router.add_put("/flow", self.set_flow)

    async def phones(self, _: web.Request) -> web.Response:
        return web.json_response(self._xmatters.story())

    async def declare(self, request: web.Request) -> web.Response:
        self._xmatters.people.declare_phones(parse_json(await request.read()))
        return await self.phones(request)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        wanted = _ANSWER(parse_json(await request.read()), "answer")
        answered = self._xmatters.notifier.answer(wanted["notification"], wanted["response"], wanted["comment"])
        return web.json_response(answered.as_json())

    async def end(self, request: web.Request) -> web.StreamResponse:
        wanted = _END(parse_json(await request.read()), "document")
        return web.json_response(self._xmatters.notifier.end(wanted["page"]).as_json())

    async def callbacks(self, request: web.Request) -> web.Response:
        return web.json_response(self._xmatters.callbacks.declare(parse_json(await request.read())))

    async def turn(self, request: web.Request) -> web.Response:
        seconds = _TURN(parse_json(await request.read()), "clock")["seconds"]
        try:
            self._xmatters.clock.turn(seconds)
        except ValueError as error:
            raise InvalidError(str(error)) from None
        return web.json_response(self._xmatters.story()["clock"])

    async def limits(self, _: web.Request) -> web.Response:
        return web.json_response(dict(self._xmatters.limits.settings()))

    async def set_limits(self, request: web.Request) -> web.Response:
        self._xmatters.limits.set(parse_json(await request.read()))
        return await self.limits(request)

    async def flow(self, _: web.Request) -> web.Response:
        return web.json_response(dict(self._xmatters.workflow.settings()))

    async def set_flow(self, request: web.Request) -> web.Response:
        self._xmatters.workflow.set(parse_json(await request.read()))
        return await self.flow(request)


def _unknown_is_404(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except UnknownError as error:
            return web.json_response({"error": str(error)}, status=404)

    return handle
