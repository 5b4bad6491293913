"""relayctl channel: make, change, show and remove the channels of a stack."""

import json
import sys

import click
from rich.table import Table

from relay.channels import channel as channels
from relayctl import credential_uses, terminal
from relayctl.channel_store import ChannelStore
from relayctl.owed import Owed
from relayctl.revocation import put_in_force
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack, on_stack


@click.group(short_help="Make, change, show and remove channels.")
def channel() -> None:
    """Channels: each binds one BigPanda sharing channel to one xMatters trigger."""


def _name(_: click.Context, __: click.Parameter, value: str) -> str:
    if not channels.is_channel_name(value):
        raise click.BadParameter("use 1 to 48 of a-z, 0-9, - and _, beginning with a letter or digit")
    return value


NAME = click.argument("name", callback=_name)


def door_urls(stack: Stack, name: str, document: SecretDocument) -> dict[str, str]:
    """Return the URLs of the channel's doors: BigPanda's, and xMatters' if it may call back."""
    outputs = {"callback_url": "BigPandaWebhookUrl"}
    if document.has("xmatters.callback"):
        outputs["xmatters_callback_url"] = "XMattersCallbackUrl"
    return {member: stack.output(output).replace("{channel}", name) for member, output in outputs.items()}


@channel.command()
@NAME
@on_stack
def show(stack: Stack, name: str, as_json: bool) -> None:
    """Show a channel, with every secret masked, and when each credential of its doors was used last.

    A use is noted once an hour by each function, so the last one may be up to an hour later than is shown.

    \b
    Example:
      relayctl channel show payments
    """
    kept = ChannelStore(stack).read(name)
    if kept is None:
        terminal.nothing(f"there is no channel {name}")
    document = SecretDocument(kept.document)
    urls, masked = door_urls(stack, name, document), document.masked()
    uses = credential_uses.of_channel(stack, name, document)
    if as_json:
        used = [each.document() for each in uses]
        click.echo(json.dumps({"channel": name, **urls, "secret": masked, "credentials": used}))
        return
    terminal.labelled("channel", name)
    terminal.labelled("callback URL", urls["callback_url"])
    if back := urls.get("xmatters_callback_url"):
        terminal.labelled("from xMatters", back)
    click.echo("secret         " + json.dumps(masked, indent=2, ensure_ascii=False).replace("\n", "\n" + " " * 15))
    for each in uses:
        terminal.labelled("last use", str(each))


@channel.command("list")
@on_stack
def list_(stack: Stack, as_json: bool) -> None:
    """List the channels of the stack.

    \b
    Example:
      relayctl channel list --json
    """
    found = ChannelStore(stack).names()
    if as_json:
        click.echo(json.dumps({"channels": [{"channel": name, "changed_at": at} for name, at in found]}))
    elif found:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("channel")
        table.add_column("changed")
        for name, at in found:
            table.add_row(name, at or "")
        terminal.output().print(table)
    if not found:
        terminal.nothing("no channels yet; make one with: relayctl channel set NAME")


@channel.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--drop-owed", is_flag=True, help="Remove it though jobs are owed: its own will not be delivered.")
@click.option("--days", type=click.IntRange(7, 30), default=7, show_default=True, help="For so long it can come back.")
@on_stack
def remove(stack: Stack, name: str, yes: bool, drop_owed: bool, days: int, as_json: bool) -> None:
    """Remove a channel: its shares are refused within 15 seconds.

    Its jobs that still wait are dead-lettered. Where any job of the stack waits or is dead-lettered, --drop-owed is
    needed. The secret can be brought back with `aws secretsmanager restore-secret` for some days.

    \b
    Example:
      relayctl channel remove payments
      relayctl channel remove payments --drop-owed --yes
    """
    store = ChannelStore(stack)
    if not store.exists(name):
        terminal.nothing(f"there is no channel {name}")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("not a terminal: give --yes to remove without being asked")
    owed = Owed.of(stack)
    if any(owed) and not drop_owed:
        raise click.ClickException(
            f"{owed}; some may be channel {name}'s, so nothing was removed: wait, replay them with relayctl dlq "
            "replay, or give --drop-owed"
        )
    if not yes:
        click.confirm(
            f"Refuse BigPanda's shares for channel {name}, within 15 seconds?",
            abort=True,
            err=True,
        )
    store.remove(name, days)
    is_in_force = put_in_force(stack, name) is not None
    if as_json:
        click.echo(json.dumps({"channel": name, "removed": True, **owed._asdict()}))
    else:
        _show_removed(name, owed)
    if not is_in_force:
        click.get_current_context().exit(1)


def _show_removed(name: str, owed: Owed) -> None:
    lines = [f"channel {name}: removed"]
    if any(owed):
        lines += [
            f"{owed}; those of channel {name} that wait are dead-lettered (channel_removed)",
            f"if you make it again: relayctl dlq replay --channel {name} --yes",
        ]
    for line in lines:
        terminal.output().print(line)
