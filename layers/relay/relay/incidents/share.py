"""Parser of a share: an incident's state at one moment, in the body of BigPanda's webhook.

BigPanda publishes no complete sample of the body (docs/vendors.md, "What BigPanda sends"). So the parser reads every
form in BigPanda's pages, clients and exports. The incident may be wrapped in `incident` or bare, in camelCase or
snake_case, with a status in any letter case and numbers as strings. Only an incident id is required. Unreadable members
count as missing. `Fields` reads the members of all foreign JSON so.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from relay.failures import BadRequest
from relay.foreign_text import one_line

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


def incident_of(outside: Fields) -> Fields:
    """Return the members of a body's incident, which is wrapped in `incident` or bare."""
    wrapped = outside.first("incident")
    return Fields(wrapped) if isinstance(wrapped, dict) else outside


# Characters of a title, which each ledger entry has, and alerts that are searched for one.
MAX_TITLE = 80
MAX_TITLE_ALERTS = 50
MAX_WORD_LENGTH = 100
# Largest difference between BigPanda's clock and the relay's. A timestamp further ahead comes from a wrong clock
# (docs/decisions.md, D-timestamps).
MAX_AHEAD_SECONDS = 5.0
# Begins the ids of the incidents that `relayctl channel test --ring` shares, and that BigPanda does not have.
TEST_PREFIX = "relayctl-test-"

type Version = tuple[float, float]


class Alert(NamedTuple):
    """An alert of an incident: the members that the relay needs to compare states.

    Attributes:
        id: BigPanda's id of the alert.
        status: Status, in lower case; None if the body has none.
    """

    id: str
    status: str | None


@dataclass(frozen=True)
class Share:
    """An incident's state at one moment. None in an attribute means that the body lacks the member.

    Attributes:
        incident_id: BigPanda's id of the incident.
        event: BigPanda's name of the event that caused the share.
        status: Status, in lower case.
        severity: Severity, in lower case: the worst status so far.
        active: True if BigPanda calls the incident active.
        resolved: True if BigPanda calls it resolved.
        snoozed: True if it is snoozed.
        flapping: True if it is flapping.
        changed_on: Time of the last change of its state (epoch seconds).
        updated_on: Time of its last update (epoch seconds).
        alerts: Its alerts.
        environment_id: BigPanda's id of the environment.
        document: The decoded body, with all members.
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
        """BigPanda's timestamps, by which an incident's shares are ordered: the newest is the largest.

        None if the share has none.
        """
        stamps = [stamp for stamp in (self.changed_on, self.updated_on) if stamp is not None]
        return (max(stamps), self.changed_on or 0.0) if stamps else None

    def trusted_version(self, came: float) -> Version | None:
        """Return the timestamps of a share that arrived at `came` (epoch seconds); None if there are none to trust.

        Timestamps more than MAX_AHEAD_SECONDS after `came` are not trusted: a timestamp an hour ahead would make every
        share of the next hour seem superseded. A share without trusted timestamps is ordered by its arrival. The
        arrival time does not replace them: it has fractions of a second, and BigPanda's timestamps have none. So a
        later share of the same second would seem older.
        """
        version = self.version
        return None if version and version[0] > came + MAX_AHEAD_SECONDS else version

    @cached_property
    def digest(self) -> str:
        """Hash of the incident's id, status, severity and flags, and of its alerts' ids and statuses; without times."""
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
    """Parse a webhook's body. Raises BadRequest, with the field at fault, if it is not JSON or has no incident id."""
    document = _decode(body)
    outside = Fields(document)
    wrapped = outside.get("incident")
    incident = Fields(wrapped) if isinstance(wrapped, dict) else outside
    metadata = fields_of(outside.get("metadata"))
    snooze = incident.get("snooze")
    named_environment = environment_id(metadata.get("environmentid")) or environment_id(outside.get("environmentid"))
    event = _text(outside.get("event", outside.get("eventtype")))
    return Share(
        incident_id=_incident_id(incident, outside, wrapped),
        event=event or _text(metadata.get("event", metadata.get("eventtype"))),
        status=_word(incident.get("status")),
        severity=_word(incident.get("severity")),
        active=_flag(incident.get("active")),
        resolved=_flag(incident.get("resolved")),
        snoozed=_flag(fields_of(snooze).get("snoozed") if isinstance(snooze, dict) else snooze),
        flapping=_flag(incident.get("flapping")),
        changed_on=_time(incident.get("changedon", incident.get("changedat"))),
        updated_on=_time(incident.get("updatedon", incident.get("updatedat"))),
        alerts=tuple(_alerts(incident.get("alerts"))),
        environment_id=named_environment,
        document=document,
    )


def title_of(share: Share) -> str:
    """Return the incident's title on one line: the description of an alert with the incident's status, if there is one.

    Else it is that of any alert, or the incident's own; empty if none has a description.
    """
    incident, found = incident_of(Fields(share.document)), ""
    alerts = incident.first("alerts")
    for each in alerts[:MAX_TITLE_ALERTS] if isinstance(alerts, list) else ():
        text = scalar(nested(each, "description"))
        if text and (scalar(nested(each, "status")) or "").strip().lower() == share.status:
            return one_line(text, MAX_TITLE)
        found = found or text or ""
    return one_line(found or scalar(incident.first("description")) or "", MAX_TITLE)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        # Strict: a body that JSON.parse in a workflow would refuse must not be forwarded.
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
    given = [value for value in candidates if value is not None]
    if not given:
        hint = f"; incident is {_kind(wrapped)}" if wrapped is not None and not isinstance(wrapped, dict) else ""
        raise BadRequest("incident.id", f"is missing (also looked for id and incident_id){hint}")
    # A webhook template may render an unset variable as an empty text.
    text = next((text for value in given if (text := scalar(value)) and text.strip()), None)
    if text is None:
        raise BadRequest("incident.id", f"must be a string or a number, and not blank; it is {_kind(given[0])}")
    if len(text) > MAX_ID_LENGTH:
        raise BadRequest("incident.id", f"is longer than {MAX_ID_LENGTH} characters")
    if not text.strip(". "):
        raise BadRequest("incident.id", "must not consist of dots: it would change the path of an API call")
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
    """Return epoch seconds from a number or digits (seconds or milliseconds), or from ISO 8601 with an offset.

    Returns None for any other value.
    """
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
