"""relayctl channel pause and resume: stop a channel's signals until a time, and start them again."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import click

from relay.channels.parsing import parse_channel
from relay.foreign_text import printable
from relayctl import pauses_in_secret, terminal
from relayctl.channel_store import ChannelStore
from relayctl.commands.channel import NAME
from relayctl.moments import Until
from relayctl.pauses_in_secret import Pause
from relayctl.revocation import put_in_force
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack, on_stack

_WHEN = click.option(
    "--when",
    "texts",
    multiple=True,
    metavar="FACT=PATTERN",
    help="Only incidents that meet it, in the words of routes; repeatable: all facts must fit.",
)


@click.command()
@NAME
@click.option("--until", type=Until(), required=True, help="End: a duration such as 90m, or a time (ISO 8601).")
@click.option("--from", "since", type=Until(), help="Start of a later pause, in the same form.  [default: now]")
@click.option("--keep", "then", flag_value="keep", help="Afterwards the newest state of each incident rings.")
@click.option("--drop", "then", flag_value="drop", help="What came in the pause does not ring afterwards.")
@_WHEN
@on_stack
def pause(
    stack: Stack,
    name: str,
    until: float,
    since: float | None,
    then: Literal["keep", "drop"] | None,
    texts: Sequence[str],
    as_json: bool,
) -> None:
    """Stop a channel's signals until a time; the pause ends by itself.

    BigPanda's shares are taken as before. With --keep, states that come in the pause wait for its end. With --drop,
    they are recorded and not signalled. A state that was owed before the pause waits in any case. During the pause
    the fallback topic is not notified of paused incidents. The pause does not stop a page that already rings. The
    pause acts on new shares within 15 seconds.

    Exit codes: 0 done, 1 not stored, or stored and not in force, 2 usage, 3 no such channel.

    \b
    Example:
      relayctl channel pause payments --until 2h --keep
      relayctl channel pause payments --until 4h --drop --when environment=staging
    """
    if then is None:
        raise click.UsageError("give --keep, to ring afterwards what is still news, or --drop, to leave it out")
    now = stack.effects.clock()
    new = pauses_in_secret.pause(since or now, until, then, pauses_in_secret.parse_conditions(texts), now)

    def change(document: SecretDocument) -> list[Pause]:
        pauses_in_secret.add(document, new, now)
        return [new]

    _changed(stack, name, change, "paused", as_json=as_json)


@click.command()
@NAME
@_WHEN
@on_stack
def resume(stack: Stack, name: str, texts: Sequence[str], as_json: bool) -> None:
    """End a channel's pauses now, also those that have not begun.

    With --when, end only the pauses that have exactly these conditions. After at most 15 seconds, new shares are
    signalled again. States that waited are signalled within two minutes, as fast as the channel's rate limit allows.

    Exit codes: 0 done, 1 not stored, or stored and not in force, 2 usage, 3 no such channel or pause.

    \b
    Example:
      relayctl channel resume payments
      relayctl channel resume payments --when environment=staging
    """
    now, when = stack.effects.clock(), pauses_in_secret.parse_conditions(texts)
    _changed(stack, name, lambda document: pauses_in_secret.end(document, when, now), "resumed", as_json=as_json)


def _changed(
    stack: Stack, name: str, change: Callable[[SecretDocument], list[Pause]], what: str, *, as_json: bool
) -> None:
    """Apply a change to a channel's pauses, put it in force, and print the pauses that it added or ended.

    `change` changes the secret, and returns these pauses. `what` is `paused` or `resumed`.
    """
    store = ChannelStore(stack)
    kept = store.read(name)
    if kept is None:
        terminal.nothing(f"there is no channel {name}")
    after = SecretDocument(kept.document)
    pauses = change(after)
    if not pauses:
        terminal.nothing(f"channel {name} has no such pause")
    parse_channel(name, after.text(), stack.hosts)
    store.write(name, after.text(), replaces=kept.version)
    in_force = put_in_force(stack, name, f"it is {what}", revokes=False)
    if as_json:
        document: dict[str, Any] = {"channel": name, what: pauses, "in_force_at": in_force}
        click.echo(json.dumps(document))
    else:
        for each in pauses:
            terminal.output().print(f"channel {name}: {what} {printable(described(each))}")
    if in_force is None:
        click.get_current_context().exit(1)


def described(pause: Mapping[str, Any]) -> str:
    """Return a pause in words: its start and end, the handling of states that come in it, and its incidents."""
    then = "then the newest states ring" if pause["then"] == "keep" else "and what comes is left out"
    facts = [f"{fact} {' or '.join(patterns)}" for fact, patterns in pauses_in_secret.conditions_in(pause).items()]
    whom = f", for incidents with {' and '.join(facts)}" if facts else ""
    return f"from {pause['since']} until {pause['until']}, {then}{whom}"
