"""relayctl channel set: make or change a channel, and wait until the relay takes its credentials."""

import json
from collections.abc import Callable
from typing import Any

import click

from relay.channels import channel as channels
from relay.channels import misconfiguration
from relay.channels.channel import Channel, parse_channel
from relay.channels.schema import AUTH
from relay.channels.token import LEAST_TYPED_LENGTH
from relay.deadline import Deadline
from relay.foreign_text import printable
from relay.xmatters.directory import Directory, Kind
from relayctl import recipients, rotation, sample_share, terminal
from relayctl.channel_store import ChannelChangedError, ChannelStore
from relayctl.checks import State
from relayctl.commands.channel import NAME, door_urls
from relayctl.commands.channel_settings import apply, resolved
from relayctl.credential_input import MAX_BYTES, CredentialCommand, CredentialOption
from relayctl.door_probe import FIRST_SECONDS, TOTAL_SECONDS, DoorProbe, Knock
from relayctl.revocation import put_in_force
from relayctl.secret_document import Change, SecretDocument
from relayctl.stack import Stack, on_stack

# For all that xMatters is asked about recipients: whoever sets a channel waits for it.
_CHECK_SECONDS = 20.0
PASTE_COLUMNS = 17
URL_MEMBERS = {"inbound": "callback_url", "xmatters.callback": "xmatters_callback_url"}
_HEADER_MEMBERS = {"inbound": "header", "xmatters.callback": "xmatters_header"}
PASTE_PLACES = {
    "inbound": "BigPanda's webhook integration",
    "xmatters.callback": "xMatters' workflow (docs/xmatters)",
}
# The option that mends a problem, by the problem's key.
_REMEDIES = {
    "xmatters.recipients": "name somebody with --recipient, or say --recipients-in-workflow or --recipients-in-url",
    "xmatters.trigger_url": "copy it from the trigger, or say --any-trigger-path if it is right",
}


def _credential_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, cls=CredentialOption, metavar="@FILE|-", help=text)


@click.command("set", cls=CredentialCommand)
@NAME
@_credential_option("--trigger-url", "The xMatters trigger's URL. It may hold a key.")
@click.option("--auth", type=click.Choice(list(AUTH)), help="How the trigger authenticates. New channels: url.")
@click.option("--username", metavar="USER", help="For --auth basic and oauth.")
@_credential_option("--password", "For --auth basic and oauth.")
@_credential_option("--key", "For --auth api_key; begins with x-api-key-.")
@_credential_option("--secret", "For --auth api_key.")
@click.option("--client-id", metavar="ID", help="For --auth oauth.")
@click.option(
    "--recipient", "recipients", multiple=True, metavar="NAME", help="A user or group of xMatters; repeatable."
)
@click.option(
    "--recipients-in-workflow",
    "recipients_in",
    flag_value="workflow",
    help="The workflow in xMatters names the recipients.",
)
@click.option(
    "--recipients-in-url",
    "recipients_in",
    flag_value="url",
    help="BigPanda's callback URL will carry ?recipients=.",
)
@click.option("--any-trigger-path", is_flag=True, help="The trigger URL is right though its path is not a known one.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other key of the secret; or KEY=@FILE, KEY=-, KEY.",
)
@click.option("--unset", "removals", multiple=True, metavar="KEY", help="Remove a key of the secret.")
@click.option(
    "--no-overlap",
    is_flag=True,
    help="Keep no previous credentials: functions refuse them within 15 seconds, not after 24 hours.",
)
@click.option("--reveal", is_flag=True, help="Print the credentials even if they did not change.")
@on_stack
def set_(stack: Stack, name: str, as_json: bool, no_overlap: bool, reveal: bool, **options: Any) -> None:
    """Make a channel, or change the parts of one that are named.

    A new or changed credential of BigPanda's or xMatters' is tried first, for up to 90 seconds; then what to paste is
    printed. The header's value is a secret: it is printed only when it is new, or with --reveal. The credential before
    it works for 24 hours more.

    With a key of BigPanda's, what people answer is written there, and what to paste into xMatters is printed, too. With
    xmatters.rest the recipients are checked, and who would not be notified is told on stderr.

    A credential comes from a file (@FILE), from one line of standard input (-), or is asked for (the option, or --set
    KEY, without a value, or left out where a new channel needs it). As a plain value it would stand in the list of
    processes and in the shell's history. A value that begins with @ is written @@.

    Exit codes: 0 done, 1 not stored, or stored and not verified; 2 usage.

    \b
    Example:
      relayctl channel set payments --trigger-url @url.txt --recipient jdoe
      relayctl channel set payments --auth basic --username relay --password
      pass show bigpanda | relayctl channel set --set bigpanda.api_key=- payments
      relayctl channel set payments --unset inbound.token     # a new one
    """
    options = resolved(options)
    store = ChannelStore(stack)
    kept = store.read(name)
    before = SecretDocument(kept.document if kept else None)
    after = SecretDocument(before.members)
    apply(after, options, name)
    previous = _rotate(before, after, stack.effects.clock(), name, cut=no_overlap)
    channel = _checked(stack, name, after)
    _refuse_short_tokens(before, after)
    urls = door_urls(stack, name, after)
    changes = before.changes(after)
    if changes:
        store_document(store, name, after, replaces=kept.version if kept else None)
        _say_stored(stack, name, after, is_new=kept is None)
    # Even if nothing changed: the last call may have stored the secret and no mark.
    is_in_force = not (no_overlap and kept) or put_in_force(stack, name) is not None
    for door, expires_at in previous.items():
        terminal.say(f"note: {rotation.DOORS[door]}'s old credential works until {expires_at}; --no-overlap ends that")
    _warn_of_critical(channel)
    found = _recipients(stack, channel)
    fresh = {door: header for door in _doors(urls) if (header := rotation.fresh_header(before, after, door))}
    verified = verify(stack, name, {door: Knock(urls[URL_MEMBERS[door]], header) for door, header in fresh.items()})
    shown = {door: channels.header_for(after.get(door)) for door in _doors(urls)} if reveal else {}
    if as_json:
        document = {"channel": name, **urls, **_headers(after, urls, shown | fresh)}
        document |= {"changes": [each._asdict() for each in changes]} | ({"verified": verified} if fresh else {})
        click.echo(json.dumps(document | found))
    else:
        _show(changes if kept else None, urls, shown | fresh)
    if not verified or not is_in_force:
        click.get_current_context().exit(1)


