"""Notifying: devices ring in order, groups escalate, answers and expiry end a page.

Facts: docs/vendors.md, "The BigPanda workflow of xMatters".

Guesses, to be checked against a tenant:

- members who were notified earlier can still answer after the escalation delay;
- a page for information notifies a group's first active member, and ends when its last device has been notified;
- an unknown or inactive recipient is skipped, and the others are notified;
- if no member of a group is left to notify, or a recipient is unknown or inactive, that is called back as a failure of
  this recipient, and the page stays active until it expires;
- a group escalates also while no notification reaches a device.

A tenant's suspended page notifies nobody new. Here it goes on: only the clients of the REST API suspend pages.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sandbox.clock import Alarm, Clock
from sandbox.http.schema import InvalidError
from sandbox.xmatters.callbacks import Callbacks
from sandbox.xmatters.directory import shown
from sandbox.xmatters.flow import EXPIRATION_MINUTES
from sandbox.xmatters.notifications import (
    Notification,
    Notifications,
    first_text,
    response_option,
    text_with_details,
)
from sandbox.xmatters.pages import Page, Pages, record_time
from sandbox.xmatters.people import ESCALATION_SECONDS, Device, Group, People, Person


class UnknownError(InvalidError):
    """The error for a page or a notification that does not exist."""


@dataclass
class Escalation:
    """Progress of a page through the members of a group.

    Attributes:
        left: The active members who are still to be notified, each with the wait after the previous one, in seconds.
        next_step: Alarm that notifies the next member; None before the first member was notified.
    """

    group: Group
    left: list[tuple[Person, float]]
    next_step: Alarm | None = None


@dataclass
class OpenPage:
    """State of a page that has not ended.

    Attributes:
        alarms: Actions that wait for their time, and those that have run.
        stopped: People who escalated, each with the group; their further devices stay silent.
        escalations: Progress through the groups that the page notifies, by the group's name.
        waiting_devices: Number of devices that are to be notified after a delay.
    """

    alarms: list[Alarm] = field(default_factory=list)
    stopped: set[tuple[str, str | None]] = field(default_factory=set)
    escalations: dict[str, Escalation] = field(default_factory=dict)
    waiting_devices: int = 0


class Notifier:
    """Notifies the recipients of pages, and takes their answers. Safe to use from several threads.

    Attributes:
        notifications: All notifications.
        reaches_devices: False while all notifications fail.
    """

    def __init__(self, clock: Clock, pages: Pages, people: People, callbacks: Callbacks) -> None:
        self.notifications = Notifications()
        self.reaches_devices = True
        self._clock = clock
        self._pages = pages
        self._people = people
        self._callbacks = callbacks
        self._lock = pages.lock
        # By the id of the page; a page that has ended is not here.
        self._open_pages: dict[str, OpenPage] = {}

    def start(self, page: Page, *, notifies: bool = True) -> None:
        """Notify the recipients of a new page; without `notifies`, nobody is ever notified of it."""
        with self._lock:
            self._open_pages[page.id] = OpenPage()
            self._pages.audit(page.id, "EVENT_CREATED")
            self._pages.note(page.id, f"Page {page.number} was made with priority {page.order.priority}.")
            self._callbacks.status(page)
            expired = "it expired, and no answer had ended it"
            self._after(page, EXPIRATION_MINUTES * 60, lambda: self._end(page.id, "EVENT_COMPLETED", expired))
            if not page.order.recipients:
                self._pages.note(page.id, "The signal names no recipients, so nobody is notified.")
            if not notifies:
                self._pages.note(page.id, "xMatters is ill: it notifies nobody of this page.")
            for name in page.order.recipients if notifies else ():
                self._notify(page, name)
            self._end_if_informed(page)

    def set_absent(self, *, is_absent: bool) -> None:
        """Set whether everybody is absent, without a replacement."""
        self._people.all_absent = is_absent

    def answer(self, notification_id: int, response: str, comment: str | None = None) -> Notification:
        """Record a person's answer on a device, and act on it.

        Acknowledge ends the page; Escalate notifies the group's next member.

        Raises UnknownError if there is no such notification. Raises InvalidError if `response` is not one of the
        notification's possible responses.
        """
        with self._lock:
            asked = self.notifications.get(notification_id)
            if asked is None:
                raise UnknownError(f"there is no notification {notification_id}")
            if response not in asked.responses:
                possible = " or ".join(asked.responses)
                hint = f"its responses are {possible}" if possible else "it can no longer be answered"
                raise InvalidError(f"notification {notification_id} does not take this response: {hint}")
            acknowledges = response == "Acknowledge"
            text = text_with_details(asked.page) if acknowledges else asked.text
            answered = self.notifications.answered(asked, response, text)
            self._record_answer(answered, comment)
            if acknowledges:
                self._end(asked.page.id, "EVENT_TERMINATED", f"{asked.person.full_name} acknowledged")
            else:
                self._escalate(answered)
            return answered

    def set_status(self, page_id: str, status: str, username: str) -> Page:
        """Suspend, resume or terminate a page, and return the page; `username` is the user of the REST API.

        Raises InvalidError if the page does not exist, has that status already, or has ended.
        """
        with self._lock:
            page = self._pages.get(page_id)
            if page is None or page.status in (status, "TERMINATED"):
                raise InvalidError("the page has that status, or has ended")
            if status == "TERMINATED":
                return self._end(page_id, "EVENT_TERMINATED", f"{username} ended it")
            page = self._pages.change(page_id, status)
            self._pages.audit(page_id, "EVENT_SUSPENDED" if status == "SUSPENDED" else "EVENT_RESUMED")
            self._pages.note(page_id, f"{username} {'suspended' if status == 'SUSPENDED' else 'resumed'} the page.")
            self._callbacks.status(page)
            return page

    def annotate(self, page: Page, comment: str, author: str) -> dict[str, Any]:
        """Add a user's annotation to a page, and return it as the REST API shows it."""
        with self._lock:
            person = self._people.member(author)
            added = self._pages.annotate(page.id, comment, shown(person))
            self._pages.note(page.id, f"{person.full_name} commented: {comment}")
            return added

    def clear(self) -> None:
        """Forget all pages and notifications, and cancel all delayed notifications."""
        with self._lock:
            for page_id in list(self._open_pages):
                self._stop(page_id)
            self.notifications.clear()
            self._pages.clear()

    def _notify(self, page: Page, name: str) -> None:
        target, bar, device = (part.strip() for part in name.partition("|"))
        person = self._people.person(target)
        group = None if person or bar else self._people.group(target)
        if person and person.status == "ACTIVE" and not self._people.all_absent:
            devices = tuple(each for each in person.devices if not bar or each.name.lower() == device.lower())
            if not devices:
                self._pages.note(page.id, f"{person.full_name} has no such device, and is not notified.")
            self._ring(page, person, devices, None)
        elif group and group.status == "ACTIVE":
            self._notify_group(page, group)
        else:
            found = person or group
            state = "absent, without a replacement" if found and found.status == "ACTIVE" else "inactive"
            what = f"{found.name} is {state}" if found else f"xMatters knows no user and no group {name}"
            self._pages.note(page.id, f"{what}, so nobody is notified for this recipient.")
            self._callbacks.failure(page, name, what)

    def _notify_group(self, page: Page, group: Group) -> None:
        open_page = self._open_pages.get(page.id)
        if open_page is None or group.name in open_page.escalations:
            return
        escalation = open_page.escalations[group.name] = Escalation(group, self._people.active_members(group))
        skipped = len(group.members) - len(escalation.left)
        if skipped:
            self._pages.note(page.id, f"The group {group.name} has {skipped} inactive: skipped without waiting.")
        self._next_member(page, escalation)

    def _next_member(self, page: Page, escalation: Escalation) -> None:
        if escalation.next_step:
            escalation.next_step.cancel()
        if not escalation.left:
            self._pages.note(page.id, f"Nobody is left in the group {escalation.group.name}.")
            self._callbacks.failure(page, escalation.group.name, "nobody is left to notify")
            return
        person, _ = escalation.left.pop(0)
        self._ring(page, person, person.devices, escalation.group.name)
        if not page.order.is_over:
            seconds = escalation.left[0][1] if escalation.left else ESCALATION_SECONDS
            escalation.next_step = self._after(page, seconds, lambda: self._unanswered(page, escalation, person))

    def _unanswered(self, page: Page, escalation: Escalation, person: Person) -> None:
        self._pages.note(page.id, f"{person.full_name} did not answer in time.")
        self._next_member(page, escalation)

    def _escalate(self, answered: Notification) -> None:
        page, person, open_page = answered.page, answered.person, self._open_pages.get(answered.page.id)
        if open_page is None or answered.group is None:
            return
        open_page.stopped.add((person.name, answered.group))
        self.notifications.stop(
            each
            for each in self.notifications.of_page(page.id)
            if (each.person.name, each.group) == (person.name, answered.group)
        )
        self._next_member(page, open_page.escalations[answered.group])

    def _ring(self, page: Page, person: Person, devices: tuple[Device, ...], group: str | None) -> None:
        """Notify the devices in order, each after its delay."""
        for place, device in enumerate(devices):
            if device.delay_seconds:
                self._ring_later(page, person, devices[place:], group)
                return
            self._ring_device(page, person, device, group)

    def _ring_later(self, page: Page, person: Person, devices: tuple[Device, ...], group: str | None) -> None:
        def ring() -> None:
            open_page = self._open_pages.get(page.id)
            if open_page is None:
                return
            open_page.waiting_devices -= 1
            if (person.name, group) not in open_page.stopped:
                self._ring_device(page, person, devices[0], group)
                self._ring(page, person, devices[1:], group)
            self._end_if_informed(page)

        if open_page := self._open_pages.get(page.id):
            open_page.waiting_devices += 1
            self._after(page, devices[0].delay_seconds, ring)

    def _ring_device(self, page: Page, person: Person, device: Device, group: str | None) -> None:
        whose, for_group = f"{person.full_name} ({device.name})", f" for the group {group}" if group else ""
        is_delivered = self.reaches_devices
        status, can_answer = "DELIVERED" if is_delivered else "FAILED", is_delivered and not page.order.is_over
        responses = ("Acknowledge", "Escalate")[: 2 if group else 1] if can_answer else ()
        made = self.notifications.add(
            lambda identifier: Notification(
                id=identifier,
                page=page,
                person=person,
                device=device,
                group=group,
                at=self._clock.now(),
                text=first_text(page, device.kind, responses),
                responses=responses,
                state="ringing" if responses else "over" if is_delivered else "failed",
                delivery_status=status,
            )
        )
        self._pages.audit(page.id, f"NOTIFICATION_{status}", notification=made.document())
        told = f"{whose} is notified" if is_delivered else f"{whose} can't be reached: the notification failed"
        self._pages.note(page.id, f"{told}{for_group}.")
        self._callbacks.delivery(made)

    def _record_answer(self, answered: Notification, comment: str | None) -> None:
        response: dict[str, Any] = {
            "response": answered.answer,
            "comment": comment,
            "source": answered.source,
            "received": record_time(self._clock.now()),
            "option": response_option(answered.answer or ""),
            "notification": answered.document(),
        }
        self._pages.audit(answered.page.id, "RESPONSE_RECEIVED", response=response)
        words = f", saying: {comment}" if comment else ""
        said = f"{answered.person.full_name} answered {answered.answer} on {answered.device.name}{words}."
        self._pages.note(answered.page.id, said)
        self._callbacks.response(answered, comment)

    def _end_if_informed(self, page: Page) -> None:
        open_page = self._open_pages.get(page.id)
        is_informed = self.notifications.of_page(page.id) and open_page and not open_page.waiting_devices
        if page.order.is_over and is_informed:
            self._end(page.id, "EVENT_COMPLETED", "it was for information, and all are notified")

    def _end(self, page_id: str, audit_type: str, because: str) -> Page:
        self._stop(page_id)
        page = self._pages.change(page_id, "TERMINATED", because)
        self.notifications.stop(self.notifications.of_page(page_id))
        self._pages.audit(page_id, audit_type)
        self._pages.note(page_id, f"The page ended: {because}.")
        self._callbacks.status(page)
        return page

    def _stop(self, page_id: str) -> None:
        """Cancel the actions of a page, and remove its state."""
        open_page = self._open_pages.pop(page_id, None)
        for alarm in open_page.alarms if open_page else ():
            alarm.cancel()

    def _after(self, page: Page, seconds: float, action: Callable[[], object]) -> Alarm:
        """Run `action` after `seconds`, unless the page has ended by then."""

        def run() -> None:
            with self._lock:
                if page.id in self._open_pages:
                    action()

        alarm = self._clock.call_at(self._clock.now() + timedelta(seconds=seconds), run)
        self._open_pages[page.id].alarms.append(alarm)
        return alarm
