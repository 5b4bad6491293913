"""Sharing of live incidents with the channel by webhooks of version 1: which changes, the body, and resends.

Facts: docs/vendors.md, "What BigPanda sends" and "How BigPanda takes the answer".

Seen in a client's code: the incident is wrapped in ``incident``, beside ``metadata.environment_id``; it has
``resolved``.

Guesses, to be checked against an organisation:

- a failed webhook is sent again as BigPanda's ServiceNow integration does it: 6 attempts in all, on 501 and above and
  without an answer; the 15 minutes between them are shortened here (`RESEND_SECONDS`);
- a close, and an update that ends a snooze, are sent, since the incident is not snoozed or flapping any more;
- a manual share is sent while the incident is snoozed or flapping, too;
- webhooks of one incident arrive in order and wait for one another's answer;
- while BigPanda is silent, it sends no webhook (`Sharing.silence`); an update or a resend that was due then is
  never sent;
- the times are ``startedOn``, ``changedOn``, ``updatedOn`` and ``endedOn``, as on the pages of the v1 API; no event is
  named;
- the name of an integration in activities is that of its kind and its own, such as `webhook.sandbox`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sandbox.bigpanda import states
from sandbox.bigpanda.alerts import Alert, word
from sandbox.bigpanda.incidents import ENVIRONMENT, Incident
from sandbox.bigpanda.store import Store, cut
from sandbox.clock import Clock
from sandbox.http.schema import compiled
from sandbox.http.sender import TARGET, Answer, Sender, Target

RESEND_SECONDS = 10
# Names of the channel's integration, and of another team's.
OWN_TARGET, OTHER_TARGET = "webhook.sandbox", "webhook.another-team"
# Attempts to send one webhook, in all, with resends.
MOST_ATTEMPTS = 6
# Triggers on which AutoShare shares an incident that is not shared yet.
FIRST_TRIGGERS = ("incident#new", "incident#reopen", "incident#become-flapping")
_CHANNEL = compiled(
    TARGET, {"resend_seconds": {"type": "number", "minimum": 0, "maximum": 3600, "default": RESEND_SECONDS}}
)
_TIMES = {"startedOn": "start", "changedOn": "changed_at", "updatedOn": "updated_at", "endedOn": "end"}
_ALERT_TEXTS = ("primary_property", "secondary_property", "source_system", "description")


@dataclass(frozen=True)
class Channel:
    """Settings of BigPanda's sharing channel, through which live incidents are shared by webhooks.

    Attributes:
        target: Address that webhooks are posted to.
        resend_seconds: Seconds between the attempts to send a webhook that fails.
    """

    target: Target
    resend_seconds: float

    def shown(self) -> dict[str, Any]:
        """Return the channel's settings without secrets: the header's value and the URL's query are left out."""
        url, (name, _) = self.target.url.partition("?")[0], self.target.header
        return {"url": url, "header": {"name": name}, "resend_seconds": self.resend_seconds}


@dataclass(frozen=True)
class Webhook:
    """One webhook to send: an incident's state at one moment.

    Attributes:
        channel: The channel to post to.
        environment_id: Id of the incident's environment.
        incident: The incident as it was when the update was triggered.
        event: The trigger's name in webhook v2, for the log.
        attempt: Number of the attempt, from 1.
    """

    channel: Channel
    environment_id: str
    incident: Incident
    event: str
    attempt: int = 1

    @property
    def incident_id(self) -> str:
        """The incident's id."""
        return str(self.incident["id"])

    def body(self) -> dict[str, Any]:
        """Return the body as a JSON object."""
        incident, snooze = self.incident, self.incident["snooze"]
        document = {
            "id": incident["id"],
            "status": word(incident["status"]),
            "severity": word(incident["severity"]),
            "active": incident["active"],
            "resolved": not incident["active"],
            "flapping": incident["flapping"],
            "snooze": {
                "snoozed": snooze["snoozed"],
                "end_time": snooze.get("end_time"),
                "autoCancel": bool(snooze.get("cancel_on_incident_updates")),
            },
            **{name: incident[member] for name, member in _TIMES.items()},
            "alerts": [_alert(each, incident) for each in incident["alerts"]],
        }
        return {"incident": document, "metadata": {"environment_id": self.environment_id}}


