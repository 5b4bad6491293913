"""Events of an incident from xMatters' and BigPanda's APIs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from relay.bigpanda.client import BigPanda, Incident
from relay.channels.channel import BigPandaAccess
from relay.deadline import Deadline
from relay.failures.errors import BadRequest, SendError
from relay.foreign_text import identifier, quoted
from relay.incidents.json_fields import nested, scalar
from relay.incidents.share import parse_share
from relayctl.page_history import PageHistory, PersonAnswer
from relayctl.timeline import BIGPANDA, XMATTERS, Event

_MAX_TEXT = 200
_MAX_NAMES = 10
# Epoch milliseconds are larger than this, and epoch seconds smaller until the year 5138.
_MILLISECONDS = 1e11


def of_page(channel: str, history: PageHistory) -> Iterator[Event]:
    """Yield the events of a page in xMatters. Events without a time are left out."""
    page = f"page {identifier(history.number or history.id)}"
    details = {"page": history.number, "page_id": history.id}
    if history.created is not None:
        names = [identifier(name) for name in history.recipients]
        more = len(names) - _MAX_NAMES
        rang = ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
        text = f"{page} made; recipients: {rang}" if rang else f"{page} made; xMatters names no recipients"
        yield Event(history.created, XMATTERS, "page", text, channel, details | {"recipients": history.recipients})
    for answer in history.answers:
        if answer.at is not None:
            yield _answer(channel, page, answer, details)
    if history.terminated is not None:
        yield Event(history.terminated, XMATTERS, "page", f"{page} ended", channel, details)


def _answer(channel: str, page: str, answer: PersonAnswer, details: Mapping[str, Any]) -> Event:
    who = identifier(answer.person) if answer.person else "somebody"
    device = f" on {quoted(answer.device, _MAX_TEXT)}" if answer.device else ""
    said = f" {quoted(answer.said, _MAX_TEXT)}" if answer.said else ""
    text = f"{who} answered{said} to {page}{device}" if said or device else f"{who} commented on {page}"
    comment = f": {quoted(answer.comment, _MAX_TEXT)}" if answer.comment else ""
    members = {"person": answer.person, "device": answer.device, "response": answer.said, "comment": answer.comment}
    kind = "answer" if said or device else "comment"
    return Event(answer.at or 0.0, XMATTERS, kind, text + comment, channel, {**details, **members})


def of_activities(channel: str, activities: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
    """Yield the events of BigPanda's activities. Activities without a time or a type are left out.

    BigPanda does not document which member has the comment (docs/vendors.md), so the likely members are tried.
    """
    for each in activities:
        at = _moment(nested(each, "timestamp", "createdat", "time"))
        kind = scalar(nested(each, "type", "activitytype"))
        if at is None or not kind:
            continue
        comment = scalar(nested(nested(each, "params"), "comment")) or scalar(nested(each, "comment"))
        words = identifier(kind.removeprefix("incident_").replace("_", "-")).replace("-", " ")
        text = f"{words}: {quoted(comment, _MAX_TEXT)}" if comment else words
        yield Event(at, BIGPANDA, "activity", text, channel, {"activity": kind, "comment": comment})


def state_of(client: BigPanda, access: BigPandaAccess, incident_id: str, deadline: Deadline) -> Event | None:
    """Return the incident's state in the first of the channel's environments that has it; None if none has it."""
    for environment_id in access.environments:
        with suppress(SendError, BadRequest):
            document = client.incident(access, Incident(environment_id, incident_id), deadline)
            share = parse_share(json.dumps(document).encode())
            if share.version:
                text = f"the incident's state: {identifier(share.status or 'unknown')}"
                return Event(share.version[0], BIGPANDA, "state", text)
    return None


def _moment(value: Any) -> float | None:
    """Return epoch seconds for a time in epoch seconds, epoch milliseconds or ISO 8601; None for other values."""
    text = scalar(value) or ""
    try:
        seconds = float(text)
    except ValueError:
        try:
            return datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            return None
    seconds = seconds / 1000 if seconds > _MILLISECONDS else seconds
    # Years beyond 9999 cannot be shown.
    return seconds if 0 <= seconds < 2e11 else None
