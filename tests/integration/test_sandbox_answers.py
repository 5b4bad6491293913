"""Shapes of both stand-ins' answers, checked by schemas that are made from the vendors' documents and recordings."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from relay.incidents.callback import Kind, ResponseMeanings, parse_callback
from sandbox.bigpanda.users import USERS
from sandbox.server.in_process import Box, running
from tests.integration.answer_schemas import check, definitions
from tests.integration.bigpanda_tenant import APP, HEADER, KEY, Tenant, documents, receiving, tenant_of
from tests.integration.live import Site
from tests.stand_in import BASIC, OAUTH, TENANT, URL, session, signal
from tests.waiting import until


class XMattersTenant:
    def __init__(self, box: Box, http: requests.Session) -> None:
        self.box = box
        self.session = http

    def page(self, status: str = "critical") -> str:
        """Make an event for a group, a user and a device."""
        signal(self.box, recipients="dba,jo,kim%7CMobile", status=status)
        return self.box.events.all()[-1].id

    def call(self, method: str, path: str, document: Any = None, status: int = 200) -> Any:
        """Call the REST API, which must answer this status; return the answer's document."""
        answer = self.session.request(method, f"{self.box.xmatters_url}/api/xm/1/{path}", json=document, timeout=60)
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json;charset=utf-8")
        return answer.json()

    def get(self, name: str, path: str) -> Any:
        """Read a path; the answer must fit the schema of this name."""
        document = self.call("GET", path)
        check("xmatters", name, document)
        return document


@pytest.fixture
def xmatters(box: Box) -> Iterator[XMattersTenant]:
    box.events.declare(BASIC)
    box.xmatters.people.declare(TENANT)
    with session() as http:
        http.auth = (BASIC["username"], BASIC["password"])
        yield XMattersTenant(box, http)
    box.xmatters.people.declare({})


@pytest.fixture
def bigpanda(box: Box) -> Iterator[Tenant]:
    with tenant_of(box) as tenant:
        yield tenant


@pytest.fixture
def receiver(bigpanda: Tenant) -> Iterator[Site]:
    """Receiver of BigPanda's shares."""
    with receiving() as receiver:
        bigpanda.share_with(receiver)
        yield receiver


