"""Changes of an incident during its life: each action, the reasons that forbid it, and its effect. Pure code.

Facts: docs/vendors.md, "What BigPanda sends".

Guesses, to be checked against an organisation:

- statuses from bad to good: critical, warning, unknown, ok;
- the end of a snooze and the end of flapping trigger no sharing update, since no list of triggers names them;
- a resolve, by hand or by the alerts, resolves all alerts, and ends a snooze and flapping;
- a resolved incident cannot be snoozed, and does not flap; a second snooze is refused.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sandbox.bigpanda import alerts, states
from sandbox.bigpanda.alerts import STATUSES, rank, word
from sandbox.bigpanda.incidents import Incident
from sandbox.http.schema import InvalidError, compiled

type Options = Mapping[str, Any]

SNOOZE_SECONDS = 3600
# A snooze of 90 days can fail.
MOST_SNOOZE_SECONDS = 90 * 86400 - 864

_OPEN_STATUS = {"enum": ["critical", "warning", "unknown"]}
_TITLE = {"type": "string", "minLength": 1, "maxLength": alerts.MOST_DESCRIPTION}
_ALERTS = {"type": "array", "minItems": 1, "maxItems": alerts.MOST_ALERTS, "items": alerts.DECLARED, "default": [{}]}
_OPENING = compiled({}, {"title": _TITLE, "status": _OPEN_STATUS, "alerts": _ALERTS})


class Impossible(Exception):
    """The incident's state forbids the action; the message is the reason, as a sentence."""


@dataclass(frozen=True)
class Change:
    """The effect of an action.

    Attributes:
        incident: The incident after the change.
        event: Trigger of a sharing update, by its name in webhook v2; None if the change triggers none.
        activity: Type of the entry in the incident's activities; None if BigPanda documents none.
        text: One sentence for the incident's log.
    """

    incident: Incident
    event: str | None
    activity: str | None
    text: str


class Action(NamedTuple):
    """An action on an incident.

    Attributes:
        why_not: Returns the reason that forbids the action now, or None.
        change: Returns the effect, from the incident, the time (epoch seconds) and the options of a request to the API.
    """

    why_not: Callable[[Incident], str | None]
    change: Callable[[Incident, int, Options], Change]


def opened(declared: object, now: int) -> tuple[Incident, str]:
    """Return two things: a new incident, and its title. The incident belongs to no environment yet.

    `declared` is an object that may have ``title``, ``status`` (by default critical), and ``alerts`` (by default one),
    as `alerts.made` describes them.

    Raises InvalidError if `declared` is invalid; the message names the key.
    """
    wanted = _OPENING(declared, "incident")
    status = wanted.get("status", "critical")
    made = alerts.made(wanted["alerts"], wanted.get("title"), status, now)
    worst = max((word(each["status"]) for each in made), key=rank)
    if worst == "ok":
        raise InvalidError("incident.alerts must have one whose status is not ok")
    plain = {
        "id": secrets.token_hex(12), "status": worst.title(), "active": True, "severity": worst.title(),
        "flapping": False, "shared": False, "snooze": {"snoozed": False}, "maintenance": None, "start": now,
        "changed_at": now, "updated_at": now, "end": None, "alerts": made, "environments": [], "folders": [],
        "incident_tags": [], "assignee": None, "assigner": None, "correlation_matchers_log": [],
    }  # fmt: skip
    return states.in_folders(plain), wanted.get("title") or alerts.description(made[0])


def possible(incident: Incident) -> list[str]:
    """Return the names of the actions that the incident's state allows, such as `worsen` and `snooze`."""
    return [name for name, action in ACTIONS.items() if action.why_not(incident) is None]


def changed(action: str, incident: Incident, now: int, options: Options) -> Change:
    """Return the effect of an action. Raises Impossible if the incident's state forbids the action."""
    why_not = ACTIONS[action].why_not(incident)
    if why_not:
        raise Impossible(why_not)
    return ACTIONS[action].change(incident, now, options)


def _no_worse(incident: Incident) -> str | None:
    return _over(incident) or ("The incident is critical, the worst status." if _is(incident, "critical") else None)


def _worsened(incident: Incident, now: int, _: Options) -> Change:
    before = word(incident["status"])
    status = STATUSES[rank(before) + 1]
    held = incident["alerts"]
    worst = max(range(len(held)), key=lambda place: rank(word(held[place].get("status"))), default=None)
    after = [alerts.turned(each, status, now) if place == worst else each for place, each in enumerate(held)]
    return _updated(incident, now, status, after, f"Worsened from {before} to {status}.")


def _no_better(incident: Incident) -> str | None:
    if _over(incident) or _is(incident, "critical"):
        return _over(incident)
    return f"The incident is {word(incident['status'])}: only a critical one can ease. Resolve it instead."


