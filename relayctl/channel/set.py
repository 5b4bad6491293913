"""relayctl channel set, undo, rotate and revoke: the verbs that change settings and credentials of a channel."""

from collections.abc import Mapping
from typing import Any

import click

from relay.channels.channel import header_for
from relay.channels.schema import AUTH
from relay.delivery.channel_health import age
from relay.foreign_text import printable
from relay.xmatters.directory import Directory
from relayctl import moments, terminal
from relayctl.channel import checks, endpoints, write_path
from relayctl.channel.credential_input import (
    ASK,
    CredentialCommand,
    ask,
    credential_option,
    flag_of,
    judged,
    read_value,
)
from relayctl.channel.endpoints import ENDPOINTS, KEYS, add_missing_tokens, last_use, needs_endpoint, new_token, renew
from relayctl.channel.pauses import KEY as PAUSES_KEY
from relayctl.channel.secret_document import SecretDocument, holds_credential, typed_value, unknown_key
from relayctl.channel.store import NAME, ChannelStore
from relayctl.channel.write_path import OVERLAP_SECONDS, ChannelChange
from relayctl.check_results import State
from relayctl.stack.deployed import Stack, on_stack

# Keys of the secret that options set, by the options' names.
_KEYS = {
    "trigger_url": "xmatters.trigger_url",
    **{name: f"xmatters.auth.{name}" for name in ("client_id", "username", "password", "key", "secret")},
}
_FORMS = "KEY=VALUE, KEY=@FILE, KEY=- or KEY"


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
            document[ENDPOINTS[key].header_member] = shown.get(key, name_only)
        document["changes"] = change.changes
        document |= {"verified": done.is_verified} if done.fresh else {}
        terminal.document(document)
    else:
        if not change.is_new:
            write_path.show_changes(change.changes)
        endpoints.show(change.urls, {key: [header] for key, header in shown.items()})
    terminal.fail_if(not done.is_verified or not done.is_in_force)


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
        raise click.UsageError(f"--set takes {_FORMS}")
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
      relayctl channel undo payments
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
            "relay; relayctl channel set makes new credentials"
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
    terminal.fail_if(not done.is_verified)


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


# The vendor by the kind of credential: the trigger's, xMatters' REST API's, and BigPanda's API's.
VENDORS = {"trigger": "xMatters", "rest": "xMatters", "bigpanda": "BigPanda"}
# Options for credentials. The others, such as a user name, have plain values.
_HIDDEN = {"trigger_url", "password", "key", "secret", "api_key", "app_key"}
_AUTHS = {"trigger": "xmatters.auth", "rest": "xmatters.rest.auth"}


@click.command(cls=CredentialCommand)
@NAME
@click.argument("kind", type=click.Choice([*KEYS, *VENDORS]), metavar="KIND")
@click.option(
    "--overlap",
    type=moments.span("10m", "30d"),
    metavar="DURATION",
    help="Time for which the old one works, 10m to 30d. 24h if left out.",
)
@click.option("--retire", is_flag=True, help="Make no new one: refuse the old one within 15 seconds.")
@click.option("--now", is_flag=True, help="With --retire: even if the old one may be in use.")
@credential_option("--trigger-url", "For trigger, if its URL is the credential.")
@click.option("--username", metavar="USER", help="For trigger and rest, if it is another one.")
@credential_option("--password", "For trigger and rest.")
@credential_option("--key", "For trigger and rest with an API key.")
@credential_option("--secret", "For trigger and rest with an API key.")
@click.option("--client-id", metavar="ID", help="For trigger and rest, if it is another one.")
@credential_option("--api-key", "For bigpanda.")
@credential_option("--app-key", "For bigpanda: the integration's key.")
@on_stack
def rotate(stack: Stack, name: str, kind: str, as_json: bool, **options: Any) -> None:
    """Put a new credential in place of an old one, without a gap.

    KIND inbound or callback: the credential with which BigPanda or xMatters calls the relay. relayctl makes a new one,
    and waits until the relay accepts it. It prints the header to paste, and when the old credential was used last. The
    old one keeps working for --overlap, or until --retire. --retire is refused while the old one may have been used in
    the last hour, or the new one was never used.

    KIND trigger, rest or bigpanda: the credential with which the relay calls the trigger, xMatters' REST API or
    BigPanda's API. Give the new one as @FILE, as one line of standard input (-), or at a prompt. relayctl checks it
    where that is possible without a page, and does not store it if the vendor rejects it. relayctl channel undo goes
    back to the old one.

    If a credential leaked, use relayctl channel revoke.

    \b
    Example:
      relayctl channel rotate payments inbound --overlap 7d
      relayctl channel rotate payments inbound --retire
      relayctl channel rotate payments bigpanda --api-key @key.txt
      relayctl channel rotate payments rest
    """
    given = {option: value for option, value in options.items() if value}
    if ("now" in given and "retire" not in given) or given.keys() >= {"overlap", "retire"}:
        raise click.UsageError("--now is only for --retire, and --overlap only without it")
    store = ChannelStore(stack)
    before = store.existing(name)
    places = _places(before, name, kind) if kind in VENDORS else {}
    takes = [*places] if kind in VENDORS else ["overlap", "retire", "now"]
    if unsuitable := [flag_of(option) for option in given if option not in takes]:
        raise click.UsageError(f"{', '.join(unsuitable)}: not for {kind}, which takes {', '.join(map(flag_of, takes))}")
    if kind in VENDORS:
        change = write_path.prepare(store, name, before, _renewed(before, places, given))
        is_done = _rotate_outward(change, kind, as_json=as_json)
    else:
        key = next(key for key, endpoint in ENDPOINTS.items() if endpoint.name == kind)
        if not before.has(key):
            raise click.UsageError(
                f"channel {name} has no credential for {ENDPOINTS[key].vendor}: relayctl channel set makes one for "
                "xMatters once the channel has bigpanda.api_key"
            )
        if options["retire"]:
            is_done = _retire(store, name, before, key, now=options["now"], as_json=as_json)
        else:
            overlap = options["overlap"] or OVERLAP_SECONDS
            is_done = _rotate_inward(store, name, before, key, overlap, as_json=as_json)
    terminal.fail_if(not is_done)


