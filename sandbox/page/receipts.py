"""Receipts of criticals: how far it is proven that people know of them, as steps that the web page shows.

They are read from the entries of incidents in the relay's table. The relay's `relay.ledger.receipt` and
`relay.ledger.accepted_signal` name the members of an entry that are lists.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sandbox.page.deployment import Deployment

# The step that failed, by the relay's word for it.
_MISSED: Mapping[str, str] = {
    "page_missing": "page",
    "page_suppressed": "page",
    "nobody_notified": "notified",
    "nobody_answered": "answered",
}
_WORDS: Mapping[str, str] = {
    "page": "no page was made",
    "notified": "nobody was notified",
    "answered": "nobody answered",
}


def read(deployment: Deployment) -> Iterator[dict[str, Any]]:
    """Yield the receipt of each incident that has one: its steps, and the words for a step that was missed."""
    found = deployment.dynamodb.scan(
        TableName=deployment.outputs["LedgerTableName"],
        FilterExpression="begins_with(pk, :entries)",
        ExpressionAttributeValues={":entries": {"S": "incident/"}},
    )
    for item in found["Items"]:
        entry = json.loads(item["text"]["S"])
        if entry.get("receipt"):
            _, channel, _, incident_id = item["pk"]["S"].split("/", 3)
            yield {"incident_id": incident_id, "channel": channel, **described(entry)}


def described(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the receipt in an incident's entry: `steps`, each with `name`, `state`, `at` and `by`; and `unheard`.

    The state of a step is done, awaited, missed or open: it is not proven, and no longer awaited. `unheard` says of
    what the fallback topic was notified at `told_at`, or is notified next; empty if nothing was missed.
    """
    since, is_open, notified_at, answered_at, answered_by, missed, told_at = entry["receipt"][:7]
    has_page = any(pages and at >= since for _, at, _, pages, *_ in entry.get("accepted", ()))
    failed = _MISSED.get(missed, "")

    def step(name: str, at: float, by: str = "", *, is_done: bool) -> dict[str, Any]:
        state = "done" if is_done else "missed" if name == failed else "awaited" if is_open else "open"
        return {"name": name, "state": state, "at": _iso(at), "by": by}

    steps: Sequence[dict[str, Any]] = (
        step("signal", since, is_done=True),
        step("page", 0, is_done=bool(has_page or notified_at)),
        step("notified", notified_at, is_done=bool(notified_at)),
        step("answered", answered_at, answered_by, is_done=bool(answered_at)),
    )
    return {"steps": steps, "unheard": _WORDS.get(failed, ""), "told_at": _iso(told_at)}


def _iso(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z") if seconds else None
