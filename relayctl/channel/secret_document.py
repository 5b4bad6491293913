"""A channel's secret as an operator edits and sees it: dotted keys, values as typed texts, masked credentials."""

import copy
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from relay.channels.parsing import decode_secret
from relay.channels.schema import CHANNEL
from relay.failures import InvalidChannel
from relay.http.session import AllowList, VendorHosts

MASK = "***"
# Keys whose values are shown. An allow-list: a key of a later version is masked.
_OPEN = re.compile(
    r"((inbound|xmatters\.callback)(\.previous)?\.(basic\.username|expires_at)"
    r"|xmatters\.responses\.(acknowledge|escalate)"
    r"|bigpanda\.(environment_id|environments|assign|automations|email_domain|comments|callbacks|reconcile(_query)?)"
    r"|xmatters\.(rest\.)?auth\.(type|username|client_id)|xmatters\.(recipients(_in)?|any_trigger_path)"
    rf"|policy\.({'|'.join(CHANNEL['properties']['policy']['properties'])}|(priorities|properties)\.[^.]+|flap\.(transitions|minutes))"
    r"|bigpanda\.actions\..+\.(do|minutes))"
)
_ROUTE, _PAUSE = {"recipients", "priority"}, {"since", "until", "then", "reason", "by"}
_URLS = {"xmatters.trigger_url", "xmatters.rest.base_url", "bigpanda.base_url"}
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:-]+(/(api/integration|reapi|api/xm)/[A-Za-z0-9/_-]*|/?)")


class AnyHost(AllowList):
    """Allow-list of every URL, for a secret whose URLs are not called, or checked before."""

    def check(self, url: str) -> None:
        """Allow the URL."""


ANY_HOSTS = VendorHosts(AnyHost("", ()), AnyHost("", ()))


class Change(NamedTuple):
    """A change of one key."""

    key: str
    old: Any  # The old value; *** for a credential, None if the key is new
    new: Any  # The new value; *** for a credential, None if the key was removed

    def __str__(self) -> str:
        return f"{self.key}: {shown(self.old)} → {shown(self.new)}"


class SecretDocument:
    """The decoded JSON of a channel's secret, changed by dotted keys such as `policy.max_per_minute`.

    `version` is the id of the version in Secrets Manager that was read; None if there was none.
    """

    def __init__(self, members: Mapping[str, Any] | None = None, version: str | None = None) -> None:
        self.members: dict[str, Any] = copy.deepcopy(dict(members or {}))
        self.version = version

    def get(self, key: str) -> Any:
        place, last = self._find(key.split("."))
        return place.get(last) if place is not None else None

    def has(self, key: str) -> bool:
        place, last = self._find(key.split("."))
        return place is not None and last in place

    def set(self, key: str, value: Any) -> None:
        """Set a key, and make the missing objects on its path. Raises InvalidChannel if one is no object."""
        *way, last = key.split(".")
        place = self.members
        for step in way:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise InvalidChannel(f"{key}: {step} is not an object")
        place[last] = value

    def unset(self, key: str) -> bool:
        """Remove a key; return False if the secret does not have it."""
        place, last = self._find(key.split("."))
        if place is None or last not in place:
            return False
        del place[last]
        return True

    def masked(self) -> dict[str, Any]:
        """Return the channel's secret with *** for every credential."""
        masked = _mask(self.members, "")
        return masked if isinstance(masked, dict) else {}

    def changes(self, newer: "SecretDocument") -> list[Change]:
        """Return the changed keys from this secret to the secret `newer`, sorted, with *** for every credential."""
        old, new = dict(leaves(self.members, "")), dict(leaves(newer.members, ""))
        return [
            Change(key, _masked_leaf(old, key), _masked_leaf(new, key))
            for key in sorted(old.keys() | new.keys())
            if key not in old or key not in new or old[key] != new[key] or type(old[key]) is not type(new[key])
        ]

    def text(self) -> str:
        """Return the JSON text that Secrets Manager stores."""
        return json.dumps(self.members, indent=2)

    def _find(self, way: list[str]) -> tuple[dict[str, Any] | None, str]:
        place: Any = self.members
        for step in way[:-1]:
            place = place.get(step) if isinstance(place, dict) else None
        return (place if isinstance(place, dict) else None), way[-1]


def _mask(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _mask(member, f"{key}.{name}".lstrip(".")) for name, member in value.items()}
    if key in _URLS and isinstance(value, str):
        return _masked_url(value)
    return value if _OPEN.fullmatch(key) and _is_plain(value) else MASK


def _is_plain(value: Any) -> bool:
    """True if the value has a shape that may be shown; an object of unknown shape may hold a misplaced credential."""
    if isinstance(value, list):
        return all(isinstance(item, str) or _is_route_or_pause(item) for item in value)
    return isinstance(value, str | int | float)


def _is_route_or_pause(item: Any) -> bool:
    members: dict[str, Any] = dict(item) if isinstance(item, dict) else {"": None}
    when = members.pop("when", {})
    shown = [*members.values(), *(when.values() if isinstance(when, dict) else [when])]
    return any(members.keys() <= known for known in (_ROUTE, _PAUSE)) and all(map(_is_text, shown))


def _is_text(value: Any) -> bool:
    return all(isinstance(each, str) for each in value) if isinstance(value, list) else isinstance(value, str)


def _masked_url(url: str) -> str:
    place, mark, _ = url.partition("?")
    return place + (f"?{MASK}" if mark else "") if _PLAIN_URL.fullmatch(place) else MASK


def typed_value(key: str, text: str) -> Any:
    """Return the decoded JSON of a typed text; the text itself if the key holds text, or if it is not JSON."""
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
    """True if relayctl masks this value of the key, or a part of it, as a credential."""
    return any(_is_secret_leaf(key, leaf) for key, leaf in leaves(value, key))


def _is_secret_leaf(key: str, value: Any) -> bool:
    if key in _URLS and isinstance(value, str):
        place, _, query = value.partition("?")
        return not _PLAIN_URL.fullmatch(place) or any(
            name != "recipients" for name, _ in parse_qsl(query, keep_blank_values=True)
        )
    return bool(_mask(value, key) == MASK)


def holds_credential(key: str) -> bool:
    """True if the key is for a credential, or for a URL, which may hold one."""
    return holds_text(key) and is_credential(key, "")


def unknown_key(key: str) -> str | None:
    """Return a complaint about an unknown key, with the nearest known key; None if the key is known."""
    schema, place = CHANNEL, ""
    for step in key.split("."):
        if schema.get("additionalProperties") is not False or step in schema["properties"]:
            schema = schema.get("properties", {}).get(step, {})
            place = f"{place}.{step}".lstrip(".")
            continue
        near = difflib.get_close_matches(key, list(_known_keys(CHANNEL, "")), 1, 0.8)
        return f"{place}: unknown key {step}".removeprefix(": ") + (f"; did you mean {near[0]}?" if near else "")
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
    schema: Any = CHANNEL
    for step in key.split("."):
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        if step in known:
            schema = known[step]
        elif isinstance(others, dict):
            schema = others
        else:
            # The schema does not name the members of `auth`; all of them are texts.
            return {"type": "string"} if "type" in known else None
    return dict(schema)


def leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield the dotted key and value of each leaf; an empty object is a leaf."""
    if not isinstance(value, dict) or (key and not value):
        yield key, value
        return
    for name, member in value.items():
        yield from leaves(member, f"{key}.{name}".lstrip("."))


def _masked_leaf(members: Mapping[str, Any], key: str) -> Any:
    return _mask(members[key], key) if key in members else None


def shown(value: Any) -> str:
    if value is None:
        return "(not set)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
