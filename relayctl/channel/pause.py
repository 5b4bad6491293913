"""relayctl channel pause and resume: stop a channel's signals until a time, and start them again."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import click

from relay.channels.parsing import parse_channel
from relay.channels.pause import Pause
from relay.failures import InvalidChannel
from relay.foreign_text import printable
from relayctl import audit, terminal
from relayctl.audit import Audit
from relayctl.channel import modes, pauses_in_secret
from relayctl.channel.propagation import put_in_force
from relayctl.channel.secret_document import SecretDocument
from relayctl.channel.store import ChannelChangedError, ChannelStore
from relayctl.channel_names import NAME_OR_ALL
from relayctl.moments import UNTIL
from relayctl.stack.deployed import Stack, on_stack

_ALL = click.option("--all", "is_all", is_flag=True, help="All channels of the stack.")
_WHEN = click.option(
    "--when",
    "texts",
    multiple=True,
    metavar="FACT=PATTERN",
    help="Only incidents that meet it, in the words of routes; repeatable: all facts must fit.",
)

# Changes the pauses in a secret, and returns those that it added or ended.
type _Change = Callable[[SecretDocument], Sequence[pauses_in_secret.Pause]]


def _reason(_: click.Context, __: click.Parameter, value: str | None) -> str:
    return "" if value is None else audit.reason(value, "why the channel is paused")


@click.command()
@NAME_OR_ALL
@_ALL
@click.option("--until", type=UNTIL, required=True, help="End: a duration such as 90m, or a time (ISO 8601).")
@click.option("--from", "since", type=UNTIL, help="Start of a later pause, in the same form.  [default: now]")
@click.option("--keep", is_flag=True, help="Afterwards the newest state of each incident rings.")
@click.option("--drop", is_flag=True, help="What came in the pause does not ring afterwards.")
@_WHEN
@click.option("--reason", callback=_reason, metavar="TEXT", help="Why, for all who see the pause.")
@on_stack
def pause(
    stack: Stack,
    name: str | None,
    until: float,
    since: float | None,
    texts: Sequence[str],
    reason: str,
    as_json: bool,
    **options: bool,
) -> None:
    """Stop a channel's signals until a time; the pause ends by itself.

    BigPanda's shares are taken as before. With --keep, states that come in the pause wait for its end. With --drop,
    they are recorded and not signalled. A state that was owed before the pause waits in any case. During the pause
    the fallback topic is not notified of paused incidents: nobody is told of a critical. So do not pause for a
    maintenance of xMatters. The pause does not stop a page that already rings. It acts on new shares within 15
    seconds. A pause that overlaps one of the same kind and conditions prolongs it.

    Exit codes: 0 done, 1 not stored, or stored and not in force, 2 usage, 3 no such channel.

    \b
    Example:
      relayctl channel pause payments --until 2h --keep --reason "CHG-7: database"
      relayctl channel pause payments --until 4h --drop --when environment=staging
    """
    if options["keep"] == options["drop"]:
        raise click.UsageError("give --keep, to ring afterwards what is still news, or --drop, to leave it out")
    now = stack.effects.clock()
    when, who = pauses_in_secret.parse_conditions(texts), Audit.begin(stack, "channel pause").who or ""
    said = {"reason": reason, "by": who.rpartition(":")[2][: audit.MAX_REASON]}
    new = pauses_in_secret.pause(since or now, until, "keep" if options["keep"] else "drop", when, now, **said)
    effect = "it is paused" if Pause.of(new).is_active(now) else "the pause is known"
    names = _names(stack, name, is_all=options["is_all"])
    changed = _change(stack, names, lambda document: [pauses_in_secret.add(document, new, now)], effect)
    if not changed.pauses:
        terminal.nothing("there is no channel" if name is None else f"there is no channel {name}")
    terminal.say("note: during the pause the fallback topic is not notified of these incidents, either")
    changed.show("paused", lambda each: modes.pause_words(each, now), is_all=options["is_all"], as_json=as_json)


@click.command()
@NAME_OR_ALL
@_ALL
@_WHEN
@on_stack
def resume(stack: Stack, name: str | None, is_all: bool, texts: Sequence[str], as_json: bool) -> None:
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
    names = _names(stack, name, is_all=is_all)
    changed = _change(stack, names, lambda document: pauses_in_secret.end(document, when, now), "it is resumed")
    if not changed.pauses:
        terminal.nothing(f"there is no channel {'' if name is None else f'{name} '}with such a pause")
    changed.show("resumed", lambda each: modes.end_words(each, now), is_all=is_all, as_json=as_json)


class _Changed(NamedTuple):
    """Result of a change of channels' pauses.

    Attributes:
        pauses: The pauses that were added or ended, by channel.
        in_force: Time from which no function uses an older copy of the secrets (ISO 8601); None if that is not sure.
        has_failed: True if a channel could not be changed.
    """

    pauses: Mapping[str, Sequence[pauses_in_secret.Pause]]
    in_force: str | None
    has_failed: bool

    def show(self, what: str, words: Callable[[Pause], str], *, is_all: bool, as_json: bool) -> None:
        """Print the pauses, and exit with 1 if not all is done. `what` is their member in the JSON document."""
        found = [{"channel": name, what: each, "in_force_at": self.in_force} for name, each in self.pauses.items()]
        if as_json:
            click.echo(json.dumps({"channels": found} if is_all else found[0]))
        else:
            for name, pauses in self.pauses.items():
                for each in pauses:
                    terminal.show_line(printable(f"channel {name}: {words(Pause.of(each))}"), indent=2)
        terminal.fail_if(self.has_failed or self.in_force is None)


def _names(stack: Stack, name: str | None, *, is_all: bool) -> list[str]:
    if (name is None) != is_all:
        raise click.UsageError("give the name of a channel, or --all")
    return [name] if name else [each for each, _ in ChannelStore(stack).names()]


def _change(stack: Stack, names: Sequence[str], change: _Change, effect: str) -> _Changed:
    """Change the pauses of channels, and put that in force; `effect` says in words what is then so.

    If there are several channels, one that can't be changed does not stop the change of the others.
    """
    pauses: dict[str, Sequence[pauses_in_secret.Pause]] = {}
    store, has_failed = ChannelStore(stack), False
    for name in names:
        try:
            if found := _stored(stack, store, name, change):
                pauses[name] = found
        except (ChannelChangedError, InvalidChannel, click.UsageError) as error:
            if len(names) == 1:
                raise
            terminal.say(f"channel {name}: not changed: {printable(str(error))}")
            has_failed = True
    terminal.fail_if(has_failed and not pauses)
    in_force = put_in_force(stack, *pauses, effect=effect, revokes=False) if pauses else None
    return _Changed(pauses, in_force, has_failed)


def _stored(stack: Stack, store: ChannelStore, name: str, change: _Change) -> Sequence[pauses_in_secret.Pause]:
    kept = store.read(name)
    if kept is None:
        return ()
    after = SecretDocument(kept.document)
    pauses = change(after)
    if pauses:
        parse_channel(name, after.text(), stack.hosts)
        store.write(name, after.text(), replaces=kept.version)
    return pauses
