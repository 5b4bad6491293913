"""Channels' names on the command line: arguments and options."""

import re

import click

from relay.channels.policy import CHANNEL_NAME


def checked_name(value: str) -> str:
    """Return the name of a channel as the operator gave it. Raises BadParameter if no channel can have it."""
    if not re.match(CHANNEL_NAME, value):
        raise click.BadParameter("use 1 to 48 of a-z, 0-9, - and _, beginning with a letter or digit")
    return value


NAME = click.argument("name", type=checked_name, metavar="NAME")
NAME_OR_ALL = click.argument("name", type=checked_name, required=False, metavar="[NAME]")
CHANNEL = click.option("--channel", type=checked_name, metavar="NAME", help="Only this channel.")
CHANNELS = click.option(
    "--channel", "names", type=checked_name, metavar="NAME", multiple=True, help="Only this channel; repeatable."
)
