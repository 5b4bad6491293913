"""A channel: one BigPanda sharing channel bound to one xMatters trigger, all of it in one secret."""

import base64
import binascii
import contextlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Any, Literal
from urllib.parse import unquote_plus, urlsplit

from relay.channels import token
from relay.channels.policy import CHANNEL_NAME, Mode, Policy
from relay.channels.token import EndpointName
from relay.foreign_text import url_part
from relay.incidents.callback import Callback, Kind, ResponseAction, ResponseMeanings
from relay.incidents.share import Transition

BIGPANDA_URL = "https://api.bigpanda.io"
# The names of a signal stand in the trigger's URL and in a header, and many servers accept 8 KiB of both together.
MAX_NAMES_LENGTH = 2048

# Letters, digits, and what names of users, groups and devices have between them.
_PLAIN_NAME = re.compile(r"[\w .|@-]{1,200}")

# Kind of a credential for a vendor's API, as in `relayctl channel rotate`: xMatters' REST API, or BigPanda's API.
type ApiKind = Literal["rest", "bigpanda"]


@dataclass(frozen=True)
class EndpointCredentials:
    """Credentials that a vendor shows to the relay.

    Attributes:
        members: The members `token` and `basic` of the secret's `inbound` or `callback`: one of them, or both.
        expires_at: End of validity (epoch seconds); None for no end.
    """

    members: Mapping[str, Any] = field(repr=False)
    expires_at: float | None = None


@dataclass(frozen=True)
class OutboundCredentials:
    """Credentials that the relay shows to xMatters' triggers, or to its REST API.

    Attributes:
        type: `url` (the URL itself is the credential), `basic`, `api_key` or `oauth`.
        members: The other keys of the secret's `auth`, by name.
    """

    type: str
    members: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Rest:
    """Access to xMatters' REST API. `base_url` has no slash at the end."""

    base_url: str = field(repr=False)
    auth: OutboundCredentials

    @property
    def login(self) -> str:
        """URL and credentials as one text, equal for channels that share them."""
        return json.dumps([self.base_url, self.auth.type, *sorted(self.auth.members.items())])


@dataclass(frozen=True)
class BigPandaAccess:
    """Access to BigPanda's API, and the channel's settings for it.

    Attributes:
        base_url: URL without a slash at the end.
        environments: Ids of the environments that hold the channel's incidents; without any, no reconcile runs.
        assign: True to assign an incident in BigPanda to the person who acknowledges its page.
        email_domain: Domain that is appended to an xMatters user name to look up the BigPanda user; None appends none.
        comments: Kinds of callbacks that are written into BigPanda as comments.
        callbacks: True if BigPanda withholds an incident's updates until its first share is reported as received.
        app_key: Integration key for these reports, required with `callbacks`.
        reconcile: Action for an open incident of which no share came: `report` it, or `ring` (signal it, if it is the
            channel's). None for no reconcile runs.
        reconcile_query: BigPanda's query that limits reconcile runs to some incidents; None for all.
        actions: Effect of a person's response on the incident in BigPanda, by the response's text in lower case.
        automations: BigPanda's ids of users that are integrations. Their activities do not count as people's answers.
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
    actions: Mapping[str, ResponseAction] = field(default_factory=dict)
    automations: frozenset[str] = frozenset()

    @property
    def login(self) -> str:
        """URL, key and first environment (the one that a probe reads) as one text with the secret key.

        Channels whose text is equal are probed once.
        """
        return json.dumps([self.base_url, self.api_key, *self.environments[:1]])

    def allowed_environment(self, environment_id: str | None) -> str | None:
        """Return `environment_id`, which a sender can choose, if the secret lists it or lists none; else None."""
        return environment_id if not self.environments or environment_id in self.environments else None

    def writes(self, callback: Callback) -> bool:
        """True if the channel wants a callback as a comment: a delivery to a device only if it failed."""
        is_news = callback.kind != Kind.DELIVERY or callback.is_failed_delivery()
        return callback.kind in self.comments and is_news

    def action_of(self, said: Callback) -> ResponseAction | None:
        """Return the effect of a callback's response on its incident; None if the secret names none."""
        return self.actions.get(said.response)


