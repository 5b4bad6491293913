"""A tenant of xMatters that makes pages, as tests of follow-ups and of terminated pages need it."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from relay.http.session import HttpAnswer
from tests import samples
from tests.fake_dynamodb import FakeDynamoDb
from tests.fakes import Call, FakeSecrets, FakeSession, Relay, Step

if TYPE_CHECKING:
    from collections.abc import Callable

REST = {"base_url": "https://acme.xmatters.com", "auth": {"type": "basic", "username": "relay", "password": "rest-pw"}}


class Tenant:
    """xMatters, which makes a page of each signal."""

    def __init__(self) -> None:
        self.makes_pages = True
        # Request ids of signals without a page.
        self.hidden: set[str] = set()
        self.signals: list[float] = []
        self.ended: list[str] = []
        self.asked: list[str] = []
        # What happened to the notifications of each page, as audits: a delivery status, or the text of a response.
        self.audits: dict[str, list[str]] = {}
        self.audited: list[str] = []
        # Times at which flood control suppressed a page.
        self.suppressed: list[str] = []
        self.looked_for_suppressed = 0
        self.now: Callable[[], float] = lambda: 0.0

    def accept(self, _: Call) -> HttpAnswer:
        self.signals.append(self.now())
        return samples.accepted(f"r{len(self.signals)}")

    def rest(self, call: Call) -> HttpAnswer:
        if call.method == "POST":
            document = json.loads(call.body)
            assert document["status"] == "TERMINATED"
            self.ended.append(document["id"])
            return HttpAnswer(200, {}, call.body)
        if "/audits?" in call.url:
            [page_id] = parse_qs(urlsplit(call.url).query)["eventId"]
            self.audited.append(page_id)
            return HttpAnswer(200, {}, json.dumps({"data": [*map(_audit, self.audits.get(page_id, []))]}).encode())
        if "/event-suppressions" in call.url:
            self.looked_for_suppressed += 1
            found = [{"event": {"id": "e1"}, "match": {"id": "e2", "at": at}} for at in self.suppressed]
            return HttpAnswer(200, {}, json.dumps({"data": found}).encode())
        if "/people/" in call.url:
            return HttpAnswer(200, {}, b'{"id": "id-jdoe", "targetName": "jdoe"}')
        [request_id] = parse_qs(urlsplit(call.url).query)["requestId"]
        self.asked.append(request_id)
        number = int(request_id[1:])
        is_there = self.makes_pages and request_id not in self.hidden
        status = "TERMINATED" if f"page-{number}" in self.ended else "ACTIVE"
        page = {"id": f"page-{number}", "eventId": f"40800{number}", "status": status}
        return HttpAnswer(200, {}, json.dumps({"data": [page] if is_there else []}).encode())


def _audit(happened: str) -> dict[str, Any]:
    device = {"targetName": "jdoe|Work Phone", "owner": {"targetName": "jdoe"}}
    if happened in {"DELIVERED", "FAILED"}:
        return {"type": "NOTIFICATION", "notification": {"recipient": device, "deliveryStatus": happened}}
    response = {"response": happened, "notification": {"recipient": device, "deliveryStatus": "RESPONDED"}}
    return {"type": "RESPONSE_RECEIVED", "auditType": "RESPONSE_RECEIVED", "response": response}


def new_relay(
    tenant: Tenant,
    *steps: Step,
    rest: FakeSession | None = None,
    policy: dict[str, Any] | None = None,
    dynamodb: FakeDynamoDb | None = None,
) -> Relay:
    document = samples.secret(policy={"min_seconds_between_signals": 0, "notified_within_seconds": 0, **(policy or {})})
    document["xmatters"]["rest"] = REST
    relay = Relay(
        FakeSession(*steps, tenant.accept),
        secrets=FakeSecrets(noc=json.dumps(document)),
        rest=rest or FakeSession(tenant.rest),
        dynamodb=dynamodb or FakeDynamoDb(),
    )
    tenant.now = relay.clock
    return relay


def pages(relay: Relay) -> list[tuple[tuple[str, ...], str, bool, bool]]:
    return [
        (each.pages, each.page_number, each.is_over, each.is_page_missing) for each in relay.entry().accepted_signals
    ]
