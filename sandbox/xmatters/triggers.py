"""HTTP triggers of xMatters: declared by tests, called by the relay with signals.

Facts: docs/vendors.md, xMatters "Triggers", "Answers". Recorded from a tenant: ``x-trace`` has the same value as
``requestId``; the error object; ``invalid_token``.

Guesses, to be checked against a tenant:

- the bodies of 400, 401, 403, 404 and 429; an unknown trigger is answered 404 before credentials are checked;
- ``Retry-After``, which is sent only when scripted;
- no limit on the size of a request;
- ``%2C`` in ``recipients`` separates like a plain comma, and a repeated ``recipients`` adds to the list.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import CallLog, Served
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError
from sandbox.xmatters.access import TOKEN_SECONDS, Auth, Tokens, presented, refused
from sandbox.xmatters.signals import Signal

TRIGGER_PATH = "/api/integration/1/functions/{function}/triggers"
CREDENTIAL_HEADERS = {"authorization", "proxy-authorization", "cookie"}


@dataclass(frozen=True)
class Trigger:
    """A declared HTTP trigger.

    Attributes:
        function: The uuid in its path.
        url: Its URL, with the API key if the trigger takes one.
        auth: The credentials that it takes.
    """

    function: str
    url: str
    auth: Auth


class Triggers:
    """All triggers, and the log of the signals that they received. Safe to use from several threads.

    `on_signal` is called with every logged signal, refused signals included.
    """

    def __init__(
        self,
        url: str,
        script: Script,
        tokens: Tokens,
        now: Callable[[], datetime],
        on_signal: Callable[[Signal], None],
    ) -> None:
        self.signals = CallLog[Signal]()
        self._url = url
        self._script = script
        self._tokens = tokens
        self._now = now
        self._on_signal = on_signal
        self._triggers: dict[str, Trigger] = {}

    def declare(self, auth: object, function: str | None = None, token_seconds: int = TOKEN_SECONDS) -> Trigger:
        """Make a trigger, or replace the trigger of this uuid; `token_seconds` is the lifetime of its OAuth tokens.

        Raises InvalidError if the declaration is invalid; the message names the key, never the value.
        """
        accepts = Auth.parse(auth, token_seconds)
        name = _uuid(function) if function else str(uuid.uuid4())
        url = self._url + TRIGGER_PATH.format(function=name)
        if accepts.type == "url":
            url += f"?apiKey={quote(accepts.values['api_key'], safe='')}"
        trigger = Trigger(name, url, accepts)
        others = {each: other for each, other in self._triggers.items() if each != name}
        self._triggers = {name: trigger} | others
        return trigger

    def all(self) -> list[Trigger]:
        """Return every trigger, newest first.

        If several triggers have the same OAuth account, the newest trigger sets the lifetime of the account's tokens.
        """
        return list(self._triggers.values())

    async def call(self, request: web.Request) -> web.Response:
        """Answer a signal to a trigger, log it, and call `on_signal`."""
        body = await request.read()
        answer, auth = self._judge(request)
        served = Served.of(self._script, "trigger", answer, answers.xmatters_error)
        signal = self.signals.add(
            lambda index: Signal(
                index=index,
                received_at=self._now(),
                function=request.match_info["function"],
                request_id=answer.headers["x-trace"] if served.accepted else None,
                recipients=_recipients(request),
                auth=auth,
                headers=_without_credentials(request),
                body_bytes=body,
                status=served.status,
                accepted=served.accepted,
                fault=served.fault_kind,
            )
        )
        self._on_signal(signal)
        return await served.send(request)

    def _judge(self, request: web.Request) -> tuple[VendorAnswer, str | None]:
        """Return two things: the answer without a fault, and the kind of the credentials in the call.

        The kind is that of those that the trigger accepts, else of the first; None if the call has no credentials.
        """
        trigger = self._triggers.get(request.match_info["function"].lower())
        shown = presented(request)
        first = shown[0].kind if shown else None
        if trigger is None:
            return answers.xmatters_error(404, "The function does not exist or is not deployed"), first
        matching = next((each for each in shown if self._tokens.match(each, trigger.auth)), None)
        return (answers.accepted(str(uuid.uuid4())), matching.kind) if matching else (refused(shown), first)


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
