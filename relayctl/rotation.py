"""Rotation in the secret: new credentials of a channel's endpoints; a replaced one stays valid for a time.

`channel_change.put` stores the secret, and `credential_acceptance` waits until the endpoints accept a new credential.
"""

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from relay.channels import token
from relay.channels.channel import header_for
from relay.channels.schema import HEADER_PATTERN
from relayctl.endpoints import ENDPOINTS
from relayctl.secret_document import SecretDocument

# Long enough to paste the new credential at the vendor, and to notice a forgotten one.
OVERLAP_SECONDS = 24 * 3600


def renew(document: SecretDocument, key: str, name: str) -> None:
    """Replace the current credentials of an endpoint by new ones of the same kinds. A login keeps its user name."""
    endpoint = ENDPOINTS[key].name
    login, fresh = document.get(f"{key}.basic.username"), dict[str, Any]()
    if isinstance(login, str) and login:
        fresh["basic"] = {"username": login, "password": token.make(name, endpoint, secrets.choice)}
    if document.has(f"{key}.token") or not fresh:
        fresh["token"] = token.make(name, endpoint, secrets.choice)
    for kind in ("token", "basic"):
        if kind in fresh:
            document.set(f"{key}.{kind}", fresh[kind])
        else:
            document.unset(f"{key}.{kind}")


def keep_previous(
    before: SecretDocument, after: SecretDocument, now: float, name: str, overlap_seconds: float = OVERLAP_SECONDS
) -> dict[str, str]:
    """Write each credential that `after` replaces into `after` as the endpoint's `previous` one, for `overlap_seconds`.

    An older `previous` one is overwritten, unless the operator set it in the same call. Return the expiry (ISO 8601) of
    each `previous` credential that was written, by the endpoint's key.
    """
    kept = {}
    for endpoint in ENDPOINTS:
        replaced = _replaced(before.get(endpoint), after.get(endpoint))
        if not _is_of(replaced.get("token"), name, endpoint):
            # The endpoint never accepted this token, and as `previous` it would make the secret invalid.
            del replaced["token"]
        others = [_members(after.get(other)) for other in ENDPOINTS if other != endpoint]
        replaced = {kind: value for kind, value in replaced.items() if all(value != each.get(kind) for each in others)}
        is_set_by_hand = before.get(f"{endpoint}.previous") != after.get(f"{endpoint}.previous") and after.has(
            f"{endpoint}.previous"
        )
        if replaced and not is_set_by_hand:
            expires_at = datetime.fromtimestamp(now + overlap_seconds, UTC).isoformat(timespec="seconds")
            after.set(f"{endpoint}.previous", {**replaced, "expires_at": expires_at})
            kept[endpoint] = expires_at
    return kept


def _is_of(value: Any, name: str, endpoint: str) -> bool:
    """False if the value is a token with a checksum that relayctl made for another channel or endpoint, else True."""
    is_checked = isinstance(value, str) and token.has_relay_prefix(value)
    return not is_checked or token.fits(value, name, ENDPOINTS[endpoint].name)


def displaced(before: SecretDocument, after: SecretDocument, now: float) -> dict[str, str]:
    """Return the expiry (ISO 8601), by the endpoint's key, of each `previous` credential that this rotation would end.

    Only one `previous` credential is kept. The vendor may still use it, if nobody pasted the current one there.
    """
    found = {}
    for endpoint in ENDPOINTS:
        previous = before.get(f"{endpoint}.previous")
        is_set_by_hand = previous != after.get(f"{endpoint}.previous")
        expires_at = previous.get("expires_at") if isinstance(previous, Mapping) else None
        is_rotated = _replaced(before.get(endpoint), after.get(endpoint))
        if is_rotated and not is_set_by_hand and isinstance(expires_at, str) and _is_later(expires_at, now):
            found[endpoint] = expires_at
    return found


def _is_later(moment: str, now: float) -> bool:
    try:
        return datetime.fromisoformat(moment).timestamp() > now
    except ValueError:
        return False


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
    """Return the valid old credentials that the new settings lack, by kind; none if the endpoint was removed."""
    if not isinstance(after, Mapping):
        return {}
    current = _members(after)
    old = {name: value for name, value in _members(before).items() if _is_valid(name, value)}
    return {name: value for name, value in old.items() if current.get(name) != value}


def _is_valid(name: str, value: Any) -> bool:
    """True if the old value is a well-formed credential. A malformed one must not become `previous`."""
    if name == "token":
        return isinstance(value, str) and re.match(HEADER_PATTERN, value) is not None
    is_login = isinstance(value, Mapping) and value.keys() == {"username", "password"}
    return is_login and all(isinstance(each, str) and each for each in value.values())
