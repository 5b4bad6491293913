"""A channel's secret as an operator edits and sees it: dotted keys, values as typed texts, masked credentials."""

import copy
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

from relay.channels.parsing import decode_secret
from relay.channels.schema import AUTH, CHANNEL, faults
from relay.failures import InvalidChannel
from relay.http.session import AllowList, VendorHosts

MASK = "***"
# Last names of the keys of credentials, outside the policy. URLs may hold one.
_SECRETS = frozenset({"token", "password", "key", "secret", "api_key", "app_key"})
URLS = frozenset({"xmatters.trigger_url", "xmatters.rest.base_url", "bigpanda.base_url"})
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:-]+(/(api/integration|reapi|api/xm)/[A-Za-z0-9/_-]*|/?)")
_AUTH_MEMBERS = {name: member for each in AUTH.values() for name, member in each["properties"].items()}


class AnyHost(AllowList):
    """Allow-list that allows every URL, for a secret whose URLs are not called now, or were checked before."""

    def check(self, url: str) -> None:
        """Allow any URL: raise nothing."""


ANY_HOSTS = VendorHosts(AnyHost("", ()), AnyHost("", ()))


class SecretDocument:
    """The decoded JSON of a channel's secret, changed by dotted keys such as `policy.max_per_minute`.

    `version` is the id of the version in Secrets Manager that was read; None if there was none.
    """

    def __init__(self, members: Mapping[str, Any] | None = None, version: str | None = None) -> None:
        self.members: dict[str, Any] = copy.deepcopy(dict(members or {}))
        self.version = version

    def get(self, key: str) -> Any:
        place, last = self._find(key)
        return place.get(last)

    def has(self, key: str) -> bool:
        place, last = self._find(key)
        return last in place

    def set(self, key: str, value: Any) -> None:
        """Set a key, and make missing objects on its path. Raises InvalidChannel if the path has another value."""
        *way, last = key.split(".")
        place = self.members
        for step in way:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise InvalidChannel(f"{key}: {step} is not an object")
        place[last] = value

    def unset(self, key: str) -> bool:
        """Remove a key; return False if the secret does not have it."""
        place, last = self._find(key)
        is_there = last in place
        place.pop(last, None)
        return is_there

    def masked(self) -> dict[str, Any]:
        """Return the channel's secret with *** for every credential."""
        return dict(_mask(self.members, ""))

    def credentials(self, endpoint: str, unlike: "SecretDocument | None" = None) -> dict[str, Any]:
        """Return an endpoint's current credentials by kind, the token first; without those that `unlike` has, too."""
        members = self.get(endpoint)
        found = members if isinstance(members, dict) else {}
        others = unlike.credentials(endpoint) if unlike else {}
        kinds = [kind for kind in ("token", "basic") if kind in found]
        return {kind: found[kind] for kind in kinds if (kind, found[kind]) not in others.items()}

    def changes(self, newer: "SecretDocument") -> list[dict[str, Any]]:
        """Return the changes from this secret to the secret `newer` as JSON objects, sorted by `key`.

        `old` and `new` are *** for a credential; `old` is None if the key is new, and `new` if it was removed.
        """
        old, new = dict(leaves(self.members, "")), dict(leaves(newer.members, ""))
        shown_old, shown_new = dict(leaves(self.masked(), "")), dict(leaves(newer.masked(), ""))
        return [
            {"key": key, "old": shown_old.get(key), "new": shown_new.get(key)}
            for key in sorted(old.keys() | new.keys())
            if key not in old or key not in new or old[key] != new[key] or type(old[key]) is not type(new[key])
        ]

    def text(self) -> str:
        """Return the JSON text that Secrets Manager stores."""
        return json.dumps(self.members, indent=2)

    def _find(self, key: str) -> tuple[dict[str, Any], str]:
        """Return the object in which a key is, or would be, and the last name of the key."""
        *way, last = key.split(".")
        place: Any = self.members
        for step in way:
            place = place.get(step) if isinstance(place, dict) else None
        return (place if isinstance(place, dict) else {}), last


