"""Events in xMatters' REST API: list the events that signals made, and change their status. An event is a page.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, "The REST API"):

- both routes, and the parameters that are read here; a listing has ``links``, 100 events by default, 1,000 at most;
- the members of an event that are here, and the form of its times; xMatters has many more members;
- ``status`` by POST, with the event as answer; UUID or number names an event; a terminated event stays terminated;
- 404 for an unknown id, 409 for a terminated event; the error object, ``invalid_token``;
- credentials as for triggers, without the key in the URL.

Guesses, to be checked against a tenant:

- one signal makes one event, at once, unless `Events.make` says otherwise; an event that is not found yet is 404;
- every caller with credentials sees every event, newest first, with priority MEDIUM; 403 is only answered if scripted;
- wrong credentials are answered 401 before anything else is checked; where a password is declared, an API key is wrong;
- an unknown parameter, member or status is 400, and so is a limit outside of 1 to 1,000;
- ``terminated``; an event never ends by itself;
- no rate limit.
"""

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from sandbox.http import answers, transport
from sandbox.http.answers import Answer
from sandbox.http.calls import Call, CallLog
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, compiled, json_or_none
from sandbox.xmatters.credentials import Auth, presented
from sandbox.xmatters.paging import page, whole_number
from sandbox.xmatters.signals import Signal
from sandbox.xmatters.tokens import Account, Tokens, lifetime

EVENTS_PATH = "/api/xm/1/events"
FIRST_NUMBER = 1001
PAGE_SIZE, LARGEST_PAGE = 100, 1000
STATUSES = ["ACTIVE", "SUSPENDED", "TERMINATED"]

_MAKING = compiled(
    {},
    {
        "per_signal": {"type": "integer", "minimum": 0, "maximum": LARGEST_PAGE, "default": 1},
        "delay_seconds": {"type": "number", "minimum": 0, "default": 0},
    },
)
_CHANGE = compiled({"id": {"type": "string", "minLength": 1}, "status": {"enum": STATUSES}}, {})
_PARAMETERS = {"requestId", "limit", "offset"}
_PLAN = {"id": "8f1c0a52-6d0b-4b5e-9a43-1f0c6f1f7a01", "name": "Sandbox"}
_FORM = {"id": "8f1c0a52-6d0b-4b5e-9a43-1f0c6f1f7a02", "name": "Sandbox"}


@dataclass(frozen=True)
class Event:
    """An event that a signal made.

    Attributes
    ----------
    id
        The event's UUID.
    number
        The id that people see.
    request_id
        xMatters' id of the signal.
    incident_id
        BigPanda's incident, from the signal's body; None if the body names none.
    status
        One of `STATUSES`.
    terminated
        Time of its end; None until then.
    """

    id: str
    number: str
    request_id: str
    incident_id: str | None
    created: datetime
    status: str = "ACTIVE"
    terminated: datetime | None = None

    def document(self) -> dict[str, Any]:
        """Return the event as xMatters' REST API shows it."""
        terminated = {"terminated": _time(self.terminated)} if self.terminated else {}
        return {
            "id": self.id,
            "eventId": self.number,
            "incident": f"INCIDENT_ID-{self.number}",
            "eventType": "USER",
            "plan": _PLAN,
            "form": _FORM,
            "requestId": self.request_id,
            "priority": "MEDIUM",
            "status": self.status,
            "created": _time(self.created),
            **terminated,
            "links": {"self": f"{EVENTS_PATH}/{self.id}"},
        }

    def as_json(self) -> dict[str, Any]:
        """Return the event for the control API."""
        terminated = self.terminated.isoformat() if self.terminated else None
        return vars(self) | {"created": self.created.isoformat(), "terminated": terminated}


@dataclass(frozen=True)
class _Verdict:
    """Outcome of a call before any scripted fault: an answer, and the changed event (None: no event changes)."""

    answer: Answer
    changed: Event | None = None


