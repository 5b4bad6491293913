"""relayctl channel set: make or change a channel, and wait until the relay accepts its credentials."""

import json
from collections.abc import Callable
from typing import Any

import click

from relay.channels import misconfiguration
from relay.channels.channel import Channel, header_for
from relay.channels.parsing import parse_channel
from relay.channels.schema import AUTH
from relay.channels.token import LEAST_TYPED_LENGTH
from relay.foreign_text import printable
from relayctl import doors, recipient_checks, rotation, terminal
from relayctl.channel_options import apply, resolved
from relayctl.channel_store import ChannelStore
from relayctl.commands.channel import NAME
from relayctl.credential_input import MAX_BYTES, CredentialCommand, CredentialOption
from relayctl.door_probe import Knock, verify
from relayctl.doors import DOORS
from relayctl.revocation import put_in_force
from relayctl.secret_document import Change, SecretDocument
from relayctl.stack import Stack, on_stack

# Advice for a problem, by the problem's key.
_REMEDIES = {
    "xmatters.recipients": "name recipients with --recipient, or give --recipients-in-workflow or --recipients-in-url",
    "xmatters.trigger_url": "copy it from the trigger, or give --any-trigger-path if it is right",
}


def _credential_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(name, cls=CredentialOption, metavar="@FILE|-", help=text)


