"""OAuth tokens: password and refresh grants, and who holds which token until when.

Documented (docs/vendors.md, xMatters "OAuth"): the two grants, their form fields, the keys of a good
answer, 900 seconds. Our guesses: what a refused grant answers (RFC 6749's words), that a refresh token
works until it is revoked, and revoking itself, for which xMatters has no HTTP call.
"""

import base64
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sandbox.answers import Answer, document
from sandbox.credentials import Auth, Presented
from sandbox.schema import InvalidError


@dataclass(frozen=True)
class Account:
    """Who may ask for tokens, and how many seconds theirs last."""

    client_id: str
    username: str
    password: str
    token_seconds: int

    @classmethod
    def of(cls, auth: Auth, token_seconds: int) -> "Account | None":
        """Who may ask for the tokens that `auth` accepts, if it accepts any."""
        match auth.expected("oauth"):
            case (client_id, username, password):
                return cls(client_id, username, password, token_seconds)
        return None


@dataclass(frozen=True)
class TokenRequest:
    """One call of the token route: the grant it asked for, and the status answered (None: no answer)."""

    received_at: datetime
    grant_type: str | None
    status: int | None
    fault: str | None

    def as_json(self) -> dict[str, Any]:
        """For the control API: no credential is in it."""
        return {**vars(self), "received_at": self.received_at.isoformat()}


class Tokens:
    """All tokens given out. Safe to use from several threads."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._access: dict[str, tuple[Account, datetime]] = {}
        self._refresh: dict[str, Account] = {}

    def grant(self, form: Mapping[str, str], accounts: Sequence[Account]) -> Answer:
        """The answer to a token request."""
        match form.get("grant_type"):
            case "password":
                account = _signed_in(form, accounts)
            case "refresh_token":
                account = self._refreshed(form)
            case None:
                return _refused("invalid_request", "grant_type is missing")
            case _:
                return _refused("unsupported_grant_type", "only password and refresh_token are known")
        return self._issued(account) if account else _refused("invalid_grant", "Bad credentials")

    def holder(self, token: str) -> Account | None:
        """Whose access token this is; None when it is unknown, revoked or too old."""
        with self._lock:
            account, expires_at = self._access.get(token, (None, None))
        return account if expires_at and self._now() < expires_at else None

    def match(self, shown: Presented, auth: Auth) -> bool:
        """Whether credentials that were shown are what `auth` accepts."""
        expected = auth.expected(shown.kind)
        if shown.kind != "oauth":
            return shown.values == expected
        account = self.holder(shown.values[0])
        return account is not None and (account.client_id, account.username, account.password) == expected

    def revoke(self) -> None:
        """Let no token work any more, refresh tokens included."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def _refreshed(self, form: Mapping[str, str]) -> Account | None:
        with self._lock:
            account = self._refresh.get(form.get("refresh_token", ""))
        return account if account and account.client_id == form.get("client_id") else None

    def _issued(self, account: Account) -> Answer:
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


def lifetime(token_seconds: object) -> int:
    """How long tokens last, as it is declared. Raises InvalidError when it can't be used."""
    if type(token_seconds) is not int or token_seconds < 0:
        raise InvalidError("token_seconds must be a whole number, 0 or more")
    return token_seconds


def _signed_in(form: Mapping[str, str], accounts: Sequence[Account]) -> Account | None:
    shown = tuple(form.get(key) for key in ("client_id", "username", "password"))
    return next((each for each in accounts if (each.client_id, each.username, each.password) == shown), None)


def _refused(code: str, description: str) -> Answer:
    return document(400, {"error": code, "error_description": description})


def _jwt(claims: Mapping[str, Any]) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, secrets.token_bytes(32)))
