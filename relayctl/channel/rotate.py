"""relayctl channel rotate and revoke: the verbs that renew or refuse credentials of a channel."""

from collections.abc import Mapping
from typing import Any

import click

from relay.channels.schema import AUTH
from relay.foreign_text import printable
from relay.health.judgement import age
from relay.xmatters.directory import Directory
from relayctl import moments, terminal
from relayctl.channel import checks, endpoints, write_path
from relayctl.channel.credential_input import (
    CredentialCommand,
    ask,
    credential_option,
    flag_of,
    judged,
    read_value,
)
from relayctl.channel.endpoints import ENDPOINTS, KEYS, last_use, renew
from relayctl.channel.secret_document import SecretDocument
from relayctl.channel.store import NAME, ChannelStore
from relayctl.channel.write_path import OVERLAP_SECONDS, ChannelChange
from relayctl.check_results import State
from relayctl.stack.deployed import Stack, on_stack

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
    done = write_path.put(change, revokes=f"relayctl channel rotate {name} {endpoint.name} --retire")
    used_at = moments.iso_or_none(last_use(uses or (), endpoint.name, "previous"))
    document = {"channel": name, "kind": endpoint.name, "retired": is_there, "used_at": used_at}
    terminal.result(document | {"in_force_at": done.in_force}, as_json=as_json)
    return done.is_complete


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
    done = write_path.put(change, revokes=f"relayctl channel rotate {name} {names[0]} --retire --now")
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
    terminal.fail_if(not done.is_complete)