@dataclass(frozen=True)
class Channel:
    """A valid channel. Its repr shows no secrets.

    Attributes:
        inbound: Credentials that BigPanda shows to the webhook.
        recipients: Recipients of signals for which no route matches; may be empty.
        callback: Credentials that xMatters shows to the callback endpoint; never valid for the webhook.
        responses: The texts by which a person acknowledges or escalates.
        bigpanda: None without credentials for BigPanda's API.
        rest: None without credentials for xMatters' REST API.
        recipients_in: Place outside the secret that names recipients: `workflow` (in xMatters) or `url` (the URL of
            BigPanda's webhook, `?recipients=`). None if there is no such place.
        any_trigger_path: True if the trigger URL may have a path that xMatters does not document.
    """

    name: str
    inbound: tuple[EndpointCredentials, ...] = field(repr=False)
    trigger_url: str = field(repr=False)
    auth: OutboundCredentials
    recipients: tuple[str, ...]
    policy: Policy
    callback: tuple[EndpointCredentials, ...] = field(default=(), repr=False)
    responses: ResponseMeanings = field(default_factory=ResponseMeanings)
    bigpanda: BigPandaAccess | None = None
    rest: Rest | None = None
    recipients_in: str | None = None
    any_trigger_path: bool = False

    def accepts(self, headers: Mapping[str, str], now: float, *, endpoint: EndpointName = "inbound") -> bool:
        """True if the request's headers (names in lower case) hold valid credentials for an endpoint.

        A channel without credentials for the endpoint accepts no request.
        """
        return bool(self._fitting(headers, now, endpoint))

    def matching_fingerprint(self, headers: Mapping[str, str], now: float, *, endpoint: EndpointName) -> str | None:
        """Return the fingerprint of the valid credential in the request's headers; None if there is none.

        A fingerprint is a short keyed hash, which does not reveal the credential. `now` is in epoch seconds.
        """
        fitting = self._fitting(headers, now, endpoint)
        return self._fingerprint(fitting[0]) if fitting else None

    def fingerprints(self, endpoint: EndpointName) -> tuple[tuple[str, str, str], ...]:
        """Return age (`current`, `previous`), kind (`token`, `basic`) and hash of each credential, expired or not."""
        ages = zip(("current", "previous"), self._credentials(endpoint), strict=False)
        return tuple(
            (age, secret.partition(b":")[0].decode(), self._fingerprint(secret))
            for age, each in ages
            for secret in _secrets(each)
        )

    def _credentials(self, endpoint: EndpointName) -> tuple[EndpointCredentials, ...]:
        return self.inbound if endpoint == "inbound" else self.callback

    def _fitting(self, headers: Mapping[str, str], now: float, endpoint: EndpointName) -> list[bytes]:
        """Return those of the channel's valid credentials for an endpoint that the request's headers contain."""
        # Each is compared in constant time, also after a match.
        offered = _offered(headers)
        valid = [each for each in self._credentials(endpoint) if each.expires_at is None or now < each.expires_at]
        pairs = ((secret, offer) for each in valid for secret in _secrets(each) for offer in offered)
        compared = [(secret, hmac.compare_digest(secret, offer)) for secret, offer in pairs]
        return [secret for secret, fits in compared if fits]

    def probed_apis(self) -> dict[ApiKind, Rest | BigPandaAccess]:
        """Return the access to each API whose credential a probe can test: BigPanda's only if it has an environment."""
        found: dict[ApiKind, Rest | BigPandaAccess] = {}
        if self.rest:
            found["rest"] = self.rest
        if self.bigpanda and self.bigpanda.environments:
            found["bigpanda"] = self.bigpanda
        return found

    def api_fingerprints(self) -> dict[ApiKind, str]:
        """Return a keyed hash of URL and credentials for each vendor's API whose credential can be tested."""
        return {kind: self._fingerprint(each.login.encode()) for kind, each in self.probed_apis().items()}

    def _fingerprint(self, secret: bytes) -> str:
        # Keyed with other secrets of the channel, so that fingerprints can't be used to test guessed passwords.
        key = json.dumps([self.trigger_url, *sorted(self.auth.members.items())]).encode()
        return hmac.digest(key, secret, "sha256").hex()[:8]

    @cached_property
    def trigger_recipients(self) -> tuple[str, ...]:
        """Recipients in the trigger's URL. No signal for the acknowledger or further recipients alone goes to them."""
        return names_in_url(self.trigger_url)

    @property
    def named_recipients(self) -> frozenset[str]:
        """All recipients in the secret: in the trigger's URL, `recipients`, routes and `unanswered_recipients`."""
        routed = (name for route in self.policy.routes for name in route.recipients)
        return frozenset((*self.trigger_recipients, *self.recipients, *routed, *self.policy.unanswered_recipients))

    def permits(self, recipient: str) -> bool:
        """True if the channel's `policy.allowed_recipients` lets a webhook's URL name this recipient.

        None permits all names. A name that only a pattern permits must have plain characters alone: letters, digits,
        space and `._|@-`. A pattern such as `dba-*` also matches whole sentences.
        """
        allowed, name = self.policy.allowed_recipients, recipient.lower()
        if allowed is None or name in allowed:
            return True
        if not _PLAIN_NAME.fullmatch(name):
            return False
        return any(_fits(name, pattern) for pattern in allowed if "*" in pattern or "?" in pattern)

    @property
    def asks_about_ends(self) -> bool:
        """True if BigPanda is asked to confirm each resolve before it counts. Always False in shadow mode."""
        can_ask = self.bigpanda is not None and bool(self.bigpanda.environments)
        return can_ask and self.policy.confirm_resolve and self.policy.mode is not Mode.SHADOW

    @property
    def asks_about_answers(self) -> bool:
        """True if BigPanda is asked for people's answers: the policy awaits them, and the channel has `bigpanda`."""
        return self.bigpanda is not None and self.policy.answered_within_seconds > 0

    @property
    def is_reconciled(self) -> bool:
        """True if the channel's incidents are compared with BigPanda's listing. In shadow mode they are not."""
        return self.bigpanda is not None and self.bigpanda.reconcile is not None and self.policy.mode is Mode.LIVE

    @property
    def signals_acknowledger_only(self) -> bool:
        """True if the signals of an acknowledged incident go to the acknowledger only, until it worsens or reopens."""
        return self.policy.quiet_after_acknowledge and bool(self.callback)

    @staticmethod
    def fitting(names: Iterable[str]) -> tuple[str, ...]:
        """Return the first of these names, each once, that together fit into MAX_NAMES_LENGTH characters of a URL."""
        unique = dict.fromkeys(names)
        lengths = accumulate(len(url_part(name)) + 1 for name in unique)
        return tuple(name for name, length in zip(unique, lengths, strict=True) if length <= MAX_NAMES_LENGTH)

    def wants_callback(self, callback: Callback) -> bool:
        """True if the channel uses a callback: to write it to BigPanda, or as an acknowledgement or other proof."""
        access = self.bigpanda
        is_written = access is not None and (access.writes(callback) or access.action_of(callback) is not None)
        is_told = self.is_answer(callback) or callback.is_delivered() or callback.is_dead_end()
        is_proof = self.policy.awaits_receipt and is_told
        return (
            is_written or is_proof or (self.signals_acknowledger_only and self.responses.is_acknowledgement(callback))
        )

    def is_answer(self, callback: Callback) -> bool:
        """True if a callback proves that a person knows of the incident: a response that does not escalate."""
        return callback.kind == Kind.RESPONSE and not self.responses.is_escalation(callback)

    def secrets(self) -> frozenset[str]:
        """Return every text that must be redacted from logs, stored data and answers."""
        # Values of all query parameters: the URL of an agent or a proxy may have another name for its key.
        pieces = [piece.partition("=") for piece in urlsplit(self.trigger_url).query.split("&")]
        in_url = {text for name, _, value in pieces if name != "recipients" for text in (value, unquote_plus(value))}
        shown = [each.members for each in (*self.inbound, *self.callback)]
        inbound = {each["token"] for each in shown if "token" in each}
        inbound |= {each["basic"]["password"] for each in shown if "basic" in each}
        auths = [self.auth, *([self.rest.auth] if self.rest else [])]
        hidden = [item for auth in auths for item in auth.members.items() if item[0] not in {"username", "client_id"}]
        outbound = {text for _, text in hidden}
        bigpanda = {self.bigpanda.api_key, self.bigpanda.app_key or ""} if self.bigpanda else set()
        return frozenset({self.trigger_url, *inbound, *outbound, *bigpanda, *in_url} - {""})


