"""Listings of xMatters' REST API: ``limit`` and ``offset``, times in a query, and the links between pages."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from sandbox.http.schema import InvalidError, whole_number

PAGE_SIZE, LARGEST_PAGE = 100, 1000


def check_parameters(query: Mapping[str, str], known: Collection[str]) -> None:
    """Raise InvalidError if a query has a parameter that is not in `known`."""
    unknown = sorted(set(query) - set(known))
    if unknown:
        raise InvalidError(f"{unknown[0]} is an unknown parameter")


def limit_and_offset(query: Mapping[str, str], known: Collection[str]) -> tuple[int, int]:
    """Return ``limit`` and ``offset`` of a query; `known` are the other parameters that it may have.

    Raises InvalidError if a parameter is unknown, or its number not allowed.
    """
    check_parameters(query, {*known, "limit", "offset"})
    limit = whole_number(query, "limit", PAGE_SIZE, range(1, LARGEST_PAGE + 1))
    return limit, whole_number(query, "offset", 0, range(10**9))


def moment(query: Mapping[str, str], name: str) -> datetime | None:
    """Return the time in the query parameter `name`; None without it. Raises InvalidError if the value is no time."""
    if name not in query:
        return None
    try:
        found = datetime.fromisoformat(query[name])
    except ValueError:
        raise InvalidError(f"{name} must be a time, such as 2026-03-04T14:00:00.000Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def page(path: str, query: Mapping[str, str] | str, found: Sequence[Any], limit: int, offset: int) -> dict[str, Any]:
    """Return one page of the objects in `found`, with links to this page, the next and the previous page.

    `query` is the request's query: a mapping, or a text that is URL-encoded already. The links repeat it.
    """
    texts = query.split("&") if isinstance(query, str) else urlencode(query).split("&")
    kept = [each for each in texts if each and each.partition("=")[0] not in ("limit", "offset")]

    def link(start: int) -> str:
        return f"{path}?{'&'.join([*kept, f'limit={limit}', f'offset={start}'])}"

    links = {"self": link(offset)}
    if offset + limit < len(found):
        links["next"] = link(offset + limit)
    if offset:
        links["previous"] = link(max(0, offset - limit))
    data = list(found[offset : offset + limit])
    return {"count": len(data), "total": len(found), "data": data, "links": links}
