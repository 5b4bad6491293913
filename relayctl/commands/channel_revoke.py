"""relayctl channel revoke: stop a credential that leaked, everywhere, and make a new one."""

import json
import secrets
import sys
from collections.abc import Mapping
from typing import Any

import click

from relay.channels import channel as channels
from relay.channels import token
from relay.channels.channel import parse_channel
from relay.channels.token import Door
from relayctl import rotation, terminal
from relayctl.channel_store import ChannelStore
from relayctl.commands.channel import NAME, door_urls
from relayctl.commands.channel_set import PASTE_COLUMNS, PASTE_PLACES, URL_MEMBERS, store_document, verify
from relayctl.door_probe import Knock
from relayctl.revocation import put_in_force
from relayctl.secret_document import SecretDocument
from relayctl.stack import Stack, on_stack

_KEYS: Mapping[str, str] = {"inbound": "inbound", "callback": "xmatters.callback"}


@click.command()
@NAME
@click.option(
    "--door",
    "doors",
    type=click.Choice(list(_KEYS)),
    multiple=True,
    required=True,
    help="Whose credential: inbound is BigPanda's, callback xMatters'. Repeatable.",
)
@click.option(
    "--previous", "previous_only", is_flag=True, help="Only the one before the last change; makes no new one."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@on_stack
def revoke(stack: Stack, name: str, doors: tuple[Door, ...], previous_only: bool, yes: bool, as_json: bool) -> None:
    """Refuse a door's credentials within 15 seconds, everywhere, and print a new one, once.

    What BigPanda or xMatters shows now is refused until the new credential is pasted there: BigPanda does not send a
    refused share again. With --previous only the credential before the last change stops: the one that was pasted
    last goes on. A login keeps its user name and gets a new password.

    Exit codes: 0 done, 1 not stored, or stored and not in force or not verified, 2 usage, 3 no such channel.

    \b
    Example:
      relayctl channel revoke payments --door inbound
      relayctl channel revoke payments --door inbound --previous --yes
    """
    store = ChannelStore(stack)
    kept = store.read(name)
    if kept is None:
        terminal.nothing(f"there is no channel {name}")
    before = SecretDocument(kept.document)
    if absent := [door for door in doors if not before.has(_KEYS[door])]:
        raise click.UsageError(f"--door {absent[0]}: channel {name} has no credential for it")
    after = _revoked(before, name, doors, previous_only=previous_only)
    parse_channel(name, after.text(), stack.hosts)
    _confirm(name, doors, previous_only=previous_only, yes=yes)
    if before.changes(after):
        store_document(store, name, after, replaces=kept.version)
        terminal.say(f"channel {name}: changed")
    in_force = put_in_force(stack, name)
    urls = door_urls(stack, name, after)
    headers = {} if previous_only else {_KEYS[door]: _headers(after.get(_KEYS[door])) for door in dict.fromkeys(doors)}
    knocks = {key: Knock(urls[URL_MEMBERS[key]], found[0]) for key, found in headers.items()}
    verified = verify(stack, name, knocks)
    if as_json:
        found = [
            {"door": key, "url": urls[URL_MEMBERS[key]], "header": header}
            for key, each in headers.items()
            for header in each
        ]
        document = {"channel": name, "revoked": list(dict.fromkeys(doors)), "in_force_at": in_force}
        click.echo(json.dumps(document | {"credentials": found, "verified": verified}))
    else:
        _show(urls, headers)
    if in_force is None or not verified:
        click.get_current_context().exit(1)


def _revoked(before: SecretDocument, name: str, doors: tuple[Door, ...], *, previous_only: bool) -> SecretDocument:
    """Return the secret without what is revoked, and with new credentials of the same kinds in its place."""
    after = SecretDocument(before.members)
    for door in doors:
        key = _KEYS[door]
        if previous_only:
            after.unset(f"{key}.previous")
            continue
        login, fresh = after.get(f"{key}.basic.username"), dict[str, Any]()
        if isinstance(login, str) and login:
            fresh["basic"] = {"username": login, "password": token.make(name, door, secrets.choice)}
        if after.has(f"{key}.token") or not fresh:
            fresh["token"] = token.make(name, door, secrets.choice)
        after.set(key, fresh)
    return after


def _confirm(name: str, doors: tuple[Door, ...], *, previous_only: bool, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("not a terminal: give --yes to revoke without being asked")
    who = " and ".join(dict.fromkeys(rotation.DOORS[_KEYS[door]] for door in doors))
    what = (
        "the credential before the last change" if previous_only else "what it shows now, until the new one is pasted"
    )
    click.confirm(f"Channel {name}: refuse {who} {what}?", abort=True, err=True)


def _headers(door: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the header of each credential of a door."""
    return [channels.header_for({kind: door[kind]}) for kind in ("token", "basic") if kind in door]


def _show(urls: Mapping[str, str], headers: Mapping[str, list[dict[str, str]]]) -> None:
    for key, found in headers.items():
        for header in found:
            click.echo(f"Now paste into {PASTE_PLACES[key]}:")
            terminal.labelled("  Callback URL", urls[URL_MEMBERS[key]], PASTE_COLUMNS)
            terminal.labelled("  Header name", header["name"], PASTE_COLUMNS)
            terminal.labelled("  Header value", header["value"], PASTE_COLUMNS)