class Events:
    """All events, and the credentials of the REST API. Safe to use from several threads.

    Attributes
    ----------
    calls
        Every request to the two routes: "events" lists events, "event" changes the status of one.
    """

    def __init__(self, script: Script, tokens: Tokens, now: Callable[[], datetime]) -> None:
        self.calls = CallLog[Call]()
        self._script = script
        self._tokens = tokens
        self._now = now
        self._lock = threading.Lock()
        self._auth: Auth | None = None
        self._token_seconds = 0
        self._making = _MAKING({}, "making")
        self._events: dict[str, Event] = {}
        self._next_number = FIRST_NUMBER

    def declare(self, auth: object, token_seconds: object = 900) -> Auth:
        """Set the only credentials that the REST API takes; before the first call it takes none.

        Raises
        ------
        InvalidError
            If the declaration is invalid; the message names the key, never the value.
        """
        accepts, seconds = Auth.parse(auth), lifetime(token_seconds)
        if not any(accepts.expected(kind) for kind in ("basic", "api_key", "oauth")):
            raise InvalidError(
                "auth.type must be one of basic, api_key, oauth, any: the REST API takes no key in a URL"
            )
        with self._lock:
            self._auth, self._token_seconds = accepts, seconds
        return accepts

    @property
    def account(self) -> Account | None:
        """The account that gets OAuth tokens for the REST API; None if the API takes no OAuth."""
        with self._lock:
            return Account.of(self._auth, self._token_seconds) if self._auth else None

    def make(self, *, per_signal: object = 1, delay_seconds: object = 0) -> None:
        """Set how many events each later signal makes, and after how many seconds the REST API finds any event.

        Raises
        ------
        InvalidError
            If a number is invalid; the message names it, and nothing has changed.
        """
        self._making = _MAKING({"per_signal": per_signal, "delay_seconds": delay_seconds}, "making")

    def making(self) -> Mapping[str, Any]:
        """Return the settings of `make`."""
        return dict(self._making)

    def all(self) -> list[Event]:
        """Return every event, oldest first, those that the REST API does not find yet included."""
        with self._lock:
            return list(self._events.values())

    def of_incident(self, incident_id: str) -> list[Event]:
        """Return the events for a BigPanda incident, oldest first."""
        return [event for event in self.all() if event.incident_id == incident_id]

    def clear(self) -> None:
        """Forget events and calls; keep credentials and the settings of `make`. Event numbers go on counting."""
        self.calls.clear()
        with self._lock:
            self._events.clear()

    def take(self, signal: Signal) -> None:
        """Make the events of an accepted signal; a refused signal makes none."""
        if signal.request_id is None:
            return
        with self._lock:
            for _ in range(self._making["per_signal"]):
                name, number = str(uuid.uuid4()), str(self._next_number)
                self._events[name] = Event(name, number, signal.request_id, signal.incident_id, signal.received_at)
                self._next_number += 1

    def refusal(self, request: web.Request) -> Answer | None:
        """Return the answer to a request without the right credentials; None if its credentials are right."""
        shown = presented(request.headers.get("Authorization"), None)
        with self._lock:
            auth = self._auth
        if auth and any(self._tokens.match(each, auth) for each in shown):
            return None
        if shown and shown[0].kind == "oauth":
            return answers.invalid_token()
        return answers.error(401, "The credentials are missing or wrong")

    async def find(self, request: web.Request) -> web.Response:
        """Route: list events."""
        return await self._serve("events", request, self._found)

    async def change(self, request: web.Request) -> web.Response:
        """Route: change the status of an event."""
        return await self._serve("event", request, self._changed)

    async def _serve(
        self, route: str, request: web.Request, honest: Callable[[web.Request, Any], _Verdict]
    ) -> web.Response:
        document = json_or_none(await request.read())
        refusal = self.refusal(request)
        verdict = _Verdict(refusal) if refusal else honest(request, document)
        fault = self._script.take(route)
        answer = fault.changed(verdict.answer, answers.error) if fault else verdict.answer
        accepted = verdict.answer.status < 300 and (fault is None or fault.accept)
        if verdict.changed and accepted:
            with self._lock:
                self._events[verdict.changed.id] = verdict.changed
        self.calls.add(
            lambda index: Call(
                index=index,
                received_at=self._now(),
                route=route,
                environment_id=None,
                incident_id=None,
                # A key in the URL is a credential of triggers: it must not be logged.
                query={name: value for name, value in request.query.items() if name != "apiKey"},
                document=document,
                status=None if fault and fault.cuts_before_answer else answer.status,
                accepted=accepted,
                fault=fault.kind if fault else None,
            )
        )
        return await transport.send(answer, fault, request)

    def _found(self, request: web.Request, _: Any) -> _Verdict:
        query = request.query
        unknown = sorted(query.keys() - _PARAMETERS)
        try:
            if unknown:
                raise InvalidError(f"{unknown[0]} is an unknown parameter")
            limit = whole_number(query, "limit", PAGE_SIZE, range(1, LARGEST_PAGE + 1))
            offset = whole_number(query, "offset", 0, range(10**9))
        except InvalidError as error:
            return _Verdict(answers.error(400, str(error)))
        request_id = query.get("requestId")
        found = [each.document() for each in reversed(self._visible()) if request_id in (None, each.request_id)]
        return _Verdict(answers.document(200, page(EVENTS_PATH, query, found, limit, offset)))

    def _changed(self, _: web.Request, document: Any) -> _Verdict:
        try:
            change = _CHANGE(document, "event")
        except InvalidError as error:
            return _Verdict(answers.error(400, str(error)))
        event = next((each for each in self._visible() if change["id"] in (each.id, each.number)), None)
        if event is None:
            return _Verdict(answers.error(404, "There is no such event"))
        if event.status == "TERMINATED":
            return _Verdict(answers.error(409, "The event is terminated"))
        terminated = self._now() if change["status"] == "TERMINATED" else None
        after = replace(event, status=change["status"], terminated=terminated)
        return _Verdict(answers.document(200, after.document()), after)

    def _visible(self) -> list[Event]:
        latest = self._now() - timedelta(seconds=self._making["delay_seconds"])
        return [event for event in self.all() if event.created <= latest]


def _time(moment: datetime) -> str:
    """Return a time in xMatters' form: ``2026-03-04T02:58:14.301+0000``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")
