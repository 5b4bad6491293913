"""Mode and pauses of a channel, in words and in its secret, and relayctl channel pause and resume."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import click
from botocore.exceptions import BotoCoreError, ClientError

from relay.channels.parsing import parse_channel
from relay.channels.policy import Mode, Policy
from relay.channels.routes import Conditions, Pause, conditions_of
from relay.channels.schema import MOST_PAUSES
from relay.failures import InvalidChannel
from relay.foreign_text import printable
from relayctl import audit, moments, terminal
from relayctl.channel.endpoints import put_in_force
from relayctl.channel.secret_document import SecretDocument
from relayctl.channel.store import NAME_OR_ALL, ChannelStore
from relayctl.failed_calls import aws_failure
from relayctl.stack.deployed import Stack, on_stack

KEY = "policy.pauses"
# A pause that ends this long after it begins would outlive what BigPanda and people remember of its incidents.
LONGEST_SECONDS = 14 * 86_400
# Time between the operator's own `now` and that of the pause.
_TYPING_SECONDS = 10.0

# A pause as the secret has it.
type Members = Mapping[str, Any]


def pauses_of(document: SecretDocument) -> list[Members]:
    """Return the pauses in a secret; an empty list if `policy.pauses` is missing or not a list."""
    found = document.get(KEY)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def pause(
    since: float, until: float, then: Literal["keep", "drop"], when: Mapping[str, list[str]], now: float, **said: str
) -> Members:
    """Return a new pause for the secret. Raises UsageError if it begins in the past, ends too early, or is too long.

    `then`: states that come in it ring after it (`keep`), or never (`drop`). An empty `when` means all incidents.
    `said` has the operator's `reason`, and `by`, the operator's name; each may be empty.
    """
    if since < now - _TYPING_SECONDS:
        # With --drop it would leave out what was owed before: nobody would be told of it.
        raise click.UsageError("--from: is in the past; leave it out for a pause that begins now")
    if until <= max(since, now):
        raise click.UsageError(
            "--until: is not after the start of the pause; name a later time, or a duration such as 2h"
        )
    if until - since > LONGEST_SECONDS:
        raise click.UsageError("--until: a pause lasts 14 days at most")
    others = {"when": dict(when), **said}
    return {
        "since": moments.iso(since),
        "until": moments.iso(until),
        "then": then,
        **{key: each for key, each in others.items() if each},
    }


def add(document: SecretDocument, new: Members, now: float) -> None:
    """Add a pause to the secret, and remove those that ended long ago. Raises UsageError above MOST_PAUSES."""
    kept = [*_remembered(document, now), new]
    if len(kept) > MOST_PAUSES:
        raise click.UsageError(f"the channel has {MOST_PAUSES} pauses, and no more fit")
    document.set(KEY, kept)


def end(document: SecretDocument, when: Mapping[str, list[str]], now: float) -> list[Members]:
    """End the active pauses, and remove the future ones. Return all of these as they were.

    If `when` is not empty, only pauses with these conditions are meant. An ended pause stays in the secret for a time,
    since the age of a state that waited for it counts from its end.
    """
    kept: list[Members] = []
    ended: list[Members] = []
    for each in _remembered(document, now):
        pause = Pause.of(each)
        if pause.until <= now or (when and _unordered(pause.when) != _unordered(conditions_of(when))):
            kept.append(each)
            continue
        ended.append(each)
        if pause.since < now:
            kept.append({**each, "until": moments.iso(now)})
    if kept:
        document.set(KEY, kept)
    else:
        document.unset(KEY)
    return ended


def _unordered(when: Conditions) -> dict[str, frozenset[str]]:
    return {fact: frozenset(patterns) for fact, patterns in when}


def parse_conditions(texts: Sequence[str]) -> dict[str, list[str]]:
    """Return the patterns by fact from texts such as `environment=staging*`. Raises UsageError for other texts."""
    found: dict[str, list[str]] = {}
    for text in texts:
        fact, equals, pattern = text.partition("=")
        if not (fact and equals and pattern):
            raise click.UsageError("--when: takes FACT=PATTERN, such as environment=staging or tag.team=web*")
        found.setdefault(fact, []).append(pattern)
    return found


def _remembered(document: SecretDocument, now: float) -> list[Members]:
    """Return the pauses that still matter for the age of an owed state; the oldest give way to a new one.

    A state may have waited for several pauses, one after the other, and its age counts from the end of the last one.
    """
    longest = document.get("policy.max_age_seconds") or Policy().max_age_seconds
    kept, earliest = list[Members](), now
    found = [(Pause.of(each), each) for each in pauses_of(document)]
    for pause, each in sorted(found, key=lambda pair: pair[0].until, reverse=True):
        is_needed = pause.until > earliest - longest
        if is_needed and (len(kept) < MOST_PAUSES - 1 or pause.until > now):
            kept.append(each)
            earliest = min(earliest, pause.since)
    return [each for _, each in found if each in kept]


LIVE, SHADOW, PAUSED = Mode.LIVE, Mode.SHADOW, "paused"


def current(policy: Policy, now: float) -> str:
    """Return the mode at `now` (epoch seconds): `shadow`; `paused` if a pause of all incidents is active; `live`."""
    if policy.mode is Mode.SHADOW:
        return SHADOW
    return PAUSED if any(each.is_active(now) and not each.when for each in policy.pauses) else LIVE


def words(policy: Policy, now: float) -> list[str]:
    """Return in words the mode at `now` (epoch seconds), if not `paused`, and each pause that is active or to come."""
    mode = current(policy, now)
    said = [] if mode == PAUSED else [LIVE if mode == LIVE else "shadow: it sends nothing"]
    return said + [pause_words(each, now) for each in open_pauses(policy, now)]


def open_pauses(policy: Policy, now: float) -> list[Pause]:
    """Return the pauses that are active or to come at `now` (epoch seconds), the earliest first."""
    return sorted(each for each in policy.pauses if each.until > now)


def pause_words(pause: Pause, now: float) -> str:
    """Return a pause in words: its times, the handling of states that come in it, its incidents, reason and author."""
    start = "paused" if pause.is_active(now) else f"to be paused from {moments.moment(pause.since)}"
    then = "then the newest states ring" if pause.keeps_states else "and what comes is left out"
    facts = " and ".join(f"{fact} {' or '.join(patterns)}" for fact, patterns in pause.when)
    whom = f", for incidents with {facts}" if facts else ""
    why = "".join(f"; {what}{text}" for what, text in (("reason: ", pause.reason), ("by ", pause.by)) if text)
    return f"{start} until {moments.moment(pause.until)}, {then}{whom}{why}"


def document(policy: Policy | None, now: float) -> dict[str, Any]:
    """Return `mode` and `pauses` (active or to come, in words) for a JSON object; each is None if `policy` is None."""
    if policy is None:
        return {"mode": None, "pauses": None}
    return {"mode": current(policy, now), "pauses": [pause_words(each, now) for each in open_pauses(policy, now)]}


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


@click.command("pause")
@NAME_OR_ALL
@_ALL
@click.option("--until", type=moments.until, required=True, help="End: a duration such as 90m, or a time (ISO 8601).")
@click.option("--from", "since", type=moments.until, help="Start of a later pause, in the same form.  [default: now]")
@click.option("--keep", is_flag=True, help="Afterwards the newest state of each incident rings.")
@click.option("--drop", is_flag=True, help="What came in the pause does not ring afterwards.")
@_WHEN
@click.option("--reason", callback=_reason, metavar="TEXT", help="Why, for all who see the pause.")
@on_stack
def pause_(
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
    seconds. Pauses may overlap.

    \b
    Example:
      relayctl channel pause payments --until 2h --keep --reason "CHG-7: database"
      relayctl channel pause payments --until 4h --drop --when environment=staging
    """
    if options["keep"] == options["drop"]:
        raise click.UsageError("give --keep, to ring afterwards what is still news, or --drop, to leave it out")
    now = stack.effects.clock()
    when, who = parse_conditions(texts), audit.begin(stack, "channel pause")["who"] or ""
    said = {"reason": reason, "by": who.rpartition(":")[2][: audit.MAX_REASON]}
    new = pause(since or now, until, "keep" if options["keep"] else "drop", when, now, **said)

    def added(document: SecretDocument) -> list[Members]:
        add(document, new, now)
        return [new]

    effect = "it is paused" if Pause.of(new).is_active(now) else "the pause is known"
    _change(stack, name, added, "paused", effect, is_all=options["is_all"], as_json=as_json)
    terminal.say("note: during the pause the fallback topic is not notified of these incidents, either")


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
    act = partial(end, when=parse_conditions(texts), now=stack.effects.clock())
    effect = "its pauses are known" if texts else "it is resumed"
    _change(stack, name, act, "resumed", effect, is_all=is_all, as_json=as_json)


