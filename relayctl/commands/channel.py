"""relayctl channel: the verbs show, list and remove. The other verbs have modules of their own."""

import json
import sys
from typing import Any

import click
from rich.text import Text

from relay.channels import channel as channels
from relayctl import (
    channel_listing,
    credential_uses,
    dead_letter_reading,
    draining,
    endpoints,
    name_completion,
    terminal,
)
from relayctl.channel_store import ChannelStore
from relayctl.draining import Drain
from relayctl.queue_depths import UndeliveredJobs
from relayctl.revocation import put_in_force
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack, on_stack
from relayctl.status_reading import StatusReader


@click.group(short_help="Make, change, check, show and remove channels.")
def channel() -> None:
    """Channels: each binds one BigPanda sharing channel to one xMatters trigger."""


def _name(_: click.Context, __: click.Parameter, value: str) -> str:
    if not channels.is_channel_name(value):
        raise click.BadParameter("use 1 to 48 of a-z, 0-9, - and _, beginning with a letter or digit")
    return value


def _names(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_name(context, option, value) for value in values)


NAME = click.argument("name", callback=_name, shell_complete=name_completion.complete)
CHANNELS = click.option(
    "--channel",
    "names",
    metavar="NAME",
    multiple=True,
    callback=_names,
    shell_complete=name_completion.complete,
    help="Only this channel; repeatable.",
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
    urls, masked = endpoints.urls(stack, name, document), document.masked()
    uses = credential_uses.of_channel(stack, name, document) or []
    policy, now = channel_listing.policy_of(stack, name, document), stack.effects.clock()
    if as_json:
        used = [each.document() for each in uses]
        members = {**endpoints.url_members(urls), **channel_listing.mode_members(policy, now)}
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
    name_completion.remember(click.get_current_context(), found, stack.effects.clock)
    if found:
        channel_listing.show(stack, found, as_json=as_json)
    else:
        if as_json:
            click.echo(json.dumps({"channels": [], "problems": []}))
        terminal.nothing("no channels yet; make one with: relayctl channel set NAME")


@channel.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--drain", is_flag=True, help="Wait until nothing is owed for it and no share comes, then remove it.")
@draining.options
@click.option("--drop-owed", is_flag=True, help="Remove it despite undelivered jobs; its own are not delivered.")
@click.option(
    "--days", type=click.IntRange(7, 30), default=7, show_default=True, help="Days in which it can be restored."
)
@on_stack
def remove(stack: Stack, name: str, yes: bool, as_json: bool, **options: Any) -> None:
    """Remove a channel: its shares are refused within 15 seconds.

    With --drain, relayctl waits until the ledger owes nothing for the channel, and no share came and no signal was sent
    for --quiet. Disable AutoShare in BigPanda first: if a share comes meanwhile, the channel is not removed. A channel
    with dead-lettered jobs is not removed, either. Until the end of the wait nothing is changed, and Ctrl-C leaves the
    channel as it is.

    Without --drain, its waiting jobs are dead-lettered. If the retry, chore or dead-letter queue of the stack has any
    job, --drop-owed is needed. The secret can be restored within --days: `aws secretsmanager restore-secret`.

    Exit codes: 0 removed, 1 not removed or not in force, 2 usage, 3 no such channel, 130 interrupted.

    \b
    Example:
      relayctl channel remove payments --drain
      relayctl channel remove payments --drop-owed --yes
    """
    if options["drain"] and options["drop_owed"]:
        raise click.UsageError("--drain waits for what is owed, and --drop-owed drops it: give one of them")
    store = ChannelStore(stack)
    if not store.exists(name):
        terminal.nothing(f"there is no channel {name}")
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("not a terminal: give --yes to remove without being asked")
    drain = Drain(stack, StatusReader(stack, name), options["quiet"], options["timeout"])
    undelivered = UndeliveredJobs.of(stack)
    if options["drain"]:
        drain.check([name])
        _refuse_dead_lettered(stack, name, undelivered)
    elif any(undelivered) and not options["drop_owed"]:
        raise click.ClickException(
            f"{undelivered}; some may be channel {name}'s, so nothing was removed: give --drain to wait, replay them "
            "with relayctl dlq replay, or give --drop-owed"
        )
    if not yes:
        when = "as soon as nothing is owed for it" if options["drain"] else "within 15 seconds"
        click.confirm(f"Refuse BigPanda's shares for channel {name}, {when}?", abort=True, err=True)
    if options["drain"]:
        drain.wait([name])
        undelivered = UndeliveredJobs.of(stack)
        _refuse_dead_lettered(stack, name, undelivered)
    store.remove(name, options["days"])
    name_completion.forget(click.get_current_context())
    is_in_force = put_in_force(stack, name) is not None
    if as_json:
        document = {"channel": name, "removed": True, "drained": options["drain"]}
        click.echo(json.dumps(document | undelivered._asdict()))
    else:
        _show_removed(name, undelivered, is_drained=options["drain"])
    if not is_in_force:
        click.get_current_context().exit(1)


def _refuse_dead_lettered(stack: Stack, name: str, undelivered: UndeliveredJobs) -> None:
    """Raise ClickException if jobs of the channel are dead-lettered."""
    if not undelivered.dead_lettered:
        return
    counts, held = dead_letter_reading.count_by_channel(stack)
    if held:
        raise click.ClickException(f"{dead_letter_reading.held_elsewhere(held)}; channel {name} was not removed")
    if count := counts[name]:
        raise click.ClickException(
            f"channel {name}: {count} dead-lettered, so it was not removed: relayctl dlq replay --channel {name} --yes "
            f"delivers them; relayctl dlq export keeps them in a file, and relayctl dlq drop removes them"
        )


def _show_removed(name: str, undelivered: UndeliveredJobs, *, is_drained: bool) -> None:
    lines = [f"channel {name}: removed"]
    if any(undelivered) and not is_drained:
        lines += [
            f"{undelivered}; waiting jobs of channel {name} will be dead-lettered (channel_removed)",
            f"to deliver them, make the channel again, then: relayctl dlq replay --channel {name} --yes",
        ]
    for line in lines:
        terminal.output().print(line)
