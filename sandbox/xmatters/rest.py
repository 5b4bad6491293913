"""Credentials and log of xMatters' REST API, and the serving of its routes about events."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox.http import answers, transport
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import Call, CallLog
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, json_or_none
from sandbox.xmatters.credentials import Auth, presented
from sandbox.xmatters.rate_limits import RateLimits
from sandbox.xmatters.tokens import Account, Tokens, lifetime


@dataclass(frozen=True)
class Verdict:
    """Outcome of a call before any scripted fault.

    Attributes
    ----------
    answer
        The answer to send if no fault is scripted.
    change
        Function that does what was asked, and may return an answer to send instead of `answer`. It is not called if a
        fault prevents that. None for a call that changes nothing.
    """

    answer: VendorAnswer
    change: Callable[[], VendorAnswer | None] | None = None


class Rest:
    """Credentials of the REST API, and the calls about events. Safe to use from several threads.

    Attributes
    ----------
    calls
        Log of every request to the routes about events.
    """

    def __init__(self, script: Script, tokens: Tokens, limits: RateLimits, now: Callable[[], datetime]) -> None:
        self.calls = CallLog[Call]()
        self._script = script
        self._tokens = tokens
        self._limits = limits
        self._call_now = now
        self._credentials = threading.Lock()
        self._auth: Auth | None = None
        self._token_seconds = 0

    def declare(self, auth: object, token_seconds: object = 900) -> Auth:
        """Set the only credentials that the REST API accepts. Until they are set, the API refuses every request.

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
        with self._credentials:
            self._auth, self._token_seconds = accepts, seconds
        return accepts

    @property
    def account(self) -> Account | None:
        """The account that gets OAuth tokens for the REST API; None if the API takes no OAuth."""
        with self._credentials:
            return Account.of(self._auth, self._token_seconds) if self._auth else None

    def refusal(self, request: web.Request) -> VendorAnswer | None:
        """Return the answer to a request without the right credentials, or above the rate limit; None for others."""
        shown = presented(request.headers.get("Authorization"), None)
        with self._credentials:
            auth = self._auth
        if auth and any(self._tokens.match(each, auth) for each in shown):
            return self._limits.refusal("rest")
        if shown and shown[0].kind == "oauth":
            return answers.invalid_token()
        return answers.xmatters_error(401, "The credentials are missing or wrong")

    def username(self, request: web.Request) -> str:
        """Return the user that a request with the right credentials acts as; an API key acts as its own name."""
        with self._credentials:
            auth = self._auth
        for shown in presented(request.headers.get("Authorization"), None):
            if shown.kind == "oauth":
                holder = self._tokens.holder(shown.values[0])
                return holder.username if holder else ""
            if auth and self._tokens.match(shown, auth):
                # The key itself is a credential, and must not be shown.
                return shown.values[0] if shown.kind == "basic" else "api-key-user"
        return ""

    async def serve(
        self, route: str, request: web.Request, unscripted: Callable[[web.Request, Any], Verdict]
    ) -> web.Response:
        """Answer a request, and log it.

        Bad credentials, and requests above the rate limit, are refused first. Otherwise `unscripted` gets the request
        and its JSON body, and returns the Verdict: the answer without a fault, and the change. If it raises
        InvalidError, the answer is 400. A scripted fault for the route may then prevent the change. It may also replace
        the answer, truncate its body, delay it, or cut the connection.
        """
        document = json_or_none(await request.read())
        refusal = self.refusal(request)
        try:
            verdict = Verdict(refusal) if refusal else unscripted(request, document)
        except InvalidError as error:
            verdict = Verdict(answers.xmatters_error(400, str(error)))
        fault = self._script.take(route)
        accepted = verdict.answer.status < 300 and (fault is None or fault.accept)
        done = verdict.change() if verdict.change and accepted else None
        answer = done or verdict.answer
        answer = fault.changed(answer, answers.xmatters_error) if fault else answer
        self.calls.add(
            lambda index: Call(
                index=index,
                received_at=self._call_now(),
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
