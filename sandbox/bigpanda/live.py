"""Live incidents: opened and changed by people and by the API, and shared with a channel by webhooks.

An action changes the incident in the store, writes its log and its activity, and triggers a sharing update if BigPanda
documents one. `sandbox.bigpanda.life` has the actions, `sandbox.bigpanda.channels` the rules of sharing.

Guesses, to be checked against an organisation: a comment is a sharing update, so it moves ``changed_at``, too.

A declared incident stays as it was declared until an action on it; then it is live, too.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sandbox.bigpanda import life, states
from sandbox.bigpanda.activities import Activities
from sandbox.bigpanda.life import Change, Impossible
from sandbox.bigpanda.records import Record, Records, cut
from sandbox.bigpanda.sharing import Sharing
from sandbox.bigpanda.store import Place, Store
from sandbox.bigpanda.timer import Timer
from sandbox.bigpanda.users import User
from sandbox.http.schema import InvalidError

# Opened incidents that are kept; resolved ones go first, then the oldest.
MOST_OPENED = 200
# Incidents in the story, the newest update first.
MOST_SHOWN = 100
# Latest end of a snooze that the timer is set to (epoch seconds). A declared end may be larger than a timer takes.
LAST_SECOND = 10**11


class UnknownIncident(LookupError):
    """There is no incident of this id."""


class Live:
    """Incidents that people and the API open and change.

    Safe to use from several threads; no method waits for a webhook.
    """

    def __init__(self, store: Store, activities: Activities, now: Callable[[], datetime]) -> None:
        self._store = store
        self._lock = store.lock
        self._activities = activities
        self._now = now
        self._records = Records()
        self._timer = Timer()
        self.sharing = Sharing(self._lock, self._records, self._timer, now)

    def open(self, declared: object) -> dict[str, Any]:
        """Open an incident in the channel's environment, and return it; `life.opened` describes `declared`.

        Raises InvalidError, which names the key.
        """
        with self._lock:
            environment_id = self.sharing.environment_id
            incident, title = life.opened(declared, self._seconds())
            incident = {**incident, "environments": [environment_id]}
            self._store.add(environment_id, incident)
            self._records.by_id[incident["id"]] = Record(title, environment_id)
            count = len(incident["alerts"])
            text = f"Opened as {incident['status'].lower()} with {count} alert{'s' if count > 1 else ''}."
            self._happen(Place(environment_id, incident), Change(incident, "incident#new", "incident_created", text))
            self._forget_some()
            return self._shown(self._find(incident["id"]))

    def act(self, incident_id: str, action: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Do one of the actions in `life.ACTIONS` on an incident, such as `worsen`, and return the incident after it.

        Raises
        ------
        UnknownIncident
            If there is no such incident.
        Impossible
            If the incident's state forbids the action.
        """
        with self._lock:
            place = self._find(incident_id)
            if action == "share" and (why_not := self._why_not_share(place)):
                raise Impossible(why_not)
            self._happen(place, life.changed(action, place.incident, self._seconds(), options))
            return self._shown(self._find(incident_id))

    def forget_missing(self) -> None:
        """Remove the records of incidents that are no longer in the store."""
        with self._lock:
            for incident_id in [each for each in self._records.by_id if self._store.find(each) is None]:
                del self._records.by_id[incident_id]

    def why_not(self, incident_id: str, action: str) -> str | None:
        """Return the reason that forbids an action now, as a sentence; None if it is possible.

        Raises UnknownIncident.
        """
        return life.ACTIONS[action].why_not(self._find(incident_id).incident)

    def comment(self, incident_id: str, text: str) -> None:
        """Add a comment to an incident's activities; the incident need not exist.

        If the incident is live, it is also updated, and shared again if the rules of the channel allow it.
        """
        with self._lock:
            self._note(incident_id, "incident_commented", {"comment": text})
            if place := self._live(incident_id):
                after = states.stamped(place.incident, self._seconds())
                self._records.of(after).say(self._now(), "comment", cut(text))
                self._keep(place, Change(after, "incident#commented", None, ""))

    def assign(self, incident_id: str, user: User | None) -> None:
        """Assign an incident to a user, or to nobody; the incident need not exist."""
        with self._lock:
            kind = "incident_assigned" if user else "incident_unassigned"
            self._note(incident_id, kind, {"assignee": user["id"]} if user else {})
            if place := self._live(incident_id):
                after = states.assigned(place.incident, _person(user) if user else None, self._seconds())
                text = f"Assigned to {user['userName']}." if user else "Assigned to nobody."
                self._records.of(after).say(self._now(), "assignment", cut(text))
                self._keep(place, Change(after, None, None, ""))

    def has_opened(self, environment_id: str) -> bool:
        """Return True if an incident was opened in the environment.

        The API then refuses comments and assignments for unknown ids there; otherwise it takes them.
        """
        with self._lock:
            return any(record.environment_id == environment_id for record in self._records.by_id.values())

    def story(self) -> dict[str, Any]:
        """Return the channel, its environment's incidents with the newest update first, and the newest webhooks."""
        with self._lock:
            environment_id = self.sharing.environment_id
            known = sorted(self._store.of(environment_id) or (), key=lambda each: -each["updated_at"])
            incidents = [self._shown(Place(environment_id, each)) for each in known[:MOST_SHOWN]]
            return {"environment_id": environment_id, "incidents": incidents, **self.sharing.shown()}

    def clear(self) -> None:
        """Forget the channel, the opened incidents and the webhooks; declared incidents stay.

        The effect of `Sharing.silence` ends, too.
        """
        with self._lock:
            for incident_id in list(self._records.by_id):
                self._forget(incident_id)
            self._records.clear()
            self._timer.clear()
            self.sharing.clear()

    def stop(self) -> None:
        """Send no further webhook, and end the background threads."""
        self._timer.stop()
        self.sharing.stop()

    def _happen(self, place: Place, change: Change) -> None:
        incident_id = change.incident["id"]
        self._records.of(change.incident).say(self._now(), "change", cut(change.text))
        if change.activity:
            self._note(incident_id, change.activity, {})
        self._keep(place, change)
        end = change.incident["snooze"].get("end_time") if states.is_snoozed(change.incident) else None
        if end is not None:
            seconds = max(0, min(end, LAST_SECOND) - self._seconds())
            self._timer.set(("snooze", incident_id), seconds, lambda: self._wake(incident_id))
        else:
            self._timer.cancel(("snooze", incident_id))

    def _keep(self, place: Place, change: Change) -> None:
        """Put the changed incident into the store, and share it if the change triggers that."""
        if change.event is None:
            self._store.replace(place.environment_id, change.incident)
            return
        why_not = self.sharing.why_not(place.environment_id, place.incident, change.incident, change.event)
        if why_not:
            self._store.replace(place.environment_id, change.incident)
            self._records.of(change.incident).say(self._now(), "share", why_not)
            return
        after = states.shared(change.incident)
        self._store.replace(place.environment_id, after)
        self._note(
            after["id"],
            "incident_shared",
            {"share_target": "webhook.sandbox", "share_auto": change.event != "manual"},
        )
        self.sharing.share(place.environment_id, after, change.event)

    def _shown(self, place: Place) -> dict[str, Any]:
        is_shareable = self._why_not_share(place) is None
        possible = [action for action in life.possible(place.incident) if action != "share" or is_shareable]
        return self._records.shown(place.incident, possible)

    def _why_not_share(self, place: Place) -> str | None:
        return self.sharing.why_not(place.environment_id, place.incident, place.incident, "manual")

    def _wake(self, incident_id: str) -> None:
        with self._lock:
            place = self._store.find(incident_id)
            if place and states.is_snoozed(place.incident):
                self._happen(place, life.changed("unsnooze", place.incident, self._seconds(), {}))

    def _find(self, incident_id: str) -> Place:
        place = self._store.find(incident_id)
        if place is None:
            raise UnknownIncident("There is no such incident")
        return place

    def _live(self, incident_id: str) -> Place | None:
        return self._store.find(incident_id) if incident_id in self._records.by_id else None

    def _forget_some(self) -> None:
        opened = [each for each, record in self._records.by_id.items() if record.environment_id]
        if len(opened) > MOST_OPENED:
            places = {each: self._store.find(each) for each in opened}
            over = (each for each, place in places.items() if place is None or not states.is_open(place.incident))
            self._forget(next(over, opened[0]))

    def _forget(self, incident_id: str) -> None:
        record = self._records.by_id.pop(incident_id)
        if record.environment_id:
            self._store.remove(record.environment_id, incident_id)

    def _note(self, incident_id: str, kind: str, params: Mapping[str, Any]) -> None:
        self._activities.add(incident_id, kind, params, self._seconds())

    def _seconds(self) -> int:
        return int(self._now().timestamp())


def checked(action: str, declared: object) -> Mapping[str, Any]:
    """Validate an action's options, and return them. Raises InvalidError for an unknown action or an invalid option."""
    if action not in life.ACTIONS:
        raise InvalidError(f"action must be one of {', '.join(life.ACTIONS)}")
    return life.ACTIONS[action].checked(declared, "options")


def _person(user: User) -> Mapping[str, Any]:
    emails = [each["value"] for each in user["emails"]]
    return {"user_id": user["id"], "name": user["userName"], "email": next(iter(emails), user["userName"])}
