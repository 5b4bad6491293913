"""relayctl channel: the verbs show, list and remove. The other verbs have modules of their own."""

import json
import sys

import click
from rich.text import Text

from relay.channels import channel as channels
from relayctl import channel_listing, credential_uses, doors, terminal
from relayctl.channel_store import ChannelStore
from relayctl.queue_depths import UndeliveredJobs
from relayctl.revocation import put_in_force
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack, on_stack


@click.group(short_help="Make, change, check, show and remove channels.")
def channel() -> None:
    """Channels: each binds one BigPanda sharing channel to one xMatters trigger."""


def _name(_: click.Context, __: click.Parameter, value: str) -> str:
    if not channels.is_channel_name(value):
        raise click.BadParameter("use 1 to 48 of a-z, 0-9, - and _, beginning with a letter or digit")
    return value


def _names(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_name(context, option, value) for value in values)


NAME = click.argument("name", callback=_name)
CHANNELS = click.option(
    "--channel", "names", metavar="NAME", multiple=True, callback=_names, help="Only this channel; repeatable."
)


@channel.command()
@NAME
@on_stack
def show(stack: Stack, name: str, as_json: bool) -> None:
    """Show a channel with its credentials masked, and the last use of each credential of BigPanda and xMatters.

    Each function notes a use once an hour, so the true last use may be up to an hour later.

    \b
    Example:
      relayctl channel show payments
    """
    kept = ChannelStore(stack).read(name)
    if kept is None:
        terminal.nothing(f"there is no channel {name}")
    document = SecretDocument(kept.document)
    urls, masked = doors.urls(stack, name, document), document.masked()
    uses, policy, now = (
        credential_uses.of_channel(stack, name, document),
        channel_listing.policy_of(stack, name, document),
        stack.effects.clock(),
    )
    if as_json:
        used = [each.document() for each in uses]
        members = {**doors.url_members(urls), **channel_listing.mode_members(policy, now)}
        click.echo(json.dumps({"channel": name, **members, "secret": masked, "credentials": used}))
        return
    terminal.labelled("channel", name)
    for line in channel_listing.mode_lines(policy, now):
        terminal.show_line(line, lead=Text(f"{'mode':15}"))
    terminal.labelled("callback URL", urls["inbound"])
    if back := urls.get("xmatters.callback"):
        terminal.labelled("from xMatters", back)
    click.echo("secret         " + json.dumps(masked, indent=2, ensure_ascii=False).replace("\n", "\n" + " " * 15))
    for each in uses:
        terminal.labelled("last use", str(each))


@channel.command("list")
@on_stack
def list_(stack: Stack, as_json: bool) -> None:
    """List the channels of the stack: mode, health, last share, last change.

    Health is that of relayctl status. A function notes a share once an hour, so the true last share may be up to an
    hour later. A source that fails is named on stderr.

    \b
    Example:
      relayctl channel list --json
    """
    found = dict(ChannelStore(stack).names())
    if found:
        channel_listing.show(stack, found, as_json=as_json)
    else:
        if as_json:
            click.echo(json.dumps({"channels": [], "problems": []}))
        terminal.nothing("no channels yet; make one with: relayctl channel set NAME")


@channel.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--drop-owed", is_flag=True, help="Remove it despite undelivered jobs; its own are not delivered.")
@click.option(
    "--days", type=click.IntRange(7, 30), default=7, show_default=True, help="Days in which it can be restored."
)
@on_stack
def remove(stack: Stack, name: str, yes: bool, drop_owed: bool, days: int, as_json: bool) -> None:
    """Remove a channel: its shares are refused within 15 seconds.

    Its waiting jobs are dead-lettered. If the retry, chore or dead-letter queue of the stack has any job, --drop-owed
    is needed. The secret can be restored within --days: `aws secretsmanager restore-secret`.

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
    undelivered = UndeliveredJobs.of(stack)
    if any(undelivered) and not drop_owed:
        raise click.ClickException(
            f"{undelivered}; some may be channel {name}'s, so nothing was removed: wait, replay them with relayctl "
            "dlq replay, or give --drop-owed"
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
        click.echo(json.dumps({"channel": name, "removed": True, **undelivered._asdict()}))
    else:
        _show_removed(name, undelivered)
    if not is_in_force:
        click.get_current_context().exit(1)


def _show_removed(name: str, undelivered: UndeliveredJobs) -> None:
    lines = [f"channel {name}: removed"]
    if any(undelivered):
        lines += [
            f"{undelivered}; waiting jobs of channel {name} will be dead-lettered (channel_removed)",
            f"to deliver them, make the channel again, then: relayctl dlq replay --channel {name} --yes",
        ]
    for line in lines:
        terminal.output().print(line)