class TestXMatters:
    def test_trigger(self, xmatters: XMattersTenant) -> None:
        url = xmatters.box.declare(URL).url
        answer = requests.post(url, json={"id": "i1"}, timeout=60)
        check("xmatters", "accepted", answer.json())
        assert answer.headers["x-trace"] == answer.json()["requestId"]
        check("xmatters", "error", requests.post(url.replace("canary", "wrong"), timeout=60).json())
        check("xmatters", "error", requests.post(url.replace("functions/", "functions/0"), timeout=60).json())

    @pytest.mark.parametrize("status", ["critical", "warning", "unknown", "ok"])
    def test_events(self, xmatters: XMattersTenant, status: str) -> None:
        made = xmatters.page(status)
        xmatters.call("POST", f"events/{made}/annotations", {"comment": "on it"}, 201)
        xmatters.get("eventPage", "events?limit=1&embed=properties,annotations")
        xmatters.get("event", f"events/{made}")
        embedded = xmatters.get(
            "event", f"events/{made}?embed=properties,annotations,recipients,responseOptions,messages"
        )
        assert embedded.keys() > {"properties", "annotations", "recipients", "responseOptions", "messages"}
        assert [each["targetName"] for each in embedded["recipients"]["data"]] == ["dba", "jo", "kim"]

    def test_changes_of_an_events_status(self, xmatters: XMattersTenant) -> None:
        made = xmatters.page()
        for status in ("SUSPENDED", "ACTIVE", "TERMINATED"):
            check("xmatters", "event", xmatters.call("POST", "events", {"id": made, "status": status}))
        xmatters.get("eventPage", "events?status=TERMINATED")
        xmatters.get("eventPage", "events?status=ACTIVE")

    def test_annotations(self, xmatters: XMattersTenant) -> None:
        made = xmatters.page()
        added = xmatters.call("POST", f"events/{made}/annotations", {"comment": "on it"}, 201)
        check("xmatters", "annotation", added)
        xmatters.get("annotation", f"events/{made}/annotations/{added['id']}")
        xmatters.get("annotationPage", f"events/{made}/annotations")

    def test_audits(self, xmatters: XMattersTenant) -> None:
        made, notifier = xmatters.page(), xmatters.box.xmatters.notifier
        xmatters.call("POST", f"events/{made}/annotations", {"comment": "on it"}, 201)
        for status in ("SUSPENDED", "ACTIVE"):
            xmatters.call("POST", "events", {"id": made, "status": status})
        newest = next(each for each in notifier.notifications.of_page(made) if each.responses)
        notifier.answer(newest.id, "Escalate", "in a tunnel")
        newest = next(each for each in notifier.notifications.of_page(made) if each.responses)
        notifier.answer(newest.id, "Acknowledge")
        xmatters.page()
        xmatters.box.xmatters.clock.turn(180 * 60)
        seen = [each["auditType"] for each in xmatters.get("auditPage", f"audits?eventId={made}")["data"]]
        expired = xmatters.box.events.all()[-1].number
        seen += [each["auditType"] for each in xmatters.get("auditPage", f"audits?eventId={expired}")["data"]]
        assert set(seen) == set(definitions("xmatters")["auditType"]["enum"])

    def test_people_and_devices(self, xmatters: XMattersTenant) -> None:
        xmatters.get("person", "people/kim")
        xmatters.get("personPage", "people?limit=2&offset=1")
        assert len(xmatters.get("devicePage", "people/kim/devices")["data"]) == 4

    def test_groups_and_on_call(self, xmatters: XMattersTenant) -> None:
        xmatters.get("group", "groups/dba")
        xmatters.get("groupPage", "groups")
        assert len(xmatters.get("onCallPage", "on-call?groups=dba,empty&membersPerShift=100")["data"]) == 1

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            *((f"{each}/nope", 404) for each in ("events", "people", "groups")),
            ("people/nope/devices", 404),
            ("nothing/here", 404),
            ("events/nope/annotations", 404),
            ("events/nope/annotations/nope", 404),
            ("audits?eventId=nope", 404),
            *((f"{each}?limit=0", 400) for each in ("events", "people", "groups", "audits")),
            ("on-call", 400),
        ],
    )
    def test_errors_of_reading(self, xmatters: XMattersTenant, path: str, status: int) -> None:
        document = xmatters.call("GET", path, status=status)
        check("xmatters", "error", document)
        assert document["code"] == status

    def test_errors_of_changing(self, xmatters: XMattersTenant) -> None:
        made = xmatters.page()
        change = {"id": made, "status": "TERMINATED"}
        xmatters.call("POST", "events", change)
        check("xmatters", "error", xmatters.call("POST", "events", change, 409))
        check("xmatters", "error", xmatters.call("POST", "events", change | {"status": "OVER"}, 400))
        check("xmatters", "error", xmatters.call("POST", "events", change | {"id": "1"}, 404))
        check("xmatters", "error", xmatters.call("POST", f"events/{made}/annotations", {}, 400))

    def test_refused_credentials(self, xmatters: XMattersTenant) -> None:
        xmatters.session.auth = ("asker", "wrong")
        check("xmatters", "error", xmatters.call("GET", "people", status=401))
        xmatters.session.auth = None
        xmatters.session.headers["Authorization"] = "Bearer " + base64.b64encode(b"unknown").decode()
        check("xmatters", "invalidToken", xmatters.call("GET", "people", status=401))

    def test_oauth_tokens(self, xmatters: XMattersTenant) -> None:
        xmatters.box.events.declare(OAUTH)
        token = self.token(xmatters, OAUTH | {"grant_type": "password"})
        grant = {"grant_type": "refresh_token", "client_id": "client-1", "refresh_token": token["refresh_token"]}
        self.token(xmatters, grant)

    def token(self, xmatters: XMattersTenant, form: dict[str, str]) -> Any:
        answer = requests.post(f"{xmatters.box.xmatters_url}/api/xm/1/oauth2/token", data=form, timeout=60)
        check("xmatters", "token", answer.json())
        return answer.json()

    def test_relay_reads_all_callbacks_of_a_page(self, box: Box, xmatters: XMattersTenant) -> None:
        with receiving() as relay:
            header = {"name": "Authorization", "value": "Bearer canary-token"}
            declaration = {"url": f"{relay.url}/xmatters/demo", "header": header, "function": None}
            xmatters.session.put(f"{box.control_url}/phones/callbacks", json=declaration, timeout=60)
            signal(box)
            for response, note in (("Escalate", "in a tunnel"), ("Acknowledge", None)):
                box.xmatters.notifier.answer(box.xmatters.notifier.notifications.newest(1)[0].id, response, note)
            until(lambda: len(relay.received) == 6)
        said = [parse_callback(each.body) for each in relay.received]
        assert [(each.kind, (each.text or "").lower(), each.target) for each in said] == [
            (Kind.STATUS, "active", None),
            (Kind.DELIVERY, "delivered", "kim"),
            (Kind.RESPONSE, "escalate", "kim"),
            (Kind.DELIVERY, "delivered", "jo"),
            (Kind.RESPONSE, "acknowledge", "jo"),
            (Kind.STATUS, "terminated", None),
        ]
        assert {(each.incident_id, each.environment_id) for each in said} == {("i1", "e1")}
        assert (said[2].note, said[4].note) == ("in a tunnel", None)
        assert ResponseMeanings().is_acknowledgement(said[4])
        assert {each.headers["authorization"] for each in relay.received} == {"Bearer canary-token"}


