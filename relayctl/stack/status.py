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
    made, the circuit, the signals of a minute and their limit, the last confirmed page, the age and last use of
    credentials. A healthy channel has one line, unless it is named by --channel. A source that fails is named on
    stderr.

    With --watch, a terminal is redrawn; otherwise each reading prints a line for each channel, or with --json one
    document on one line.

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
    if every is None or not found.channels:
        _print(stack, found, channel, as_json=as_json)
        _end(found, channel)
        return
    is_redrawn = sys.stdout.isatty() and not as_json
    while True:
        _print_watched(stack, found, channel, as_json=as_json, is_redrawn=is_redrawn)
        stack.effects.sleep(every)
        found = reader.read()


def _print(stack: Stack, found: StackStatus, channel: str | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(status_views.document(stack.name, found)))
        return
    if found.channels:
        status_views.show(found, whole=channel is not None)
    _say_problems(found)


def _print_watched(stack: Stack, found: StackStatus, channel: str | None, *, as_json: bool, is_redrawn: bool) -> None:
    if as_json or is_redrawn:
        if is_redrawn:
            click.clear()
        _print(stack, found, channel, as_json=as_json)
        sys.stdout.flush()
        return
    for line in status_views.lines(found):
        click.echo(line)
    _say_problems(found)


def _say_problems(found: StackStatus) -> None:
    for problem in found.problems:
        terminal.say(f"not known: {problem}")


def _end(found: StackStatus, channel: str | None) -> None:
    """If no channel was found, exit with code 1 if a source failed, else with code 3."""
    if found.channels:
        return
    if found.problems:
        raise click.ClickException("the channels could not be read")
    if channel is not None:
        terminal.nothing(f"there is no channel {channel}")
    terminal.nothing(NO_CHANNELS)
