"""Endpoints of a channel: the URLs that BigPanda and xMatters call, and the headers with their credentials."""

import secrets
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from relay.channels import token
from relay.channels.cache import MARKS_SECONDS
from relay.channels.channel import Channel, header_for
from relay.channels.parsing import parse_channel
from relay.channels.token import EndpointName
from relay.failures import LedgerError, SendError
from relay.foreign_text import printable
from relay.ledger import credentials
from relay.ledger.credentials import USE_SECONDS
from relay.ledger.table import Table
from relayctl import moments, terminal
from relayctl.channel.secret_document import SecretDocument
from relayctl.failed_calls import tried
from relayctl.stack.deployed import Stack, StackMissingError


class VendorEndpoint(NamedTuple):
    """An endpoint of a channel, and the vendor that calls it."""

    name: EndpointName  # `inbound` or `callback`, as `--endpoint` takes it
    vendor: str  # The vendor that calls the endpoint
    output: str  # The name of the stack output with the URL; `{channel}` in the URL stands for the channel's name
    prefix: str  # Prefix of its members in a JSON document, such as `header`
    place: str  # The place at the vendor where URL and header are pasted


# By the key of their credentials in the channel's secret.
ENDPOINTS: Mapping[str, VendorEndpoint] = {
    "inbound": VendorEndpoint(
        name="inbound",
        vendor="BigPanda",
        output="BigPandaWebhookUrl",
        prefix="",
        place="BigPanda's webhook integration",
    ),
    "xmatters.callback": VendorEndpoint(
        name="callback",
        vendor="xMatters",
        output="XMattersCallbackUrl",
        prefix="xmatters_",
        place="xMatters' workflow (docs/xmatters)",
    ),
}
# The same keys by the endpoints' names.
KEYS: Mapping[EndpointName, str] = {endpoint.name: key for key, endpoint in ENDPOINTS.items()}


def urls(stack: Stack, name: str, document: SecretDocument) -> dict[str, str]:
    """Return the URLs of a channel's endpoints by key: `inbound`, and `xmatters.callback` if it has credentials."""
    used = [key for key, endpoint in ENDPOINTS.items() if endpoint.name == "inbound" or document.has(key)]
    return {key: stack.output(ENDPOINTS[key].output).replace("{channel}", name) for key in used}


def url_members(urls_by_key: Mapping[str, str]) -> dict[str, str]:
    return {f"{ENDPOINTS[key].prefix}callback_url": url for key, url in urls_by_key.items()}


def headers(document: SecretDocument, key: str) -> list[dict[str, str]]:
    """Return the header (`name` and `value`) of each current credential of an endpoint: the token, then the login."""
    return [header_for({kind: value}) for kind, value in document.credentials(key).items()]


def new_token(name: str, key: str) -> str:
    return token.make(name, ENDPOINTS[key].name, secrets.choice)


def needs_endpoint(document: SecretDocument, key: str) -> bool:
    """True if the endpoint needs credentials: `inbound` does, `xmatters.callback` only if bigpanda.api_key is set."""
    return key == "inbound" or document.has("bigpanda.api_key")


def add_missing_tokens(document: SecretDocument, name: str) -> None:
    """Add a token to the secret of the channel `name` for each endpoint that needs credentials and has none."""
    if not document.credentials("inbound"):
        document.set("inbound.token", new_token(name, "inbound"))
    if needs_endpoint(document, "xmatters.callback") and not document.has("xmatters.callback"):
        document.set("xmatters.callback.token", new_token(name, "xmatters.callback"))


def renew(document: SecretDocument, key: str, name: str) -> None:
    """Replace an endpoint's current credentials by new ones of the same kinds. A login gets only a new password."""
    login, fresh = document.get(f"{key}.basic.username"), dict[str, Any]()
    if isinstance(login, str) and login:
        fresh["basic"] = {"username": login, "password": new_token(name, key)}
    if document.has(f"{key}.token") or not fresh:
        fresh["token"] = new_token(name, key)
    for kind in ("token", "basic"):
        document.unset(f"{key}.{kind}")
    for kind, value in fresh.items():
        document.set(f"{key}.{kind}", value)


def show(urls_by_key: Mapping[str, str], headers_by_key: Mapping[str, Iterable[Mapping[str, str]]]) -> None:
    """Print the URL and headers of each endpoint, and the place at the vendor where the operator pastes them."""
    for key, found in headers_by_key.items():
        for header in found:
            click.echo(f"Now paste into {ENDPOINTS[key].place}:")
            lines = {"Callback URL": urls_by_key[key], "Header name": header["name"], "Header value": header["value"]}
            for label, value in lines.items():
                # Not wrapped: a value must be copied whole.
                click.echo(f"  {label:15}{printable(value)}")


# A credential that was used within this time is in use.
IN_USE_SECONDS = 3600.0


class Use(NamedTuple):
    """Last use of a credential."""

    endpoint: EndpointName  # `inbound` or `callback`
    age: str  # `current` or, after a rotation, `previous`
    kind: str  # `token` or `basic`
    used_at: float | None  # Time of the use (epoch seconds), up to USE_SECONDS too early; None if no use is known

    def document(self) -> dict[str, str | None]:
        used_at = moments.iso_or_none(self.used_at)
        return {"endpoint": self.endpoint, "credential": self.age, "kind": self.kind, "used_at": used_at}


def uses_of(stack: Stack, name: str, document: SecretDocument) -> list[Use] | None:
    """Return the last use of each credential of a channel; None, with a note on stderr, if the uses cannot be read."""
    uses, problem = tried(lambda: read_uses(stack.bounded_table(), parse_channel(name, document.text(), stack.hosts)))
    if problem:
        terminal.say(f"note: the last use of credentials is not known: {printable(problem)}")
    return uses


