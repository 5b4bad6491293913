"""Tolerant reader of the vendors' JSON: members by name in any spelling, and optional texts. Pure code."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# Longer than any known id of BigPanda.
MAX_ID_LENGTH = 512
# Strict, since environments' ids are put into paths of BigPanda's API. All known ids are letters and digits.
ENVIRONMENT_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]*"


class Fields(dict[str, Any]):
    """Members of a JSON object by their names in lower case, without hyphens and underscores.

    Members that are null are left out. Of two spellings of a name, the first is kept.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__()
        for name, value in members.items():
            # A name can occur in several spellings. One with null must not hide one with a value.
            if value is not None:
                self.setdefault(_plain(name), value)

    def first(self, *names: str) -> Any:
        """Return the value of the first of these names that the object has; None if it has none of them."""
        return next((self[name] for name in names if name in self), None)


def fields_of(value: Any) -> Fields:
    """Return the members of a JSON object; no members if `value` is no object."""
    return Fields(value if isinstance(value, dict) else {})


def nested(value: Any, *names: str) -> Any:
    """Return the value of the first of these names that an object has.

    Returns None if it has none of them, or if `value` is no object.
    """
    return fields_of(value).first(*names)


def scalar(value: Any) -> str | None:
    """Return `value` if it is a text, or a number as text; None for any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def environment_id(value: Any) -> str | None:
    """Return a valid environment id of BigPanda; None for any other value, such as "..".

    A sender with a webhook's token can write any text there, and the id becomes a part of an API path.
    """
    if not isinstance(value, str) or len(value) > MAX_ID_LENGTH:
        return None
    return value if re.fullmatch(ENVIRONMENT_ID, value) else None


def _plain(name: str) -> str:
    # Longer names are never looked up. They are not cached, so that a hostile body can't fill the cache.
    return _folded(name) if len(name) <= 64 else name


@lru_cache(maxsize=1024)
def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
