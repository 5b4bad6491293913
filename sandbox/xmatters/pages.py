"""Pages that signals made, each with its log, annotations and audits. The REST API calls a page an event.

Documented by xMatters, or recorded from a tenant: the members of an event that are here, and the form of its times; the
audit types EVENT_ANNOTATED and RESPONSE_RECEIVED; the members of a response's audit. The other audit types, and the
members of their audits, are guesses.
"""

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sandbox.xmatters.flow import EXPIRATION_MINUTES, Order
from sandbox.xmatters.people import identity

EVENTS_PATH = "/api/xm/1/events"
FIRST_NUMBER = 1001
STATUSES = ["ACTIVE", "SUSPENDED", "TERMINATED"]
RESPONSES = {"Acknowledge": "END", "Escalate": "ESCALATE"}
AUDIT_TYPES = [
    *("EVENT_CREATED", "EVENT_ANNOTATED", "EVENT_SUSPENDED", "EVENT_RESUMED", "EVENT_COMPLETED", "EVENT_TERMINATED"),
    *("NOTIFICATION_DELIVERED", "NOTIFICATION_FAILED", "RESPONSE_RECEIVED"),
]
_PLAN = {"id": "8f1c0a52-6d0b-4b5e-9a43-1f0c6f1f7a01", "name": "Sandbox"}
_FORM = {"id": "8f1c0a52-6d0b-4b5e-9a43-1f0c6f1f7a02", "name": "Sandbox"}


@dataclass(frozen=True)
class Page:
    """A page that a signal made.

    Attributes:
        id: The event's UUID.
        number: The id that people see.
        request_id: xMatters' id of the signal.
        function: UUID of the trigger.
        order: Content and recipients of the page, as the flow read them from the signal.
        status: One of `STATUSES`.
        terminated, ended_because: Time and reason of the page's end; None until then.
    """

    id: str
    number: str
    request_id: str
    function: str
    order: Order
    created: datetime
    status: str = "ACTIVE"
    terminated: datetime | None = None
    ended_because: str | None = None

    @property
    def incident_id(self) -> str | None:
        """Id of the BigPanda incident; None if the signal names none."""
        return self.order.incident_id

    @property
    def properties(self) -> dict[str, str]:
        """Properties of the page, such as ``incident_id`` and ``status``; empty ones are left out."""
        order = self.order
        found = {
            "incident_id": order.incident_id,
            "environment_id": order.environment_id,
            "status": order.status,
            "subject": order.subject,
            "is_over": str(order.is_over).lower(),
        }
        return {name: value for name, value in found.items() if value}

    def document(self) -> dict[str, Any]:
        """Return the page as xMatters' REST API shows it, without what must be asked for with ``embed``."""
        terminated = {"terminated": rest_time(self.terminated)} if self.terminated else {}
        return {
            "id": self.id,
            "eventId": self.number,
            "name": self.order.subject,
            "incident": f"INCIDENT_ID-{self.number}",
            "eventType": "USER",
            "plan": _PLAN,
            "form": _FORM,
            "requestId": self.request_id,
            "floodControl": False,
            "priority": self.order.priority,
            "expirationInMinutes": EXPIRATION_MINUTES,
            "status": self.status,
            "created": rest_time(self.created),
            **terminated,
            "links": {"self": f"{EVENTS_PATH}/{self.id}"},
        }

    def reference(self) -> dict[str, Any]:
        """Return the page as other objects of the REST API refer to it."""
        return {"id": self.id, "eventId": self.number, "links": {"self": f"{EVENTS_PATH}/{self.id}"}}

    def as_json(self) -> dict[str, Any]:
        """Return the page as JSON types, as the control API shows it."""
        return {
            "id": self.id,
            "number": self.number,
            "request_id": self.request_id,
            "incident_id": self.incident_id,
            "created": self.created.isoformat(),
            "status": self.status,
            "terminated": self.terminated.isoformat() if self.terminated else None,
            "ended_because": self.ended_because,
            "priority": self.order.priority,
            "subject": self.order.subject,
            "details": [list(each) for each in self.order.details],
            "recipients": list(self.order.recipients),
        }


@dataclass
class _Record:
    page: Page
    log: list[dict[str, str]] = field(default_factory=list)
    audits: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)


