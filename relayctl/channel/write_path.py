"""Write path of all verbs that change a channel's settings: rotation, validation, optimistic locking, verification."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple

import click

from relay.channels import misconfiguration
from relay.channels.channel import Channel, header_for
from relay.channels.parsing import parse_channel
from relay.channels.token import LEAST_TYPED_LENGTH
from relay.failures import InvalidChannel
from relay.foreign_text import printable
from relay.incidents.share import time_of
from relayctl import terminal
from relayctl.channel import checks, endpoints
from relayctl.channel.credential_input import MAX_BYTES
from relayctl.channel.endpoints import ENDPOINTS, put_in_force, verify
from relayctl.channel.secret_document import ANY_HOSTS, SecretDocument
from relayctl.channel.store import ChannelStore

# Long enough to paste the new credential at the vendor, and to notice a forgotten one.
OVERLAP_SECONDS = 24 * 3600
_COLORS = {"+": "green", "-": "red", "~": "yellow"}
# Advice for settings that may notify nobody, by key: in words of `channel set`, and of a settings file.
_REMEDIES = {
    "xmatters.recipients": "name recipients (--recipient), or set xmatters.recipients_in to workflow or url "
    "(--recipients-in-workflow or --recipients-in-url)",
    "xmatters.trigger_url": "copy it from the trigger, or set xmatters.any_trigger_path to true (--any-trigger-path) "
    "if it is right",
}


@dataclass(frozen=True)
class ChannelChange:
    """A valid change of one channel that is not stored yet."""

    store: ChannelStore  # The place of its secret
    name: str
    before: SecretDocument  # The secret as it was read; empty for a new channel
    after: SecretDocument  # The new secret, with replaced credentials as `previous`
    channel: Channel  # The channel that the new secret describes
    urls: Mapping[str, str]  # The URL of each endpoint by its key in the secret, such as `xmatters.callback`
    expiries: Mapping[str, str]  # End of the replaced credentials (ISO 8601), by the endpoint's key

    @property
    def is_new(self) -> bool:
        return self.before.version is None

    @cached_property
    def changes(self) -> list[dict[str, Any]]:
        """Changed keys of the channel's secret with old and new value, sorted by key; *** stands for a credential."""
        return self.before.changes(self.after)


class Done(NamedTuple):
    """Result of a stored change."""

    fresh: Mapping[str, dict[str, str]]  # The header of each new credential, by the endpoint's key
    is_verified: bool  # True if the relay accepts these credentials, or there are none
    in_force: str | None  # From when nothing uses the old value (ISO 8601), if it must act at once; None if unknown
    is_complete: bool  # True if they are accepted, and no running function may use what must not be used any more


def prepare(
    store: ChannelStore,
    name: str,
    before: SecretDocument,
    after: SecretDocument,
    *,
    overlap_seconds: float | None = OVERLAP_SECONDS,
) -> ChannelChange:
    """Return the change of a channel's secret from `before` to `after`, checked and not stored yet.

    Replaced credentials stay valid for `overlap_seconds`; None ends them at once. Raises InvalidChannel and UsageError.
    """
    expiries = dict[str, str]()
    if overlap_seconds is not None:
        # The endpoints accepted no credential of a secret that was not valid.
        with suppress(InvalidChannel):
            parse_channel(name, before.text(), ANY_HOSTS)
            expiries = keep_previous(before, after, name, store.stack.effects.clock(), overlap_seconds)
    channel = parse_channel(name, after.text(), store.stack.hosts)
    # AWS's own message about a long secret may quote it.
    if (size := len(after.text().encode())) > MAX_BYTES:
        raise click.UsageError(f"the channel has {size:,} bytes; Secrets Manager takes {MAX_BYTES:,} at most")
    if problems := misconfiguration.problems(channel):
        lines = [f"{each}; {_REMEDIES[each.key]}" if each.key in _REMEDIES else str(each) for each in problems]
        raise click.UsageError("\n".join(lines))
    # A stored short token goes on working.
    for key in (f"{endpoint}.token" for endpoint in ENDPOINTS):
        value = after.get(key)
        if isinstance(value, str) and value != before.get(key) and len(value) < LEAST_TYPED_LENGTH:
            least = f"a token has at least {LEAST_TYPED_LENGTH} characters"
            raise click.UsageError(f"{key}: {least}; relayctl makes one if the key is left out")
    return ChannelChange(store, name, before, after, channel, endpoints.urls(store.stack, name, after), expiries)


