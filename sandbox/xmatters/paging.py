"""Listings of xMatters' REST API: ``limit`` and ``offset``, and the links between pages."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from sandbox.http.schema import InvalidError

PAGE_SIZE, LARGEST_PAGE = 100, 1000


def check_parameters(query: Mapping[str, str], known: Collection[str]) -> None:
    """Raise InvalidError if a query has a parameter that is not in `known`."""
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InvalidError(f"{unknown[0]} is an unknown parameter")


def limit_and_offset(query: Mapping[str, str], known: Collection[str]) -> tuple[int, int]:
    """Return ``limit`` and ``offset`` of a query, which has no further parameters but those in `known`.

    Raises
    ------
    InvalidError
        If a parameter is unknown, or its number not allowed.
    """
    check_parameters(query, {*known, "limit", "offset"})
    limit = whole_number(query, "limit", PAGE_SIZE, range(1, LARGEST_PAGE + 1))
    return limit, whole_number(query, "offset", 0, range(10**9))


def whole_number(query: Mapping[str, str], name: str, default: int, allowed: range) -> int:
    """Return a number of a query. Raises InvalidError if the value is not in the allowed range."""
    value = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", value) or int(value) not in allowed:
        raise InvalidError(f"{name} must be a whole number from {allowed[0]} to {allowed[-1]}")
    return int(value)


def page(path: str, query: Mapping[str, str], found: Sequence[Any], limit: int, offset: int) -> dict[str, Any]:
    """Return one page of JSON objects, with links to itself, the next and the previous page."""

    def link(start: int) -> str:
        return f"{path}?{urlencode({**query, 'offset': start, 'limit': limit})}"

    links = {"self": link(offset)}
    if offset + limit < len(found):
        links["next"] = link(offset + limit)
    if offset:
        links["previous"] = link(max(0, offset - limit))
    data = list(found[offset : offset + limit])
    return {"count": len(data), "total": len(found), "data": data, "links": links}
