"""relayctl doctor: check a stack and all of its channels."""

from contextlib import suppress
from datetime import UTC, datetime

import click

from relay.foreign_text import printable
from relayctl import check_results, terminal
from relayctl.channel import checks
from relayctl.channel.store import NO_CHANNELS, ChannelStore
from relayctl.check_results import Check
from relayctl.failed_calls import tried
from relayctl.stack.checks import StackChecks
from relayctl.stack.deployed import Stack, StackMissingError, on_stack
from relayctl.stack.status import health
from relayctl.stack.status_reading import StatusReader


@click.command()
@on_stack
def doctor(stack: Stack, as_json: bool) -> None:
    """Check the whole stack, and every channel: its health as `status` has it, then as `channel test` does.

    Nothing is changed and nobody is notified.

    \b
    Example:
      relayctl doctor
      relayctl doctor --json
    """
    # First: it raises an error if there is no such stack, or the stack is not a relay.
    store = ChannelStore(stack)
    with terminal.status(f"checking the stack {stack.name} …"):
        of_stack = list(StackChecks(stack).of(datetime.now(UTC)))
        names, listed = _channels(store)
    of_stack.append(listed)
    if not as_json:
        _show(f"stack {stack.name}", of_stack)
    of_channels = _checked(store, names, as_json=as_json)
    every = [*of_stack, *(check for found in of_channels.values() for check in found)]
    if as_json:
        channels = [{"channel": name, **check_results.listing(found)} for name, found in of_channels.items()]
        document = {"stack": stack.name, **check_results.listing(of_stack), "channels": channels}
        terminal.document(document | check_results.counts(every))
    check_results.conclude(f"stack {stack.name}", every)


def _channels(store: ChannelStore) -> tuple[list[str], Check]:
    names, problem = tried(lambda: list(store.names()))
    if problem:
        return [], check_results.failed("channels", f"not checked: {problem}")
    if not names:
        return [], check_results.warning("channels", NO_CHANNELS)
    return names, check_results.ok("channels", f"{len(names)} of them")


def _checked(store: ChannelStore, names: list[str], *, as_json: bool) -> dict[str, list[Check]]:
    found, status = {}, None
    # The check of the outputs reports what the stack lacks.
    with suppress(StackMissingError), terminal.status("reading the ledger and the logs …"):
        status = StatusReader(store.stack).read()
    for name in names:
        with terminal.status(f"checking channel {name} …"):
            found[name] = [*(health(status, name) if status else ()), *checks.of(store, name)]
        if not as_json:
            _show(f"channel {name}", found[name])
    return found


def _show(title: str, found: list[Check]) -> None:
    click.echo(click.style(printable(title), bold=True))
    check_results.show(found)
