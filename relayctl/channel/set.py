"""relayctl channel set and undo: the verbs that change settings and credentials of a channel."""

from typing import Any

import click

from relay.channels.channel import header_for
from relay.channels.schema import AUTH
from relayctl import terminal
from relayctl.channel import endpoints, write_path
from relayctl.channel.credential_input import (
    ASK,
    CredentialCommand,
    ask,
    credential_option,
    flag_of,
    read_value,
)
from relayctl.channel.endpoints import ENDPOINTS, add_missing_tokens, needs_endpoint, new_token
from relayctl.channel.pauses import KEY as PAUSES_KEY
from relayctl.channel.secret_document import SecretDocument, holds_credential, typed_value, unknown_key
from relayctl.channel.store import NAME, ChannelStore
from relayctl.stack.deployed import Stack, on_stack

# Keys of the secret that options set, by the options' names.
_KEYS = {
    "trigger_url": "xmatters.trigger_url",
    **{name: f"xmatters.auth.{name}" for name in ("client_id", "username", "password", "key", "secret")},
}


@click.command("set", cls=CredentialCommand)
@NAME
@credential_option("--trigger-url", "The URL of the xMatters trigger. It may contain a key.")
@click.option("--auth", type=click.Choice(list(AUTH)), help="How the trigger authenticates. New channels: url.")
@click.option("--username", metavar="USER", help="For --auth basic and oauth.")
@credential_option("--password", "For --auth basic and oauth.")
@credential_option("--key", "For --auth api_key; begins with x-api-key-.")
@credential_option("--secret", "For --auth api_key.")
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
@click.option("--reveal", is_flag=True, help="Print the credentials even if they did not change.")
@on_stack
def set_(stack: Stack, name: str, as_json: bool, reveal: bool, **options: Any) -> None:
    """Make a channel, or change the given settings of one.

    BigPanda and xMatters call the relay with a header, whose value is a credential. If such a credential is new or
    changed, relayctl tries it at the relay for up to 90 seconds. Then relayctl prints the URL and the header to paste
    at the vendor. The header's value is printed only if it is new, or with --reveal. The previous credential works for
    24 hours more. To replace these credentials: relayctl channel rotate.

    With bigpanda.api_key, people's answers are written to BigPanda, and what to paste into xMatters is printed too.
    With xmatters.rest, the recipients are checked, with warnings on stderr.

    Give a credential as a file (@FILE), as one line of standard input (-), or at a prompt: name the option, or --set
    KEY, without a value. A plain value is visible in the process list and in the shell's history. A value that begins
    with @ is written @@.

    \b
    Example:
      relayctl channel set payments --trigger-url @url.txt --recipient jdoe
      relayctl channel set payments --auth basic --username relay --password
      pass show bigpanda | relayctl channel set --set bigpanda.api_key=- payments
      relayctl channel set payments --unset policy.max_per_minute
    """
    settings, store = _settings(options), ChannelStore(stack)
    before = store.read(name)
    after = SecretDocument(before.members)
    _apply(after, settings, options, name)
    change = write_path.prepare(store, name, before, after)
    done = write_path.put(change)
    shown = {key: header_for(after.get(key)) for key in change.urls} if reveal else {}
    shown |= done.fresh
    if as_json:
        document: dict[str, Any] = {"channel": name, **endpoints.url_members(change.urls)}
        for key in change.urls:
            # Only a shown header has its value.
            name_only = {"name": header_for(after.get(key))["name"]}
            document[f"{ENDPOINTS[key].prefix}header"] = shown.get(key, name_only)
        document["changes"] = change.changes
        document |= {"verified": done.is_verified} if done.fresh else {}
        terminal.document(document)
    else:
        if not change.is_new:
            write_path.show_changes(change.changes)
        endpoints.show(change.urls, {key: [header] for key, header in shown.items()})
    terminal.fail_if(not done.is_complete)