class TestBigPanda:
    def test_incidents_in_every_state(self, bigpanda: Tenant) -> None:
        for actions in ([], ["worsen"], ["gain_alert"], ["snooze"], ["flap"], ["resolve"], ["resolve", "reopen"]):
            opened = bigpanda.people.open_incident(status="warning")["id"]
            for action in actions:
                bigpanda.people.act_on_incident(opened, action)
            for query in ("", "?expand=alerts"):
                check("bigpanda", "incident", bigpanda.call("GET", opened, query).json())
        for query in ("", "?folder=active", "?folder=snoozed&expand=alerts", "?folder=resolved&page_size=1&page=2"):
            check("bigpanda", "incidentPage", bigpanda.call("GET", "", query).json())

    def test_assigned_incident_and_answers_to_changes(self, bigpanda: Tenant) -> None:
        opened = bigpanda.people.open_incident()["id"]
        for method, path, body in (
            ("POST", "/comments", {"comment": "on it"}),
            ("PUT", "/assignment", {"assignee": USERS[0]["id"]}),
        ):
            answer = bigpanda.call(method, opened, path, body)
            assert (answer.status_code, answer.content) == (204, b"")
        check("bigpanda", "incident", bigpanda.call("GET", opened).json())
        assert bigpanda.call("GET", opened).json()["assignee"]["user_id"] == USERS[0]["id"]
        resolved = bigpanda.call("POST", opened, "/resolve", {"comments": "done"})
        assert resolved.status_code == 202
        check("bigpanda", "done", resolved.json())

    def test_activities(self, bigpanda: Tenant) -> None:
        opened = bigpanda.people.open_incident()["id"]
        for action in ("snooze", "unsnooze", "flap", "resolve", "reopen"):
            bigpanda.people.act_on_incident(opened, action)
        bigpanda.call("POST", opened, "/comments", {"comment": "on it"})
        bigpanda.call("PUT", opened, "/assignment", {"assignee": USERS[0]["id"]})
        url = f"{bigpanda.box.bigpanda.url}/resources/v2.0/incidents/{opened}/activities"
        found = bigpanda.api.get(url, timeout=60).json()
        check("bigpanda", "activities", found)
        assert len({each["type"] for each in found}) >= 7

    def test_users(self, bigpanda: Tenant) -> None:
        for query in ("", '?filter=userName eq "nope"'):
            answer = bigpanda.api.get(f"{bigpanda.box.bigpanda.url}/scim/v2/Users{query}", timeout=60)
            check("bigpanda", "users", answer.json())

    def test_callback_service(self, bigpanda: Tenant) -> None:
        said = {"event_type": "incident#new", "incident_id": "i1", "app_key": APP}
        url = f"{bigpanda.box.bigpanda.url}/resources/v2.1/outbound/callback"
        check("bigpanda", "released", bigpanda.api.post(url, json=said, timeout=60).json())
        for wrong, status in ((said | {"app_key": "other"}, 403), ({}, 400)):
            answer = bigpanda.api.post(url, json=wrong, timeout=60)
            assert answer.status_code == status
            check("bigpanda", "error", answer.json())

    def test_errors(self, bigpanda: Tenant) -> None:
        opened = bigpanda.people.open_incident()["id"]
        bigpanda.people.act_on_incident(opened, "resolve")
        for answer, status in (
            (bigpanda.call("GET", "nope"), 404),
            (bigpanda.call("GET", "nope/nothing/here"), 404),
            (bigpanda.call("DELETE", "nope"), 405),
            (bigpanda.call("GET", "", environment="nope"), 404),
            (bigpanda.call("GET", "", "?folder=nope"), 400),
            (bigpanda.call("POST", opened, "/resolve", {"comments": "again"}), 409),
            (bigpanda.call("POST", opened, "/comments", {}), 400),
        ):
            assert answer.status_code == status
            check("bigpanda", "error", answer.json())
        bigpanda.api.headers["Authorization"] = "Bearer wrong"
        answer = bigpanda.call("GET", opened)
        assert answer.status_code == 401
        check("bigpanda", "error", answer.json())

    @pytest.mark.parametrize(
        ("method", "path", "limit"),
        [
            ("POST", "/resources/v2.0/environments/e1/incidents/i1/comments", 5),
            ("GET", "/resources/v2.0/environments/e1/incidents/i1", 5),
            ("GET", "/scim/v2/Users", 2),
        ],
    )
    def test_paced_endpoint_takes_so_many_requests_a_second(self, method: str, path: str, limit: int) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0], is_paced=True) as box, session(Authorization=f"Bearer {KEY}") as http:
            box.bigpanda.let_in(KEY)
            known = {"status": "Critical", "active": True, "changed_at": 1_800_000_000, "folders": ["shared"]}
            box.bigpanda.declare_incidents("e1", [{"id": "i1"} | known])

            def ask(method: str = method, path: str = path) -> int:
                return http.request(method, box.bigpanda.url + path, json={"comment": "words"}, timeout=60).status_code

            assert [ask() == 429 for _ in range(limit + 2)] == [False] * limit + [True] * 2
            assert ask("GET", "/resources/v2.0/incidents/i1/activities") == 200
            now[0] += timedelta(seconds=1)
            assert ask() < 300

    def test_each_trigger_is_shared_by_its_name_as_a_webhook_of_version_1(
        self, bigpanda: Tenant, receiver: Site
    ) -> None:
        opened = bigpanda.people.open_incident(status="warning", alerts=[{}, {}])["id"]
        for action in ("worsen", "gain_alert", "share", "resolve", "reopen", "flap", "calm", "snooze", "unsnooze"):
            bigpanda.people.act_on_incident(opened, action)
        bigpanda.call("POST", opened, "/comments", {"comment": "on it"})
        bigpanda.call("PUT", opened, "/assignment", {"assignee": USERS[0]["id"]})
        bigpanda.call("POST", opened, "/resolve", {"comments": "done"})
        assert bigpanda.shared(10) == [
            "incident#new", "incident#updated", "incident#updated", "manual", "incident#closed", "incident#reopen",
            "incident#become-flapping", "incident#snoozed", "incident#commented", "incident#closed",
        ]  # fmt: skip
        sent = receiver.received[0]
        assert (sent.method, sent.target, sent.headers[HEADER[0]]) == ("POST", "/bigpanda/noc", HEADER[1])
        for each in documents(receiver):
            check("bigpanda", "webhook", each)

    @pytest.mark.parametrize(
        ("quiet", "told", "end"),
        [("snooze", "incident#snoozed", "unsnooze"), ("flap", "incident#become-flapping", "calm")],
    )
    @pytest.mark.usefixtures("receiver")
    def test_snoozed_and_flapping_incidents_send_no_updates_but_their_close(
        self, bigpanda: Tenant, quiet: str, told: str, end: str
    ) -> None:
        opened = bigpanda.people.open_incident()["id"]
        for action in (quiet, "ease", "gain_alert", end, "worsen", quiet, "resolve"):
            bigpanda.people.act_on_incident(opened, action)
        assert bigpanda.shared(5) == ["incident#new", told, "incident#updated", told, "incident#closed"]
