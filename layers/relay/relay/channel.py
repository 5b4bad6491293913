"""A channel: one BigPanda sharing channel bound to one xMatters trigger, all of it in one secret."""

import base64
import binascii
import contextlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Never
from urllib.parse import unquote_plus, urlsplit

import fastjsonschema

from relay.channel_schema import AUTH, CHANNEL, CHANNEL_NAME, HEADER_PATTERN, URL_PATTERN
from relay.errors import InvalidChannel
from relay.http import AllowedHosts, ForbiddenUrl
from relay.policy import Policy


@dataclass(frozen=True)
class Inbound:
    """Credentials that open a door of ours: a token, or a user and password, or both.

    `expires_at` is in epoch seconds; None means never.
    """

    token: str | None = field(repr=False)
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    expires_at: float | None = None


@dataclass(frozen=True)
class Auth:
    """How to show xMatters who is calling: `type` is url, basic, api_key or oauth; `members` are its secrets."""

    type: str
    members: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Channel:
    """A valid channel. Nothing secret shows in its repr."""

    name: str
    inbound: tuple[Inbound, ...] = field(repr=False)
    trigger_url: str = field(repr=False)
    auth: Auth
    recipients: tuple[str, ...]
    policy: Policy

    def admits(self, headers: Mapping[str, str], now: float) -> bool:
        """Whether the request's headers (names in lower case) hold credentials that are valid at `now`.

        Every credential is compared in full, in constant time, whichever of them fits. No credential: no entry.
        """
        offered = _offered(headers)
        fits = [
            _same(secret, offer)
            for inbound in self.inbound
            if inbound.expires_at is None or now < inbound.expires_at
            for secret in _secrets(inbound)
            for offer in offered
        ]
        return any(fits)

    def secrets(self) -> frozenset[str]:
        """Everything that must not show in what is logged, kept or answered."""
        # Whatever its name: an agent's or a proxy's URL may call its key otherwise.
        pieces = [piece.partition("=") for piece in urlsplit(self.trigger_url).query.split("&")]
        in_url = {text for name, _, value in pieces if name != "recipients" for text in (value, unquote_plus(value))}
        inbound = {text for each in self.inbound for text in (each.token, each.password) if text}
        outbound = {text for name, text in self.auth.members.items() if name not in {"username", "client_id"}}
        return frozenset({self.trigger_url, *inbound, *outbound, *in_url} - {""})


def is_channel_name(name: str) -> bool:
    """Whether a channel can have this name at all."""
    return re.match(CHANNEL_NAME, name) is not None


def has_credentials(headers: Mapping[str, str]) -> bool:
    """Whether the request's headers (names in lower case) hold anything that could be a credential."""
    return bool(_offered(headers))


def header_for(inbound: Mapping[str, Any]) -> dict[str, str]:
    """The header, as `name` and `value`, that opens a door with these (valid) members of a secret's `inbound`."""
    if "token" in inbound:
        return {"name": "Authorization", "value": f"Bearer {inbound['token']}"}
    login = f"{inbound['basic']['username']}:{inbound['basic']['password']}"
    return {"name": "Authorization", "value": "Basic " + base64.b64encode(login.encode()).decode("ascii")}


def parse(name: str, text: str, hosts: AllowedHosts) -> Channel:
    """Read a channel from its secret's JSON. Raises InvalidChannel, which names the key at fault, never its value."""
    document = _decode(text)
    check(document, hosts)
    xmatters = document["xmatters"]
    inbound = document["inbound"]
    previous = [_inbound(inbound["previous"])] if "previous" in inbound else []
    return Channel(
        name=name,
        inbound=(_inbound(inbound), *previous),
        trigger_url=xmatters["trigger_url"],
        auth=Auth(xmatters["auth"]["type"], {k: v for k, v in xmatters["auth"].items() if k != "type"}),
        recipients=tuple(dict.fromkeys(name.strip() for name in xmatters.get("recipients", ()))),
        policy=Policy.of(document.get("policy", {})),
    )


def check(document: Any, hosts: AllowedHosts) -> None:
    """Raise InvalidChannel unless the decoded secret is a valid channel whose URLs may be called."""
    _check_schema(_CHECK_CHANNEL, document, "")
    _check_text(document)
    inbound, xmatters = document["inbound"], document["xmatters"]
    _check_inbound(inbound, "inbound")
    if "previous" in inbound:
        _check_inbound(inbound["previous"], "inbound.previous")
        _check_moment(inbound["previous"]["expires_at"], "inbound.previous.expires_at")
    _check_schema(_CHECK_AUTH[xmatters["auth"]["type"]], xmatters["auth"], "xmatters.auth")
    if "rest" in xmatters:
        _check_schema(_CHECK_AUTH[xmatters["rest"]["auth"]["type"]], xmatters["rest"]["auth"], "xmatters.rest.auth")
    if document.get("policy", {}).get("body") == "xmatters":
        raise InvalidChannel(
            "policy.body: xmatters is not supported yet; use bigpanda, which forwards BigPanda's bytes"
        )
    for key, url in _urls(document):
        try:
            hosts.check(url)
        except ForbiddenUrl as error:
            raise InvalidChannel(f"{key}: {error}") from None


