"""relayctl channel: the group with all of its verbs, and the verbs show, list and remove."""

from typing import Any

import click

from relay.channels.parsing import parse_channel
from relayctl import terminal
from relayctl.channel import endpoints, pauses
from relayctl.channel.checks import test
from relayctl.channel.pauses import pause_, resume
from relayctl.channel.rotate import revoke, rotate
from relayctl.channel.set import set_, undo
from relayctl.channel.store import NAME, NO_CHANNELS, ChannelStore
from relayctl.failed_calls import tried
from relayctl.settings.settings_file import apply, export, plan
from relayctl.stack import draining
from relayctl.stack.deployed import Stack, on_stack
from relayctl.stack.status import Owed, print_status, read_status


@click.group()
def channel() -> None:
    """Channels: each binds one BigPanda sharing channel to one xMatters trigger."""


for _verb in (set_, rotate, revoke, test, export, plan, apply, undo, pause_, resume):
    channel.add_command(_verb)


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
    document = ChannelStore(stack).existing(name)
    urls, masked = endpoints.urls(stack, name, document), document.masked()
    uses = endpoints.uses_of(stack, name, document) or []
    policy, _ = tried(lambda: parse_channel(name, document.text(), stack.hosts).policy)
    mode = pauses.document(policy, stack.effects.clock())
    found = {"channel": name, **endpoints.url_members(urls), **mode}
    found["credentials"] = [each.document() for each in uses]
    terminal.result(found, as_json=as_json, secret=masked)


@channel.command("list")
@on_stack
def list_(stack: Stack, as_json: bool) -> None:
    """List the channels of the stack: mode, health, last share, last change.

    A function notes a share once an hour, so the true last share may be up to an hour later. A new channel may be
    missing for five minutes, since Secrets Manager lists it late.

    \b
    Example:
      relayctl channel list --json
    """
    found = read_status(stack, has_logs=False)
    print_status(stack, found, NO_CHANNELS, whole=False, as_json=as_json)


@channel.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--drain", is_flag=True, help="Wait until nothing is owed for it and no share comes, then remove it.")
@draining.options
@click.option("--drop-owed", is_flag=True, help="Remove it although states are owed for it; they are not delivered.")
@click.option(
    "--days", type=click.IntRange(7, 30), default=7, show_default=True, help="Days in which it can be restored."
)
@on_stack
def remove(stack: Stack, name: str, yes: bool, as_json: bool, **options: Any) -> None:
    """Remove a channel: its shares are refused within 15 seconds.

    With --drain, relayctl waits until the ledger owes nothing for the channel, no critical waits to be heard of, and no
    share came and no signal was sent for --quiet. Disable AutoShare in BigPanda first: if a share comes meanwhile, the
    channel is not removed. A channel with dead-lettered jobs is not removed, either. Until the end of the wait nothing
    is changed, and Ctrl-C leaves the channel as it is.

    Without --drain, what is owed for it is dead-lettered. If anything is owed or dead-lettered, --drop-owed is needed;
    relayctl incident list --owed names the incidents. The secret can be restored within --days: `aws secretsmanager
    restore-secret`.

    \b
    Example:
      relayctl channel remove payments --drain
      relayctl channel remove payments --drop-owed --yes
    """
    store = ChannelStore(stack)
    if not store.exists(name):
        # An earlier call may have removed it, and failed to write the mark.
        terminal.fail_if(store.is_removed(name) and endpoints.put_in_force(stack, name) is None)
        terminal.nothing(f"there is no channel {name}")
    owed, drains = Owed.of(stack, name), options["drain"]
    _refuse(name, owed, owed.dead_lettered or owed.problems if drains else str(owed) and not options["drop_owed"])
    if str(owed) and not drains:
        terminal.say(f"channel {name}: {owed}; what is owed will be dead-lettered (channel_removed)")
    when = "as soon as nothing is owed for it" if drains else "within 15 seconds"
    terminal.confirm(f"Refuse BigPanda's shares for channel {name}, {when}?", yes=yes)
    if drains:
        list(draining.drained(stack, [name], options["quiet"], options["timeout"]))
        owed = Owed.of(stack, name)
        _refuse(name, owed, str(owed))
    store.remove(name, options["days"])
    in_force = endpoints.put_in_force(stack, name)
    found = {"channel": name, "removed": True, "drained": drains, "owed": str(owed) or None}
    terminal.result(found, as_json=as_json)
    terminal.fail_if(in_force is None)


def _refuse(name: str, owed: Owed, is_refused: object) -> None:
    if is_refused:
        raise click.ClickException(
            f"channel {name}: {owed}, so it was not removed; relayctl incident list --owed --channel {name} and "
            f"relayctl dlq list --channel {name} name what is owed; relayctl channel resume {name} ends a pause, "
            f"relayctl dlq replay --channel {name} --yes delivers what is dead-lettered, --drain waits until nothing "
            "is owed, and --drop-owed removes the channel now"
        )
