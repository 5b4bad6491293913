"""relayctl bigpanda: settings of BigPanda's webhook integrations, v1 to paste and v2 to create by its API.

With v2, the customer's template decides the whole body of a share. Sources: docs/vendors.md, "What BigPanda sends".
"""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import click
from rich.text import Text

from relay.channels.channel import BIGPANDA_URL, header_for
from relay.channels.parsing import parse_channel
from relayctl import terminal
from relayctl.channel import endpoints
from relayctl.channel.secret_document import MASK, SecretDocument
from relayctl.channel.store import ChannelStore
from relayctl.channel_names import NAME
from relayctl.stack.deployed import Stack, on_stack

# Template of a share. Ids of variables stand in BigPanda's public pages; docs/bigpanda-webhook-v2.json is the same with
# the name of an event. There is no event here: one entry is for all triggers, and the relay needs none.
BODY: Mapping[str, str] = {
    "incident_id": "{{incident.id}}",
    "status": "{{incident.status}}",
    "severity": "{{incident.severity}}",
    "updated_at": "{{incident.updated_at}}",
    "environment_id": "{{metadata.environment_id}}",
    "subject": "{{primaryAlert.description}}",
    "host": "{{primaryAlert.tags.host}}",
    "check": "{{primaryAlert.tags.check}}",
}
PARENT = "webhook_v2"
_PATH = "/resources/v2.1/integrations"
_VARIABLES = "/resources/v2.1/fields-resolver/workflows"
# The API key is in a file of one line, `Authorization: Bearer …`: as an argument, other users could read it.
KEY_FILE, BODY_FILE = "bigpanda-header.txt", "webhook-v2.json"
DOCUMENTED, GUESS = "documented", "guess"


class Fact(NamedTuple):
    """A statement about BigPanda.

    Attributes:
        grade: `documented` by BigPanda, or a `guess` that nobody has tried.
        text: The statement.
    """

    grade: str
    text: str


V1_FACTS = (
    Fact(DOCUMENTED, "v1 posts JSON to one callback URL, with custom headers of fixed values"),
    Fact(DOCUMENTED, "a share is sent again with each change that triggers updates, a resolve too"),
    Fact(GUESS, "the header may be Authorization; the pages show other names, and name no forbidden one"),
    Fact(GUESS, "a query in the URL, such as ?recipients=jdoe, is kept"),
)
V2_FACTS = (
    Fact(DOCUMENTED, f"POST {_PATH} with a User API Key creates the integration, 201; PATCH {_PATH}/ID changes it"),
    Fact(DOCUMENTED, f"the members name, parent_system_id ({PARENT}), workflow_config and those of an event"),
    Fact(DOCUMENTED, "authorization takes Bearer or Basic, and BigPanda keeps it encrypted"),
    Fact(DOCUMENTED, "the variables incident.updated_at and primaryAlert.tags.NAME stand in BigPanda's pages"),
    Fact(GUESS, "one event entry is the default for all triggers: the published schema has no key for the trigger"),
    Fact(GUESS, "the other variables exist; GET the list: " + _VARIABLES),
    Fact(GUESS, "incident.status is ok when an incident ends; the relay takes that for its end"),
    Fact(GUESS, "a variable without a value is rendered as an empty text; the relay refuses an empty id only"),
    Fact(GUESS, "a query in base_url, such as ?recipients=jdoe, is kept as long as an event has no path"),
)


def integration(name: str, url: str, authorization: str, *, expects_callbacks: bool) -> dict[str, Any]:
    """Return the body of the API call that creates a v2 integration.

    Args:
        name: The name of the channel, and of the integration.
        url: The channel's URL for BigPanda.
        authorization: The value of the Authorization header.
        expects_callbacks: True if BigPanda holds back updates until the relay confirms the first share.
    """
    event = {"enabled": True, "method": "POST", "authorization": authorization, "body": dict(BODY)}
    config = {"base_url": url, "expects_callbacks": expects_callbacks}
    return {"name": name, "parent_system_id": PARENT, "workflow_config": {"events": [event], "config": config}}


