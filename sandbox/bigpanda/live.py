"""Live incidents: opened and changed by people and by the API, and shared with a channel by webhooks.

An action changes the incident in the store, writes its log and its activity, and triggers a sharing update if BigPanda
documents one. `sandbox.bigpanda.life` has the actions, `sandbox.bigpanda.sharing` the rules of sharing.

Guesses, to be checked against an organisation: a comment is a sharing update, so it moves ``changed_at``, too.

A declared incident stays as it was declared until an action on it; then it is live, too.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sandbox.bigpanda import alerts, life, states
from sandbox.bigpanda.alerts import word
from sandbox.bigpanda.incidents import ENVIRONMENT, Incident
from sandbox.bigpanda.life import Change, Impossible
from sandbox.bigpanda.sharing import Sharing
from sandbox.bigpanda.store import Place, Record, Store
from sandbox.bigpanda.users import User
from sandbox.clock import Clock
from sandbox.http.schema import InvalidError

# Id of the user whose API keys are accepted here.
API_USER = "5d3b0000"
# Incidents in the story, the newest update first.
MOST_SHOWN = 100


class UnknownIncident(LookupError):
    """There is no incident of this id."""


class Live:
    """Incidents that people and the API open and change.

    Safe to use from several threads; no method waits for a webhook.
    """

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._lock = store.lock
        self._now = now
        # Never turned ahead: snoozes and resends take real time.
        self._clock = Clock()
        self.sharing = Sharing(store, self._clock, now)

    def open(self, declared: object) -> dict[str, Any]:
        """Open an incident, and return it; `life.opened` describes `declared`.

        Raises InvalidError, which names the key.
        """
        with self._lock:
            incident, title = life.opened(declared, self._seconds())
            incident = {**incident, "environments": [ENVIRONMENT]}
            self._store.put(ENVIRONMENT, incident)
            self._store.record(incident["id"]).title = title
            count = len(incident["alerts"])
            text = f"Opened as {incident['status'].lower()} with {count} alert{'s' if count > 1 else ''}."
            self._happen(Place(ENVIRONMENT, incident), Change(incident, "incident#new", "incident_created", text))
            return self._shown(self._find(incident["id"]))

    def act(self, incident_id: str, action: str, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Do one of the actions in `life.ACTIONS` on an incident, such as `worsen`, and return the incident after it.

        `options` are those of a request to the API.

        Raises InvalidError if there is no such action. Raises UnknownIncident if there is no such incident. Raises
        Impossible if the incident's state forbids the action.
        """
        if action not in life.ACTIONS:
            raise InvalidError(f"action must be one of {', '.join(life.ACTIONS)}")
        with self._lock:
            place = self._find(incident_id)
            if action == "share" and (why_not := self._why_not_share(place)):
                raise Impossible(why_not)
            self._happen(place, life.changed(action, place.incident, self._seconds(), options or {}))
            return self._shown(self._find(incident_id))

    def note_shared(self, incident_id: str) -> None:
        """Add to an incident's activities with whom it was shared, without sending a webhook."""
        self._note(incident_id, "incident_shared", {"share_target": self.sharing.target, "share_auto": True})

    def comment(self, incident_id: str, text: str) -> None:
        """Add a comment to an incident's activities; the incident need not exist.

        If the incident is live, it is also updated, and shared again if the rules of the channel allow it.
        """
        with self._lock:
            self._note(incident_id, "incident_commented", {"comment": text}, created_by=API_USER)
            if place := self._live(incident_id):
                after = states.stamped(place.incident, self._seconds())
                self._say(after, "comment", text)
                self._keep(place, Change(after, "incident#commented", None, ""))

    def assign(self, incident_id: str, user: User | None) -> None:
        """Assign an incident to a user, or to nobody; the incident need not exist."""
        with self._lock:
            kind = "incident_assigned" if user else "incident_unassigned"
            self._note(incident_id, kind, {"assignee": user["id"]} if user else {}, created_by=API_USER)
            if place := self._live(incident_id):
                after = states.stamped(
                    place.incident, self._seconds(), is_update=False, assignee=_person(user) if user else None
                )
                text = f"Assigned to {user['userName']}." if user else "Assigned to nobody."
                self._say(after, "assignment", text)
                self._keep(place, Change(after, None, None, ""))

    def story(self) -> dict[str, Any]:
        """Return the channel, the incidents with the newest update first, and the newest webhooks."""
        with self._lock:
            known = sorted(self._store.of(ENVIRONMENT) or (), key=lambda each: -each["updated_at"])
            incidents = [self._shown(Place(ENVIRONMENT, each)) for each in known[:MOST_SHOWN]]
            return {"incidents": incidents, **self.sharing.shown()}

    def clear(self) -> None:
        """Forget the channel, all incidents and the webhooks; the effect of `Sharing.silence` ends, too."""
        with self._lock:
            self._store.clear()
            self.sharing.clear()

    def stop(self) -> None:
        """Send no further webhook, and end the background threads."""
        self._clock.close()
        self.sharing.stop()

    def _happen(self, place: Place, change: Change) -> None:
        incident_id = change.incident["id"]
        self._say(change.incident, "change", change.text)
        if change.activity:
            self._note(incident_id, change.activity, {})
        self._keep(place, change)
        if change.event == "incident#snoozed":
            end = change.incident["snooze"]["end_time"]
            seconds = end - self._seconds()
            self._clock.call_at(self._clock.now() + timedelta(seconds=seconds), lambda: self._wake(incident_id, end))

    def _keep(self, place: Place, change: Change) -> None:
        """Put the changed incident into the store, and share it if the change triggers that."""
        if change.event is None:
            self._store.put(place.environment_id, change.incident)
            return
        why_not = self.sharing.why_not(place.environment_id, place.incident, change.incident, change.event)
        if why_not:
            self._store.put(place.environment_id, change.incident)
            self._say(change.incident, "share", why_not)
            return
        after = states.in_folders({**change.incident, "shared": True})
        self._store.put(place.environment_id, after)
        self._note(
            after["id"],
            "incident_shared",
            {"share_target": self.sharing.target, "share_auto": change.event != "manual"},
        )
        self.sharing.share(place.environment_id, after, change.event)

    def _shown(self, place: Place) -> dict[str, Any]:
        is_shareable = self._why_not_share(place) is None
        possible = [action for action in life.possible(place.incident) if action != "share" or is_shareable]
        return _shown(place.incident, self._store.records.get(place.incident["id"], Record()), possible)

    def _why_not_share(self, place: Place) -> str | None:
        return self.sharing.why_not(place.environment_id, place.incident, place.incident, "manual")

    def _wake(self, incident_id: str, end: int) -> None:
        with self._lock:
            place = self._store.find(incident_id)
            # The incident may be snoozed again, until another time.
            if place and place.incident["snooze"].get("end_time") == end:
                self._happen(place, life.changed("unsnooze", place.incident, self._seconds(), {}))

    def _find(self, incident_id: str) -> Place:
        place = self._store.find(incident_id)
        if place is None:
            raise UnknownIncident("There is no such incident")
        return place

    def _live(self, incident_id: str) -> Place | None:
        return self._store.find(incident_id) if incident_id in self._store.records else None

    def _say(self, incident: Incident, kind: str, text: str) -> None:
        self._store.record(incident["id"]).say(self._now(), kind, text)

    def _note(self, incident_id: str, kind: str, params: Mapping[str, Any], created_by: str | None = None) -> None:
        self._store.note(incident_id, kind, params, self._seconds(), created_by)

    def _seconds(self) -> int:
        return int(self._now().timestamp())