def names_in_url(url: str) -> tuple[str, ...]:
    """Return the names in the parameter `recipients` of a trigger's URL, which commas (also as `%2C`) separate."""
    pieces = [piece.partition("=") for piece in urlsplit(url).query.split("&")]
    lists = [unquote_plus(value) for name, _, value in pieces if name == "recipients"]
    return tuple(filter(None, (name.strip() for each in lists for name in each.split(","))))


def _fits(name: str, pattern: str) -> bool:
    # Imported here, since most channels have no pattern: this keeps the import out of their cold starts.
    from fnmatch import fnmatchcase  # noqa: PLC0415

    return fnmatchcase(name, pattern)


def removed(name: str) -> Channel:
    """Return a stand-in for a removed channel, so that its remaining jobs can be dead-lettered."""
    # All transitions that a policy can name, so that each debt still counts as owed.
    policy = Policy(notify_on=frozenset(Transition) - {Transition.TOUCHED})
    return Channel(name, (), "", OutboundCredentials("url", {}), (), policy)


def is_channel_name(name: str) -> bool:
    return re.match(CHANNEL_NAME, name) is not None


def checksum_fits(headers: Mapping[str, str], name: str, endpoint: EndpointName) -> bool | None:
    """True if headers hold a token with a right checksum for this channel and endpoint.

    False if no credential in them can be valid. None if only the secret can tell: for a token that an operator chose,
    or a user name and password. A right checksum authenticates nobody, since it is not secret.
    """
    found = [_checksum_fits(offer, name, endpoint) for offer in _offered(headers)]
    return True in found or (None if None in found else False)


def _checksum_fits(offer: bytes, name: str, endpoint: EndpointName) -> bool | None:
    kind, _, content = offer.partition(b":")
    text = content.decode("utf-8", "replace")
    return token.fits(text, name, endpoint) if kind == b"token" else None


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")


def header_for(inbound: Mapping[str, Any]) -> dict[str, str]:
    """Return the HTTP header (`name`, `value`) that a vendor sends, from a secret's member `inbound` or `callback`."""
    if "token" in inbound:
        return {"name": "Authorization", "value": f"Bearer {inbound['token']}"}
    return {"name": "Authorization", "value": basic(inbound["basic"]["username"], inbound["basic"]["password"])}


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


def _secrets(inbound: EndpointCredentials) -> Iterable[bytes]:
    if "token" in inbound.members:
        yield b"token:" + inbound.members["token"].encode()
    if login := inbound.members.get("basic"):
        yield b"basic:" + f"{login['username']}:{login['password']}".encode()