def _settings(options: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the keys that the options set, with their values. Raises UsageError."""
    given = [(name, key, options[name]) for name, key in _KEYS.items() if options[name] is not None]
    typed = [_key_and_text(each) for each in options["settings"]]
    plain = {"recipients": list(options["recipients"]), "recipients_in": options["recipients_in"]}
    plain["any_trigger_path"] = options["any_trigger_path"]
    found = [(f"xmatters.{name}", value) for name, value in plain.items() if value]
    found += [(key, read_value(flag_of(name), key, text)) for name, key, text in given]
    return found + [(key, typed_value(key, read_value(f"--set {key}", key, text))) for key, text in typed]


def _key_and_text(setting: str) -> tuple[str, str]:
    key, equals, text = setting.partition("=")
    if not key or (not equals and unknown_key(key)):
        # The setting is not quoted: it may be a credential without its key.
        raise click.UsageError("--set takes KEY=VALUE, KEY=@FILE, KEY=- or KEY")
    if complaint := unknown_key(key):
        raise click.UsageError(complaint)
    return key, text if equals else ASK


def _apply(document: SecretDocument, settings: list[tuple[str, Any]], options: dict[str, Any], name: str) -> None:
    """Set the settings in `document`, a channel's secret in memory, and prompt for what it needs; nothing is stored.

    Then a token is made for each endpoint that needs a credential and has none. Raises UsageError if `--unset` does not
    fit, and InvalidChannel if the secret has another structure than a channel's.
    """
    kind = options["auth"] or document.get("xmatters.auth.type") or "url"
    if kind != document.get("xmatters.auth.type"):
        document.set("xmatters.auth", {"type": kind})
    for key, value in settings:
        document.set(key, value)
    needed = {"trigger_url", *(AUTH[kind]["properties"] if kind in list(AUTH) else ())}
    for option, key in _KEYS.items():
        if option in needed and not document.has(key):
            why = " is needed for a new channel" if option == "trigger_url" else f" is needed with --auth {kind}"
            document.set(key, ask(flag_of(option), why, is_hidden=holds_credential(key)))
    for key in options["removals"]:
        if not document.unset(key):
            raise click.UsageError(f"--unset {key}: the channel has no such key")
    add_missing_tokens(document, name)


@click.command()
@NAME
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_stack
def undo(stack: Stack, name: str, yes: bool, as_json: bool) -> None:
    """Go back to a channel's settings before its last change, after showing the difference.

    The credentials that BigPanda and xMatters show to the relay stay as they are: a revoked or replaced one does not
    come back. Pauses stay, too. All other settings go back, with the trigger URL and the credentials for xMatters and
    BigPanda. Secrets Manager keeps one earlier version, so a second undo undoes the first.

    \b
    Example:
      relayctl channel undo payments --yes
    """
    store = ChannelStore(stack)
    before, earlier = store.existing(name), store.read_previous(name)
    if earlier.version is None:
        terminal.nothing(f"channel {name} has no earlier version")
    change = write_path.prepare(store, name, before, _with_endpoints_of(before, earlier, name))
    if not change.changes:
        terminal.nothing(
            f"nothing to undo: the last change of channel {name} changed only what BigPanda or xMatters show to the "
            "relay, or pauses; relayctl channel set makes new credentials, relayctl channel resume ends pauses"
        )
    if not as_json:
        write_path.show_changes(change.changes)
    terminal.confirm(f"Channel {name}: go back to these settings?", yes=yes, as_json=as_json)
    done = write_path.put(change)
    if as_json:
        document: dict[str, Any] = {"channel": name, "changes": change.changes}
        document |= {"verified": done.is_verified} if done.fresh else {}
        terminal.document(document)
    write_path.say_fresh(name, done)
    terminal.fail_if(not done.is_complete)


def _with_endpoints_of(current: SecretDocument, earlier: SecretDocument, name: str) -> SecretDocument:
    """Return the earlier settings with the current credentials of the endpoints, and the current pauses.

    An endpoint that only the earlier version has gets a new token: its old credential may have been revoked.
    """
    after = SecretDocument(earlier.members)
    for key in ENDPOINTS:
        if current.has(key) and (after.has(key) or needs_endpoint(after, key)):
            after.set(key, current.get(key))
        elif after.has(key):
            after.set(key, {"token": new_token(name, key)})
    after.unset(PAUSES_KEY)
    if current.has(PAUSES_KEY):
        after.set(PAUSES_KEY, current.get(PAUSES_KEY))
    add_missing_tokens(after, name)
    return after
