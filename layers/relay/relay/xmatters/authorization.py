"""Authorization headers for xMatters: Basic, API key, OAuth, or none if the URL is the credential.

Facts: docs/vendors.md, "Credentials".
"""

import contextlib
import hashlib
import math
from typing import Any, NamedTuple, TypeIs
from urllib.parse import urlencode, urlsplit, urlunsplit

from relay.channels.channel import OutboundCredentials, basic
from relay.deadline import Deadline
from relay.failures import GONE, Reason, SendError, reason_for_status
from relay.http.client import HttpClient, json_object

TOKEN_PATH = "/api/xm/1/oauth2/token"  # nosec B105  # noqa: S105 - a path
# A token is renewed this long before it expires, since it could expire on its way.
TOKEN_MARGIN_SECONDS = 30.0


class Login(NamedTuple):
    """Credentials for one xMatters host. `url` is any URL at that host; its path does not matter."""

    auth: OutboundCredentials
    url: str


class Logins:
    """Makes Authorization headers for xMatters. OAuth tokens are requested, and cached until they expire."""

    def __init__(self, outward: HttpClient) -> None:
        self._outward = outward
        # Each token, and the time from which a new one is requested (epoch seconds).
        self._tokens: dict[tuple[str, ...], tuple[str, float]] = {}

    def headers(self, login: Login, deadline: Deadline, *, reserve: float = 0.0) -> dict[str, str]:
        """Return the Authorization header for a request; no header if the URL itself is the credential.

        A request for an OAuth token must be answered by `reserve` seconds before the deadline. Raises SendError (with
        `was_sent` False) if xMatters gives no token, or the type of authentication is unknown.
        """
        members = login.auth.members
        match login.auth.type:
            case "basic":
                return {"Authorization": basic(members["username"], members["password"])}
            case "api_key":
                return {"Authorization": basic(members["key"], members["secret"])}
            case "oauth":
                return {"Authorization": f"Bearer {self._token(login, deadline, reserve)}"}
            case "url":
                return {}
            case unknown:
                detail = f"authentication of the type {unknown!r} is not known to this version"
                raise SendError(Reason.CREDENTIALS, detail, was_sent=False)

    def renew(self, login: Login) -> bool:
        """Forget the OAuth token that xMatters refused, so that a repeated request gets a new one.

        Return True for OAuth, also if another thread has forgotten the token; False for other types of authentication.
        """
        if login.auth.type != "oauth":
            return False
        self._tokens.pop(_key(login), None)
        return True

    def _token(self, login: Login, deadline: Deadline, reserve: float) -> str:
        key = _key(login)
        token, good_until = self._tokens.get(key, ("", 0.0))
        if self._outward.clock() >= good_until:
            token, _ = self._tokens[key] = self._fetch(login, deadline, reserve)
        return token

    def _fetch(self, login: Login, deadline: Deadline, reserve: float) -> tuple[str, float]:
        members = login.auth.members
        grant = {name: members[name] for name in ("client_id", "username", "password")}
        form = urlencode({"grant_type": "password", **grant}).encode()
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        try:
            answer = self._outward.ask("POST", _token_url(login), form, kind, deadline, reserve=reserve)
        except SendError as error:
            # The request that needs the token was not sent, so a time-out here is not ambiguous.
            late = error.reason == Reason.TIMEOUT and error.may_have_acted
            reason = Reason.UNREACHABLE if late else error.reason
            raise SendError(reason, f"token: {error.detail}", was_sent=False) from error
        token = json_object(answer.body)
        value, seconds = token.get("access_token"), _seconds(token.get("expires_in"))
        if answer.status == 200 and _fits_header(value):
            return value, self._outward.clock() + seconds - TOKEN_MARGIN_SECONDS
        # 400 is OAuth's answer to a wrong user, password or client. An older URL's host may have no log-in any more.
        is_refused = answer.status == 400 or answer.status in GONE
        reason = Reason.CREDENTIALS if is_refused else reason_for_status(answer.status)
        failure = self._outward.bad_answer(answer, reason, {members["password"]})
        failure.was_sent = False
        raise failure


def _key(login: Login) -> tuple[str, ...]:
    """Return the key of a login's token. A channel with the wrong password must not use the token of another one."""
    members = login.auth.members
    password = hashlib.sha256(members["password"].encode()).hexdigest()
    return (_token_url(login), members["client_id"], members["username"], password)


def _token_url(login: Login) -> str:
    parts = urlsplit(login.url)
    return urlunsplit((parts.scheme, parts.netloc, TOKEN_PATH, "", ""))


def _fits_header(value: Any) -> TypeIs[str]:
    return isinstance(value, str) and value.isascii() and value.isprintable() and value != ""


def _seconds(value: Any) -> float:
    """Return the lifetime of an OAuth token (seconds); 0 for an invalid value, so that the token is used once."""
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        seconds = float(value)
        return seconds if math.isfinite(seconds) else 0.0
    return 0.0
