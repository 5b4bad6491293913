"""Notifications: what each device was told of a page, and what was answered on it.

Documented by xMatters, or recorded from a tenant: ``deliveryStatus`` as DELIVERED or RESPONDED; ``source`` of a
response, such as ANDROID. The words that a device shows or says are guesses, and so are the other sources, and FAILED.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sandbox.xmatters.directory import shown_device
from sandbox.xmatters.pages import RESPONSES, Page, record_time
from sandbox.xmatters.people import Device, Person, identity

_SOURCES = {"ANDROID_PUSH": "ANDROID", "APPLE_PUSH": "APPLE"}


@dataclass(frozen=True)
class Notification:
    """One notification to one device.

    Attributes:
        id: Its number, from 1; never reused.
        page: The page, as it was when the device was notified.
        person, device: The user and the user's device.
        group: Name of the group that the user was notified for; None for a user who is a recipient.
        at: Time of the notification.
        text: What the device shows or says.
        responses: Responses that are possible now; empty if it can no longer be answered.
        state: "ringing" until it is "answered", or "over" without an answer; "failed" if it never reached the device.
        answer: The chosen response; None without one.
        delivery_status: DELIVERED, RESPONDED or FAILED.
    """

    id: int
    page: Page
    person: Person
    device: Device
    group: str | None
    at: datetime
    text: str
    responses: tuple[str, ...]
    state: str = "ringing"
    answer: str | None = None
    delivery_status: str = "DELIVERED"

    @property
    def source(self) -> str:
        """Type of the device, as xMatters names it in a response, such as ANDROID."""
        return _SOURCES.get(self.device.kind, self.device.kind)

    def as_json(self) -> dict[str, Any]:
        """Return the notification as JSON types, as the control API shows it."""
        return {
            "id": self.id,
            "page": self.page.number,
            "incident_id": self.page.incident_id,
            "person": self.person.name,
            "device": self.device.name,
            "kind": self.device.kind,
            "at": self.at.isoformat(),
            "text": self.text,
            "state": self.state,
            "answer": self.answer,
            "group": self.group,
            "responses": list(self.responses),
        }

    def document(self) -> dict[str, Any]:
        """Return the notification as audits of the REST API show it."""
        return {
            "id": identity("NOTIFICATION", f"{self.page.id}/{self.id}"),
            "category": "PRIMARY",
            "recipient": shown_device(self.person, self.device),
            "deliveryStatus": self.delivery_status,
            "created": record_time(self.at),
            "event": self.page.reference(),
        }


class Notifications:
    """All notifications, oldest first. Callers hold `Pages.lock`."""

    def __init__(self) -> None:
        self._all: dict[int, Notification] = {}
        self._of_page: dict[str, list[int]] = {}
        self._next_id = 1

    def add(self, make: Callable[[int], Notification]) -> Notification:
        """Add a notification, and return it; `make` builds the notification from the next id."""
        made = self._put(make(self._next_id))
        self._next_id += 1
        self._of_page.setdefault(made.page.id, []).append(made.id)
        return made

    def get(self, notification_id: int) -> Notification | None:
        """Return the notification of this id; None if there is none."""
        return self._all.get(notification_id)

    def newest(self, most: int) -> list[Notification]:
        """Return the `most` newest notifications, or all if there are fewer, oldest first."""
        return list(self._all.values())[-most:]

    def of_page(self, page_id: str) -> list[Notification]:
        """Return the notifications of a page, oldest first."""
        return [self._all[each] for each in self._of_page.get(page_id, ())]

    def answered(self, notification: Notification, answer: str, text: str) -> Notification:
        """Record an answer, and the text that the device shows after it."""
        return self._put(
            replace(notification, state="answered", answer=answer, text=text, responses=(), delivery_status="RESPONDED")
        )

    def stop(self, notifications: Iterable[Notification]) -> None:
        """End those of the given notifications that nobody has answered: their phones stop ringing."""
        for each in notifications:
            if each.state == "ringing":
                self._put(replace(each, state="over", responses=()))

    def clear(self) -> None:
        """Forget all notifications; ids go on counting."""
        self._all.clear()
        self._of_page.clear()

    def _put(self, notification: Notification) -> Notification:
        self._all[notification.id] = notification
        return notification


def first_text(page: Page, kind: str, responses: Iterable[str]) -> str:
    """Return what a device of this kind shows or says when it is notified."""
    subject, choices = page.order.subject, [f"{at} for {each}" for at, each in enumerate(responses, start=1)]
    if kind == "VOICE":
        pressed = f" Press {', '.join(choices)}." if choices else ""
        return f"This is xMatters with an alert of {page.order.priority.lower()} priority. {subject}.{pressed}"
    if kind == "TEXT_PHONE":
        return f"{subject} Reply {', '.join(choices)}." if choices else subject
    return subject


def text_with_details(page: Page) -> str:
    """Return what a device shows after Acknowledge: the subject and all details, one a line."""
    return "\n".join([page.order.subject, *(f"{label}: {text}" for label, text in page.order.details)])


def response_option(response: str) -> dict[str, Any]:
    """Return a response option as the REST API shows it."""
    return {
        "id": identity("RESPONSE", response),
        "number": list(RESPONSES).index(response) + 1,
        "text": response,
        "description": response,
        "prompt": response,
        "action": RESPONSES[response],
        "contribution": {"Acknowledge": "POSITIVE"}.get(response, "NEUTRAL"),
        "joinConference": False,
    }
