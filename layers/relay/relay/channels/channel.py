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
from enum import Enum
from typing import Any, Literal, NamedTuple, Never
from urllib.parse import unquote_plus, urlsplit

import fastjsonschema

from relay.channels import token
from relay.channels.policy import Policy
from relay.channels.schema import AUTH, CHANNEL, CHANNEL_NAME, ENVIRONMENT_PATTERN, HEADER_PATTERN, URL_PATTERN
from relay.channels.token import Door
from relay.errors import InvalidChannel
from relay.http.client import basic
from relay.http.session import AllowList, ForbiddenUrl, VendorHosts
from relay.incidents.callback import ACKNOWLEDGE, ESCALATE, WRITTEN, Answers, Callback, Kind

BIGPANDA_URL = "https://api.bigpanda.io"


@dataclass(frozen=True)
class Inbound:
    """Credentials that a vendor shows to the relay: a token, or a user name and password, or both.

    Attributes:
        token: The token; None if the credentials have none.
        username: The user name; None if the credentials have no login.
        password: The password; None if the credentials have no login.
        expires_at: End of validity (epoch seconds); None means that the credentials do not expire.
    """

    token: str | None = field(repr=False)
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    expires_at: float | None = None


@dataclass(frozen=True)
class Auth:
    """Credentials that the relay shows to xMatters.

    Attributes:
        type: `url`, `basic`, `api_key` or `oauth`.
        members: The other keys of the secret's `auth`, by name.
    """

    type: str
    members: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Rest:
    """Access to xMatters' REST API, for queries about the channel's pages.

    Attributes:
        base_url: URL without a slash at the end.
        auth: The credentials.
    """

    base_url: str = field(repr=False)
    auth: Auth


@dataclass(frozen=True)
class Access:
    """Access to BigPanda's API, and the channel's settings for it.

    Attributes:
        base_url: URL without a slash at the end.
        api_key: The API key.
        environments: Ids of the environments that hold the channel's incidents. Reconcile runs list these only; with
            none there are no reconcile runs.
        assign: True to assign an incident to its acknowledger.
        email_domain: Domain that turns an xMatters user name into a BigPanda user name; None if they are the same.
        comments: Kinds of callbacks that are written into BigPanda as comments.
        callbacks: True if BigPanda withholds an incident's updates until the relay reports its first share delivered.
        app_key: Integration key for these reports, required with `callbacks`; None if the secret has none.
        reconcile: Action for an incident that the channel never announced: `report` it, or `ring` (signal it). None
            turns reconcile runs off.
        reconcile_query: BigPanda query that limits reconcile runs; None for all incidents of the environments.
    """

    base_url: str
    api_key: str = field(repr=False)
    environments: tuple[str, ...]
    assign: bool
    email_domain: str | None
    comments: frozenset[Kind]
    callbacks: bool = False
    app_key: str | None = field(default=None, repr=False)
    reconcile: Literal["report", "ring"] | None = "report"
    reconcile_query: str | None = None

    def place(self, environment_id: str | None) -> str | None:
        """Return the environment that a share or a callback names, or None if the secret does not list it.

        A sender with a valid token can name any environment. If the secret lists environments, only these are allowed.
        """
        return environment_id if not self.environments or environment_id in self.environments else None

    def writes(self, said: Callback) -> bool:
        """True if a callback is written into BigPanda. A successful delivery to a device is not written."""
        is_news = said.kind != Kind.DELIVERY or said.is_failed_delivery()
        return said.kind in self.comments and is_news


class Vouched(NamedTuple):
    """Statements of the operator that can't be checked from the secret alone.

    Attributes:
        recipients_in: Place outside the secret that names the recipients: `workflow` (in xMatters) or `url` (the URL
            of BigPanda's webhook, `?recipients=`). None if there is no such place.
        any_trigger_path: True if the trigger URL is right although its path is undocumented.
    """

    recipients_in: str | None = None
    any_trigger_path: bool = False


