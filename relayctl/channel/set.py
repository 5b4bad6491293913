"""relayctl channel set: make or change a channel, and wait until the relay accepts its credentials."""

import json
from collections.abc import Mapping
from typing import Any

import click

from relay.channels.channel import header_for
from relay.channels.schema import AUTH
from relay.foreign_text import printable
from relayctl import terminal
from relayctl.channel import endpoints, write_path
from relayctl.channel.credential_input import CredentialCommand, credential_option
from relayctl.channel.endpoints import ENDPOINTS
from relayctl.channel.options import apply, resolved
from relayctl.channel.secret_document import Change, SecretDocument
from relayctl.channel.store import ChannelStore
from relayctl.channel_names import NAME
from relayctl.stack.deployed import Stack, on_stack


@click.command("set", cls=CredentialCommand)
@NAME
@credential_option("--trigger-url", "The URL of the xMatters trigger. It may contain a key.")
@click.option("--auth", type=click.Choice(list(AUTH)), help="How the trigger authenticates. New channels: url.")
@click.option("--username", metavar="USER", help="For --auth basic and oauth.")
@credential_option("--password", "For --auth basic and oauth.")
@credential_option("--key", "For --auth api_key; begins with x-api-key-.")
@credential_option("--secret", "For --auth api_key.")
@click.option("--client-id", metavar="ID", help="For --auth oauth.")
@click.option(
    "--recipient", "recipients", multiple=True, metavar="NAME", help="A user or group of xMatters; repeatable."
)
@click.option(
    "--recipients-in-workflow",
    "recipients_in",
    flag_value="workflow",
    help="The workflow in xMatters names the recipients.",
)
@click.option(
    "--recipients-in-url",
    "recipients_in",
    flag_value="url",
    help="BigPanda's callback URL will have ?recipients=.",
)
@click.option("--any-trigger-path", is_flag=True, help="The trigger URL is right though its path is not a known one.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other key of the secret; or KEY=@FILE, KEY=-, KEY.",
)
@click.option("--unset", "removals", multiple=True, metavar="KEY", help="Remove a key of the secret.")
@click.option("--reveal", is_flag=True, help="Print the credentials even if they did not change.")
@on_stack
def set_(stack: Stack, name: str, as_json: bool, reveal: bool, **options: Any) -> None:
    """Make a channel, or change the given settings of one.

    BigPanda and xMatters call the relay with a header, whose value is a credential. If such a credential is new or
    changed, relayctl tries it at the relay for up to 90 seconds. Then relayctl prints the URL and the header to paste
    at the vendor. The header's value is printed only if it is new, or with --reveal. The previous credential works for
    24 hours more. To replace these credentials: relayctl channel rotate.

    With bigpanda.api_key, people's answers are written to BigPanda, and what to paste into xMatters is printed too.
    With xmatters.rest, the recipients are checked, with warnings on stderr.

    Give a credential as a file (@FILE), as one line of standard input (-), or at a prompt: name the option, or --set
    KEY, without a value. A plain value is visible in the process list and in the shell's history. A value that begins
    with @ is written @@.

    Exit codes: 0 done, 1 not stored, or stored and not verified; 2 usage.

    \b
    Example:
      relayctl channel set payments --trigger-url @url.txt --recipient jdoe
      relayctl channel set payments --auth basic --username relay --password
      pass show bigpanda | relayctl channel set --set bigpanda.api_key=- payments
      relayctl channel set payments --unset policy.max_per_minute
    """
    options = resolved(options)
    store = ChannelStore(stack)
    kept = store.read(name)
    after = SecretDocument(kept.document if kept else None)
    apply(after, options, name)
    change = write_path.prepare(stack, name, kept, after)
    done = write_path.put(stack, store, change)
    shown = {key: header_for(after.get(key)) for key in change.urls} if reveal else {}
    shown |= done.fresh
    if as_json:
        document: dict[str, Any] = {"channel": name, **endpoints.url_members(change.urls)}
        document |= _header_members(after, change.urls, shown)
        document["changes"] = [each._asdict() for each in change.changes]
        document |= {"verified": done.is_verified} if done.fresh else {}
        click.echo(json.dumps(document | done.findings))
    else:
        _show(None if change.is_new else change.changes, change.urls, shown)
    if not done.is_verified or not done.is_in_force:
        click.get_current_context().exit(1)


def _header_members(
    document: SecretDocument, urls: Mapping[str, str], shown: dict[str, dict[str, str]]
) -> dict[str, dict[str, str]]:
    """Return the headers as members of a JSON object; only those in `shown` have their value."""
    names = {key: {"name": header_for(document.get(key))["name"]} for key in urls}
    return {ENDPOINTS[key].header_member: shown.get(key, header) for key, header in names.items()}


def _show(changes: list[Change] | None, urls: Mapping[str, str], shown: dict[str, dict[str, str]]) -> None:
    """Print the changes, and each URL with the header to paste at the vendor. `changes` is None for a new channel."""
    for line in changes or ():
        terminal.output().print(printable(str(line)))
    if changes is not None and not changes:
        click.echo("nothing changed")
    endpoints.show(urls, {key: [header] for key, header in shown.items()})
