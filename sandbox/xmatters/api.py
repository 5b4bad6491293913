"""The xMatters stand-in as a whole: its parts, its routes, and the token route that triggers and REST API share.

The facts about OAuth, and the guesses, are in `sandbox.xmatters.tokens`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from sandbox.clock import Clock
from sandbox.http import answers, transport
from sandbox.http.faults import Script
from sandbox.xmatters.callbacks import Callbacks
from sandbox.xmatters.directory import Directory
from sandbox.xmatters.events import Events
from sandbox.xmatters.notifying import Notifier
from sandbox.xmatters.pages import Page, Pages
from sandbox.xmatters.people import People
from sandbox.xmatters.records import Records
from sandbox.xmatters.rest import Rest
from sandbox.xmatters.rosters import Rosters
from sandbox.xmatters.tokens import TokenRequest, Tokens
from sandbox.xmatters.triggers import TRIGGER_PATH, Triggers
from sandbox.xmatters.workflow import Workflow

TOKEN_PATH = "/api/xm/1/oauth2/token"
# A story shows the newest only, so that it stays readable, and is quick to build after a storm.
SHOWN_PAGES, SHOWN_NOTIFICATIONS = 200, 500


class XMatters:
    """The stand-in's state and routes. Its methods may be called from any thread.

    Attributes:
        clock: The clock of pages and phones, which can be turned.
        triggers: HTTP triggers, and the signals that they received.
        tokens, token_requests: OAuth tokens, and every request for one.
        pages: Pages that signals made, with their logs, annotations and audits.
        people: People with devices, and groups with members.
        notifier: Notifies people of pages, and takes their answers.
        callbacks: xMatters' callbacks to the relay.
        workflow: The flow behind the triggers, and its settings.
        events: Events made by signals, and their REST API.
        directory: REST API of people and groups.
    """

    def __init__(self, url: str, script: Script, now: Callable[[], datetime]) -> None:
        self.clock = Clock(now)
        self.tokens = Tokens(now)
        self.token_requests: list[TokenRequest] = []
        self.people = People()
        self.callbacks = Callbacks(self.clock.now)
        self.pages = Pages(self.clock.now)
        self.notifier = Notifier(self.clock, self.pages, self.people, self.callbacks)
        self._rest = Rest(script, self.tokens, now)
        self.events = Events(self.pages, self.people, self.notifier, self._rest, self.clock.now)
        self.workflow = Workflow(self.pages, self.notifier, self.clock.now, lambda: self.events.per_signal)
        self.triggers = Triggers(url, script, self.tokens, now, self.workflow.take)
        self.directory = Directory(self.people, self._rest)
        self._rosters = Rosters(self.people, self._rest, self.clock, self.directory.calls)
        self._records = Records(self.pages, self.events, self.notifier, self._rest)
        self._script = script
        self._now = now

    def application(self) -> web.Application:
        """Return xMatters' routes as a web application."""
        # No limit on the size of a body: none is documented, and a limit here would hide a body that is too large.
        app = web.Application(client_max_size=0, middlewares=[answers.unknown_routes_with(answers.xmatters_error)])
        app.router.add_post(TRIGGER_PATH, self.triggers.call)
        app.router.add_post(TOKEN_PATH, self.token)
        for part in (self.events, self._records, self.directory, self._rosters):
            part.add_to(app)
        return app

    def story(self) -> dict[str, Any]:
        """Return people, groups, pages, notifications and callbacks as JSON types, for the web page and for tests."""
        with self.pages.lock:
            return {
                "clock": {"now": self.clock.now().isoformat(), "ahead_seconds": self.clock.ahead_seconds},
                "flow": dict(self.workflow.settings()),
                **self.people.as_json(),
                "pages": [self._told(each) for each in self.pages.all()[-SHOWN_PAGES:]],
                "notifications": [each.as_json() for each in self.notifier.notifications.newest(SHOWN_NOTIFICATIONS)],
                "callbacks": self.callbacks.log(),
                "without_page": self.workflow.without_page(),
            }

    def clear(self) -> None:
        """Forget signals, pages, callbacks and requests; keep triggers, tokens, people and groups, and the clock."""
        self.triggers.signals.clear()
        self.token_requests.clear()
        self.events.clear()
        self.directory.calls.clear()
        self.callbacks.clear()
        self.workflow.clear()

    def close(self) -> None:
        """End the threads of the clock and the callbacks; nothing rings any more."""
        self.clock.close()
        self.callbacks.close()

    async def token(self, request: web.Request) -> web.Response:
        """Answer a request for an OAuth token."""
        body = (await request.read()).decode(errors="replace")
        form = {**request.query, **dict(parse_qsl(body))}
        accounts = [self._rest.account, *(trigger.account for trigger in self.triggers.all())]
        unscripted = self.tokens.grant(form, [each for each in accounts if each])
        fault = self._script.take("token")
        answer = fault.changed(unscripted, answers.xmatters_error) if fault else unscripted
        status = None if fault and fault.cuts_before_answer else answer.status
        self.token_requests.append(
            TokenRequest(self._now(), form.get("grant_type"), status, fault.kind if fault else None)
        )
        return await transport.send(answer, fault, request)

    def _told(self, page: Page) -> dict[str, Any]:
        order = page.order
        return page.as_json() | {
            "priority": order.priority,
            "subject": order.subject,
            "details": [list(each) for each in order.details],
            "ended_because": page.ended_because,
            "recipients": list(order.recipients),
            "log": self.pages.log(page.id),
        }
