"""Endpoints of a channel: the URLs that BigPanda and xMatters call, and the headers with their credentials."""

import secrets
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import click

from relay.channels import token
from relay.channels.channel import header_for
from relay.channels.token import EndpointName
from relayctl import terminal
from relayctl.channel.secret_document import SecretDocument
from relayctl.stack.deployed import Stack

_PASTE_COLUMNS = 17


class VendorEndpoint(NamedTuple):
    """An endpoint of a channel.

    Attributes:
        name: `inbound` or `callback`, as `--endpoint` takes it.
        vendor: The vendor that calls the endpoint.
        output: The name of the stack output with the URL; `{channel}` in the URL stands for the channel's name.
        url_member: The member of a JSON document that holds the URL.
        header_member: The member of a JSON document that holds the header.
        place: The place at the vendor where URL and header are pasted.
    """

    name: EndpointName
    vendor: str
    output: str
    url_member: str
    header_member: str
    place: str


# By the key of their credentials in the channel's secret.
ENDPOINTS: Mapping[str, VendorEndpoint] = {
    "inbound": VendorEndpoint(
        name="inbound",
        vendor="BigPanda",
        output="BigPandaWebhookUrl",
        url_member="callback_url",
        header_member="header",
        place="BigPanda's webhook integration",
    ),
    "xmatters.callback": VendorEndpoint(
        name="callback",
        vendor="xMatters",
        output="XMattersCallbackUrl",
        url_member="xmatters_callback_url",
        header_member="xmatters_header",
        place="xMatters' workflow (docs/xmatters)",
    ),
}
# The same keys by the endpoints' names.
KEYS: Mapping[EndpointName, str] = {endpoint.name: key for key, endpoint in ENDPOINTS.items()}


def urls(stack: Stack, name: str, document: SecretDocument) -> dict[str, str]:
    """Return the URL of each endpoint by its key in ENDPOINTS.

    The URL for xMatters is left out if the channel has no credentials for it.
    """
    used = [key for key, endpoint in ENDPOINTS.items() if endpoint.name == "inbound" or document.has(key)]
    return {key: stack.output(ENDPOINTS[key].output).replace("{channel}", name) for key in used}


def url_members(urls_by_key: Mapping[str, str]) -> dict[str, str]:
    """Return the URLs as members of a JSON document."""
    return {ENDPOINTS[key].url_member: url for key, url in urls_by_key.items()}


def headers(document: SecretDocument, key: str) -> list[dict[str, str]]:
    """Return the header (`name` and `value`) of each current credential of an endpoint: the token, then the login.

    `key` is the endpoint's key in ENDPOINTS.
    """
    members: Mapping[str, Any] = document.get(key)
    return [header_for({kind: members[kind]}) for kind in ("token", "basic") if kind in members]


def needs_endpoint(document: SecretDocument, key: str) -> bool:
    """True if the endpoint needs credentials: `inbound` always, `xmatters.callback` only with bigpanda.api_key."""
    return key == "inbound" or document.has("bigpanda.api_key")


def add_missing_tokens(document: SecretDocument, name: str) -> None:
    """Make a token for each endpoint that needs credentials (as `needs_endpoint` says) and has none."""
    if not document.has("inbound.token") and not document.has("inbound.basic"):
        document.set("inbound.token", token.make(name, "inbound", secrets.choice))
    if document.has("bigpanda.api_key") and not document.has("xmatters.callback"):
        document.set("xmatters.callback.token", token.make(name, "callback", secrets.choice))


def show(urls_by_key: Mapping[str, str], headers_by_key: Mapping[str, Iterable[Mapping[str, str]]]) -> None:
    """Print URL and headers of each endpoint as the operator pastes them at the vendor."""
    for key, found in headers_by_key.items():
        for header in found:
            click.echo(f"Now paste into {ENDPOINTS[key].place}:")
            terminal.labelled("  Callback URL", urls_by_key[key], _PASTE_COLUMNS)
            terminal.labelled("  Header name", header["name"], _PASTE_COLUMNS)
            terminal.labelled("  Header value", header["value"], _PASTE_COLUMNS)