def _renewed(before: SecretDocument, places: Mapping[str, str], options: Mapping[str, str]) -> SecretDocument:
    """Return the secret with the given credentials, by option, in place of the old ones; prompt for those missing.

    `places` has their keys, by option. Raises UsageError.
    """
    # Of BigPanda's two keys at least one is needed, and each of the other credentials.
    needed = _HIDDEN - {"app_key"} - ({"api_key"} if "app_key" in options else set())
    after = SecretDocument(before.members)
    for option, key in places.items():
        if option in options:
            after.set(key, read_value(flag_of(option), key, options[option], allows_literals=False))
        elif option in needed:
            after.set(key, judged(flag_of(option), key, ask(flag_of(option), " is needed"), "the answer"))
    return after


def _places(document: SecretDocument, name: str, kind: str) -> dict[str, str]:
    place = {**_AUTHS, "bigpanda": "bigpanda.api_key"}[kind]
    if not document.has(place):
        raise click.UsageError(f"channel {name} has no {place}: relayctl channel set {name} --set makes it")
    if kind == "bigpanda":
        return {"api_key": "bigpanda.api_key", "app_key": "bigpanda.app_key"}
    how = document.get(f"{place}.type")
    if how == "url":
        return {"trigger_url": "xmatters.trigger_url"}
    members = AUTH[how]["properties"] if how in list(AUTH) else {}
    return {member: f"{place}.{member}" for member in members if member != "type"}


def _rotate_inward(
    store: ChannelStore, name: str, before: SecretDocument, key: str, overlap: float, *, as_json: bool
) -> bool:
    after, endpoint = SecretDocument(before.members), ENDPOINTS[key]
    renew(after, key, name)
    change = write_path.prepare(store, name, before, after, overlap_seconds=overlap)
    uses = endpoints.uses_of(store.stack, name, before) or ()
    used = last_use(uses, endpoint.name, "current")
    done = write_path.put(change)
    urls, headers = {key: change.urls[key]}, endpoints.headers(after, key)
    if as_json:
        old = {"used_at": moments.iso_or_none(used), "expires_at": change.expiries.get(key)}
        document = {"channel": name, "kind": endpoint.name, **endpoints.url_members(urls), "headers": headers}
        terminal.document(document | {"old": old, "verified": done.is_verified})
    else:
        endpoints.show(urls, {key: headers})
        # A use is recorded once an hour, so the last one may be newer.
        within = f"used within {age(store.stack.effects.clock() - used)}" if used else "no use known"
        terminal.show_line(f"The old one: {within}")
    return done.is_verified


