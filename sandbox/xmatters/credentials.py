"""Credentials for xMatters, declared or read from requests: docs/vendors.md, xMatters "Authentication"."""

import base64
import binascii
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.http.schema import compiled, one_of

KEYS: Mapping[str, tuple[str, ...]] = {
    "url": ("api_key",),
    "basic": ("username", "password"),
    "api_key": ("key", "secret"),
    "oauth": ("client_id", "username", "password"),
}
API_KEY_PREFIX = "x-api-key-"


@dataclass(frozen=True)
class Auth:
    """Credentials that a trigger or the REST API accepts.

    Attributes:
        type: Accepted kind of credentials, a key of `KEYS`.
        values: The credentials by name, such as ``username``.
    """

    type: str
    values: Mapping[str, str]

    @classmethod
    def parse(cls, declared: object) -> "Auth":
        """Read a declaration such as ``{"type": "basic", "username": …, "password": …}``.

        Raises InvalidError if a key is missing, unknown or no text; the message holds no value.
        """
        kind = one_of(declared, "type", list(KEYS), "auth")
        checked = _checker(kind)(declared, "auth")
        return cls(kind, {key: value for key, value in checked.items() if key != "type"})

    def expected(self, kind: str) -> tuple[str, ...] | None:
        """Return the accepted credentials of one kind, such as user name and password; None for a kind not accepted.

        The values have the order of `KEYS`.
        """
        return tuple(self.values[key] for key in KEYS[kind]) if self.type == kind else None


@dataclass(frozen=True)
class Presented:
    """Credentials that a request showed: their kind, and their values; no values if they cannot be read."""

    kind: str
    values: tuple[str, ...]


def presented(authorization: str | None, api_key: str | None) -> list[Presented]:
    """Return all credentials of a request: from its Authorization header first, then the API key of its query."""
    found = []
    scheme, _, rest = (authorization or "").partition(" ")
    if scheme.lower() == "basic":
        found.append(_basic(rest.strip()))
    if scheme.lower() == "bearer":
        found.append(Presented("oauth", (rest.strip(),)))
    if api_key is not None:
        found.append(Presented("url", (api_key,)))
    return found


def _basic(encoded: str) -> Presented:
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return Presented("basic", ())
    kind = "api_key" if user.startswith(API_KEY_PREFIX) else "basic"
    return Presented(kind, (user, password) if colon else ())


@functools.cache
def _checker(kind: str) -> Callable[[object, str], dict[str, Any]]:
    text = {"type": "string", "minLength": 1}
    schemas: dict[str, Any] = {key: text for keys in KEYS.values() for key in keys}
    schemas["key"] = text | {"pattern": f"^{API_KEY_PREFIX}"}
    return compiled({"type": {"const": kind}} | {key: schemas[key] for key in KEYS[kind]}, {})