def _person(user: User) -> Mapping[str, Any]:
    emails = [each["value"] for each in user["emails"]]
    return {"user_id": user["id"], "name": user["userName"], "email": next(iter(emails), user["userName"])}


def _shown(incident: Incident, record: Record, possible: list[str]) -> dict[str, Any]:
    """Return one incident's data for the sandbox's web page: its state, its log, and the `possible` actions."""
    described = alerts.description(alerts.primary(incident["alerts"]))
    return {
        "id": incident["id"],
        "title": record.title or described or f"Incident {incident['id']}",
        "status": word(incident["status"]),
        "is_open": states.is_open(incident),
        "snoozed_until": incident["snooze"].get("end_time") if states.is_snoozed(incident) else None,
        "is_flapping": incident["flapping"],
        "is_shared": incident["shared"],
        "alerts": [_alert(each) for each in incident["alerts"]],
        "assignee": _name(incident["assignee"]),
        "opened_at": incident["start"],
        "changed_at": incident["changed_at"],
        "can": possible,
        "log": list(record.log),
    }


def _alert(alert: Mapping[str, Any]) -> dict[str, str]:
    return {
        "id": alert["alert_id"],
        "status": word(alert.get("status")),
        "description": alerts.description(alert),
    }


def _name(person: Mapping[str, Any] | None) -> str | None:
    return next((person[key] for key in ("name", "email", "user_id") if key in person), None) if person else None