def _retire(store: ChannelStore, name: str, before: SecretDocument, key: str, *, now: bool, as_json: bool) -> bool:
    stack, after, endpoint = store.stack, SecretDocument(before.members), ENDPOINTS[key]
    is_there, uses = after.unset(f"{key}.previous"), endpoints.uses_of(stack, name, before)
    why = "its last use cannot be read" if uses is None else endpoints.obstacle(uses, key, stack.effects.clock())
    if is_there and why and not now:
        raise click.ClickException(f"not retired: {why}; --now retires it all the same")
    # Also without a previous credential: an earlier call may have stored the secret, and failed to write the mark.
    change = write_path.prepare(store, name, before, after, overlap_seconds=None)
    done = write_path.put(change, revokes="run the command again")
    used_at = moments.iso_or_none(last_use(uses or (), endpoint.name, "previous"))
    document = {"channel": name, "kind": endpoint.name, "retired": is_there, "used_at": used_at}
    terminal.result(document | {"in_force_at": done.in_force}, as_json=as_json)
    return done.in_force is not None


def _rotate_outward(change: ChannelChange, kind: str, *, as_json: bool) -> bool:
    stack, channel = change.store.stack, change.channel
    with terminal.status(f"checking the credential with {VENDORS[kind]} …"):
        deadline, client = stack.deadline(checks.VENDOR_SECONDS), stack.effects.outward(stack.hosts.xmatters)
        if kind == "bigpanda":
            found = checks.bigpanda(stack, channel.bigpanda, deadline)
        elif kind == "rest" and channel.rest is not None:
            found = checks.rest(Directory(client), channel.rest, deadline)
        else:
            found = checks.trigger(client, channel, deadline)
    if found.state == State.FAILED:
        raise click.ClickException(
            f"{printable(found.check)}: {printable(found.detail)}; nothing was stored. relayctl channel set does not "
            "ask the vendor"
        )
    done = write_path.put(change)
    document = {"channel": change.name, "kind": kind, "check": found._asdict(), "changes": change.changes}
    terminal.result(document, as_json=as_json)
    terminal.say(
        f"Delete the old credential at {VENDORS[kind]} only after that, and after a first success: relayctl channel "
        f"undo {change.name} goes back to it."
    )
    return done.is_verified


@click.command()
@NAME
@click.option(
    "--endpoint",
    "names",
    type=click.Choice(list(KEYS)),
    multiple=True,
    required=True,
    help="The credential's owner: inbound is BigPanda, callback is xMatters. Repeatable.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_stack
def revoke(stack: Stack, name: str, names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Make all functions refuse an endpoint's credentials within 15 seconds, and print a new one, once.

    BigPanda's or xMatters' requests are refused until the new credential is pasted there. BigPanda does not send a
    refused share again. A login keeps its user name and gets a new password. To replace a credential that did not leak,
    use relayctl channel rotate: the old one goes on working meanwhile.

    \b
    Example:
      relayctl channel revoke payments --endpoint inbound
      relayctl channel revoke payments --endpoint callback --yes
    """
    store = ChannelStore(stack)
    before = store.existing(name)
    keys = [key for key, endpoint in ENDPOINTS.items() if endpoint.name in names]
    after = SecretDocument(before.members)
    for key in keys:
        if not after.has(key):
            raise click.UsageError(f"--endpoint {ENDPOINTS[key].name}: channel {name} has no credential for it")
        renew(after, key, name)
        after.unset(f"{key}.previous")
    change = write_path.prepare(store, name, before, after, overlap_seconds=None)
    vendors = " and ".join(ENDPOINTS[key].vendor for key in keys)
    question = f"Channel {name}: refuse the current credential, until the new one is pasted ({vendors})?"
    terminal.confirm(question, yes=yes)
    # A second `revoke` would make one more credential. Any endpoint will do: the mark is the channel's.
    advice = f"to put it in force, type: relayctl channel rotate {name} {names[0]} --retire --now"
    done = write_path.put(change, revokes=advice)
    headers = {key: endpoints.headers(after, key) for key in keys}
    if as_json:
        found = [
            {"endpoint": key, "url": change.urls[key], "header": each}
            for key, these in headers.items()
            for each in these
        ]
        document = {"channel": name, "revoked": [ENDPOINTS[key].name for key in keys], "in_force_at": done.in_force}
        terminal.document(document | {"credentials": found, "verified": done.is_verified})
    else:
        endpoints.show(change.urls, headers)
    terminal.fail_if(done.in_force is None or not done.is_verified)
