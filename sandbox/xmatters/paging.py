"""Listings of xMatters' REST API: ``limit`` and ``offset``, and the links between pages."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from sandbox.http.schema import InvalidError


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
