"""Share: an incident's state at one moment, in the body of BigPanda's webhook, and its transition. Pure code.

BigPanda publishes no complete sample of the body (docs/vendors.md, "What BigPanda sends"). So the parser reads every
form in BigPanda's pages, clients and exports. Only an incident id is required. Unreadable members count as missing.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

from relay.failures import BadRequest
from relay.foreign_text import one_line

# Of a share or callback, uncompressed.
MAX_BODY_BYTES = 4 * 1024 * 1024
# Longer than any known id of BigPanda.
MAX_ID_LENGTH = 512
# Strict, since environments' ids are put into paths of BigPanda's API. All known ids are letters and digits.
ENVIRONMENT_ID = r"[A-Za-z0-9][A-Za-z0-9._:-]*"


class Fields(dict[str, Any]):
    """Members of a JSON object by name, in lower case without hyphens and underscores.

    Names over 64 characters stay as they are. Members that are null are left out. If a member comes in two spellings,
    the first is kept.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        super().__init__()
        for name, value in members.items():
            # A name can occur in several spellings. One with null must not hide one with a value.
            if value is not None:
                # Longer names are never looked up. They are not cached, so that a hostile body can't fill the cache.
                self.setdefault(_folded(name) if len(name) <= 64 else name, value)

    def first(self, *names: str) -> Any:
        """Return the value of the first of these names that the object has; None if it has none of them."""
        return next((self[name] for name in names if name in self), None)


def fields_of(value: Any) -> Fields:
    """Return the members of a JSON object; no members if `value` is no object."""
    return Fields(value if isinstance(value, dict) else {})


def nested(value: Any, *names: str) -> Any:
    """Return the value of the first of these names that an object has; None without one, or if `value` is no object."""
    return Fields(value).first(*names) if isinstance(value, dict) else None


def scalar(value: Any) -> str | None:
    """Return `value` if it is a text, or a number as text; None for any other value."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return None


def environment_id(value: Any) -> str | None:
    """Return `value` if it is a possible environment id, and safe in an API path; None for any other value."""
    if not isinstance(value, str) or len(value) > MAX_ID_LENGTH:
        return None
    return value if re.fullmatch(ENVIRONMENT_ID, value) else None


@lru_cache(maxsize=1024)
def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()


def incident_of(outside: Fields) -> Fields:
    """Return the members of a body's incident: those of its member `incident`, or else the body's own."""
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
# Begins the ids of the incidents that canaries share (`sweeper.canary`). They are no work of people's.
CANARY_PREFIX = "relay-canary-"

type Version = tuple[float, float]


class Alert(NamedTuple):
    """An alert of an incident: id, and status in lower case (None if the body has none)."""

    id: str
    status: str | None


@dataclass(frozen=True)
class Share:
    """An incident's state at one moment. None in an attribute means that the body lacks the member.

    Attributes:
        event: BigPanda's name of the event that caused the share.
        status: In lower case.
        severity: In lower case: the worst status so far.
        changed_on: Time of the incident's last change of state (epoch seconds).
        updated_on: Time of the incident's last update (epoch seconds).
        title: On one line; empty if neither an alert nor the incident has a description.
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
    title: str
    document: Mapping[str, Any]

    @property
    def version(self) -> Version | None:
        """BigPanda's timestamps, by which an incident's shares are ordered; None if the share has none."""
        stamps = [stamp for stamp in (self.changed_on, self.updated_on) if stamp is not None]
        return (max(stamps), self.changed_on or 0.0) if stamps else None

    def trusted_version(self, came: float) -> Version | None:
        """Return the timestamps of a share that arrived at `came` (epoch seconds); None if there are none to trust.

        Timestamps more than MAX_AHEAD_SECONDS after `came` are not trusted.
        """
        version = self.version
        return None if version and version[0] > came + MAX_AHEAD_SECONDS else version

    @cached_property
    def digest(self) -> str:
        """Hash of the incident's id, status, severity and flags, and of its alerts' ids and statuses, but no times."""
        alerts = sorted((alert.id, alert.status or "") for alert in self.alerts)
        flags = [self.active, self.resolved, self.snoozed, self.flapping]
        state = [self.incident_id, self.status, self.severity, *flags]
        return hashlib.sha256(json.dumps([state, alerts]).encode()).hexdigest()