# Changes the pauses in a secret, and returns those that it added or ended.
type _Act = Callable[[SecretDocument], Sequence[Members]]


def _change(stack: Stack, name: str | None, act: _Act, what: str, effect: str, *, is_all: bool, as_json: bool) -> None:
    """Change the pauses of a channel, or of all, put that in force, and print it; exit with 1 if a part failed.

    `what` is the member of the pauses in the JSON document, and `effect` a sentence for it.
    """
    if (name is None) != is_all:
        raise click.UsageError("give the name of a channel, or --all")
    store = ChannelStore(stack)
    pauses, failed = _stored(store, [name] if name else list(store.names()), act, is_all=is_all)
    # Also for a channel without such a pause: an earlier call may have ended it, and failed to write the mark.
    in_force = put_in_force(stack, *pauses, effect=effect) if pauses else None
    changed = {each: these for each, these in pauses.items() if these}
    found = [{"channel": each, what: these, "in_force_at": in_force} for each, these in changed.items()]
    if as_json and found:
        terminal.document({"channels": found} if is_all else found[0])
    for each, one in () if as_json else ((each, one) for each, these in changed.items() for one in these):
        said = pause_words(Pause.of(one), stack.effects.clock())
        terminal.show_line(printable(f"channel {each}: {'' if what == 'paused' else 'ended: '}{said}"), indent=2)
    terminal.fail_if(failed or (pauses and in_force is None))
    if not changed:
        such = "" if what == "paused" else " with such a pause"
        terminal.nothing(f"there is no channel{f' {name}' if name else ''}{such}")


