"""A share: what BigPanda's webhook says of an incident at one moment.

BigPanda publishes no whole sample of the body (docs/vendors.md, "What BigPanda sends"), so every spelling that any of
its pages, clients or exports show is read: wrapped in `incident` or bare, camelCase or snake_case, any letter case of a
status, numbers as digits in strings. Only an incident id is required; what can't be read is taken as not said.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from relay.errors import BadRequest
from relay.incidents.json_fields import MAX_ID_LENGTH, Fields, environment_id, scalar

MAX_WORD_LENGTH = 100
# BigPanda's clock and ours may differ by so much. A time stamp further ahead is of a clock that is wrong
# (docs/decisions.md, D-time-stamps).
MAX_AHEAD_SECONDS = 5.0

type Version = tuple[float, float]


class Alert(NamedTuple):
    """One alert of an incident, as far as a share is compared by it."""

    id: str
    status: str | None


@dataclass(frozen=True)
class Share:
    """An incident's state at one moment.

    Times are epoch seconds. `status` and `severity` are in lower case. None stands for what the body does not say.
    `document` is the decoded body, for who needs more of it.
    """

    incident_id: str
    event: str | None
    status: str | None
    severity: str | None
    active: bool | None
    resolved: bool | None
    snoozed: bool | None
    flapping: bool | None
    changed_on: float | None
    updated_on: float | None
    alerts: tuple[Alert, ...]
    environment_id: str | None
    document: Mapping[str, Any]

    @property
    def version(self) -> Version | None:
        """Version that orders the shares of an incident, newest last; None if the body has no time stamp."""
        stamps = [stamp for stamp in (self.changed_on, self.updated_on) if stamp is not None]
        return (max(stamps), self.changed_on or 0.0) if stamps else None

    def trusted_version(self, came: float) -> Version | None:
        """The version of a share that came at `came` (epoch seconds), None if it lies ahead: then arrival orders it.

        A stamp that is an hour ahead would make every share of the next hour look overtaken. To take the arrival for
        the stamp would hide a share that is stamped, in whole seconds, with the second of that arrival.
        """
        version = self.version
        return None if version and version[0] > came + MAX_AHEAD_SECONDS else version

    @cached_property
    def digest(self) -> str:
        """A hash over all that makes a state this state, and over nothing that changes without meaning."""
        alerts = sorted((alert.id, alert.status or "") for alert in self.alerts)
        state = [
            self.incident_id,
            self.status,
            self.severity,
            self.active,
            self.resolved,
            self.snoozed,
            self.flapping,
        ]
        return hashlib.sha256(json.dumps([state, alerts]).encode()).hexdigest()


def parse_share(body: bytes) -> Share:
    """Read a webhook's body. Raises BadRequest, naming the field, when it is not JSON or has no incident id."""
    document = _decode(body)
    outside = Fields(document)
    wrapped = outside.get("incident")
    incident = Fields(wrapped) if isinstance(wrapped, dict) else outside
    metadata = _object(outside.get("metadata"))
    snooze = incident.get("snooze")
    event = _text(outside.get("event", outside.get("eventtype")))
    return Share(
        incident_id=_incident_id(incident, outside, wrapped),
        event=event or _text(metadata.get("event", metadata.get("eventtype"))),
        status=_word(incident.get("status")),
        severity=_word(incident.get("severity")),
        active=_flag(incident.get("active")),
        resolved=_flag(incident.get("resolved")),
        snoozed=_flag(_object(snooze).get("snoozed") if isinstance(snooze, dict) else snooze),
        flapping=_flag(incident.get("flapping")),
        changed_on=_time(incident.get("changedon", incident.get("changedat"))),
        updated_on=_time(incident.get("updatedon", incident.get("updatedat"))),
        alerts=tuple(_alerts(incident.get("alerts"))),
        environment_id=environment_id(metadata.get("environmentid")) or environment_id(outside.get("environmentid")),
        document=document,
    )


def _object(value: Any) -> Mapping[str, Any]:
    return Fields(value) if isinstance(value, dict) else {}


def _decode(body: bytes) -> dict[str, Any]:
    try:
        # Strict: what a JSON.parse in a workflow would stumble over must not be forwarded.
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise BadRequest("body", f"is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise BadRequest("body", f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except ValueError:
        raise BadRequest("body", "has a number with too many digits") from None
    except RecursionError:
        raise BadRequest("body", "is nested too deeply") from None
    if not isinstance(document, dict):
        raise BadRequest("body", f"must be a JSON object, not {_kind(document)}")
    return document


def _refuse_constant(name: str) -> None:
    raise BadRequest("body", f"is not JSON: {name} is not a JSON number")


def _incident_id(incident: Fields, outside: Fields, wrapped: Any) -> str:
    candidates = (incident.get("id"), outside.get("id"), outside.get("incidentid"), incident.get("incidentid"))
    said = [value for value in candidates if value is not None]
    if not said:
        hint = f"; incident is {_kind(wrapped)}" if wrapped is not None and not isinstance(wrapped, dict) else ""
        raise BadRequest("incident.id", f"is missing (also looked for id and incident_id){hint}")
    # A template may render a variable that is not set as nothing.
    text = next((text for value in said if (text := scalar(value)) and text.strip()), None)
    if text is None:
        raise BadRequest("incident.id", f"must be a string or a number, and not blank; it is {_kind(said[0])}")
    if len(text) > MAX_ID_LENGTH:
        raise BadRequest("incident.id", f"is longer than {MAX_ID_LENGTH} characters")
    return text


def _alerts(value: Any) -> Iterable[Alert]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            fields = Fields(item)
            identity = scalar(fields.get("id", fields.get("alertid")))
            if identity:
                yield Alert(identity, _word(fields.get("status")))
        elif identity := scalar(item):
            yield Alert(identity, None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _word(value: Any) -> str | None:
    word = value.strip().lower() if isinstance(value, str) else ""
    return word if 0 < len(word) <= MAX_WORD_LENGTH else None


def _flag(value: Any) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return bool(value) if isinstance(value, bool | int) else None


def _time(value: Any) -> float | None:
    """Epoch seconds from a number, from digits, from milliseconds by their size, or from ISO 8601 with an offset."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value) is None:
        return _iso_time(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    if seconds > 1e11:
        seconds /= 1000
    return seconds if math.isfinite(seconds) and 0 < seconds < 1e11 else None


def _iso_time(value: str) -> float | None:
    try:
        moment = datetime.fromisoformat(value.strip())
        return moment.timestamp() if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names[type(value)]