@dataclass(frozen=True)
class Channel:
    """A valid channel. Its repr shows no secrets.

    Attributes:
        name: The channel's name.
        inbound: Credentials that BigPanda shows to the webhook.
        trigger_url: URL of the xMatters trigger.
        auth: Credentials for the trigger.
        recipients: Recipients of all signals of the channel.
        policy: The policy.
        callback: Credentials that xMatters shows to the callback; never valid for the webhook. Empty if there are none.
        answers: Response texts that acknowledge or escalate.
        bigpanda: Access to BigPanda's API; None if there is none.
        rest: Access to xMatters' REST API; None if there is none.
        vouched: Statements of the operator.
    """

    name: str
    inbound: tuple[Inbound, ...] = field(repr=False)
    trigger_url: str = field(repr=False)
    auth: Auth
    recipients: tuple[str, ...]
    policy: Policy
    callback: tuple[Inbound, ...] = field(default=(), repr=False)
    answers: Answers = field(default_factory=Answers)
    bigpanda: Access | None = None
    rest: Rest | None = None
    vouched: Vouched = field(default_factory=Vouched)

    def admits(self, headers: Mapping[str, str], now: float, *, door: Door = "inbound") -> bool:
        """True if the request's headers (names in lower case) hold credentials for that door, valid at `now`.

        Each credential is compared in constant time. A match does not end the comparison. A channel without
        credentials for the door admits no request.
        """
        return bool(self._fitting(headers, now, door))

    def used(self, headers: Mapping[str, str], now: float, *, door: Door) -> str | None:
        """Return the fingerprint of the valid credential in the request's headers; None if there is none."""
        fitting = self._fitting(headers, now, door)
        return self._fingerprint(fitting[0]) if fitting else None

    def fingerprints(self, door: Door) -> tuple[tuple[str, str, str], ...]:
        """List the credentials of a door: `current` or `previous`, `token` or `basic`, and the fingerprint."""
        ages = zip(("current", "previous"), self._credentials(door), strict=False)
        return tuple(
            (age, secret.partition(b":")[0].decode(), self._fingerprint(secret))
            for age, each in ages
            for secret in _secrets(each)
        )

    def _credentials(self, door: Door) -> tuple[Inbound, ...]:
        return self.inbound if door == "inbound" else self.callback

    def _fitting(self, headers: Mapping[str, str], now: float, door: Door) -> list[bytes]:
        """Return the credentials of a door that the headers hold, compared without an early exit."""
        offered = _offered(headers)
        valid = [each for each in self._credentials(door) if each.expires_at is None or now < each.expires_at]
        compared = [(secret, _same(secret, offer)) for each in valid for secret in _secrets(each) for offer in offered]
        return [secret for secret, fits in compared if fits]

    def _fingerprint(self, secret: bytes) -> str:
        # Keyed with other secrets of the channel, so that fingerprints can't be used to test guessed passwords.
        key = json.dumps([self.trigger_url, *sorted(self.auth.members.items())]).encode()
        return hmac.digest(key, secret, "sha256").hex()[:8]

    def permits(self, recipient: str) -> bool:
        """True if a webhook's URL may name this recipient."""
        allowed, name = self.policy.allowed_recipients, recipient.lower()
        if allowed is None or name in allowed:
            return True
        return any(_fits(name, pattern) for pattern in allowed if "*" in pattern or "?" in pattern)

    @property
    def confirms_ends(self) -> bool:
        """True if an incident's end is confirmed with BigPanda before its pages are terminated."""
        return self.policy.confirm_resolve and self.bigpanda is not None and bool(self.bigpanda.environments)

    def follows(self, *, ends: bool) -> bool:
        """True if a signal needs a follow-up job: to find its page, or to confirm an incident's end.

        `ends` is True if the signal may be one of an incident's end.
        """
        return self.rest is not None or (ends and self.confirms_ends)

    @property
    def is_quiet(self) -> bool:
        """True if, after an acknowledgement, signals go to the acknowledger only, unless it worsened or reopened."""
        return self.policy.quiet_after_acknowledge and bool(self.callback)

    def heeds(self, said: Callback) -> bool:
        """True if a callback is written into BigPanda, or recorded as an acknowledgement."""
        is_written = self.bigpanda is not None and self.bigpanda.writes(said)
        return is_written or (self.is_quiet and self.answers.is_acknowledgement(said))

    def secrets(self) -> frozenset[str]:
        """Return every text that must be redacted from logs, stored data and answers."""
        # Values of all query parameters: the URL of an agent or a proxy may have another name for its key.
        pieces = [piece.partition("=") for piece in urlsplit(self.trigger_url).query.split("&")]
        in_url = {text for name, _, value in pieces if name != "recipients" for text in (value, unquote_plus(value))}
        inbound = {text for each in (*self.inbound, *self.callback) for text in (each.token, each.password) if text}
        auths = [self.auth, *([self.rest.auth] if self.rest else [])]
        hidden = [item for auth in auths for item in auth.members.items() if item[0] not in {"username", "client_id"}]
        outbound = {text for _, text in hidden}
        bigpanda = {self.bigpanda.api_key, self.bigpanda.app_key or ""} if self.bigpanda else set()
        return frozenset({self.trigger_url, *inbound, *outbound, *bigpanda, *in_url} - {""})


