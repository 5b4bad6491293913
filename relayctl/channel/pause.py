"""relayctl channel pause and resume: stop a channel's signals until a time, and start them again."""

from collections.abc import Callable, Sequence
from functools import partial

import click

from relay.channels.parsing import parse_channel
from relay.channels.routes import Pause
from relay.failures import InvalidChannel
from relay.foreign_text import printable
from relayctl import audit, moments, terminal
from relayctl.channel import pauses
from relayctl.channel.endpoints import put_in_force
from relayctl.channel.pauses import Members
from relayctl.channel.secret_document import SecretDocument
from relayctl.channel.store import NAME_OR_ALL, ChannelStore
from relayctl.stack.deployed import Stack, on_stack

_ALL = click.option("--all", "is_all", is_flag=True, help="All channels of the stack.")
_WHEN = click.option(
    "--when",
    "texts",
    multiple=True,
    metavar="FACT=PATTERN",
    help="Only incidents that meet it, in the words of routes; repeatable: all facts must fit.",
)


def _reason(_: click.Context, __: click.Parameter, value: str | None) -> str:
    return "" if value is None else audit.reason(value, "why the channel is paused")


@click.command()
@NAME_OR_ALL
@_ALL
@click.option("--until", type=moments.until, required=True, help="End: a duration such as 90m, or a time (ISO 8601).")
@click.option("--from", "since", type=moments.until, help="Start of a later pause, in the same form.  [default: now]")
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

    \b
    Example:
      relayctl channel pause payments --until 2h --keep --reason "CHG-7: database"
      relayctl channel pause payments --until 4h --drop --when environment=staging
    """
    if options["keep"] == options["drop"]:
        raise click.UsageError("give --keep, to ring afterwards what is still news, or --drop, to leave it out")
    now = stack.effects.clock()
    when, who = pauses.parse_conditions(texts), audit.begin(stack, "channel pause")["who"] or ""
    said = {"reason": reason, "by": who.rpartition(":")[2][: audit.MAX_REASON]}
    new = pauses.pause(since or now, until, "keep" if options["keep"] else "drop", when, now, **said)

    def add(document: SecretDocument) -> list[Members]:
        return [pauses.add(document, new, now)]

    effect = "it is paused" if Pause.of(new).is_active(now) else "the pause is known"
    words = partial(pauses.pause_words, now=now)
    terminal.say("note: during the pause the fallback topic is not notified of these incidents, either")
    _change(stack, name, add, "paused", effect, words, is_all=options["is_all"], as_json=as_json)


@click.command()
@NAME_OR_ALL
@_ALL
@_WHEN
@on_stack
def resume(stack: Stack, name: str | None, is_all: bool, texts: Sequence[str], as_json: bool) -> None:
    """End a channel's pauses now, also those that have not begun.

    With --when, end only the pauses that have exactly these conditions. After at most 15 seconds, new shares are
    signalled again. States that waited are signalled within two minutes, as fast as the channel's rate limit allows.

    \b
    Example:
      relayctl channel resume payments
      relayctl channel resume payments --when environment=staging
    """
    now, when = stack.effects.clock(), pauses.parse_conditions(texts)
    end, words = partial(pauses.end, when=when, now=now), partial(pauses.end_words, now=now)
    _change(stack, name, end, "resumed", "it is resumed", words, is_all=is_all, as_json=as_json)


# Changes the pauses in a secret, and returns those that it added or ended.
type _Act = Callable[[SecretDocument], Sequence[Members]]


def _change(
    stack: Stack,
    name: str | None,
    act: _Act,
    what: str,
    effect: str,
    words: Callable[[Pause], str],
    *,
    is_all: bool,
    as_json: bool,
) -> None:
    """Change the pauses of a channel, or of all, put that in force, and print it; exit with 1 if a part failed.

    `what` is the member of the pauses in the JSON document, and `effect` a sentence for it.
    """
    if (name is None) != is_all:
        raise click.UsageError("give the name of a channel, or --all")
    pauses, has_failed = _stored(stack, name, act)
    terminal.fail_if(has_failed and not pauses)
    if not pauses:
        such = "" if what == "paused" else " with such a pause"
        terminal.nothing(f"there is no channel{f' {name}' if name else ''}{such}")
    in_force = put_in_force(stack, *pauses, effect=effect, revokes=False)
    found = [{"channel": each, what: these, "in_force_at": in_force} for each, these in pauses.items()]
    if as_json:
        terminal.document({"channels": found} if is_all else found[0])
    for each, these in pauses.items() if not as_json else ():
        for one in these:
            terminal.show_line(printable(f"channel {each}: {words(Pause.of(one))}"), indent=2)
    terminal.fail_if(has_failed or in_force is None)


def _stored(stack: Stack, name: str | None, act: _Act) -> tuple[dict[str, Sequence[Members]], bool]:
    store, has_failed = ChannelStore(stack), False
    pauses = dict[str, Sequence[Members]]()
    for each in [name] if name else store.names():
        try:
            secret = store.read(each)
            if secret.version and (found := act(secret)):
                parse_channel(each, secret.text(), stack.hosts)
                store.write(each, secret.text(), replaces=secret.version)
                pauses[each] = found
        except (InvalidChannel, click.ClickException) as error:
            if name:
                raise
            terminal.say(f"channel {each}: not changed: {printable(str(error))}")
            has_failed = True
    return pauses, has_failed
