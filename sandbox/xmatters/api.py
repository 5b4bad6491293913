"""The xMatters stand-in as a whole: its parts, and its routes."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox.clock import Clock
from sandbox.http import answers
from sandbox.http.faults import Script
from sandbox.xmatters.access import Rest, Tokens
from sandbox.xmatters.callbacks import Callbacks
from sandbox.xmatters.directory import Directory
from sandbox.xmatters.events import Events
from sandbox.xmatters.notifying import Notifier
from sandbox.xmatters.pages import Pages
from sandbox.xmatters.people import People
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
        tokens: OAuth tokens, and every request for one.
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
        self.tokens = Tokens(script, now)
        self.people = People()
        self.callbacks = Callbacks(self.clock.now)
        self.pages = Pages(self.clock.now)
        self.notifier = Notifier(self.clock, self.pages, self.people, self.callbacks)
        self._rest = Rest(script, self.tokens, now)
        self.events = Events(self.pages, self.people, self.notifier, self._rest)
        self.workflow = Workflow(self.pages, self.notifier, self.clock.now)
        self.triggers = Triggers(url, script, self.tokens, now, self.workflow.take)
        self.directory = Directory(self.people, self._rest, self.clock)

    def application(self) -> web.Application:
        """Return xMatters' routes as a web application."""
        # No limit on the size of a body: none is documented, and a limit here would hide a body that is too large.
        app = web.Application(client_max_size=0, middlewares=[answers.unknown_routes_with(answers.xmatters_error)])
        app.router.add_post(TRIGGER_PATH, self.triggers.call)
        app.router.add_post(TOKEN_PATH, self.token)
        for part in (self.events, self.directory):
            part.add_to(app)
        return app

    def story(self) -> dict[str, Any]:
        """Return people, groups, pages, notifications and callbacks as JSON types, for the web page and for tests."""
        with self.pages.lock:
            return {
                "clock": {"now": self.clock.now().isoformat(), "ahead_seconds": self.clock.ahead_seconds},
                "flow": self.workflow.settings(),
                **self.people.as_json(),
                "pages": [
                    each.as_json() | {"log": self.pages.log(each.id)} for each in self.pages.all()[-SHOWN_PAGES:]
                ],
                "notifications": [each.as_json() for each in self.notifier.notifications.newest(SHOWN_NOTIFICATIONS)],
                "callbacks": self.callbacks.log(),
                "without_page": self.workflow.without_page(),
            }

    def clear(self) -> None:
        """Forget signals, pages, callbacks and requests; keep triggers, tokens, people and groups, and the clock."""
        self.triggers.signals.clear()
        self.tokens.requests.clear()
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
        accepted = (self._rest.auth, *(trigger.auth for trigger in self.triggers.all()))
        return await self.tokens.answer(request, [each for each in accepted if each])