type _Check = Callable[[Any], Any]
_CHECK_CHANNEL: _Check = fastjsonschema.compile(CHANNEL)
_CHECK_AUTH: Mapping[str, _Check] = {kind: fastjsonschema.compile(schema) for kind, schema in AUTH.items()}


def _decode(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # The decoder's own message may quote what it stumbled over.
        raise InvalidChannel("the secret is not JSON") from None


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


def _check_schema(checks: _Check, document: Any, place: str) -> None:
    try:
        checks(document)
    except fastjsonschema.JsonSchemaValueException as error:
        key = ".".join([place, *(str(part) for part in error.path[1:])]).strip(".") or "the secret"
        raise InvalidChannel(f"{key}: {_complaint(error)}") from None


def _check_text(document: Any) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidChannel("the secret holds a character that is cut in half (a lone surrogate)") from None


_PATTERNS = {
    URL_PATTERN: "must be a URL",
    HEADER_PATTERN: "must be printable ASCII without spaces, as a header carries it",
}


def _complaint(error: fastjsonschema.JsonSchemaValueException) -> str:
    """Our own words: the library's message may quote the value."""
    wanted = error.rule_definition
    match error.rule:
        case "additionalProperties":
            return f"unknown key {', '.join(sorted(set(error.value) - set(error.definition['properties'])))}"
        case "required":
            return f"needs {', '.join(key for key in wanted if key not in error.value)}"
        case "enum":
            return f"must be one of {', '.join(wanted)}"
        case "type":
            return f"must be of type {wanted}"
        case "minimum" | "maximum":
            return f"must be {wanted} or {'more' if error.rule == 'minimum' else 'less'}"
        case "maxLength" | "maxItems":
            return f"must have {wanted} {'characters' if error.rule == 'maxLength' else 'items'} at most"
        case "pattern":
            return _PATTERNS.get(wanted, "must not be blank or hold a comma")
        case "uniqueItems":
            return "must not name anything twice"
        case _:
            return "must not be empty"


def _check_inbound(inbound: Mapping[str, Any], key: str) -> None:
    if not {"basic", "token"} & inbound.keys():
        raise InvalidChannel(f"{key}: needs basic or token")


def _check_moment(text: str, key: str) -> None:
    try:
        aware = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise InvalidChannel(f"{key}: must be an ISO 8601 time with an offset, such as 2030-01-31T12:00:00Z")


def _urls(document: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "xmatters.trigger_url", document["xmatters"]["trigger_url"]
    if "rest" in document["xmatters"]:
        yield "xmatters.rest.base_url", document["xmatters"]["rest"]["base_url"]
    if "base_url" in document.get("bigpanda", {}):
        yield "bigpanda.base_url", document["bigpanda"]["base_url"]


def _inbound(members: Mapping[str, Any]) -> Inbound:
    login = members.get("basic", {})
    expires_at = members.get("expires_at")
    return Inbound(
        token=members.get("token"),
        username=login.get("username"),
        password=login.get("password"),
        expires_at=datetime.fromisoformat(expires_at).timestamp() if expires_at else None,
    )


def _offered(headers: Mapping[str, str]) -> list[bytes]:
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    offered = []
    if scheme.lower() == "bearer" and rest.strip():
        offered.append(b"token:" + rest.strip().encode("utf-8", "surrogatepass"))
    if scheme.lower() == "basic":
        with contextlib.suppress(binascii.Error, ValueError):
            offered.append(b"basic:" + base64.b64decode(rest.strip(), validate=True))
    if key := headers.get("x-api-key", "").strip():
        offered.append(b"token:" + key.encode("utf-8", "surrogatepass"))
    return offered


def _secrets(inbound: Inbound) -> Iterable[bytes]:
    if inbound.token:
        yield b"token:" + inbound.token.encode()
    if inbound.username and inbound.password:
        yield b"basic:" + f"{inbound.username}:{inbound.password}".encode()


def _same(secret: bytes, offer: bytes) -> bool:
    return hmac.compare_digest(secret, offer)
