"""A tenant of xMatters: it accepts signals, makes pages of them, and knows people and groups."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call, FakeSession, Relay, Step
from tests.fakes import new_relay as plain_relay

REST = {"base_url": "https://acme.xmatters.com", "auth": {"type": "basic", "username": "relay", "password": "rest-pw"}}
NOT_FOUND = HttpAnswer(404, {}, b'{"code": 404, "reason": "Not Found", "message": "Could not find it"}')


def listed(*items: Any) -> HttpAnswer:
    """Return a list of xMatters' REST API."""
    return HttpAnswer(200, {}, json.dumps({"data": items, "total": len(items)}).encode())


class Tenant:
    """xMatters: its triggers, and its REST API."""

    def __init__(self) -> None:
        self.makes_pages = True
        # Request ids of signals without a page.
        self.hidden: set[str] = set()
        # Further pages of each signal, such as a workflow makes.
        self.further_pages: list[dict[str, str]] = []
        # Number of accepted signals.
        self.signals = 0
        # Ids of the pages that were ended, in order.
        self.ended: list[str] = []
        # What happened to the notifications of each page, as audits: a delivery status, or the text of a response.
        self.audits: dict[str, list[str]] = {}
        # Pages whose audits were read, in order.
        self.audited: list[str] = []
        # Times at which flood control suppressed a page.
        self.suppressed: list[str] = []
        # Users, and groups (with a capital): each name with its status.
        self.status = {"jdoe": "ACTIVE"}
        # Devices by user; users have an active one by default.
        self.devices: dict[str, list[dict[str, str]]] = {}
        # Number of people on call, by group.
        self.on_call: dict[str, int] = {}
        self.absences: list[dict[str, Any]] = []
        # Answers, or errors, in place of the tenant's own, by a part of the path.
        self.replies: dict[str, HttpAnswer | Exception] = {}
        # Paths of all reads, in order, without their common beginning.
        self.paths: list[str] = []

    def accept(self, _: Call) -> HttpAnswer:
        self.signals += 1
        return samples.accepted(f"r{self.signals}")

    def rest(self, call: Call) -> HttpAnswer:
        if call.method == "POST":
            document = json.loads(call.body)
            assert document["status"] == "TERMINATED"
            self.ended.append(document["id"])
            return HttpAnswer(200, {}, call.body)
        parts = urlsplit(call.url)
        path = parts.path.removeprefix("/api/xm/1/")
        self.paths.append(path)
        reply = next((reply for part, reply in self.replies.items() if part in unquote(path)), None)
        if isinstance(reply, Exception):
            raise reply
        return reply or self._answer(path, {name: values[0] for name, values in parse_qs(parts.query).items()})

    def _answer(self, path: str, query: Mapping[str, str]) -> HttpAnswer:
        match [unquote(step) for step in path.split("/")]:
            case ["audits"]:
                self.audited.append(query["eventId"])
                audits = map(_audit, self.audits.get(query["eventId"], []))
                of_type = [each for each in audits if query.get("auditType", each["type"]) == each["type"]]
                return listed(*of_type[: int(query["limit"])])
            case ["event-suppressions"]:
                return listed(*({"event": {"id": "e1"}, "match": {"id": "e2", "at": at}} for at in self.suppressed))
            case ["events"]:
                return listed(*self._pages(query["requestId"])) if "requestId" in query else listed()
            case ["temporary-absences"]:
                return listed(*(each for each in self.absences if each["member"]["id"] in query["member"].split(",")))
            case ["on-call"]:
                return listed(*(_shift(name, count) for name, count in self.on_call.items() if count))
            case ["people", name, "devices"]:
                return listed(*self.devices.get(name.removeprefix("id-"), [{"status": "ACTIVE"}]))
            case ["people" | "groups" as kind, name] if name in self.status and (kind == "groups") == name[0].isupper():
                found = {"id": f"id-{name}", "targetName": name, "status": self.status[name]}
                return HttpAnswer(200, {}, json.dumps(found).encode())
        return NOT_FOUND

    def _pages(self, request_id: str) -> list[dict[str, str]]:
        if not self.makes_pages or request_id in self.hidden:
            return []
        number = request_id.removeprefix("r")
        status = "TERMINATED" if f"page-{number}" in self.ended else "ACTIVE"
        return [{"id": f"page-{number}", "eventId": f"40800{number}", "status": status}, *self.further_pages]


def _audit(happened: str) -> dict[str, Any]:
    device = {"targetName": "jdoe|Work Phone", "owner": {"targetName": "jdoe"}}
    if happened in {"DELIVERED", "FAILED"}:
        return {"type": "NOTIFICATION", "notification": {"recipient": device, "deliveryStatus": happened}}
    response = {"response": happened, "notification": {"recipient": device, "deliveryStatus": "RESPONDED"}}
    return {"type": "RESPONSE_RECEIVED", "auditType": "RESPONSE_RECEIVED", "response": response}


def _shift(group: str, count: int) -> dict[str, Any]:
    people = [{"member": {"id": f"p{number}"}} for number in range(count)]
    return {"group": {"id": f"id-{group}"}, "members": {"data": people, "total": count}}


def new_relay(
    tenant: Tenant,
    *steps: Step,
    xmatters: Mapping[str, Any] | None = None,
    policy: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Relay:
    """Return a relay of this tenant, as `fakes.new_relay` does. Its receipts are not proven by default."""
    changes.setdefault("rest", FakeSession(tenant.rest))
    members = {"rest": REST, **(xmatters or {})}
    policy = {"notified_within_seconds": 0, **(policy or {})}
    return plain_relay(*steps, tenant.accept, policy=policy, xmatters=members, **changes)


def pages(relay: Relay) -> list[tuple[tuple[str, ...], str, bool, bool]]:
    """Return the pages of each signal: their ids, the number, if they are over, and if they are missing."""
    return [
        (each.pages, each.page_number, each.is_over, each.is_page_missing) for each in relay.entry().accepted_signals
    ]
