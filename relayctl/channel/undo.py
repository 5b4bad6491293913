"""relayctl channel undo: back to the settings before the last change."""

from typing import Any

import click

from relayctl import terminal
from relayctl.channel import write_path
from relayctl.channel.endpoints import ENDPOINTS, add_missing_tokens, needs_endpoint, new_token
from relayctl.channel.pauses import KEY as PAUSES_KEY
from relayctl.channel.secret_document import SecretDocument
from relayctl.channel.store import ChannelStore
from relayctl.channel.write_path import ChannelChange
from relayctl.channel_names import NAME
from relayctl.settings import plan
from relayctl.stack.deployed import Stack, on_stack


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
    change = _change(stack, store, name)
    terminal.refuse_unasked("undo", yes=yes, as_json=as_json)
    if not as_json:
        plan.show_changes(change.changes)
    terminal.confirm(f"Channel {name}: go back to these settings?", yes=yes)
    done = write_path.put(stack, store, change)
    if as_json:
        document: dict[str, Any] = {"channel": name, "changes": [each._asdict() for each in change.changes]}
        document |= {"verified": done.is_verified} if done.fresh else {}
        terminal.document(document)
    write_path.say_fresh(name, done)
    terminal.fail_if(not done.is_verified)


def _change(stack: Stack, store: ChannelStore, name: str) -> ChannelChange:
    kept = store.existing(name)
    earlier = store.read_previous(name)
    if earlier is None:
        terminal.nothing(f"channel {name} has no earlier version")
    after = _with_endpoints_of(SecretDocument(kept.document), SecretDocument(earlier.document), name)
    change = write_path.prepare(stack, name, kept, after)
    if not change.changes:
        terminal.nothing(
            f"nothing to undo: the last change of channel {name} changed only what BigPanda or xMatters show to the "
            "relay; relayctl channel set makes new credentials"
        )
    return change


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
    if current.has(PAUSES_KEY):
        after.set(PAUSES_KEY, current.get(PAUSES_KEY))
    else:
        after.unset(PAUSES_KEY)
    add_missing_tokens(after, name)
    return after