def read_uses(table: Table, channel: Channel) -> list[Use]:
    """Return the last use of each credential of a channel. Raises LedgerError."""
    return [
        Use(endpoint, age, kind, credentials.last_used(table, channel.name, endpoint, fingerprint))
        for endpoint in KEYS
        for age, kind, fingerprint in channel.fingerprints(endpoint)
    ]


def last_use(uses: Sequence[Use], endpoint: EndpointName, *ages: str) -> float | None:
    """Return the last use (epoch seconds) of an endpoint's credentials of these `ages`, such as `previous`; or None."""
    found = [each.used_at for each in uses if each.endpoint == endpoint and each.age in ages and each.used_at]
    return max(found, default=None)


def obstacle(uses: Sequence[Use], key: str, now: float) -> str | None:
    """Return the reason why an endpoint's previous credential must not end yet; None if it may end."""
    endpoint, vendor = ENDPOINTS[key].name, ENDPOINTS[key].vendor
    previous = last_use(uses, endpoint, "previous")
    if previous is not None and (free_at := previous + USE_SECONDS + IN_USE_SECONDS) > now:
        return (
            f"{vendor} used the old credential at {moments.iso(previous)}, or up to an hour later: paste the new "
            f"one there, and try again after {moments.iso(free_at)}"
        )
    if last_use(uses, endpoint, "current") is None:
        return f"{vendor} has not used the new credential yet, as far as is known: paste it there first"
    return None


# Secrets Manager may serve the old version for seconds after a write, and a function reads the secret every 2 s.
SETTLE_SECONDS = 5.0


def put_in_force(stack: Stack, *names: str, effect: str | None = None, command: str | None = None) -> str | None:
    """Make all functions read channels' changed secrets. Return from when (ISO 8601) they use no older copy.

    It stores a mark for each secret. stderr tells the time and the `effect` of the change; `effect` is None if
    credentials are revoked. If a mark cannot be stored, or on Ctrl-C, return None after a warning, with the `command`
    to type later. A function that finds a mark, but cannot read the secret, works with its older copy. If credentials
    are revoked, it refuses requests.
    """

    def mark() -> None:
        table = stack.bounded_table()
        for name in names:
            credentials.change_mark(table, name, uuid.uuid4().hex[:12], stack.effects.clock(), revokes=effect is None)

    try:
        mark()
        if not stack.is_local:
            # A function may have read the old version after the first mark.
            with terminal.status("waiting until Secrets Manager serves the new version …"):
                stack.effects.sleep(SETTLE_SECONDS)
            mark()
    # The secret is stored: the caller must still print the new credential.
    except (LedgerError, StackMissingError, KeyboardInterrupt) as error:
        terminal.outlast(error)
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        advice = f"to put it in force, type: {command}" if command else "run the command again"
        seconds = stack.parameters.get("SecretCacheSeconds", "300")
        terminal.say(
            f"warning: stored, but running functions may work with the settings before for {seconds} s more, and a "
            f"function that cannot read the secret for longer ({why}); {advice}"
        )
        return None
    at, what = stack.effects.clock() + MARKS_SECONDS, effect or "revoked credentials are refused"
    for name in names:
        terminal.say(f"channel {name}: {what} everywhere from {moments.clock_in_zone(at)} on")
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


TOTAL_SECONDS = 90.0
_ANSWER_SECONDS = 10.0
# The answer to a body that is not JSON; a caller with wrong credentials gets 401.
_ACCEPTED = "HTTP 400"


def _answer(stack: Stack, url: str, header: Mapping[str, str]) -> str:
    headers = {"User-Agent": "relayctl", header["name"]: header["value"]}
    outward = stack.effects.outward(stack.api_host(url))
    try:
        answer = outward.ask("POST", url, b"", headers, stack.deadline(_ANSWER_SECONDS))
    except SendError as error:
        return f"no answer: {error}"
    return f"HTTP {answer.status}"


def verify(stack: Stack, name: str, urls: Mapping[str, str], headers: Mapping[str, Mapping[str, str]]) -> bool:
    """Call each endpoint with its new header (by the endpoint's key) until it accepts it. Return True if all accept.

    Return False, and raise nothing, if an endpoint does not accept in time, or on Ctrl-C: the secret is stored already.
    The requests have no body, so they notify nobody, and the access log's alarm on 401 does not count them.
    """
    if not headers:
        return True
    terminal.say(
        f"channel {name}: waiting until the relay accepts the new credential, for up to {TOTAL_SECONDS:.0f} s …"
    )
    # A local cloud has no second copy of a secret that could be stale.
    gap_seconds = 0.5 if stack.is_local else SETTLE_SECONDS
    end, closed = stack.deadline(TOTAL_SECONDS), dict.fromkeys(headers, "not called")
    try:
        while closed and end.remaining() >= gap_seconds:
            stack.effects.sleep(gap_seconds)
            said = {endpoint: _answer(stack, urls[endpoint], headers[endpoint]) for endpoint in closed}
            closed = {endpoint: answer for endpoint, answer in said.items() if answer != _ACCEPTED}
    except KeyboardInterrupt as error:
        terminal.outlast(error)
        closed = dict.fromkeys(closed, "interrupted")
    if not closed:
        terminal.say(f"channel {name}: the relay accepts it")
    for key, answer in closed.items():
        terminal.say(
            f"warning: stored, not verified: {ENDPOINTS[key].vendor}'s credential is not accepted yet ({answer})"
        )
    return not closed
