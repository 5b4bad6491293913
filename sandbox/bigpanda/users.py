"""Users of BigPanda, and the SCIM filters that find them by name or e-mail address.

Documented (RFC 7644): the shape of a list of users; ``eq`` and ``or``; user names and addresses are compared without
regard to letter case. BigPanda's support of filters is inferred: docs/vendors.md, "BigPanda's API".
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.http.schema import InvalidError, compiled

type User = Mapping[str, Any]

# Users for the samples in events/: incidents can be assigned to the people who acknowledge their pages.
USERS: tuple[User, ...] = (
    {"id": "5d3b0001", "userName": "jdoe@acme.example", "emails": [{"value": "jane.doe@acme.example"}]},
    {"id": "5d3b0002", "userName": "epearson@acme.example", "emails": [{"value": "epearson@acme.example"}]},
)
_TEXT = {"type": "string", "minLength": 1}
_EMAIL = {"type": "object", "required": ["value"], "properties": {"value": _TEXT}}
_USER = compiled({"id": _TEXT, "userName": _TEXT}, {"emails": {"type": "array", "items": _EMAIL, "default": []}})
_TERM = re.compile(r'(userName|emails\.value) eq ("(?:[^"\\]|\\.)*")(?: or (?=.)|\Z)', re.IGNORECASE)


def parse(declared: Sequence[object]) -> tuple[User, ...]:
    """Parse declared users. Raises InvalidError, which names the entry and the key."""
    return tuple(_USER(each, f"users[{place}]") for place, each in enumerate(declared))


def found(users: Sequence[User], filter_: str | None) -> list[User]:
    """Return the users that match a filter; all without a filter. Raises InvalidError for an unknown filter."""
    wanted = _wanted(filter_) if filter_ is not None else lambda _: True
    return [user for user in users if wanted(user)]


def listed(users: Sequence[User]) -> dict[str, Any]:
    """Return SCIM's list of these users."""
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": len(users),
        "startIndex": 1,
        "itemsPerPage": len(users),
        "Resources": list(users),
    }


def _wanted(filter_: str) -> Callable[[User], bool]:
    terms: list[tuple[str, str]] = []
    place = 0
    while place < len(filter_) or not terms:
        term = _TERM.match(filter_, place)
        if term is None:
            raise InvalidError('filter must be terms such as userName eq "jdoe", joined by or')
        terms.append((term[1].lower(), _literal(term[2]).lower()))
        place = term.end()
    return lambda user: any(value in _values(user, name) for name, value in terms)


def _literal(text: str) -> str:
    try:
        return str(json.loads(text))
    except ValueError:
        raise InvalidError("filter must hold each text as a JSON string") from None


def _values(user: User, name: str) -> set[str]:
    values = [user["userName"]] if name == "username" else [each["value"] for each in user["emails"]]
    return {value.lower() for value in values}