def _eased(incident: Incident, now: int, _: Options) -> Change:
    after = [
        alerts.turned(each, "warning", now) if word(each.get("status")) == "critical" else each
        for each in incident["alerts"]
    ]
    return _updated(incident, now, "warning", after, "Eased from critical to warning.")


def _full(incident: Incident) -> str | None:
    is_full = len(incident["alerts"]) >= alerts.MOST_ALERTS
    return _over(incident) or (f"The incident has {alerts.MOST_ALERTS} alerts, the most." if is_full else None)


def _grown(incident: Incident, now: int, _: Options) -> Change:
    status = word(incident["status"])
    [new] = alerts.made([{}], None, status, now, place=len(incident["alerts"]))
    after = [*incident["alerts"], new]
    return _updated(incident, now, status, after, f"Gained the alert “{alerts.description(new)}”.")


def _not_to_snooze(incident: Incident) -> str | None:
    return _over(incident) or ("The incident is snoozed already." if states.is_snoozed(incident) else None)


def _snoozed(incident: Incident, now: int, options: Options) -> Change:
    end = options.get("end_time", now + SNOOZE_SECONDS)
    is_cancelled = bool(options.get("cancel_on_incident_updates"))
    snooze = {"snoozed": True, "end_time": end, "cancel_on_incident_updates": is_cancelled}
    after = states.stamped(incident, now, snooze=snooze)
    return Change(after, "incident#snoozed", "incident_snoozed", f"Snoozed for {_duration(end - now)}.")


def _awake(incident: Incident) -> str | None:
    return None if states.is_snoozed(incident) else "The incident is not snoozed."


def _unsnoozed(incident: Incident, now: int, _: Options) -> Change:
    after = states.stamped(incident, now, is_update=False, snooze={"snoozed": False})
    return Change(after, None, "incident_unsnoozed", "The snooze ended.")


def _not_to_flap(incident: Incident) -> str | None:
    return _over(incident) or ("The incident is flapping already." if incident["flapping"] else None)


def _flapping(incident: Incident, now: int, _: Options) -> Change:
    after = states.stamped(incident, now, flapping=True)
    return Change(after, "incident#become-flapping", "incident_become_flapping", "Became flapping.")


def _calm(incident: Incident) -> str | None:
    return None if incident["flapping"] else "The incident is not flapping."


def _calmed(incident: Incident, now: int, _: Options) -> Change:
    return Change(states.stamped(incident, now, is_update=False, flapping=False), None, None, "Stopped flapping.")


def _resolved(incident: Incident, now: int, options: Options) -> Change:
    after = states.stamped(
        incident, now, status="Ok", active=False, end=now, flapping=False, snooze={"snoozed": False},
        alerts=[alerts.turned(each, "ok", now) for each in incident["alerts"]],
    )  # fmt: skip
    is_by_api = "comments" in options
    kind = "incident_resolved_api" if is_by_api else "incident_resolved_by_alerts"
    return Change(after, "incident#closed", kind, "Resolved by the API." if is_by_api else "All alerts resolved.")


def _not_over(incident: Incident) -> str | None:
    return "The incident is open." if states.is_open(incident) else None


def _reopened(incident: Incident, now: int, _: Options) -> Change:
    worst = word(incident["severity"])
    status = worst if worst != "ok" else "critical"
    held = incident["alerts"]
    after = [alerts.turned(each, status, now) if place == 0 else each for place, each in enumerate(held)]
    changed = states.with_status(states.stamped(incident, now, active=True, end=None, alerts=after), status)
    return Change(changed, "incident#reopen", "incident_reopen", f"Reopened as {status}.")


def _by_hand(incident: Incident, _: int, __: Options) -> Change:
    return Change(incident, "manual", None, "Shared by hand.")


def _over(incident: Incident) -> str | None:
    return None if states.is_open(incident) else "The incident is resolved already."


def _is(incident: Incident, status: str) -> bool:
    return word(incident["status"]) == status


def _updated(incident: Incident, now: int, status: str, after: Sequence[Mapping[str, Any]], text: str) -> Change:
    snooze = {"snoozed": False} if incident["snooze"].get("cancel_on_incident_updates") else incident["snooze"]
    changed = states.with_status(states.stamped(incident, now, alerts=list(after), snooze=snooze), status)
    return Change(changed, "incident#updated", None, text)


def _duration(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} minutes"


ACTIONS: Mapping[str, Action] = {
    "worsen": Action(_no_worse, _worsened),
    "ease": Action(_no_better, _eased),
    "gain_alert": Action(_full, _grown),
    "snooze": Action(_not_to_snooze, _snoozed),
    "unsnooze": Action(_awake, _unsnoozed),
    "flap": Action(_not_to_flap, _flapping),
    "calm": Action(_calm, _calmed),
    "resolve": Action(_over, _resolved),
    "reopen": Action(_not_over, _reopened),
    "share": Action(lambda _: None, _by_hand),
}