def parse_share(body: bytes) -> Share:
    """Parse a webhook's body. Raises BadRequest, with the field at fault, if it is not JSON or has no incident id."""
    document = _decode(body)
    outside = Fields(document)
    wrapped = outside.get("incident")
    incident = Fields(wrapped) if isinstance(wrapped, dict) else outside
    metadata = fields_of(outside.get("metadata"))
    named_environment = environment_id(metadata.get("environmentid")) or environment_id(outside.get("environmentid"))
    event = _text(outside.get("event", outside.get("eventtype")))
    event = event or _text(metadata.get("event", metadata.get("eventtype")))
    status, what = _word(incident.get("status")), (event or "").rpartition("#")[2].lower()
    # A webhook of version 2 says by its trigger alone that an incident is closed, snoozed or flapping.
    snooze = incident.get("snooze", True if what == "snoozed" else None)
    return Share(
        incident_id=_incident_id(incident, outside),
        event=event,
        status=status,
        severity=_word(incident.get("severity")),
        active=_flag(incident.get("active", False if what == "closed" else None)),
        resolved=_flag(incident.get("resolved")),
        snoozed=_flag(fields_of(snooze).get("snoozed") if isinstance(snooze, dict) else snooze),
        flapping=_flag(incident.get("flapping", True if what == "become-flapping" else None)),
        changed_on=time_of(incident.get("changedon", incident.get("changedat"))),
        updated_on=time_of(incident.get("updatedon", incident.get("updatedat"))),
        alerts=tuple(_alerts(incident.get("alerts"))),
        environment_id=named_environment,
        title=_title(incident, status),
        document=document,
    )


def _title(incident: Fields, status: str | None) -> str:
    """Return the description of the first alert with the incident's status, or of any alert, or the incident's own."""
    alerts, found = incident.get("alerts"), ""
    for each in map(fields_of, alerts[:MAX_TITLE_ALERTS] if isinstance(alerts, list) else ()):
        text = scalar(each.get("description"))
        if text and (scalar(each.get("status")) or "").strip().lower() == status:
            return one_line(text, MAX_TITLE)
        found = found or text or ""
    return one_line(found or scalar(incident.first("description", "subject")) or "", MAX_TITLE)


def _decode(body: bytes) -> dict[str, Any]:
    try:
        document = _STRICT.decode(body.decode("utf-8"))
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


# A body that JSON.parse in a workflow would refuse must not be forwarded.
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _incident_id(incident: Fields, outside: Fields) -> str:
    candidates = (incident.get("id"), outside.get("id"), outside.get("incidentid"), incident.get("incidentid"))
    given = [value for value in candidates if value is not None]
    if not given:
        wrapped = outside.get("incident")
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


def time_of(value: Any) -> float | None:
    """Return epoch seconds from a number or digits (seconds or milliseconds), or from ISO 8601; None for others."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.\d+)?\s*", value) is None:
        return iso_time(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    if seconds > 1e11:
        seconds /= 1000
    return seconds if math.isfinite(seconds) and 0 < seconds < 1e11 else None


def iso_time(value: Any) -> float | None:
    """Return epoch seconds from an ISO 8601 time with an offset; None for any other value."""
    try:
        moment = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
        return moment.timestamp() if moment and moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names[type(value)]


# Statuses that BigPanda documents, and its own order of "worst" (docs/vendors.md, "What BigPanda sends").
RANKS: Mapping[str, int] = {"ok": 0, "unknown": 1, "warning": 2, "critical": 3}
_CRITICAL = RANKS["critical"]
ALERT_NAME_LENGTH = 8
# Several times what BigPanda puts into one incident; what is beyond is not compared, so that an entry stays small.
MAX_ALERTS = 1000


class Transition(StrEnum):
    """Change of an incident's state against its announced state.

    Attributes:
        OPENED: Open, and nothing was announced.
        WORSENED: Still open, with a worse status.
        EASED: Still open, with a better status.
        GREW: Still open with the same status, and with more alerts.
        RESOLVED: Over, and announced as open.
        REOPENED: Open, and announced as over.
        TOUCHED: Any other change, which needs no page, such as a comment, a tag or a snooze.
        REROUTED: For further recipients alone, whom a tag that came late chose.
        UNANSWERED: For further recipients alone, since nobody is known to have heard a critical.
    """

    OPENED = "opened"
    WORSENED = "worsened"
    EASED = "eased"
    GREW = "grew"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    TOUCHED = "touched"
    REROUTED = "rerouted"
    UNANSWERED = "unanswered"


_ONCALL = frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED, Transition.RESOLVED})
PRESETS: Mapping[str, frozenset[Transition]] = {
    # What the vendors document for their own integration: one page for each change of status.
    "parity": _ONCALL | {Transition.EASED},
    "oncall": _ONCALL,
}


class State(NamedTuple):
    """An incident's state in one share: the members that decide its order and its transition.

    Attributes:
        version: BigPanda's timestamps, by which states are ordered; None if the share has none.
        digest: Hash of the share's state (`Share.digest`).
        came: Arrival of the share (epoch seconds).
        rank: Number of the status in `RANKS`, higher for worse; None if the share has no known status.
        alerts: Short hashes of the alerts' ids.
        has_borrowed_version: True if the share has no timestamps, and `version` is that of a state that came before.
    """

    version: Version | None
    digest: str
    came: float
    is_open: bool
    rank: int | None
    alerts: frozenset[str]
    has_borrowed_version: bool = False

    @classmethod
    def of(cls, share: Share, came: float, *, digest: str | None = None) -> Self:
        """Return the state in a share that arrived at `came` (epoch seconds). Without a `digest`, it is computed."""
        names = sorted({_name(alert.id) for alert in share.alerts})
        version, rank = share.trusted_version(came), RANKS.get(share.status or "")
        return cls(version, digest or share.digest, came, is_open(share), rank, frozenset(names[:MAX_ALERTS]))

    def with_status_of(self, other: "State | None") -> Self:
        """Return the state with the status of an earlier state, `other`, if both are open and this state has none."""
        is_silent = self.is_open and self.rank is None
        return self._replace(rank=other.rank) if is_silent and other and other.is_open else self

    def with_version_of(self, other: "State") -> "State":
        """Return this state, which has no timestamps of its own, with those of an earlier state as borrowed ones."""
        return self._replace(version=other.version, has_borrowed_version=True)

    @property
    def has_own_version(self) -> bool:
        """True if the state came with timestamps of its own: they are not borrowed."""
        return self.version is not None and not self.has_borrowed_version

    @property
    def marked_digest(self) -> str:
        """Hash of the state, marked if `version` is borrowed. Together with `version` it identifies a state."""
        return f"{self.digest}, borrowed version" if self.has_borrowed_version else self.digest

    @property
    def status(self) -> str:
        """BigPanda's word for the status of the state, such as `critical`; empty if the share has no known status."""
        return next((word for word, rank in RANKS.items() if rank == self.rank), "")

    @property
    def is_critical(self) -> bool:
        return self.is_open and self.rank == _CRITICAL

    def precedes(self, other: "State | None") -> bool:
        """True if this state is older than `other`. False if `other` is None.

        BigPanda's timestamps are compared; if they are equal or missing, the arrivals are. A state with borrowed
        timestamps is newer than each state that came before it, whatever the timestamps.
        """
        if other is None:
            return False
        came_before = self.came < other.came
        if self.version is None or other.version is None or self.version == other.version:
            return came_before
        if self.version < other.version:
            return came_before or not self.has_borrowed_version
        return came_before and other.has_borrowed_version

    def without_alerts(self) -> Self:
        """Return the state without its alerts, to save space: only an announced state needs them."""
        return self._replace(alerts=frozenset())

    def is_worse_than(self, other: "State") -> bool:
        """True if this state is open and the other is over, or if this status is worse."""
        return (self.is_open, self.rank or 0) > (other.is_open, other.rank or 0)

    def is_same(self, other: "State | None") -> bool:
        """True if both states have the same timestamps (version) and digest, even if they came at different times."""
        return other is not None and (self.version, self.marked_digest) == (other.version, other.marked_digest)

    def is_of_same_share(self, other: "State | None") -> bool:
        """True if both states come from one share: they are the same, and came at the same time."""
        return other is not None and self.is_same(other) and self.came == other.came


