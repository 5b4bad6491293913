"""The xMatters stand-in as a whole: its parts, its routes, and the token route that triggers and REST API share.

The facts about OAuth, and the guesses, are in `sandbox.xmatters.tokens`.
"""

from collections.abc import Callable
from datetime import datetime
from urllib.parse import parse_qsl

from aiohttp import web

from sandbox.http import answers, transport
from sandbox.http.faults import Script
from sandbox.xmatters.directory import GROUP_PATH, ON_CALL_PATH, PERSON_PATH, Directory
from sandbox.xmatters.events import EVENTS_PATH, Events
from sandbox.xmatters.tokens import TokenRequest, Tokens
from sandbox.xmatters.triggers import TRIGGER_PATH, Triggers

TOKEN_PATH = "/api/xm/1/oauth2/token"


class XMatters:
    """The stand-in's state and routes. Its methods may be called from any thread.

    Attributes
    ----------
    triggers
        HTTP triggers, and the signals that they received.
    tokens, token_requests
        OAuth tokens, and every request for one.
    events
        Events made by signals, and their REST API.
    directory
        People, groups and on-call, and their REST API.
    """

    def __init__(self, url: str, script: Script, now: Callable[[], datetime]) -> None:
        self.tokens = Tokens(now)
        self.token_requests: list[TokenRequest] = []
        self.events = Events(script, self.tokens, now)
        self.triggers = Triggers(url, script, self.tokens, now, self.events.take)
        self.directory = Directory(script, now, self.events.refusal)
        self._script = script
        self._now = now

    def application(self) -> web.Application:
        """Return xMatters' routes as a web application."""
        # No limit on the size of a body: none is documented, and a limit here would hide a body that is too large.
        app = web.Application(client_max_size=0)
        app.router.add_post(TRIGGER_PATH, self.triggers.call)
        app.router.add_post(TOKEN_PATH, self.token)
        app.router.add_get(EVENTS_PATH, self.events.find)
        app.router.add_post(EVENTS_PATH, self.events.change)
        app.router.add_get(PERSON_PATH, self.directory.person)
        app.router.add_get(GROUP_PATH, self.directory.group)
        app.router.add_get(ON_CALL_PATH, self.directory.on_call)
        return app

    def clear(self) -> None:
        """Forget signals, events and requests; keep triggers, tokens, people and groups."""
        self.triggers.signals.clear()
        self.token_requests.clear()
        self.events.clear()
        self.directory.calls.clear()

    async def token(self, request: web.Request) -> web.Response:
        """Route: a request for an OAuth token."""
        form = dict(parse_qsl((await request.read()).decode(errors="replace")))
        accounts = [self.events.account, *(trigger.account for trigger in self.triggers.all())]
        honest = self.tokens.grant(form, [each for each in accounts if each])
        fault = self._script.take("token")
        answer = fault.changed(honest, answers.error) if fault else honest
        status = None if fault and fault.cuts_before_answer else answer.status
        self.token_requests.append(
            TokenRequest(self._now(), form.get("grant_type"), status, fault.kind if fault else None)
        )
        return await transport.send(answer, fault, request)
