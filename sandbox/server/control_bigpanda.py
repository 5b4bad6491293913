"""Control API of BigPanda's live incidents: open and change them, and declare the channel that they are shared with.

A live incident is one that a request opened or changed, as a person would do in BigPanda. An answer called *story* is
the whole object of `GET /bigpanda/live`.

================================================  ==================================================================
GET /bigpanda/live                                ``{"environment_id", "channel", "incidents": […],
                                                  "webhooks": […], "is_silent"}``; the newest 100 incidents, the newest
                                                  first, and the newest 200 webhooks, the oldest first
PUT /bigpanda/live/channel                        ``{"url", "header": {"name", "value"}, "version"?: "v1"|"v2",
                                                  "resends"?: true, "resend_seconds"?: 10, "share"?: "auto"|"manual",
                                                  "callbacks"?: false, "lock_seconds"?: 300, "environment_id"?}``; the
                                                  URL is on this machine; answers the story
PUT /bigpanda/live/silent                         ``{"silent": true|false}``: BigPanda sends nothing; answers the story
POST /bigpanda/live/incidents                     ``{"title"?, "status"?: "critical", "alerts"?: 1}``: open an incident;
                                                  ``alerts`` is a number, or a list of ``{"description"?, "status"?,
                                                  "tags"?: [{"name", "value"}]}``; 201 with the incident
POST /bigpanda/live/incidents/<id>/<action>       worsen, ease, gain_alert ``{"description"?, "status"?, "tags"?}``,
                                                  snooze ``{"seconds"?: 3600}``, unsnooze, flap, calm, resolve, reopen
                                                  ``{"status"?}`` or share; answers the incident
================================================  ==================================================================

Invalid input is answered 400, an unknown incident 404, and an action that the incident's state forbids 409: each with
``{"error"}``.
"""

from typing import Any

from aiohttp import web

from sandbox.bigpanda import live
from sandbox.bigpanda.api import BigPanda
from sandbox.bigpanda.life import Impossible
from sandbox.bigpanda.live import UnknownIncident
from sandbox.http.schema import compiled, parse_json

_SILENT = compiled({"silent": {"type": "boolean"}}, {})


class LiveControl:
    """Routes of the control API for BigPanda's live incidents and their sharing."""

    def __init__(self, bigpanda: BigPanda) -> None:
        self._bigpanda = bigpanda
        self._live = bigpanda.live

    def add_to(self, app: web.Application) -> None:
        """Add the routes to a web application that answers InvalidError with 400."""
        app.router.add_get("/bigpanda/live", self.story)
        app.router.add_put("/bigpanda/live/channel", self.declare_channel)
        app.router.add_put("/bigpanda/live/silent", self.silence)
        app.router.add_post("/bigpanda/live/incidents", self.open)
        app.router.add_post("/bigpanda/live/incidents/{incident}/{action}", self.act)

    async def story(self, _: web.Request) -> web.Response:
        return web.json_response(self._bigpanda.story())

    async def declare_channel(self, request: web.Request) -> web.Response:
        self._live.sharing.declare(parse_json(await request.read()))
        return await self.story(request)

    async def silence(self, request: web.Request) -> web.Response:
        self._live.sharing.silence(_SILENT(parse_json(await request.read()), "document")["silent"])
        return await self.story(request)

    async def open(self, request: web.Request) -> web.Response:
        return web.json_response(self._live.open(await _optional_json(request)), status=201)

    async def act(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        options = live.checked(action, await _optional_json(request))
        try:
            return web.json_response(self._live.act(request.match_info["incident"], action, options))
        except UnknownIncident as error:
            return web.json_response({"error": str(error)}, status=404)
        except Impossible as error:
            return web.json_response({"error": str(error)}, status=409)


async def _optional_json(request: web.Request) -> Any:
    content = await request.read()
    return parse_json(content) if content.strip() else {}