def _name(alert_id: str) -> str:
    return hashlib.sha256(alert_id.encode("utf-8", "surrogatepass")).hexdigest()[:ALERT_NAME_LENGTH]


def is_open(share: Share) -> bool:
    """True if a share's incident is open, also in doubt: a needless page does less harm than a lost page.

    The incident is over if the body has `active` false or the status `ok`, or `resolved` true without `active`.
    """
    if share.active is False or share.status == "ok":
        return False
    return share.active is True or share.resolved is not True


class Change(NamedTuple):
    """A transition, and its explanation in words for a log."""

    transition: Transition
    why: str


def compare(announced: State | None, state: State) -> Change:
    """Return the change from the announced state (never from one that was merely seen) to `state`.

    | announced | open: worse, better | open: same, more alerts | open: same | closed |
    | --- | --- | --- | --- | --- |
    | None: nothing | opened | opened | opened | touched |
    | open | worsened, eased | grew | touched | resolved |
    | closed | reopened | reopened | reopened | touched |

    Snooze, flapping and maintenance do not change the result.
    """
    if announced is None:
        if state.is_open:
            return Change(Transition.OPENED, "nothing of this open incident was announced")
        return Change(Transition.TOUCHED, "it is over, and nothing of it was announced")
    if announced.is_open and not state.is_open:
        return Change(Transition.RESOLVED, "it was announced as open, and is over")
    if state.is_open and not announced.is_open:
        return Change(Transition.REOPENED, "it was announced as over, and is open")
    if not state.is_open:
        return Change(Transition.TOUCHED, "it is over, as announced")
    return _compare_open(announced, state)


def _compare_open(announced: State, state: State) -> Change:
    # A state without a known status is neither worse nor better. A status that was missing before may have hidden a
    # worse one.
    if state.rank is not None and state.rank != announced.rank:
        if announced.rank is None:
            return Change(Transition.WORSENED, "it was announced without a status, and has one")
        if state.rank > announced.rank:
            return Change(Transition.WORSENED, "its status is worse than announced")
        return Change(Transition.EASED, "its status is better than announced")
    # Without known alerts, new ones can't be told from old ones.
    if announced.alerts and state.alerts - announced.alerts:
        return Change(Transition.GREW, "alerts joined since it was announced")
    return Change(Transition.TOUCHED, "it is as announced")
