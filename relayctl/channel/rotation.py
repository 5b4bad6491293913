"""Rotation in the secret: new credentials of a channel's endpoints, and of the channel for the vendors."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click

from relay.channels.channel import header_for
from relay.channels.schema import AUTH
from relay.incidents.share import time_of
from relayctl.channel.credential_input import CredentialInput, ask, flag_of, judged
from relayctl.channel.endpoints import ENDPOINTS, new_token
from relayctl.channel.secret_document import SecretDocument

# The vendor by the kind of credential: the trigger's, xMatters' REST API's, and BigPanda's API's.
VENDORS = {"trigger": "xMatters", "rest": "xMatters", "bigpanda": "BigPanda"}
# Options for credentials. The others, such as a user name, have plain values.
_HIDDEN = {"trigger_url", "password", "key", "secret", "api_key", "app_key"}
_AUTHS = {"trigger": "xmatters.auth", "rest": "xmatters.rest.auth"}


def renewed(before: SecretDocument, name: str, kind: str, given: Mapping[str, str | None]) -> SecretDocument:
    """Return the secret with the given credentials, by option, in place of the old ones; prompt for those missing.

    `kind` is a key of VENDORS. Raises UsageError.
    """
    options = {option: text for option, text in given.items() if text is not None}
    places = _places(before, name, kind)
    if unsuitable := [flag_of(option) for option in options if option not in places]:
        suitable = " and ".join(flag_of(option) for option in places if option in _HIDDEN)
        raise click.UsageError(
            f"{', '.join(unsuitable)}: not a part of channel {name}'s credential for {kind}, which has {suitable}"
        )
    after, source = SecretDocument(before.members), CredentialInput(allows_literals=False)
    try:
        for option, key in places.items():
            if option in options and option in _HIDDEN:
                after.set(key, source.read(flag_of(option), key, options[option]))
            elif option in options:
                after.set(key, options[option])
            elif _is_needed(option, options):
                after.set(key, judged(flag_of(option), key, ask(flag_of(option), " is needed"), "the answer"))
    finally:
        source.warn()
    return after


def _places(document: SecretDocument, name: str, kind: str) -> dict[str, str]:
    if kind == "bigpanda":
        if not document.has("bigpanda.api_key"):
            raise click.UsageError(
                f"channel {name} has no key for BigPanda: relayctl channel set {name} --set bigpanda.api_key"
            )
        return {"api_key": "bigpanda.api_key", "app_key": "bigpanda.app_key"}
    place = _AUTHS[kind]
    if not document.has(place):
        raise click.UsageError(
            f"channel {name} has no {place}: relayctl channel set {name} --set {place.removesuffix('.auth')}=@FILE"
        )
    how = document.get(f"{place}.type")
    if how == "url":
        return {"trigger_url": "xmatters.trigger_url"}
    members = AUTH[how]["properties"] if how in list(AUTH) else {}
    return {member: f"{place}.{member}" for member in members if member != "type"}


def _is_needed(option: str, given: Mapping[str, str]) -> bool:
    """True if relayctl must prompt for this option: each credential, of BigPanda's two keys at least one."""
    return option in _HIDDEN - {"api_key", "app_key"} or (option == "api_key" and "app_key" not in given)


# Long enough to paste the new credential at the vendor, and to notice a forgotten one.
OVERLAP_SECONDS = 24 * 3600


def renew(document: SecretDocument, key: str, name: str) -> None:
    """Replace the current credentials of an endpoint by new ones of the same kinds. A login keeps its user name."""
    login, fresh = document.get(f"{key}.basic.username"), dict[str, Any]()
    if isinstance(login, str) and login:
        fresh["basic"] = {"username": login, "password": new_token(name, key)}
    if document.has(f"{key}.token") or not fresh:
        fresh["token"] = new_token(name, key)
    for kind in ("token", "basic"):
        if kind in fresh:
            document.set(f"{key}.{kind}", fresh[kind])
        else:
            document.unset(f"{key}.{kind}")


def keep_previous(
    before: SecretDocument, after: SecretDocument, name: str, now: float, overlap_seconds: float = OVERLAP_SECONDS
) -> dict[str, str]:
    """Write each credential that `after` replaces into it as the endpoint's `previous` one; return their expiries.

    `before` is a valid secret. A `previous` one that the operator set in the same call stays. Raises UsageError if an
    older one is still valid: only one is kept, and the vendor may still use it, if nobody pasted the current one.
    """
    kept = {}
    for key, endpoint in ENDPOINTS.items():
        previous, is_same = before.get(f"{key}.previous"), before.get(f"{key}.previous") == after.get(f"{key}.previous")
        replaced = _replaced(before.get(key), after.get(key))
        if not replaced or (after.has(f"{key}.previous") and not is_same):
            continue
        expires_at = previous.get("expires_at") if isinstance(previous, Mapping) and is_same else None
        if (time_of(expires_at) or 0.0) > now:
            raise click.UsageError(
                f"{key}: the credential before the last change works until {expires_at}, and {endpoint.vendor} may "
                f"still use it. Paste the current one first (relayctl channel set {name} --reveal prints it), and end "
                f"the old one: relayctl channel rotate {name} {endpoint.name} --retire"
            )
        others = [_members(after.get(other)) for other in ENDPOINTS if other != key]
        replaced = {kind: value for kind, value in replaced.items() if all(value != each.get(kind) for each in others)}
        if replaced:
            kept[key] = datetime.fromtimestamp(now + overlap_seconds, UTC).isoformat(timespec="seconds")
            after.set(f"{key}.previous", {**replaced, "expires_at": kept[key]})
    return kept


def fresh_header(before: SecretDocument, after: SecretDocument, endpoint: str) -> dict[str, str] | None:
    """Return the header with the endpoint's new or changed credential; None if no credential changed."""
    old = _members(before.get(endpoint))
    fresh = {name: value for name, value in _members(after.get(endpoint)).items() if old.get(name) != value}
    return header_for(fresh) if fresh else None


def _members(endpoint: Any) -> dict[str, Any]:
    return (
        {name: endpoint[name] for name in ("token", "basic") if name in endpoint}
        if isinstance(endpoint, Mapping)
        else {}
    )


def _replaced(before: Any, after: Any) -> dict[str, Any]:
    current = _members(after)
    old = _members(before) if isinstance(after, Mapping) else {}
    return {name: value for name, value in old.items() if current.get(name) != value}