def _fits(name: str, pattern: str) -> bool:
    # Imported here, since most channels have no pattern: this keeps the import out of their cold starts.
    from fnmatch import fnmatchcase  # noqa: PLC0415

    return fnmatchcase(name, pattern)


def removed(name: str) -> Channel:
    """Return a stand-in for a removed channel: its name and the default policy, without credentials."""
    return Channel(name, (), "", Auth("url", {}), (), Policy())


def is_channel_name(name: str) -> bool:
    """True if the text is a valid channel name."""
    return re.match(CHANNEL_NAME, name) is not None


class Shown(Enum):
    """Kinds of credentials in a request, as far as they are recognised without the channel's secret."""

    NOTHING = "nothing"
    # A token with the relay's prefix whose checksum is wrong for this channel and door.
    FOREIGN = "foreign"
    # A token whose checksum is right for this channel and door.
    CHECKED = "checked"
    # A token without a checksum, which an operator chose, or a user name and password.
    OPAQUE = "opaque"


def shown(headers: Mapping[str, str], name: str, door: Door) -> Shown:
    """Return the kind of credentials in a request's headers (names in lower case); of several, the most trusted."""
    kinds = {_kind(offer, name, door) for offer in _offered(headers)}
    return next((kind for kind in (Shown.CHECKED, Shown.OPAQUE, Shown.FOREIGN) if kind in kinds), Shown.NOTHING)


def _kind(offer: bytes, name: str, door: Door) -> Shown:
    kind, _, text = offer.partition(b":")
    if kind != b"token" or not token.claims_to_check(text.decode("utf-8", "replace")):
        return Shown.OPAQUE
    return Shown.CHECKED if token.fits(text.decode("utf-8", "replace"), name, door) else Shown.FOREIGN


def header_for(inbound: Mapping[str, Any]) -> dict[str, str]:
    """Return the header (`name` and `value`) for these valid members of a secret's `inbound` or `callback`."""
    if "token" in inbound:
        return {"name": "Authorization", "value": f"Bearer {inbound['token']}"}
    return {"name": "Authorization", "value": basic(inbound["basic"]["username"], inbound["basic"]["password"])}


def parse_channel(name: str, text: str, hosts: VendorHosts) -> Channel:
    """Parse a channel's secret (JSON). Raises InvalidChannel, which names the key at fault but never its value."""
    document = decode_secret(text)
    check(document, hosts)
    _check_tokens(document, name)
    xmatters = document["xmatters"]
    return Channel(
        name=name,
        inbound=tuple(_door(document["inbound"])),
        trigger_url=xmatters["trigger_url"],
        auth=_auth(xmatters["auth"]),
        recipients=tuple(dict.fromkeys(name.strip() for name in xmatters.get("recipients", ()))),
        policy=Policy.of(document.get("policy", {})),
        callback=tuple(_door(xmatters["callback"])) if "callback" in xmatters else (),
        answers=_answers(xmatters.get("responses", {})),
        bigpanda=_access(document["bigpanda"]) if "bigpanda" in document else None,
        rest=_rest(xmatters["rest"]) if "rest" in xmatters else None,
        vouched=Vouched(xmatters.get("recipients_in"), xmatters.get("any_trigger_path", False)),
    )