class Sharing:
    """The channel, and the sending and resending of webhooks to it.

    Safe to use from several threads; no method waits for a webhook.
    """

    def __init__(self, store: Store, clock: Clock, now: Callable[[], datetime]) -> None:
        self._lock = store.lock
        self._store = store
        self._clock = clock
        self._now = now
        self._channel: Channel | None = None
        self._is_silent = False
        self._is_elsewhere = False
        self._sender = Sender(self._send)

    def declare(self, declared: object) -> None:
        """Set the channel that live incidents are shared with; it replaces an earlier channel.

        `declared` is the JSON object of a request: ``url``, on this machine, ``header`` with ``name`` and ``value``,
        and optionally ``resend_seconds``. Raises InvalidError, which names the member that is wrong.
        """
        checked = _CHANNEL(declared, "channel")
        self._channel = Channel(Target.of(checked), checked["resend_seconds"])

    def silence(self, is_silent: bool) -> None:
        """Send no webhooks from now on, and drop the waiting ones; or, if `is_silent` is false, send webhooks again."""
        with self._lock:
            self._is_silent = is_silent
            if is_silent:
                self._sender.clear()

    def turn_away(self, *, is_elsewhere: bool) -> None:
        """Share with another team's webhook from now on, which is not sent here; or with the channel again."""
        with self._lock:
            self._is_elsewhere = is_elsewhere

    @property
    def target(self) -> str:
        """Name of the integration with which incidents are shared now."""
        return OTHER_TARGET if self._is_elsewhere else OWN_TARGET

    def why_not(self, environment_id: str, before: Incident, after: Incident, event: str) -> str | None:
        """Return the reason why a change is not shared, as a sentence; None if it is to be shared.

        `before` and `after` are the incident before and after the change, and `event` is the trigger's name in webhook
        v2, or "manual".
        """
        if self._channel is None:
            return "Not shared: no sharing channel is declared."
        if environment_id != ENVIRONMENT:
            return "Not shared: the channel is of another environment."
        if event == "manual":
            return None
        if not before["shared"]:
            return None if event in FIRST_TRIGGERS else "Not shared: nobody shared the incident yet."
        if states.is_quiet(before) and states.is_quiet(after):
            return "Not shared: no updates are sent while the incident is snoozed or flapping."
        return None

    def share(self, environment_id: str, incident: Incident, event: str) -> None:
        """Send an incident's state to the channel by a webhook; after `silence`, the webhook is dropped."""
        with self._lock:
            if self._is_silent:
                text = "BigPanda is silent: this update is never sent."
                self._store.record(incident["id"]).say(self._now(), "share", text)
            elif self._is_elsewhere:
                self._store.record(incident["id"]).say(self._now(), "share", "Shared with another team's webhook.")
            elif self._channel:
                self._sender.send(incident["id"], Webhook(self._channel, environment_id, incident, event))

    def shown(self) -> dict[str, Any]:
        """Return the channel without secrets, the newest webhooks, and whether `silence` stops webhooks now."""
        return {
            "channel": self._channel.shown() if self._channel else None,
            "webhooks": list(self._store.webhooks),
            "is_silent": self._is_silent,
            "is_elsewhere": self._is_elsewhere,
        }

    def clear(self) -> None:
        """Forget the channel, drop the waiting webhooks, and undo `silence` and `turn_away`."""
        with self._lock:
            self._channel, self._is_silent, self._is_elsewhere = None, False, False
            self._sender.clear()

    def stop(self) -> None:
        """Drop the waiting webhooks, and send no more."""
        self._sender.stop()

    def _send(self, webhook: Webhook) -> None:
        answer = webhook.channel.target.post(webhook.body())
        with self._lock:
            # The incident may have been forgotten while its webhook was on the way.
            record = self._store.records.get(webhook.incident_id)
            if record is None:
                return
            self._store.webhooks.append(
                {
                    "at": self._now().isoformat(),
                    "incident_id": webhook.incident_id,
                    "event": webhook.event,
                    "attempt": webhook.attempt,
                    "status": answer.status,
                    "outcome": answer.outcome,
                    "document": answer.document,
                }
            )
            again = self._resend(webhook, answer)
            said = "no answer came" if answer.status is None else f"the answer was {answer.status}"
            outcome = f", {cut(answer.outcome)}" if answer.outcome else ""
            record.say(self._now(), "share", f"Shared ({webhook.event}): {said}{outcome}.{again}")

    def _resend(self, webhook: Webhook, answer: Answer) -> str:
        seconds, attempt = webhook.channel.resend_seconds, webhook.attempt + 1
        if answer.status is not None and answer.status < 501:
            return ""
        if attempt > MOST_ATTEMPTS:
            return f" BigPanda gives up after {MOST_ATTEMPTS} attempts."
        again = replace(webhook, attempt=attempt)
        self._clock.call_at(self._clock.now() + timedelta(seconds=seconds), lambda: self._send_again(again))
        return f" BigPanda sends it again in {seconds:g} s: attempt {attempt} of {MOST_ATTEMPTS}."

    def _send_again(self, webhook: Webhook) -> None:
        with self._lock:
            if webhook.channel is self._channel and not self._is_silent:
                self._sender.send(webhook.incident_id, webhook)


def _alert(alert: Alert, incident: Mapping[str, Any]) -> dict[str, Any]:
    status = word(alert.get("status"))
    return {
        "id": alert["alert_id"],
        "status": status,
        "active": alert.get("active", status != "ok"),
        **{name: alert.get(member, incident[member]) for name, member in _TIMES.items()},
        **{name: alert.get(name) for name in _ALERT_TEXTS},
        "tags": alert.get("tags", []),
    }
