"""Credentials of xMatters' REST API, and the serving of its routes."""

import threading
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from sandbox.http import answers
from sandbox.http.answers import VendorAnswer
from sandbox.http.calls import Api
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError
from sandbox.xmatters.credentials import Auth, presented
from sandbox.xmatters.tokens import TOKEN_SECONDS, Account, Tokens


class Rest:
    """Credentials of the REST API. Safe to use from several threads.

    Attributes:
        handler: Returns the handler of a route: `Api.handler`.
    """

    def __init__(self, script: Script, tokens: Tokens, now: Callable[[], datetime]) -> None:
        self.handler = Api(script, now, answers.xmatters_error, self._refusal).handler
        self._tokens = tokens
        self._lock = threading.Lock()
        self._auth: Auth | None = None

    def declare(self, auth: object) -> None:
        """Set the only credentials that the REST API accepts. Until they are set, the API refuses every request.

        Raises InvalidError if the declaration is invalid; the message names the key, never the value.
        """
        accepts = Auth.parse(auth)
        if accepts.type == "url":
            raise InvalidError("auth.type must be one of basic, api_key, oauth: the REST API takes no key in a URL")
        with self._lock:
            self._auth = accepts

    @property
    def account(self) -> Account | None:
        """The account that gets OAuth tokens for the REST API; None if the API takes no OAuth."""
        with self._lock:
            return Account.of(self._auth, TOKEN_SECONDS) if self._auth else None

    def username(self, request: web.Request) -> str:
        """Return the user that a request with the right credentials acts as; an API key acts as its own name."""
        [shown] = presented(request.headers.get("Authorization"), None)
        if shown.kind == "oauth":
            holder = self._tokens.holder(shown.values[0])
            return holder.username if holder else ""
        # The key itself is a credential, and must not be shown.
        return shown.values[0] if shown.kind == "basic" else "api-key-user"

    def _refusal(self, _: str, request: web.Request) -> VendorAnswer | None:
        shown = presented(request.headers.get("Authorization"), None)
        with self._lock:
            auth = self._auth
        if auth and any(self._tokens.match(each, auth) for each in shown):
            return None
        if shown and shown[0].kind == "oauth":
            return answers.invalid_token()
        return answers.xmatters_error(401, "The credentials are missing or wrong")