@click.command("set", cls=CredentialCommand)
@NAME
@_credential_option("--trigger-url", "The URL of the xMatters trigger. It may contain a key.")
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
    help="BigPanda's callback URL will have ?recipients=.",
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
    help="Refuse previous credentials within 15 seconds, not after 24 hours.",
)
@click.option("--reveal", is_flag=True, help="Print the credentials even if they did not change.")
@on_stack
def set_(stack: Stack, name: str, as_json: bool, no_overlap: bool, reveal: bool, **options: Any) -> None:
    """Make a channel, or change the given settings of one.

    A new or changed credential of BigPanda or xMatters is verified for up to 90 seconds. Then relayctl prints what to
    paste there. The header's value is a secret: it is printed only if it is new, or with --reveal. The previous
    credential works for 24 hours more.

    With bigpanda.api_key, people's answers are written to BigPanda, and what to paste into xMatters is printed too.
    With xmatters.rest, the recipients are checked, with warnings on stderr.

    Give a credential as a file (@FILE), as one line of standard input (-), or at a prompt: name the option, or --set
    KEY, without a value. A plain value is visible in the process list and in the shell's history. A value that begins
    with @ is written @@.

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
    urls = doors.urls(stack, name, after)
    changes = before.changes(after)
    if changes:
        store.write(name, after.text(), replaces=kept.version if kept else None)
        _say_stored(stack, name, after, is_new=kept is None)
    # Even if nothing changed: an earlier call may have stored the secret without a mark.
    is_in_force = not (no_overlap and kept) or put_in_force(stack, name) is not None
    for key, expires_at in previous.items():
        terminal.say(f"note: {DOORS[key].vendor}'s old credential works until {expires_at}; --no-overlap ends that")
    _warn_of_critical(channel)
    findings = recipient_checks.warn(stack, channel)
    fresh = {key: header for key in urls if (header := rotation.fresh_header(before, after, key))}
    verified = verify(stack, name, {key: Knock(urls[key], header) for key, header in fresh.items()})
    shown = {key: header_for(after.get(key)) for key in urls} if reveal else {}
    if as_json:
        document: dict[str, Any] = {
            "channel": name,
            **doors.url_members(urls),
            **_header_members(after, urls, shown | fresh),
        }
        document |= {"changes": [each._asdict() for each in changes]} | ({"verified": verified} if fresh else {})
        click.echo(json.dumps(document | findings))
    else:
        _show(changes if kept else None, urls, shown | fresh)
    if not verified or not is_in_force:
        click.get_current_context().exit(1)


def _refuse_short_tokens(before: SecretDocument, after: SecretDocument) -> None:
    """Raise UsageError for a new token that is short enough to guess. A stored one goes on working."""
    for key in (f"{door}.token" for door in DOORS):
        value = after.get(key)
        if isinstance(value, str) and value != before.get(key) and len(value) < LEAST_TYPED_LENGTH:
            raise click.UsageError(
                f"{key}: a token has at least {LEAST_TYPED_LENGTH} characters; --unset {key} makes a new one"
            )


def _rotate(before: SecretDocument, after: SecretDocument, now: float, name: str, *, cut: bool) -> dict[str, str]:
    if cut:
        rotation.cut_previous(after)
        return {}
    for key, expires_at in rotation.displaced(before, after, now).items():
        raise click.UsageError(
            f"{key}: the credential before the last change works until {expires_at}, and {DOORS[key].vendor} may still "
            "use it. Paste the current one first and change it later, or give --no-overlap to refuse both old ones"
        )
    return rotation.keep_previous(before, after, now, name)


def _checked(stack: Stack, name: str, document: SecretDocument) -> Channel:
    """Return the valid channel. Raises InvalidChannel, or UsageError if the channel may notify nobody."""
    channel = parse_channel(name, document.text(), stack.hosts)
    # AWS's own message about a long secret may quote it.
    if (size := len(document.text().encode())) > MAX_BYTES:
        raise click.UsageError(f"the channel has {size:,} bytes; Secrets Manager takes {MAX_BYTES:,} at most")
    if problems := misconfiguration.problems(channel):
        lines = [f"{each}; {_REMEDIES[each.key]}" if each.key in _REMEDIES else str(each) for each in problems]
        raise click.UsageError("\n".join(lines))
    return channel


def _say_stored(stack: Stack, name: str, document: SecretDocument, *, is_new: bool) -> None:
    seconds = stack.parameters.get("SecretCacheSeconds", "300")
    what = "made" if is_new else f"changed; running functions read it within {seconds} s"
    terminal.say(f"channel {name}: {what}")
    if is_new:
        terminal.say(
            "note: a callback URL that was used before the channel was made is refused for up to a minute more"
        )
    if (
        document.get("xmatters.auth.type") == "url"
        and "apikey=" not in str(document.get("xmatters.trigger_url")).lower()
    ):
        terminal.say("note: the trigger URL has no apiKey, which --auth url needs")
    is_narrowed = document.has("bigpanda.reconcile_query") or document.get("bigpanda.reconcile") is False
    if document.has("bigpanda.api_key") and not is_narrowed and "ReconcileFunction" in stack.outputs:
        effect = "ring here" if document.get("bigpanda.reconcile") == "ring" else "are reported"
        terminal.say(
            "note: reconcile runs look for missed shares in BigPanda; if the same environment is shared with other "
            f"receivers too, their incidents {effect}: set bigpanda.reconcile_query, or bigpanda.reconcile=false"
        )


def _warn_of_critical(channel: Channel) -> None:
    if misconfiguration.critical_may_notify_nobody(channel):
        terminal.say(
            "warning: a critical incident that matches no route notifies nobody: name recipients with --recipient, "
            'or add a route whose only condition is {"status": "critical"}'
        )


def _header_members(
    document: SecretDocument, urls: dict[str, str], shown: dict[str, dict[str, str]]
) -> dict[str, dict[str, str]]:
    """Return the headers for programs; only those of `shown` have their value."""
    names = {key: {"name": header_for(document.get(key))["name"]} for key in urls}
    return {DOORS[key].header_member: shown.get(key, header) for key, header in names.items()}


def _show(changes: list[Change] | None, urls: dict[str, str], shown: dict[str, dict[str, str]]) -> None:
    """Print the changes, unless the channel is new, and what to paste."""
    for line in changes or ():
        terminal.output().print(printable(str(line)))
    if changes is not None and not changes:
        click.echo("nothing changed")
    doors.show(urls, {key: [header] for key, header in shown.items()})
