"""relayctl status: the status of each channel, once or repeatedly."""

import json
import sys

import click

from relayctl import terminal
from relayctl.channel.store import NO_CHANNELS
from relayctl.channel_names import CHANNEL
from relayctl.stack import status_views
from relayctl.stack.deployed import Stack, on_stack
from relayctl.stack.status_reading import StackStatus, StatusReader

# Pause between two readings of a watch.
WATCH_SECONDS = 15.0
SHORTEST_WATCH_SECONDS = 2.0


@click.command(short_help="Show the channels: traffic, debts, circuit, rate, credentials.")
@CHANNEL
@click.option(
    "--watch",
    "every",
    type=click.FloatRange(SHORTEST_WATCH_SECONDS, 3600),
    is_flag=False,
    flag_value=WATCH_SECONDS,
    metavar="[SECONDS]",
    help=f"Read again after SECONDS, {WATCH_SECONDS:g} if left out, until Ctrl-C.",
)
@on_stack
def status(stack: Stack, channel: str | None, every: float | None, as_json: bool) -> None:
    """Show the status of each channel, the least healthy first.

    For each: shares and signals in the last hour, owed states, the oldest debt, the time by which the next attempt is
    made, the circuit, the signals of a minute and their limit, the age and last use of credentials. A healthy channel
    has one line, unless it is named by --channel. A source that fails is named on stderr.

    With --watch, a terminal is redrawn; with --json each reading is a document on one line.

    Exit codes: 0 shown, 1 AWS failed, 2 usage, 3 no such channel, 130 a watch ended by Ctrl-C.

    \b
    Example:
      relayctl status
      relayctl status --channel payments
      relayctl status --watch 5
    """
    reader = StatusReader(stack, channel)
    with terminal.status("reading the ledger and the logs …"):
        found = reader.read()
    while every is not None and found.channels:
        if sys.stdout.isatty() and not as_json:
            click.clear()
        _print(stack, found, channel, as_json=as_json)
        sys.stdout.flush()
        stack.effects.sleep(every)
        found = reader.read()
    _print(stack, found, channel, as_json=as_json)
    if not found.channels:
        if found.problems:
            raise click.ClickException("the channels could not be read")
        terminal.nothing(NO_CHANNELS if channel is None else f"there is no channel {channel}")


def _print(stack: Stack, found: StackStatus, channel: str | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(status_views.document(stack.name, found)))
        return
    if found.channels:
        status_views.show(found, whole=channel is not None)
    for problem in found.problems:
        terminal.say(f"not known: {problem}")