def _refuse_short_tokens(before: SecretDocument, after: SecretDocument) -> None:
    """Raise UsageError for a new token that could be guessed. One that is stored already goes on working."""
    for key in (f"{door}.token" for door in rotation.DOORS):
        value = after.get(key)
        if isinstance(value, str) and value != before.get(key) and len(value) < LEAST_TYPED_LENGTH:
            raise click.UsageError(
                f"{key}: a token has at least {LEAST_TYPED_LENGTH} characters; --unset {key} makes a good one"
            )


def _rotate(before: SecretDocument, after: SecretDocument, now: float, name: str, *, cut: bool) -> dict[str, str]:
    if cut:
        rotation.cut_previous(after)
        return {}
    for door, expires_at in rotation.displaced(before, after, now).items():
        raise click.UsageError(
            f"{door}: the credential before the last change works until {expires_at}, and {rotation.DOORS[door]} may "
            "still show it. Paste the last one first and change it later, or give --no-overlap to refuse both old ones"
        )
    return rotation.keep_previous(before, after, now, name)


def _checked(stack: Stack, name: str, document: SecretDocument) -> Channel:
    """Return the channel. Raises UsageError for one that may notify nobody, InvalidChannel for one that is none."""
    channel = parse_channel(name, document.text(), stack.hosts)
    # AWS's own words about a secret that is too long may quote it.
    if (size := len(document.text().encode())) > MAX_BYTES:
        raise click.UsageError(f"the channel has {size:,} bytes; Secrets Manager takes {MAX_BYTES:,} at most")
    if problems := misconfiguration.problems(channel):
        lines = [f"{each}; {_REMEDIES[each.key]}" if each.key in _REMEDIES else str(each) for each in problems]
        raise click.UsageError("\n".join(lines))
    return channel


def store_document(store: ChannelStore, name: str, document: SecretDocument, *, replaces: str | None) -> None:
    try:
        store.write(name, document.text(), replaces=replaces)
    except ChannelChangedError:
        raise click.ClickException(
            f"channel {name}: changed meanwhile by somebody else; nothing was stored; run the command again"
        ) from None