class Pages:
    """All pages. Safe to use from several threads; hold `lock` for changes that belong together."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.lock = threading.RLock()
        self._now = now
        self._records: dict[str, _Record] = {}
        self._numbers: dict[str, str] = {}
        self._next_number = FIRST_NUMBER
        self._next_audit = 1
        self._suppressions: list[dict[str, Any]] = []

    def make(self, request_id: str, function: str, order: Order) -> Page:
        """Make a page of a signal."""
        with self.lock:
            page = Page(str(uuid.uuid4()), str(self._next_number), request_id, function, order, self._now())
            self._next_number += 1
            self._records[page.id] = _Record(page)
            self._numbers[page.number] = page.id
            return page

    def suppress(self) -> None:
        """Note that flood control suppressed a page, as xMatters' REST API lists it."""
        with self.lock:
            name, self._next_number = str(self._next_number), self._next_number + 1
            event = {"id": identity("EVENT", name), "eventId": name}
            match = event | {"at": record_time(self._now()), "filters": [{"id": "1", "name": "Alert Rate Filter"}]}
            self._suppressions.append({"event": event, "match": match})

    def suppressions(self) -> list[dict[str, Any]]:
        """Return what flood control suppressed, the newest first."""
        with self.lock:
            return self._suppressions[::-1]

    def all(self) -> list[Page]:
        """Return every page, oldest first."""
        with self.lock:
            return [record.page for record in self._records.values()]

    def get(self, name: str) -> Page | None:
        """Return the page with this UUID or number; None if there is none."""
        with self.lock:
            record = self._records.get(self._numbers.get(name, name.lower()))
            return record.page if record else None

    def change(self, page_id: str, status: str, ended_because: str | None = None) -> Page:
        """Set the status of a page, and return the page; TERMINATED also sets the time of its end."""
        with self.lock:
            record = self._records[page_id]
            terminated = self._now() if status == "TERMINATED" else None
            record.page = replace(record.page, status=status, terminated=terminated, ended_because=ended_because)
            return record.page

    def note(self, page_id: str, text: str) -> None:
        """Add a sentence to a page's log."""
        with self.lock:
            self._records[page_id].log.append({"at": self._now().isoformat(), "text": text})

    def audit(self, page_id: str, audit_type: str, **members: Any) -> None:
        """Add a record to a page's audit trail; xMatters' REST API calls such a record an audit.

        `audit_type` is one of AUDIT_TYPES. `members` are further members of the record; without any, the record
        refers to the page.
        """
        with self.lock:
            record, order = self._records[page_id], self._next_audit
            self._next_audit += 1
            event = {} if members else {"event": record.page.reference()}
            record.audits.append(
                {
                    "id": identity("AUDIT", f"{page_id}/{order}"),
                    "type": audit_type,
                    "auditType": audit_type,
                    "orderId": order,
                    "at": record_time(self._now()),
                    **event,
                    **members,
                }
            )

    def annotate(self, page_id: str, comment: str, author: Mapping[str, Any]) -> dict[str, Any]:
        """Add an annotation to a page, and return it as the REST API shows it."""
        with self.lock:
            record = self._records[page_id]
            identifier = identity("ANNOTATION", f"{page_id}/{len(record.annotations)}")
            reference = record.page.reference()
            annotation = {
                "id": identifier,
                "event": reference,
                "author": dict(author),
                "comment": comment,
                "created": record_time(self._now()),
                "links": {"self": f"{EVENTS_PATH}/{page_id}/annotations/{identifier}"},
            }
            record.annotations.append(annotation)
            self.audit(page_id, "EVENT_ANNOTATED", annotation=annotation)
            return annotation

    def log(self, page_id: str) -> list[dict[str, str]]:
        """Return a page's log, oldest first: sentences with their times."""
        with self.lock:
            return list(self._records[page_id].log)

    def audits(self, page_id: str) -> list[dict[str, Any]]:
        """Return a page's audits, oldest first."""
        with self.lock:
            return list(self._records[page_id].audits)

    def annotations(self, page_id: str) -> list[dict[str, Any]]:
        """Return a page's annotations, oldest first."""
        with self.lock:
            return list(self._records[page_id].annotations)

    def clear(self) -> None:
        """Forget all pages. Numbers go on counting."""
        with self.lock:
            self._records.clear()
            self._numbers.clear()
            self._suppressions.clear()


def rest_time(moment: datetime) -> str:
    """Return a time in the form of events: ``2026-03-04T02:58:14.301+0000``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def record_time(moment: datetime) -> str:
    """Return a time in the form of audits and annotations: ``2026-03-04T02:58:14.301Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
