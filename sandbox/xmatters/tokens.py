"""OAuth tokens: password and refresh grants, lifetimes, revocation.

Documented (docs/vendors.md, xMatters "OAuth"): the token route, the two grants, their form fields, the keys of a good
answer, 900 seconds. Credentials in the query were accepted in 2018, and xmtoolbox sends them there.

Guesses, to be checked against a tenant:

- the answer to a refused grant, in RFC 6749's words;
- a refresh token works until it is revoked;
- revocation itself, for which xMatters has no HTTP call.
"""

import base64
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.http.answers import VendorAnswer, document
from sandbox.xmatters.credentials import Auth, Presented

# Default lifetime of tokens.
TOKEN_SECONDS = 900


@dataclass(frozen=True)
class Account:
    """An account that gets OAuth tokens; `token_seconds` is their lifetime."""

    client_id: str
    username: str
    password: str
    token_seconds: int

    @classmethod
    def of(cls, auth: Auth, token_seconds: int) -> "Account | None":
        """Return the account that gets OAuth tokens for a trigger or the REST API; None if OAuth is not accepted.

        `auth` are the credentials that the trigger or the REST API accepts.
        """
        match auth.expected("oauth"):
            case (client_id, username, password):
                return cls(client_id, username, password, token_seconds)
        return None


@dataclass(frozen=True)
class TokenRequest:
    """One request to the token route.

    Attributes:
        grant_type: The grant that the form names; None if it names none.
        status: Status of the answer; None if the connection was cut before an answer.
        fault: Kind of the scripted fault that met the request; None without a fault.
    """

    received_at: datetime
    grant_type: str | None
    status: int | None
    fault: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the logged token request as JSON types, as the control API shows it; without credentials."""
        return {**vars(self), "received_at": self.received_at.isoformat()}


class Tokens:
    """All issued tokens. Safe to use from several threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._access: dict[str, tuple[Account, datetime]] = {}
        self._refresh: dict[str, Account] = {}

    def grant(self, form: Mapping[str, str], accounts: Sequence[Account]) -> VendorAnswer:
        """Answer a token request: issue tokens to one of `accounts`, or refuse."""
        match form.get("grant_type"):
            case "password":
                account = _signed_in(form, accounts)
            case "refresh_token":
                account = self._refreshed(form)
            case None:
                return _refused("invalid_request", "grant_type is missing")
            case _:
                return _refused("unsupported_grant_type", "grant_type must be password or refresh_token")
        return self._issued(account) if account else _refused("invalid_grant", "Bad credentials")

    def holder(self, token: str) -> Account | None:
        """Return the account of an access token; None if the token is unknown, revoked or expired."""
        with self._lock:
            account, expires_at = self._access.get(token, (None, None))
        return account if expires_at and self._now() < expires_at else None

    def match(self, shown: Presented, auth: Auth) -> bool:
        """Return True if `auth` accepts the credentials that a request showed."""
        expected = auth.expected(shown.kind)
        if shown.kind != "oauth":
            return shown.values == expected
        account = self.holder(shown.values[0])
        return account is not None and (account.client_id, account.username, account.password) == expected

    def revoke(self) -> None:
        """Revoke all tokens, refresh tokens included."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def _refreshed(self, form: Mapping[str, str]) -> Account | None:
        with self._lock:
            account = self._refresh.get(form.get("refresh_token", ""))
        return account if account and account.client_id == form.get("client_id") else None

    def _issued(self, account: Account) -> VendorAnswer:
        expires_at = self._now() + timedelta(seconds=account.token_seconds)
        jti = secrets.token_hex(16)
        claims = {"user_name": account.username, "client_id": account.client_id, "jti": jti}
        access = _jwt({**claims, "exp": int(expires_at.timestamp())})
        refresh = _jwt({**claims, "ati": jti})
        with self._lock:
            self._access[access] = (account, expires_at)
            self._refresh[refresh] = account
        return document(
            200,
            {
                "access_token": access,
                "token_type": "bearer",
                "refresh_token": refresh,
                "expires_in": account.token_seconds,
                "jti": jti,
            },
        )


def _signed_in(form: Mapping[str, str], accounts: Sequence[Account]) -> Account | None:
    shown = tuple(form.get(key) for key in ("client_id", "username", "password"))
    return next((each for each in accounts if (each.client_id, each.username, each.password) == shown), None)


def _refused(code: str, description: str) -> VendorAnswer:
    return document(400, {"error": code, "error_description": description})


def _jwt(claims: Mapping[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, secrets.token_bytes(32)))
