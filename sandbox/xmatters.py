"""The xMatters stand-in: triggers that take signals, and OAuth tokens; what comes of signals is in `sandbox.events`,
whom they may ring in `sandbox.directory`.

Documented by xMatters, or recorded from a tenant (docs/vendors.md, xMatters "Triggers", "Answers", "OAuth"):

- the trigger's path, 202 with ``requestId`` and the same value in ``x-trace``, for whatever body was sent;
- the four kinds of credentials, and that a trigger set to Basic refuses an API key;
- ``recipients`` as a comma-separated list in the query;
- that 429 and 5xx exist and that a 429 keeps nothing; the error object; ``invalid_token``;
- the token route, its two grants and the keys of its answer.

Our guesses, to be checked against a tenant:

- the bodies of 400, 401, 403, 404 and 429, and that an unknown trigger is told before wrong credentials;
- any ``Retry-After`` (it is there only when scripted);
- no limit on the size of a request;
- ``%2C`` in ``recipients`` separates like a plain comma, and a repeated ``recipients`` adds to the list.
"""

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from sandbox import answers, wire
from sandbox.answers import Answer
from sandbox.credentials import Auth, presented
from sandbox.directory import GROUP_PATH, ON_CALL_PATH, PERSON_PATH, Directory
from sandbox.events import EVENTS_PATH, Events
from sandbox.faults import Script
from sandbox.log import Log
from sandbox.schema import InvalidError
from sandbox.signals import Signal
from sandbox.tokens import Account, TokenRequest, Tokens, lifetime

TRIGGER_PATH = "/api/integration/1/functions/{function}/triggers"
TOKEN_PATH = "/api/xm/1/oauth2/token"
CREDENTIAL_HEADERS = {"authorization", "proxy-authorization", "cookie"}


def utc_now() -> datetime:
    """The time on this machine."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Trigger:
    """An HTTP trigger that somebody declared; `url` holds the API key where the trigger takes one."""

    function: str
    url: str
    auth: Auth
    token_seconds: int

    @property
    def account(self) -> Account | None:
        """Who may ask for OAuth tokens for it, if anybody."""
        return Account.of(self.auth, self.token_seconds)


@dataclass(frozen=True)
class Verdict:
    """What xMatters makes of a trigger call when no fault is scripted."""

    answer: Answer
    auth: str | None
    request_id: str | None = None


class XMatters:
    """All that the stand-in knows. Its methods may be called from any thread."""

    def __init__(self, url: str, script: Script, now: Callable[[], datetime] = utc_now) -> None:
        self.url = url
        self.signals = Log[Signal]()
        self.tokens = Tokens(now)
        self.token_requests: list[TokenRequest] = []
        self.events = Events(script, self.tokens, now)
        self.directory = Directory(script, now, self.events.refusal)
        self._script = script
        self._now = now
        self._lock = threading.Lock()
        self._triggers: dict[str, Trigger] = {}

    def declare(self, auth: object, function: str | None = None, token_seconds: object = 900) -> Trigger:
        """Make a trigger, or change the one of this uuid. `token_seconds` is how long its OAuth tokens last.

        Raises
        ------
        InvalidError
            When the declaration can't be used; the message names the key, never the value.
        """
        accepts, seconds = Auth.parse(auth), lifetime(token_seconds)
        name = _uuid(function) if function else str(uuid.uuid4())
        url = self.url + TRIGGER_PATH.format(function=name)
        api_key = accepts.expected("url")
        if api_key:
            url += f"?apiKey={quote(api_key[0], safe='')}"
        trigger = Trigger(name, url, accepts, seconds)
        with self._lock:
            others = {each: other for each, other in self._triggers.items() if each != name}
            self._triggers = {name: trigger} | others
        return trigger

    def triggers(self) -> list[Trigger]:
        """Every trigger, newest first: where two share an account, its tokens last as the newest says."""
        return list(self._triggers.values())

    def clear(self) -> None:
        """Forget what was sent and asked; triggers, tokens, people and groups stay."""
        self.signals.clear()
        self.token_requests.clear()
        self.events.clear()
        self.directory.calls.clear()

    async def trigger(self, request: web.Request) -> web.Response:
        """Route: a call of a trigger."""
        body = await request.read()
        verdict = self._judge(request)
        fault = self._script.take("trigger")
        answer = fault.changed(verdict.answer, answers.error) if fault else verdict.answer
        accepted = verdict.request_id is not None and (fault is None or fault.accept)
        signal = self.signals.add(
            lambda index: Signal(
                index=index,
                received_at=self._now(),
                function=request.match_info["function"],
                request_id=verdict.request_id if accepted else None,
                recipients=_recipients(request),
                auth=verdict.auth,
                headers=_without_credentials(request),
                body_bytes=body,
                status=None if fault and fault.cuts_before_answer else answer.status,
                accepted=accepted,
                fault=fault.kind if fault else None,
            )
        )
        self.events.take(signal)
        return await wire.send(answer, fault, request)

    async def token(self, request: web.Request) -> web.Response:
        """Route: a request for an OAuth token."""
        form = dict(parse_qsl((await request.read()).decode(errors="replace")))
        accounts = [self.events.account, *(trigger.account for trigger in self.triggers())]
        honest = self.tokens.grant(form, [each for each in accounts if each])
        fault = self._script.take("token")
        answer = fault.changed(honest, answers.error) if fault else honest
        status = None if fault and fault.cuts_before_answer else answer.status
        self.token_requests.append(
            TokenRequest(self._now(), form.get("grant_type"), status, fault.kind if fault else None)
        )
        return await wire.send(answer, fault, request)

    def _judge(self, request: web.Request) -> Verdict:
        trigger = self._triggers.get(request.match_info["function"].lower())
        shown = presented(request.headers.get("Authorization"), request.query.get("apiKey"))
        first = shown[0].kind if shown else None
        if trigger is None:
            return Verdict(answers.error(404, "The function does not exist or is not deployed"), first)
        matching = next((each for each in shown if self.tokens.match(each, trigger.auth)), None)
        if matching:
            request_id = str(uuid.uuid4())
            return Verdict(answers.accepted(request_id), matching.kind, request_id)
        if first == "oauth":
            return Verdict(answers.invalid_token(), first)
        return Verdict(answers.error(401, "The credentials are missing or wrong"), first)


def application(xmatters: XMatters) -> web.Application:
    """What xMatters shows the world."""
    # No limit on the size: none is documented, and a stand-in that refuses would hide what the caller does.
    app = web.Application(client_max_size=0)
    app.router.add_post(TRIGGER_PATH, xmatters.trigger)
    app.router.add_post(TOKEN_PATH, xmatters.token)
    app.router.add_get(EVENTS_PATH, xmatters.events.find)
    app.router.add_post(EVENTS_PATH, xmatters.events.change)
    app.router.add_get(PERSON_PATH, xmatters.directory.person)
    app.router.add_get(GROUP_PATH, xmatters.directory.group)
    app.router.add_get(ON_CALL_PATH, xmatters.directory.on_call)
    return app


def _recipients(request: web.Request) -> tuple[str, ...]:
    names = ",".join(request.query.getall("recipients", [])).split(",")
    return tuple(name.strip() for name in names if name.strip())


def _without_credentials(request: web.Request) -> CIMultiDictProxy[str]:
    kept = ((name, value) for name, value in request.headers.items() if name.lower() not in CREDENTIAL_HEADERS)
    return CIMultiDictProxy(CIMultiDict(kept))


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise InvalidError("function must be a uuid") from None