def _mask(value: Any, key: str) -> Any:
    """Return a value with *** for each credential, and for what is not valid: it may hold a misplaced credential."""
    if isinstance(value, dict):
        return {name: _mask(member, f"{key}.{name}".lstrip(".")) for name, member in value.items()}
    if key in URLS and isinstance(value, str):
        place, mark, _ = value.partition("?")
        return place + (f"?{MASK}" if mark else "") if _PLAIN_URL.fullmatch(place) else MASK
    schema = _schema_of(key)
    return MASK if schema is None or holds_credential(key) or any(faults(value, schema, key)) else value


def typed_value(key: str, text: str) -> Any:
    """Return the value of an operator's text: the text itself if `key` holds text or it is no JSON, else decoded."""
    if holds_text(key):
        return text
    try:
        return decode_secret(text)
    except InvalidChannel:
        return text


def json_fault(key: str, text: str) -> str | None:
    """Return a complaint, with a line number if known, if the key needs JSON and the text is not JSON; else None."""
    if _schema_of(key) is None or holds_text(key):
        return None
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        # Cut at the colon: the rest may quote the text.
        return f"is not JSON: {error.msg.partition(':')[0]} (line {error.lineno})"
    except (ValueError, RecursionError):
        return "is not JSON"
    return None


def is_credential(key: str, value: Any) -> bool:
    """True if the value of a key is a credential, or holds one."""
    return any(_is_secret_leaf(key, leaf) for key, leaf in leaves(value, key))


def _is_secret_leaf(key: str, value: Any) -> bool:
    if key in URLS and isinstance(value, str):
        place, _, query = value.partition("?")
        named = {name for name, _ in parse_qsl(query, keep_blank_values=True)}
        return not _PLAIN_URL.fullmatch(place) or not named <= {"recipients"}
    return holds_credential(key) or _schema_of(key) is None


def holds_credential(key: str) -> bool:
    """True if the key is for a credential, or for a URL, which may hold one."""
    is_named_so = key.rpartition(".")[2] in _SECRETS and not key.startswith("policy.")
    return key in URLS or (is_named_so and holds_text(key))


def unknown_key(key: str) -> str | None:
    """Return a complaint about an unknown key, with the nearest known key; None if the key is known."""
    steps = key.split(".")
    for number, step in enumerate(steps):
        if _schema_of(".".join(steps[: number + 1])) is None:
            near = difflib.get_close_matches(key, list(_known_keys(CHANNEL, "")), 1, 0.8)
            place = f"{'.'.join(steps[:number])}: ".removeprefix(": ")
            return f"{place}unknown key {step}" + (f"; did you mean {near[0]}?" if near else "")
    return None


def _known_keys(schema: Mapping[str, Any], place: str) -> Iterator[str]:
    for name, member in schema.get("properties", {}).items():
        key = f"{place}.{name}".lstrip(".")
        yield key
        yield from _known_keys(member, key)


def holds_text(key: str) -> bool:
    """True if the schema says that the key's value is text, which relayctl does not decode as JSON."""
    schema = _schema_of(key) or {}
    return schema.get("type") == "string" or all(isinstance(each, str) for each in schema.get("enum", (None,)))


def _schema_of(key: str) -> dict[str, Any] | None:
    """Return the schema of a key; None if no channel has the key."""
    schema: Any = CHANNEL
    for step in key.split("."):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        # The members of `auth` depend on its type.
        known = _AUTH_MEMBERS if known.keys() == {"type"} else known
        if step not in known and not isinstance(others, dict):
            return None
        schema = known.get(step, others)
    return dict(schema)


def leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and value of each leaf of `value`, whose own key is `key`; an empty object is a leaf."""
    if not isinstance(value, dict) or (key and not value):
        yield key, value
        return
    for name, member in value.items():
        yield from leaves(member, f"{key}.{name}".lstrip("."))
