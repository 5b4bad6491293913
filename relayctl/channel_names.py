"""Channels' names on the command line: arguments, options, and their completion in the shell."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Thread

import click

from relay.channels.policy import CHANNEL_NAME

# Time limit of the call for completions, since a person waits for the answer to the tab key.
CALL_SECONDS = 2.5


def checked_name(value: str) -> str:
    """Return the name of a channel as the operator gave it. Raises BadParameter if no channel can have it."""
    if not re.match(CHANNEL_NAME, value):
        raise click.BadParameter("use 1 to 48 of a-z, 0-9, - and _, beginning with a letter or digit")
    return value


def _listed(ctx: click.Context) -> list[str]:
    # Imported here: the help and the completion of verbs need no AWS SDK.
    from relayctl.channel.store import ChannelStore  # noqa: PLC0415
    from relayctl.stack.deployed import STACK_NAME, opened  # noqa: PLC0415

    name, region, profile = (ctx.params.get(option) for option in ("stack_name", "region", "profile"))
    # Unconfirmed: the shell waits, and no secret is read for a completion.
    return [each for each, _ in ChannelStore(opened(ctx, name or STACK_NAME, region, profile)).names(confirms=False)]


def complete(
    ctx: click.Context,
    _: click.Parameter | None,
    incomplete: str,
    ask: Callable[[click.Context], Iterable[str]] = _listed,
    seconds: float = CALL_SECONDS,
) -> list[str]:
    """Return the names of channels that begin with the incomplete word; an empty list after any error.

    `ask` lists the channels of the stack. After `seconds` there is no name.
    """
    found = list[str]()

    def run() -> None:
        # The shell shows what is written here in the middle of the operator's line.
        with suppress(Exception):
            found.extend(ask(ctx))

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return sorted({name for name in found if re.match(CHANNEL_NAME, name) and name.startswith(incomplete)})


NAME = click.argument("name", type=checked_name, metavar="NAME", shell_complete=complete)
NAME_OR_ALL = click.argument("name", type=checked_name, required=False, metavar="[NAME]", shell_complete=complete)
CHANNEL = click.option(
    "--channel", type=checked_name, metavar="NAME", shell_complete=complete, help="Only this channel."
)
CHANNELS = click.option(
    "--channel",
    "names",
    type=checked_name,
    metavar="NAME",
    multiple=True,
    shell_complete=complete,
    help="Only this channel; repeatable.",
)