def put(change: ChannelChange, *, revokes: str | None = None) -> Done:
    """Store a change, with notes and warnings on stderr, and wait until the relay accepts the new credentials.

    `revokes` is given if a credential ends now: the command to type if that cannot be put in force. A change without a
    changed key puts the settings in force again, since an earlier call may have failed to. Raises ClickException.
    """
    stack, name, before, after = change.store.stack, change.name, change.before, change.after
    is_restored = change.is_new and change.store.is_removed(name)
    if change.changes:
        change.store.write(name, after.text(), replaces=before.version)
        seconds = stack.parameters.get("SecretCacheSeconds", "300")
        terminal.say(f"channel {name}: {'made' if change.is_new else f'changed; functions read it within {seconds} s'}")
    keys = {each["key"] for each in change.changes}
    # A changed mode must reach all functions within seconds. A restored secret has its old settings for a moment.
    in_force, must_act = None, is_restored or (not change.is_new and (not keys or "policy.mode" in keys))
    if revokes:
        in_force = put_in_force(stack, name, command=revokes)
    elif must_act:
        # Neither `undo` nor `apply` would do it again.
        in_force = put_in_force(stack, name, effect="its settings act", command=f"relayctl channel set {name}")
    for key, expires_at in change.expiries.items():
        terminal.say(
            f"note: {ENDPOINTS[key].vendor}'s old credential works until {expires_at}; to end it earlier: relayctl "
            f"channel rotate {name} {ENDPOINTS[key].name} --retire"
        )
    if checks.may_notify_nobody(change.channel):
        terminal.say(
            "warning: a critical incident that matches no route notifies nobody: name recipients in "
            'xmatters.recipients, or add a route whose only condition is {"status": "critical"}'
        )
    checks.warn(stack, change.channel)
    fresh = {key: header_for(new) for key in change.urls if (new := after.credentials(key, before))}
    is_verified = verify(stack, name, change.urls, fresh)
    is_in_force = in_force is not None or not (revokes or must_act)
    return Done(fresh, is_verified, in_force, is_verified and is_in_force)


def show_changes(changes: Sequence[Mapping[str, Any]]) -> None:
    """Print a line for each of `SecretDocument.changes`, or that nothing changed."""
    if not changes:
        terminal.show_line("nothing changed")
    for change in changes:
        mark = "+" if change["old"] is None else "-" if change["new"] is None else "~"
        values = [each for each in (change["old"], change["new"]) if each is not None]
        said = " → ".join(each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in values)
        terminal.show_line(printable(f"{change['key']}: {said}"), lead=f"  {mark} ", color=_COLORS[mark], indent=2)


def say_fresh(name: str, done: Done) -> None:
    """Write to stderr which credentials are new, and the command that prints them, for a verb that prints none."""
    for key in done.fresh:
        vendor = ENDPOINTS[key].vendor
        terminal.say(f"channel {name}: {vendor}'s credential is new; to print it: relayctl channel set {name} --reveal")


def keep_previous(
    before: SecretDocument, after: SecretDocument, name: str, now: float, overlap_seconds: float = OVERLAP_SECONDS
) -> dict[str, str]:
    """Keep in `after` each credential that it replaces, as the endpoint's `previous` one. Return their ends (ISO 8601).

    The ends are by the endpoint's key. `before` is a valid secret. A `previous` one that the operator set in the same
    call stays. Raises UsageError if an older `previous` one is still valid: only one is kept, and the vendor may use
    the older one, if nobody pasted the current one.
    """
    kept = {}
    for key, endpoint in ENDPOINTS.items():
        previous, is_same = before.get(f"{key}.previous"), before.get(f"{key}.previous") == after.get(f"{key}.previous")
        replaced = before.credentials(key, after) if isinstance(after.get(key), Mapping) else {}
        if not replaced or (after.has(f"{key}.previous") and not is_same):
            continue
        expires_at = previous.get("expires_at") if isinstance(previous, Mapping) and is_same else None
        if (time_of(expires_at) or 0.0) > now:
            raise click.UsageError(
                f"{key}: the credential before the last change works until {expires_at}, and {endpoint.vendor} may "
                f"still use it. Paste the current one first (relayctl channel set {name} --reveal prints it), and end "
                f"the old one: relayctl channel rotate {name} {endpoint.name} --retire"
            )
        kept[key] = datetime.fromtimestamp(now + overlap_seconds, UTC).isoformat(timespec="seconds")
        after.set(f"{key}.previous", {**replaced, "expires_at": kept[key]})
    return kept
