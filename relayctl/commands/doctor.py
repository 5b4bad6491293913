"""relayctl doctor: whether all is well with a stack and its channels."""

import json
from datetime import UTC, datetime

import click

from relay.foreign_text import printable
from relayctl import checks, terminal
from relayctl.channel_store import ChannelStore
from relayctl.checks import Check
from relayctl.commands.test import examination
from relayctl.stack import Stack, on_stack
from relayctl.stack_health import StackHealth


@click.command()
@on_stack
def doctor(stack: Stack, as_json: bool) -> None:
    """Check the whole stack, and every channel as `channel test` does. It changes nothing and rings nobody.

    Exit codes: 0 all is well, maybe with warnings; 1 some failed.

    \b
    Example:
      relayctl doctor
      relayctl doctor --json
    """
    # Of another stack, or none, nothing is worth saying.
    store = ChannelStore(stack)
    with terminal.status(f"looking at the stack {stack.name} …"):
        its_own = list(StackHealth(stack).of(datetime.now(UTC)))
        names, listed = _channels(store)
    its_own.append(listed)
    if not as_json:
        _show(f"stack {stack.name}", its_own)
    examined = _examined(stack, store, names, as_json=as_json)
    every = [*its_own, *(check for found in examined.values() for check in found)]
    if as_json:
        channels = [{"channel": name, **checks.listing(found)} for name, found in examined.items()]
        document = {"stack": stack.name, **checks.listing(its_own), "channels": channels, **checks.counts(every)}
        click.echo(json.dumps(document))
    click.echo(f"stack {stack.name}: {checks.summary(every)}", err=True)
    if checks.counts(every)["failed"]:
        click.get_current_context().exit(1)


def _channels(store: ChannelStore) -> tuple[list[str], Check]:
    """The names of the channels, and what there is to say of that there are so many."""
    names: list[str] = []

    def look() -> Check:
        names.extend(name for name, _ in store.names())
        if not names:
            return checks.warning("channels", "none yet: relayctl channel set NAME makes one")
        return checks.ok("channels", f"{len(names)} of them")

    return names, checks.of_aws("channels", look)


def _examined(stack: Stack, store: ChannelStore, names: list[str], *, as_json: bool) -> dict[str, list[Check]]:
    doctor_ = examination(stack, store)
    examined = {}
    for name in names:
        with terminal.status(f"looking at channel {name} …"):
            examined[name] = list(doctor_.of(name))
        if not as_json:
            _show(f"channel {name}", examined[name])
    return examined


def _show(title: str, found: list[Check]) -> None:
    click.echo(click.style(printable(title), bold=True))
    checks.show(found)