def _say_stored(stack: Stack, name: str, document: SecretDocument, *, is_new: bool) -> None:
    seconds = stack.parameters.get("SecretCacheSeconds", "300")
    what = "made" if is_new else f"changed; functions that run already see it within {seconds} s"
    terminal.say(f"channel {name}: {what}")
    if is_new:
        terminal.say(
            "note: a callback URL that was used before its channel was made is refused for up to a minute more"
        )
    if (
        document.get("xmatters.auth.type") == "url"
        and "apikey=" not in str(document.get("xmatters.trigger_url")).lower()
    ):
        terminal.say("note: the trigger URL has no apiKey, which --auth url relies on")
    is_narrowed = document.has("bigpanda.reconcile_query") or document.get("bigpanda.reconcile") is False
    if document.has("bigpanda.api_key") and not is_narrowed and "ReconcileFunction" in stack.outputs:
        deed = "ring here" if document.get("bigpanda.reconcile") == "ring" else "are reported"
        terminal.say(
            "note: BigPanda is asked for shares that never came; if others than this channel share from the same "
            f"environment, their incidents {deed}: set bigpanda.reconcile_query, or bigpanda.reconcile=false"
        )


def _warn_of_critical(channel: Channel) -> None:
    if misconfiguration.critical_may_notify_nobody(channel):
        terminal.say(
            "warning: a critical incident that no route takes notifies nobody: name somebody with --recipient, "
            'or add a route whose only condition is {"status": "critical"}'
        )


def _doors(urls: dict[str, str]) -> list[str]:
    return [door for door, member in URL_MEMBERS.items() if member in urls]


def _recipients(stack: Stack, channel: Channel) -> dict[str, Any]:
    """Check the recipients in xMatters: findings for programs, warnings on stderr. It raises nothing."""
    names = recipients.of_channel(channel)
    if channel.rest is None:
        return {}
    try:
        directory = Directory(stack.effects.outward(stack.hosts.xmatters))
        with terminal.status("checking the recipients …"):
            findings = directory.check(channel.rest, names, Deadline(_CHECK_SECONDS, stack.effects.ticks))
    # The channel is stored: what is to be pasted is printed in any case.
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        terminal.say(f"warning: the recipients were not checked: {type(error).__name__}")
        return {"recipients": []}
    if findings and all(each.kind == Kind.NOT_KNOWN for each in findings):
        terminal.say(f"warning: the recipients were not checked: {printable(findings[0].detail)}")
    else:
        for each in map(recipients.judged, findings):
            if each.state != State.OK:
                terminal.say(f"warning: {printable(each.what)}: {printable(each.detail)}")
    return {"recipients": recipients.documents(findings)}


def verify(stack: Stack, name: str, knocks: dict[str, Knock]) -> bool:
    """Wait until the doors take these credentials, with progress on stderr; false if one does not, or on Ctrl-C."""
    if not knocks:
        return True
    terminal.say(f"channel {name}: waiting until the relay takes the new credential, for up to {TOTAL_SECONDS:.0f} s …")
    try:
        with terminal.status("waiting …"):
            closed = _probe(stack, next(iter(knocks.values())).url).wait(knocks)
    except KeyboardInterrupt:
        closed = dict.fromkeys(knocks, "interrupted")
    if not closed:
        terminal.say(f"channel {name}: the relay takes it")
    for door, said in closed.items():
        terminal.say(f"warning: stored, not verified: {rotation.DOORS[door]}'s credential was not taken yet ({said})")
    return not closed


def _probe(stack: Stack, url: str) -> DoorProbe:
    """Return the probe for the host of that URL, which all doors share."""
    effects = stack.effects
    outward = effects.outward(sample_share.hosts_of(url, is_local=stack.is_local))
    # A local cloud has no second copy of a secret that could be stale.
    return DoorProbe(outward, effects.ticks, effects.sleep, 0.0 if stack.is_local else FIRST_SECONDS)


def _headers(document: SecretDocument, urls: dict[str, str], shown: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return the doors' headers for programs, without the value of one that is not to be shown."""
    names = {door: {"name": channels.header_for(document.get(door))["name"]} for door in _doors(urls)}
    return {_HEADER_MEMBERS[door]: shown.get(door, header) for door, header in names.items()}


def _show(changes: list[Change] | None, urls: dict[str, str], shown: dict[str, dict[str, str]]) -> None:
    """Print the changes, unless the channel is new, and what to paste."""
    for line in changes or ():
        terminal.output().print(printable(str(line)))
    if changes is not None and not changes:
        click.echo("nothing changed")
    for door, header in shown.items():
        click.echo(f"Now paste into {PASTE_PLACES[door]}:")
        terminal.labelled("  Callback URL", urls[URL_MEMBERS[door]], PASTE_COLUMNS)
        terminal.labelled("  Header name", header["name"], PASTE_COLUMNS)
        terminal.labelled("  Header value", header["value"], PASTE_COLUMNS)
