"""relayctl bigpanda: the settings of BigPanda's webhook integrations."""

import json
from collections.abc import Iterable
from typing import Any

import click
from rich.text import Text

from relay.channels.channel import BIGPANDA_URL, header_for
from relay.channels.parsing import parse_channel
from relayctl import bigpanda_webhook, endpoints, terminal
from relayctl.bigpanda_webhook import BODY_FILE, KEY_FILE, V1_FACTS, V2_FACTS, Fact
from relayctl.channel_store import ChannelStore
from relayctl.commands.channel import NAME
from relayctl.secret_document import MASK, SecretDocument
from relayctl.stack import Stack, on_stack


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
    kept = ChannelStore(stack).read(name)
    if kept is None:
        terminal.nothing(f"there is no channel {name}")
    document = SecretDocument(kept.document)
    channel = parse_channel(name, document.text(), stack.hosts)
    url, header = endpoints.urls(stack, name, document)["inbound"], header_for(document.get("inbound"))
    scheme = header["value"].partition(" ")[0]
    shown = header if reveal else {**header, "value": f"{scheme} {MASK}"}
    access = channel.bigpanda
    base_url = access.base_url if access else BIGPANDA_URL
    body = bigpanda_webhook.integration(
        name, url, shown["value"], expects_callbacks=access is not None and access.callbacks
    )
    found: dict[str, Any] = {"channel": name}
    if version != "v2":
        found["v1"] = {"callback_url": url, "header": shown, "facts": _documents(V1_FACTS)}
    if version != "v1":
        request = {"method": "POST", "url": bigpanda_webhook.api_url(base_url), "body": body}
        curl = bigpanda_webhook.curl(base_url)
        found["v2"] = {"request": request, "curl": "\n".join(curl), "facts": _documents(V2_FACTS)}
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
