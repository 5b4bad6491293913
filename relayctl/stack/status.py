"""relayctl status, and doctor: the status of each channel, and checks of the stack and of all channels."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import click

from relay.delivery.channel_health import age
from relay.foreign_text import printable
from relayctl import check_results, moments, terminal
from relayctl.channel import checks, pauses
from relayctl.channel.store import CHANNEL, NO_CHANNELS, ChannelStore
from relayctl.check_results import Check, failed, ok, warning
from relayctl.failed_calls import tried
from relayctl.stack import channel_status
from relayctl.stack.channel_status import ChannelStatus, Health, StackStatus, read_status
from relayctl.stack.checks import StackChecks
from relayctl.stack.deployed import Stack, StackMissingError, on_stack
from relayctl.terminal import counted


def health(status: StackStatus, name: str) -> Iterator[Check]:
    """Yield the health of a channel: FAILED if it is sick, or if a source of its status could not be read."""
    channel = next((each for each in status.channels if each.name == name), None)
    # The check of the secret reports an invalid secret, and one that may not be read.
    if channel is None or channel.problem:
        return
    degree, why = channel_status.judge(channel, status.at)
    unread = [each for each in status.readings.problems if not each.startswith("secret of ")]
    if degree == Health.SICK:
        yield failed("health", f"sick: {'; '.join(why)}")
    elif unread:
        yield failed("health", f"not checked: {'; '.join(unread)}")
    else:
        yield ok("health", "; ".join([*why, traffic(channel, status.at)]))


_COLORS = {Health.SICK: "red", Health.UNKNOWN: "yellow", Health.OWES: "yellow", Health.OK: "green"}


def traffic(each: ChannelStatus, now: float) -> str:
    """Return the traffic of a channel in words: shares and signals of the last hour, refused requests of a day."""
    hour = each.traffic
    if hour is None:
        # The ledger's record of the last share may be an hour too old.
        shared = "not known" if each.shared_at is None else f"within {age(now - each.shared_at)}"
        return f"last share {shared}" + (f", changed {age(now - each.changed_at)} ago" if each.changed_at else "")
    last = [f"last share {age(now - hour.last_share)} ago"] if hour.last_share is not None else []
    last += [f"last signal {age(now - hour.last_signal)} ago"] if hour.last_signal is not None else []
    last += [hour.refused_words(now)] if hour.refused else []
    return "; ".join([f"{counted(hour.shares, 'share')}, {counted(hour.signals, 'signal')} in the last hour", *last])


@click.command()
@CHANNEL
@on_stack
def status(stack: Stack, channel: str | None, as_json: bool) -> None:
    """Show the status of each channel, the least healthy first.

    With --channel, all that is known of it.

    \b
    Example:
      relayctl status
      relayctl status --channel payments
    """
    with terminal.status("reading the ledger and the logs …"):
        found = read_status(stack, channel)
    none = NO_CHANNELS if channel is None else f"there is no channel {channel}"
    conclude(stack, found, none, whole=channel is not None, as_json=as_json)


def conclude(stack: Stack, found: StackStatus, none: str, *, whole: bool, as_json: bool) -> None:
    """Print a status, as JSON or as a line for each channel, and the sources that failed.

    With `whole`, print also all members of the JSON document. Exit with the message `none` if there is no channel.
    """
    documents = [channel_status.document(each, found.at) for each in found.channels]
    if as_json:
        head = {"stack": stack.name, "at": moments.iso(found.at), "channels": documents, "queues": found.undelivered}
        terminal.document({**head, "problems": found.readings.problems})
    for each, document in () if as_json else zip(found.channels, documents, strict=True):
        mode = "; ".join(pauses.words(each.policy, found.at)) if each.policy else pauses.LIVE
        name = each.name if mode == pauses.LIVE else f"{each.name} ({mode})"
        line = printable(f"{name}: {'; '.join([*document['why'], traffic(each, found.at)])}")
        terminal.show_line(line, lead=f"{document['health']:7}  ", color=_COLORS[document["health"]])
        if whole:
            terminal.members(document)
    if found.undelivered and documents and not as_json:
        terminal.members({"jobs of all channels": found.undelivered})
    is_listed = "channels" not in found.readings.unread
    found.readings.conclude(found.channels or is_listed, "no channel is known", as_json=as_json)
    if not found.channels:
        terminal.nothing(none)


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
        names, listed = _listed(store)
    of_stack.append(listed)
    of_channels, status = dict[str, list[Check]](), None
    # The checks of the stack report what it lacks.
    with suppress(StackMissingError), terminal.status("reading the ledger and the logs …"):
        status = read_status(stack)
    for name in names:
        with terminal.status(f"checking channel {name} …"):
            of_channels[name] = [*(health(status, name) if status else ()), *checks.of(store, name)]
    titled = {f"stack {stack.name}": of_stack, **{f"channel {name}": found for name, found in of_channels.items()}}
    for title, found in () if as_json else titled.items():
        click.echo(click.style(printable(title), bold=True))
        check_results.show(found)
    every = [*of_stack, *(check for found in of_channels.values() for check in found)]
    channels = [{"channel": name, **check_results.listing(found)} for name, found in of_channels.items()]
    document = {"stack": stack.name, **check_results.listing(of_stack), "channels": channels}
    check_results.conclude(f"stack {stack.name}", every, document if as_json else None)


def _listed(store: ChannelStore) -> tuple[list[str], Check]:
    names, problem = tried(lambda: list(store.names()))
    if problem:
        return [], failed("channels", f"not checked: {problem}")
    if not names:
        return [], warning("channels", NO_CHANNELS)
    return names, ok("channels", f"{len(names)} of them")
