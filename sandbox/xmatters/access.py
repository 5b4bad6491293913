"""Access to xMatters: credentials, declared or shown by a request; OAuth tokens; what the REST API accepts.

Documented (docs/vendors.md, xMatters "Authentication" and "OAuth"): the kinds of credentials; the token route, the two
grants, their form fields, the keys of a good answer, 900 seconds. Credentials in the query were accepted in 2018, and
xmtoolbox sends them there.

Guesses, to be checked against a tenant:

- the answer to a refused grant, in RFC 6749's words;
- a refresh token does not expire.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from sandbox.http import answers
from sandbox.http.answers import VendorAnswer, document
from sandbox.http.calls import Api, Served
from sandbox.http.faults import Script
from sandbox.http.schema import InvalidError, by_kind, compiled

KEYS: Mapping[str, tuple[str, ...]] = {
    "url": ("api_key",),
    "basic": ("username", "password"),
    "api_key": ("key", "secret"),
    "oauth": ("client_id", "username", "password"),
}
API_KEY_PREFIX = "x-api-key-"
# Default lifetime of tokens.
TOKEN_SECONDS = 900
_TEXT = {"type": "string", "minLength": 1}
_SCHEMAS = {key: _TEXT for keys in KEYS.values() for key in keys} | {"key": _TEXT | {"pattern": f"^{API_KEY_PREFIX}"}}
_CHECK = by_kind(
    "type",
    {kind: compiled({"type": {"const": kind}, **{key: _SCHEMAS[key] for key in keys}}) for kind, keys in KEYS.items()},
)


@dataclass(frozen=True)
class Auth:
    """Credentials that a trigger or the REST API accepts.

    Attributes:
        type: Accepted kind of credentials, a key of `KEYS`.
        values: The credentials by name, such as ``username``, in the order of `KEYS`.
        token_seconds: Lifetime of OAuth tokens for them.
    """

    type: str
    values: Mapping[str, str]
    token_seconds: int

    @classmethod
    def parse(cls, declared: object, token_seconds: int = TOKEN_SECONDS) -> "Auth":
        """Read a declaration such as ``{"type": "basic", "username": …, "password": …}``.

        Raises InvalidError if a key is missing, unknown or no text; the message holds no value.
        """
        checked = _CHECK(declared, "auth")
        kind = checked["type"]
        return cls(kind, {key: checked[key] for key in KEYS[kind]}, token_seconds)


@dataclass(frozen=True)
class Presented:
    """Credentials that a request showed: their kind, and their values; no values if they cannot be read."""

    kind: str
    values: tuple[str, ...]


def presented(request: web.Request) -> list[Presented]:
    """Return all credentials of a request: from its Authorization header first, then the API key of its query."""
    found = []
    scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        found.append(_basic(rest.strip()))
    if scheme.lower() == "bearer":
        found.append(Presented("oauth", (rest.strip(),)))
    if "apiKey" in request.query:
        found.append(Presented("url", (request.query["apiKey"],)))
    return found


@dataclass(frozen=True)
class TokenRequest:
    """One request to the token route.

    Attributes:
        grant_type: The grant that the form names; None if it names none.
        status: Status of the answer; None if the connection was cut before an answer.
    """

    grant_type: str | None
    status: int | None


class Tokens:
    """All issued tokens, and the token route. Safe to use from several threads.

    Attributes:
        requests: Every request to the token route, oldest first.
    """

    def __init__(self, script: Script, now: Callable[[], datetime]) -> None:
        self.requests: list[TokenRequest] = []
        self._script = script
        self._now = now
        self._access: dict[str, tuple[Auth, datetime]] = {}
        self._refresh: dict[str, Auth] = {}

    async def answer(self, request: web.Request, accepted: Iterable[Auth]) -> web.Response:
        """Answer a request for a token: issue tokens to one of the `accepted` credentials, or refuse."""
        body = (await request.read()).decode(errors="replace")
        form = {**request.query, **dict(parse_qsl(body))}
        served = Served.of(self._script, "token", self._granted(form, accepted), answers.xmatters_error)
        self.requests.append(TokenRequest(form.get("grant_type"), served.status))
        return await served.send(request)

    def match(self, shown: Presented, auth: Auth) -> bool:
        """Return True if `auth` accepts the credentials that a request showed."""
        if shown.kind != "oauth":
            return shown.kind == auth.type and shown.values == tuple(auth.values.values())
        holder = self.holder(shown)
        return holder is not None and holder.values == auth.values

    def holder(self, shown: Presented) -> Auth | None:
        """Return the credentials that an access token was issued for; None if it is unknown or expired."""
        auth, expires_at = self._access.get(shown.values[0], (None, None))
        return auth if expires_at and self._now() < expires_at else None

    def _granted(self, form: Mapping[str, str], accepted: Iterable[Auth]) -> VendorAnswer:
        match form.get("grant_type"):
            case "password":
                shown = {key: form.get(key) for key in KEYS["oauth"]}
                auth = next((each for each in accepted if each.values == shown), None)
            case "refresh_token":
                held = self._refresh.get(form.get("refresh_token", ""))
                auth = held if held and held.values["client_id"] == form.get("client_id") else None
            case None:
                return _refused("invalid_request", "grant_type is missing")
            case _:
                return _refused("unsupported_grant_type", "grant_type must be password or refresh_token")
        return self._issued(auth) if auth else _refused("invalid_grant", "Bad credentials")

    def _issued(self, auth: Auth) -> VendorAnswer:
        expires_at = self._now() + timedelta(seconds=auth.token_seconds)
        jti = secrets.token_hex(16)
        claims = {"user_name": auth.values["username"], "client_id": auth.values["client_id"], "jti": jti}
        access = _jwt({**claims, "exp": int(expires_at.timestamp())})
        refresh = _jwt({**claims, "ati": jti})
        self._access[access] = (auth, expires_at)
        self._refresh[refresh] = auth
        return document(
            200,
            {
                "access_token": access,
                "token_type": "bearer",
                "refresh_token": refresh,
                "expires_in": auth.token_seconds,
                "jti": jti,
            },
        )


class Rest:
    """Credentials of the REST API, and the serving of its routes. Safe to use from several threads.

    Attributes:
        handler: Returns the handler of a route: `Api.handler`.
        auth: The only credentials that the API accepts; None until they are declared, and it refuses every request.
    """

    def __init__(self, script: Script, tokens: Tokens, now: Callable[[], datetime]) -> None:
        self.handler = Api(script, now, answers.xmatters_error, self._refusal).handler
        self.auth: Auth | None = None
        self._tokens = tokens

    def declare(self, auth: object) -> None:
        """Set the only credentials that the REST API accepts.

        Raises InvalidError if the declaration is invalid; the message names the key, never the value.
        """
        accepts = Auth.parse(auth)
        if accepts.type == "url":
            raise InvalidError("auth.type must be one of basic, api_key, oauth: the REST API takes no key in a URL")
        self.auth = accepts

    def username(self, request: web.Request) -> str:
        """Return the user that a request with the right credentials acts as; an API key acts as its own name."""
        shown = presented(request)[0]
        if shown.kind == "oauth":
            holder = self._tokens.holder(shown)
            return holder.values["username"] if holder else ""
        # The key itself is a credential, and must not be shown.
        return shown.values[0] if shown.kind == "basic" else "api-key-user"

    def _refusal(self, _: str, request: web.Request) -> VendorAnswer | None:
        shown, auth = presented(request), self.auth
        if auth and any(self._tokens.match(each, auth) for each in shown):
            return None
        return refused(shown)


def refused(shown: list[Presented]) -> VendorAnswer:
    """Return the answer to a request whose credentials are not accepted."""
    if shown and shown[0].kind == "oauth":
        return answers.invalid_token()
    return answers.xmatters_error(401, "The credentials are missing or wrong")


def _basic(encoded: str) -> Presented:
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return Presented("basic", ())
    kind = "api_key" if user.startswith(API_KEY_PREFIX) else "basic"
    return Presented(kind, (user, password) if colon else ())


def _refused(code: str, description: str) -> VendorAnswer:
    return document(400, {"error": code, "error_description": description})


def _jwt(claims: Mapping[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, secrets.token_bytes(32)))