def api_url(base_url: str) -> str:
    """Return the URL of the API call that creates a v2 integration. `base_url` is the URL of BigPanda's API."""
    return base_url + _PATH


def curl(base_url: str) -> list[str]:
    """Return the lines of the curl command that creates the v2 integration.

    The command posts the file BODY_FILE to BigPanda's API, with the header that the file KEY_FILE holds.
    """
    return [
        f"curl --fail-with-body -X POST {shlex.quote(api_url(base_url))} \\",
        f"    -H @{KEY_FILE} -H 'Content-Type: application/json' \\",
        f"    --data-binary @{BODY_FILE}",
    ]


@click.group(short_help="Print what to set up in BigPanda.")
def bigpanda() -> None:
    """The settings of a channel in BigPanda."""


@bigpanda.command()
@NAME
@click.option("--v1", "version", flag_value="v1", help="Only webhook v1: what to paste in BigPanda's console.")
@click.option("--v2", "version", flag_value="v2", help="Only webhook v2: the template, and the API call.")
@click.option("--reveal", is_flag=True, help="Print the channel's credential, not ***.")
@on_stack
def webhook(stack: Stack, name: str, version: str | None, reveal: bool, as_json: bool) -> None:
    """Print the settings of BigPanda's webhook for a channel: v1 to paste, v2 to create by BigPanda's API.

    relayctl does not call BigPanda. What BigPanda does not document is marked as a guess. Without --v1 or --v2, both
    are printed. Set up only one of them in BigPanda.

    \b
    Example:
      relayctl bigpanda webhook payments --v1 --reveal
      relayctl bigpanda webhook payments --v2 --reveal
    """
    kept = ChannelStore(stack).existing(name)
    document = SecretDocument(kept.document)
    channel = parse_channel(name, document.text(), stack.hosts)
    url, header = endpoints.urls(stack, name, document)["inbound"], header_for(document.get("inbound"))
    scheme = header["value"].partition(" ")[0]
    shown = header if reveal else {**header, "value": f"{scheme} {MASK}"}
    access = channel.bigpanda
    base_url = access.base_url if access else BIGPANDA_URL
    body = integration(name, url, shown["value"], expects_callbacks=access is not None and access.callbacks)
    found: dict[str, Any] = {"channel": name}
    if version != "v2":
        found["v1"] = {"callback_url": url, "header": shown, "facts": _documents(V1_FACTS)}
    if version != "v1":
        request = {"method": "POST", "url": api_url(base_url), "body": body}
        found["v2"] = {"request": request, "curl": "\n".join(curl(base_url)), "facts": _documents(V2_FACTS)}
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show(found, url, shown, is_masked=not reveal)


def _documents(facts: Iterable[Fact]) -> list[dict[str, str]]:
    return [each._asdict() for each in facts]


def _show(found: dict[str, Any], url: str, header: dict[str, str], *, is_masked: bool) -> None:
    if "v1" in found:
        click.echo("Webhook v1. In BigPanda: Integrations, New Integration, Webhook.")
        endpoints.show({"inbound": url}, {"inbound": [header]})
        _show_facts(V1_FACTS)
    if "v2" in found:
        body = json.dumps(found["v2"]["request"]["body"], indent=2)
        click.echo(("\n" if "v1" in found else "") + f"Webhook v2. Save this as {BODY_FILE}:\n\n{body}\n")
        click.echo(f"Put this line into {KEY_FILE}, with a User API Key of BigPanda:\n")
        click.echo("Authorization: Bearer <User API Key>\n\nThen type:\n")
        click.echo(found["v2"]["curl"] + "\n")
        _show_facts(V2_FACTS)
    if is_masked:
        terminal.say(f"the credential is shown as {MASK}; --reveal prints it")


def _show_facts(facts: Iterable[Fact]) -> None:
    for fact in facts:
        terminal.show_line(fact.text, lead=Text(f"{fact.grade + ':':12}"))
