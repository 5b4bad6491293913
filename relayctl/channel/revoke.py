"""relayctl channel revoke: end a leaked credential in every function, and make a new one."""

import json

import click

from relay.channels.parsing import parse_channel
from relay.channels.token import EndpointName
from relayctl import terminal
from relayctl.channel import endpoints, rotation
from relayctl.channel.credential_acceptance import ProbeRequest, verify
from relayctl.channel.endpoints import ENDPOINTS, KEYS
from relayctl.channel.revocation import put_in_force
from relayctl.channel.secret_document import SecretDocument
from relayctl.channel.store import ChannelStore
from relayctl.channel_names import NAME
from relayctl.stack.deployed import Stack, on_stack


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
def revoke(stack: Stack, name: str, names: tuple[EndpointName, ...], yes: bool, as_json: bool) -> None:
    """Make all functions refuse an endpoint's credentials within 15 seconds, and print a new one, once.

    BigPanda's or xMatters' requests are refused until the new credential is pasted there. BigPanda does not send a
    refused share again. A login keeps its user name and gets a new password. To replace a credential that did not leak,
    use relayctl channel rotate: the old one goes on working meanwhile.

    Exit codes: 0 done, 1 not stored, or stored and not in force or not verified, 2 usage, 3 no such channel.

    \b
    Example:
      relayctl channel revoke payments --endpoint inbound
      relayctl channel revoke payments --endpoint callback --yes
    """
    store = ChannelStore(stack)
    stored = store.existing(name)
    before = SecretDocument(stored.document)
    if absent := [endpoint for endpoint in names if not before.has(KEYS[endpoint])]:
        raise click.UsageError(f"--endpoint {absent[0]}: channel {name} has no credential for it")
    keys = [KEYS[endpoint] for endpoint in dict.fromkeys(names)]
    after = _revoked(before, name, keys)
    parse_channel(name, after.text(), stack.hosts)
    _confirm(name, keys, yes=yes)
    if before.changes(after):
        store.write(name, after.text(), replaces=stored.version)
        terminal.say(f"channel {name}: changed")
    # A second `revoke` would make one more credential. Any endpoint will do: the mark is the channel's.
    advice = f"to put it in force, type: relayctl channel rotate {name} {names[0]} --retire --now"
    in_force = put_in_force(stack, name, advice=advice)
    urls = endpoints.urls(stack, name, after)
    headers = {key: endpoints.headers(after, key) for key in keys}
    verified = verify(stack, name, {key: ProbeRequest(urls[key], found[0]) for key, found in headers.items()})
    if as_json:
        found = [
            {"endpoint": key, "url": urls[key], "header": each} for key, these in headers.items() for each in these
        ]
        document = {"channel": name, "revoked": [ENDPOINTS[key].name for key in keys], "in_force_at": in_force}
        click.echo(json.dumps(document | {"credentials": found, "verified": verified}))
    else:
        endpoints.show(urls, headers)
    if in_force is None or not verified:
        click.get_current_context().exit(1)


def _revoked(before: SecretDocument, name: str, keys: list[str]) -> SecretDocument:
    """Return the secret without the revoked credentials, and with new ones of the same kinds."""
    after = SecretDocument(before.members)
    for key in keys:
        rotation.renew(after, key, name)
        after.unset(f"{key}.previous")
    return after


def _confirm(name: str, keys: list[str], *, yes: bool) -> None:
    if yes:
        return
    terminal.refuse_unasked("revoke", yes=yes)
    vendors = " and ".join(ENDPOINTS[key].vendor for key in keys)
    click.confirm(
        f"Channel {name}: refuse the current credential, until the new one is pasted ({vendors})?", abort=True, err=True
    )