def _stored(
    store: ChannelStore, names: Sequence[str], act: _Act, *, is_all: bool
) -> tuple[dict[str, Sequence[Members]], Sequence[str]]:
    """Change the pauses in secrets. Return what `act` returned by channel, and the channels that failed."""
    done, failed, now = dict[str, Sequence[Members]](), list[str](), store.stack.effects.clock()
    for number, name in enumerate(names):
        try:
            secret = store.read(name)
            if secret.version:
                before = parse_channel(name, secret.text(), store.stack.hosts)
                if changed := act(secret):
                    parse_channel(name, secret.text(), store.stack.hosts)
                    store.write(name, secret.text(), replaces=secret.version)
                done[name] = changed
                for each in () if changed else open_pauses(before.policy, now):
                    terminal.say(f"channel {name}: not ended: {pause_words(each, now)}")
        except (InvalidChannel, click.ClickException, ClientError, BotoCoreError) as error:
            if not is_all:
                raise
            failed.append(name)
            terminal.say(f"channel {name}: not changed: {printable(aws_failure(error) or str(error))}")
        except KeyboardInterrupt as error:
            terminal.outlast(error)
            left = ", ".join(names[number:])
            terminal.say(f"interrupted, so not changed, or not in force: {left}; run the command again")
            break
    return done, failed
