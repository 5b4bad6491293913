"""A channel's secret as an operator edits it: keys by dotted path, values as they are typed, secrets masked."""

import copy
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay.channel_schema import CHANNEL
from relay.errors import InvalidChannel

MASK = "***"
# What may be seen; all else in a channel is masked, so that a key that comes later is masked, too.
_OPEN = re.compile(
    r"((inbound|xmatters\.callback)(\.previous)?\.(basic\.username|expires_at)"
    r"|xmatters\.responses\.(acknowledge|escalate)|bigpanda\.(environment_id|assign|email_domain|comments)"
    r"|xmatters\.(rest\.)?auth\.(type|username|client_id)|xmatters\.recipients"
    rf"|policy\.({'|'.join(CHANNEL['properties']['policy']['properties'])}|(priorities|properties)\.[^.]+))"
)
_URLS = {"xmatters.trigger_url", "xmatters.rest.base_url", "bigpanda.base_url"}
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:-]+(/(api/integration|reapi|api/xm)/[A-Za-z0-9/_-]*|/?)")


class SecretDocument:
    """The JSON of a channel's secret, changed by dotted keys such as `policy.max_per_minute`."""

    def __init__(self, members: Mapping[str, Any] | None = None) -> None:
        self.members: dict[str, Any] = copy.deepcopy(dict(members or {}))

    def get(self, key: str) -> Any:
        """The value of a key; None if it is not there."""
        place, last = self._find(key.split("."))
        return place.get(last) if place is not None else None

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        place, last = self._find(key.split("."))
        return place is not None and last in place

    def set(self, key: str, value: Any) -> None:
        """Set a key, making the objects on the way to it. Raises InvalidChannel when one of them is no object."""
        *way, last = key.split(".")
        place = self.members
        for step in way:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise InvalidChannel(f"{key}: {step} is not an object")
        place[last] = value

    def unset(self, key: str) -> bool:
        """Remove a key; false if it was not there."""
        place, last = self._find(key.split("."))
        if place is None or last not in place:
            return False
        del place[last]
        return True

    def masked(self) -> dict[str, Any]:
        """The document with every secret as ***."""
        masked = _mask(self.members, "")
        return masked if isinstance(masked, dict) else {}

    def text(self) -> str:
        """The document as Secrets Manager keeps it."""
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
    """Whether this is what stands under an open key: not something that was put there by mistake."""
    if isinstance(value, list):
        return all(isinstance(item, str) or _is_route(item) for item in value)
    return isinstance(value, str | int | float)


def _is_route(item: Any) -> bool:
    members: dict[str, Any] = item if isinstance(item, dict) else {"": None}
    when = members.get("when", {})
    shown = [members.get("recipients", []), *(when.values() if isinstance(when, dict) else [when])]
    return members.keys() <= {"when", "recipients", "priority"} and all(_is_text(each) for each in shown)


def _is_text(value: Any) -> bool:
    return all(isinstance(each, str) for each in value) if isinstance(value, list) else isinstance(value, str)


def _masked_url(url: str) -> str:
    """The URL without its query; *** altogether when anything else in it could be a credential."""
    place, mark, _ = url.partition("?")
    return place + (f"?{MASK}" if mark else "") if _PLAIN_URL.fullmatch(place) else MASK


def typed_value(key: str, text: str) -> Any:
    """What a value that was typed for a key means: text where the key holds text, or where it is no JSON; else JSON."""
    if _holds_text(key):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _holds_text(key: str) -> bool:
    schema: Any = CHANNEL
    for step in key.split("."):
        known = schema.get("properties", {})
        if step not in known:
            # The members of an auth are not in the schema by name, and all of them are texts.
            return "type" in known
        schema = known[step]
    return bool(schema.get("type") == "string" or "enum" in schema)


def from_file(text: str) -> str:
    """The value itself, or the content of FILE for @FILE, without the line end that an editor leaves.

    Raises OSError or UnicodeDecodeError when the file can't be read.
    """
    return Path(text[1:]).read_text("utf-8").rstrip("\r\n") if text.startswith("@") else text
