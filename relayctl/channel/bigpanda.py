"""relayctl bigpanda: settings of BigPanda's webhook integrations, v1 to paste and v2 to create by its API."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

import click

from relay.channels.channel import BIGPANDA_URL, header_for
from relay.channels.parsing import parse_channel
from relayctl import terminal
from relayctl.channel import endpoints
from relayctl.channel.secret_document import MASK
from relayctl.channel.store import NAME, ChannelStore
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
_PATH = "/resources/v2.1/integrations"
# The API key is in a file of one line, `Authorization: Bearer …`: as an argument, other users could read it.
KEY_FILE, BODY_FILE = "bigpanda-header.txt", "webhook-v2.json"


@click.group()
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

    relayctl does not call BigPanda. docs/vendors.md says what BigPanda documents of this, and what is a guess. Without
    --v1 or --v2, both are printed. Set up only one of them in BigPanda.

    \b
    Example:
      relayctl bigpanda webhook payments --v1 --reveal
    """
    document = ChannelStore(stack).existing(name)
    access = parse_channel(name, document.text(), stack.hosts).bigpanda
    url, header = endpoints.urls(stack, name, document)["inbound"], header_for(document.get("inbound"))
    if not reveal:
        header["value"] = f"{header['value'].partition(' ')[0]} {MASK}"
    found: dict[str, Any] = {"channel": name}
    if version != "v2":
        found["v1"] = {"callback_url": url, "header": header}
    if version != "v1":
        event = {"enabled": True, "method": "POST", "authorization": header["value"], "body": dict(BODY)}
        config = {"base_url": url, "expects_callbacks": access is not None and access.callbacks}
        workflow = {"events": [event], "config": config}
        body = {"name": name, "parent_system_id": "webhook_v2", "workflow_config": workflow}
        request = {"method": "POST", "url": (access.base_url if access else BIGPANDA_URL) + _PATH, "body": body}
        curl = (
            f"curl --fail-with-body -X POST {shlex.quote(str(request['url']))} \\\n"
            f"    -H @{KEY_FILE} -H 'Content-Type: application/json' \\\n"
            f"    --data-binary @{BODY_FILE}"
        )
        found["v2"] = {"request": request, "curl": curl}
    if as_json:
        terminal.document(found)
        return
    if "v1" in found:
        click.echo("Webhook v1. In BigPanda: Integrations, New Integration, Webhook.")
        endpoints.show({"inbound": url}, {"inbound": [header]})
    if "v2" in found:
        click.echo(f"Webhook v2. Save this as {BODY_FILE}:\n\n{json.dumps(body, indent=2)}\n")
        click.echo(f"Put this line into {KEY_FILE}, with a User API Key of BigPanda:\n")
        click.echo(f"Authorization: Bearer <User API Key>\n\nThen type:\n\n{found['v2']['curl']}")