def check(document: Any, hosts: VendorHosts) -> None:
    """Raise InvalidChannel unless the decoded secret is a valid channel whose URLs may be called."""
    _CHANNEL.check(document, "")
    _check_text(document)
    inbound, xmatters = document["inbound"], document["xmatters"]
    _check_door(inbound, "inbound")
    if "callback" in xmatters:
        _check_door(xmatters["callback"], "xmatters.callback")
    _AUTH[xmatters["auth"]["type"]].check(xmatters["auth"], "xmatters.auth")
    if "rest" in xmatters:
        _AUTH[xmatters["rest"]["auth"]["type"]].check(xmatters["rest"]["auth"], "xmatters.rest.auth")
    bigpanda = document.get("bigpanda", {})
    if bigpanda.get("callbacks") and "app_key" not in bigpanda:
        raise InvalidChannel("bigpanda: needs app_key for callbacks")
    for key, url, allowed in _urls(document, hosts):
        try:
            allowed.check(url)
        except ForbiddenUrl as error:
            raise InvalidChannel(f"{key}: {error}") from None


class _Schema:
    """A compiled JSON Schema, and its error messages."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self._definition = definition
        # Without details: a validator with detailed errors takes three times as long to compile, at each cold start.
        self._holds: Callable[[Any], Any] = fastjsonschema.compile(definition, detailed_exceptions=False)

    def check(self, document: Any, place: str) -> None:
        """Raise InvalidChannel with the key at fault, below the key `place`, unless the document is valid."""
        try:
            self._holds(document)
        except fastjsonschema.JsonSchemaValueException:
            raise InvalidChannel(self._fault(document, place)) from None

    def _fault(self, document: Any, place: str) -> str:
        try:
            fastjsonschema.validate(self._definition, document)
        except fastjsonschema.JsonSchemaValueException as error:
            key = ".".join([place, *(str(part) for part in error.path[1:])]).strip(".") or "the secret"
            return f"{key}: {_complaint(error)}"
        raise AssertionError("the compiled schema refused a document that the detailed check accepts")


_CHANNEL = _Schema(CHANNEL)
_AUTH = {kind: _Schema(definition) for kind, definition in AUTH.items()}


def decode_secret(text: str) -> Any:
    """Decode the JSON of a secret; NaN and Infinity are no JSON. Raises InvalidChannel."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # The decoder's own message may quote a part of the secret.
        raise InvalidChannel("the secret is not JSON") from None


def _refuse_constant(name: str) -> Never:
    raise ValueError(name)


def _check_text(document: Any) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidChannel("the secret holds a character that is cut in half (a lone surrogate)") from None


_PATTERNS = {
    URL_PATTERN: "must be a URL",
    HEADER_PATTERN: "must be printable ASCII without spaces, as a header carries it",
    ENVIRONMENT_PATTERN: "must be an environment's id: letters, digits and ._:-, the first a letter or digit",
}


def _complaint(error: fastjsonschema.JsonSchemaValueException) -> str:
    """Return an error message without the value, which the library's own message may quote."""
    wanted = error.rule_definition
    match error.rule:
        case "additionalProperties":
            return (
                f"unknown key {', '.join(sorted(key for key in error.value if not _is_known(key, error.definition)))}"
            )
        case "required":
            return f"needs {', '.join(key for key in wanted if key not in error.value)}"
        case "enum":
            return f"must be one of {', '.join(each if isinstance(each, str) else json.dumps(each) for each in wanted)}"
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


def _is_known(key: str, definition: Mapping[str, Any]) -> bool:
    patterns = definition.get("patternProperties", {})
    return key in definition.get("properties", {}) or any(re.search(pattern, key) for pattern in patterns)


def _check_door(door: Mapping[str, Any], key: str) -> None:
    _check_credentials(door, key)
    if "previous" in door:
        _check_credentials(door["previous"], f"{key}.previous")
        _check_moment(door["previous"]["expires_at"], f"{key}.previous.expires_at")


