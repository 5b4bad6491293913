"""Reading JSON that others write: members by name in any spelling, and texts that are there or not. Pure code."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

# Longer than any id that BigPanda is known to have.
MAX_ID_LENGTH = 512
# Environments' ids stand in paths of BigPanda's API. Of those that are known, each is made of letters and digits.
ENVIRONMENT_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]*"


class Fields(dict[str, Any]):
    """The members of an object that are not null, by names in lower case without hyphens and underscores."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__()
        for name, value in members.items():
            # A spelling that is null must not hide one that is not.
            if value is not None:
                self.setdefault(_plain(name), value)

    def first(self, *names: str) -> Any:
        """Return the value of the first of the names that is there; None if none is."""
        return next((self[name] for name in names if name in self), None)


def nested(value: Any, *names: str) -> Any:
    """The first of the names in an object; None where the value is none."""
    return Fields(value).first(*names) if isinstance(value, dict) else None


def scalar(value: Any) -> str | None:
    """A text or a number as text; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def environment_id(value: Any) -> str | None:
    """A text that can be the id of one of BigPanda's environments; None for anything else, such as "..".

    Whoever has a webhook's token may write anything there, and the id becomes a part of a path.
    """
    if not isinstance(value, str) or len(value) > MAX_ID_LENGTH:
        return None
    return value if re.fullmatch(ENVIRONMENT_ID, value) else None


def _plain(name: str) -> str:
    # What is longer than any name we look for is not worth remembering, nor safe to.
    return _folded(name) if len(name) <= 64 else name


@lru_cache(maxsize=1024)
def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