def _check_credentials(inbound: Mapping[str, Any], key: str) -> None:
    if not {"basic", "token"} & inbound.keys():
        raise InvalidChannel(f"{key}: needs basic or token")


def _check_tokens(document: Mapping[str, Any], name: str) -> None:
    """Raise InvalidChannel for a token with a wrong checksum, and for a credential that is used for both doors."""
    inbound, callback = (
        dict(_credentials(document.get("inbound", {}), "inbound")),
        dict(_credentials(document["xmatters"].get("callback", {}), "xmatters.callback")),
    )
    doors: tuple[tuple[Door, dict[str, Any]], ...] = (("inbound", inbound), ("callback", callback))
    for door, found in doors:
        for key, value in found.items():
            if isinstance(value, str) and token.claims_to_check(value) and not token.fits(value, name, door):
                raise InvalidChannel(
                    f"{key}: begins with {token.PREFIX} and was not made for this channel and door, or was cut; "
                    "make a new one"
                )
    for key, value in callback.items():
        if twin := next((each for each, other in inbound.items() if other == value), None):
            raise InvalidChannel(f"{key}: opens BigPanda's door, too (it is the same as {twin}); make a new one")


def _credentials(door: Mapping[str, Any], key: str) -> Iterable[tuple[str, Any]]:
    """Yield the current and previous tokens and logins of a door, each with its key in the secret."""
    for place, members in ((key, door), (f"{key}.previous", door.get("previous", {}))):
        yield from ((f"{place}.{kind}", members[kind]) for kind in ("token", "basic") if kind in members)


def _check_moment(text: str, key: str) -> None:
    try:
        aware = datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise InvalidChannel(f"{key}: must be an ISO 8601 time with an offset, such as 2030-01-31T12:00:00Z")


def _urls(document: Mapping[str, Any], hosts: VendorHosts) -> Iterable[tuple[str, str, AllowList]]:
    """Yield each URL that the channel calls: its key in the secret, the URL, and the vendor's allow-list."""
    yield "xmatters.trigger_url", document["xmatters"]["trigger_url"], hosts.xmatters
    if "rest" in document["xmatters"]:
        yield "xmatters.rest.base_url", document["xmatters"]["rest"]["base_url"], hosts.xmatters
    if "base_url" in document.get("bigpanda", {}):
        yield "bigpanda.base_url", document["bigpanda"]["base_url"], hosts.bigpanda


def _door(members: Mapping[str, Any]) -> Iterable[Inbound]:
    """Yield the current credentials of a door, and the previous ones that are valid until they expire."""
    yield _inbound(members)
    if "previous" in members:
        yield _inbound(members["previous"])


def _answers(members: Mapping[str, Any]) -> Answers:
    return Answers(
        frozenset(text.strip().lower() for text in members.get("acknowledge", ACKNOWLEDGE)),
        frozenset(text.strip().lower() for text in members.get("escalate", ESCALATE)),
    )


def _auth(members: Mapping[str, str]) -> Auth:
    return Auth(members["type"], {name: value for name, value in members.items() if name != "type"})


def _rest(members: Mapping[str, Any]) -> Rest:
    return Rest(members["base_url"].rstrip("/"), _auth(members["auth"]))


_RECONCILE: Mapping[Any, Literal["report", "ring"] | None] = {
    "report": "report",
    "ring": "ring",
    True: "report",
    False: None,
}


def _access(members: Mapping[str, Any]) -> Access:
    environments = (members.get("environment_id"), *members.get("environments", ()))
    return Access(
        base_url=members.get("base_url", BIGPANDA_URL).rstrip("/"),
        api_key=members["api_key"],
        environments=tuple(dict.fromkeys(filter(None, environments))),
        assign=members.get("assign", False),
        email_domain=members.get("email_domain"),
        comments=frozenset(map(Kind, members.get("comments", WRITTEN))),
        callbacks=members.get("callbacks", False),
        app_key=members.get("app_key"),
        reconcile=_RECONCILE[members.get("reconcile", True)],
        reconcile_query=members.get("reconcile_query"),
    )


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
