"""xMatters' phones in the sandbox over real sockets: the control API, the REST API about pages, and callbacks."""

import base64
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from relay.incidents.callback import Kind, ResponseMeanings, parse_callback
from sandbox.errors import SandboxError
from sandbox.server import background
from sandbox.server.in_process import Box, running

ROOT = Path(__file__).parents[2]
URL = {"type": "url", "api_key": "canary-url-key"}
BASIC = {"type": "basic", "username": "asker", "password": "canary-password"}
OPEN = {
    "incident": {"id": "i1", "status": "critical", "title": "Database is down"},
    "metadata": {"environment_id": "e1"},
}
PEOPLE: list[dict[str, Any]] = [
    {
        "name": "kim",
        "full_name": "Kim Lee",
        "email": "kim@acme.example",
        "devices": [
            {"name": "Work Email", "kind": "EMAIL"},
            {"name": "Mobile", "kind": "ANDROID_PUSH", "delay_seconds": 90},
        ],
    },
    {"name": "jo", "full_name": "Jo Roe"},
    {"name": "away", "status": "INACTIVE"},
]
GROUPS: list[dict[str, Any]] = [
    {"name": "dba", "members": [{"name": "away"}, {"name": "kim"}, {"name": "jo", "after_seconds": 400}]}
]


@pytest.fixture
def http(box: Box) -> Iterator[requests.Session]:
    """An HTTP session with valid credentials for xMatters' REST API. xMatters has people and groups."""
    box.events.declare(BASIC)
    box.xmatters.people.declare_phones({"people": PEOPLE, "groups": GROUPS})
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (BASIC["username"], BASIC["password"])
        yield session
    box.directory.declare()
    box.xmatters.callbacks.declare({"url": None})


def signal(box: Box, recipients: str = "dba", body: Any = OPEN) -> str:
    """Post a signal, and return its request id."""
    url = f"{box.declare(URL).url}&recipients={recipients}"
    answer = requests.post(url, data=body if isinstance(body, bytes) else json.dumps(body), timeout=60)
    return str(answer.json()["requestId"])


def get(box: Box, http: requests.Session, path: str) -> requests.Response:
    return http.get(f"{box.xmatters_url}/api/xm/1/{path}", timeout=60)


def control(box: Box, method: str, path: str, document: Any = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, f"{box.control_url}/{path}", json=document, timeout=60)


def phones(box: Box) -> Any:
    return control(box, "GET", "phones").json()


class TestControl:
    def test_group_is_escalated_and_acknowledged_over_the_control_api(self, box: Box, http: requests.Session) -> None:
        request_id = signal(box)
        [first] = phones(box)["notifications"]
        assert (first["person"], first["responses"]) == ("kim", ["Acknowledge", "Escalate"])
        wanted = {"notification": first["id"], "response": "Escalate", "comment": "in a tunnel"}
        answered = control(box, "POST", "phones/answer", wanted).json()
        assert (answered["state"], answered["answer"], answered["responses"]) == ("answered", "Escalate", [])
        second = phones(box)["notifications"][-1]
        assert second["person"] == "jo"
        control(box, "POST", "phones/answer", {"notification": second["id"], "response": "Acknowledge"})
        [page] = phones(box)["pages"]
        assert (page["status"], page["request_id"], page["incident_id"]) == ("TERMINATED", request_id, "i1")
        assert page["ended_because"] == "Jo Roe acknowledged"
        assert get(box, http, f"events/{page['id']}").json()["status"] == "TERMINATED"

    def test_story_has_the_keys_of_the_page(self, box: Box, http: requests.Session) -> None:
        signal(box)
        story = phones(box)
        assert story.keys() == {
            "clock", "flow", "people", "groups", "pages", "notifications", "callbacks", "without_page",
        }  # fmt: skip
        assert story["pages"][0].keys() == {
            "id", "number", "request_id", "incident_id", "status", "priority", "subject", "details", "created",
            "terminated", "ended_because", "recipients", "log",
        }  # fmt: skip
        assert story["notifications"][0].keys() == {
            "id", "page", "incident_id", "person", "device", "kind", "at", "text", "state", "answer", "group",
            "responses",
        }  # fmt: skip
        assert story["groups"][0]["shifts"][0]["members"][2] == {"name": "jo", "after_seconds": 400}

    def test_turned_clock_escalates(self, box: Box, http: requests.Session) -> None:
        before = phones(box)["clock"]["ahead_seconds"]
        signal(box)
        turned = control(box, "POST", "clock", {"seconds": 400}).json()
        assert turned["ahead_seconds"] - before == 400
        assert [each["person"] for each in phones(box)["notifications"]] == ["kim", "kim", "jo"]

    def test_page_is_ended_by_its_number(self, box: Box, http: requests.Session) -> None:
        signal(box)
        number = phones(box)["pages"][0]["number"]
        assert control(box, "POST", "phones/end", {"page": number}).json()["status"] == "TERMINATED"
        assert control(box, "POST", "phones/end", {"page": number}).status_code == 400

    def test_flow_without_page_still_accepts(self, box: Box, http: requests.Session) -> None:
        assert control(box, "PUT", "flow", {"mode": "no_page"}).json() == {"mode": "no_page", "floods": False}
        request_id = signal(box)
        assert get(box, http, f"events?requestId={request_id}").json()["total"] == 0
        assert [each["request_id"] for each in phones(box)["without_page"]] == [request_id]
        box.clear()
        assert control(box, "GET", "flow").json() == {"mode": "page", "floods": False}

    @pytest.mark.parametrize(
        ("method", "path", "document", "status", "message"),
        [
            ("PUT", "phones", {"people": [{"name": ""}]}, 400, "people[0].name"),
            ("PUT", "phones", None, 400, "not JSON"),
            ("POST", "phones/answer", {}, 400, "notification"),
            ("POST", "phones/answer", {"notification": True, "response": "Acknowledge"}, 400, "notification"),
            ("POST", "phones/answer", {"notification": 10**30, "response": "Acknowledge"}, 404, "no notification"),
            ("POST", "phones/end", {"page": "nope"}, 404, "no such page"),
            ("POST", "phones/end", {"page": 7}, 400, "page"),
            ("POST", "clock", {"seconds": 0}, 400, "seconds"),
            ("POST", "clock", {"seconds": -5}, 400, "seconds"),
            ("POST", "clock", {"seconds": 1e300}, 400, "seconds"),
            ("POST", "clock", [], 400, "clock must be object"),
            ("PUT", "limits", {"trigger": -1}, 400, "trigger"),
            ("PUT", "flow", {"mode": "siren"}, 400, "mode"),
            ("PUT", "flow", {"floods": 1}, 400, "floods"),
            ("PUT", "phones/callbacks", {"url": "ftp://x"}, 400, "url"),
            ("PUT", "phones/callbacks", {"url": "http://x", "shape": "round"}, 400, "shape"),
            ("PUT", "phones/callbacks", {"url": "http://x", "header": {"name": "a b", "value": "c"}}, 400, "name"),
            ("PUT", "phones/callbacks", {"url": "http://x", "header": {"name": "a", "value": "c\n"}}, 400, "value"),
            ("PUT", "phones/callbacks", {"url": "http://x", "function": "f"}, 400, "function"),
            ("PUT", "events/making", {"delay_seconds": 1e300}, 400, "delay_seconds"),
        ],
    )  # fmt: skip
    def test_invalid_request_is_answered_with_its_error(
        self, box: Box, http: requests.Session, method: str, path: str, document: Any, status: int, message: str
    ) -> None:
        answer = control(box, method, path, document)
        assert answer.status_code == status
        assert message in answer.json()["error"]
        signal(box)
        assert [each["person"] for each in phones(box)["notifications"]] == ["kim"]

    def test_names_that_utf8_can_not_write_do_no_harm(self, box: Box, http: requests.Session) -> None:
        people = [{"name": "\ud800", "full_name": "\udfff"}]
        assert control(box, "PUT", "phones", {"people": people}).status_code == 200
        signal(box, "x", {"incident_id": "\ud800"})
        assert phones(box)["pages"][0]["incident_id"] == "\ud800"
        assert get(box, http, "people").json()["data"][0]["targetName"] == "\ud800"


class TestRateLimits:
    def test_signal_above_the_limit_is_429_and_makes_no_page(self, box: Box, http: requests.Session) -> None:
        assert control(box, "PUT", "limits", {"trigger": 2}).json() == {"trigger": 2, "rest": None}
        trigger = box.declare(URL)
        found = [requests.post(trigger.url, json=OPEN, timeout=60) for _ in range(3)]
        assert [each.status_code for each in found] == [202, 202, 429]
        assert (found[2].headers["X-Rate-Limit-Limit"], found[2].json()["code"]) == ("2", 429)
        assert (len(box.events.all()), len(box.signals())) == (2, 2)
        assert requests.post(trigger.url + "-wrong", json=OPEN, timeout=60).status_code == 401

    def test_rest_api_above_the_limit_is_429(self, box: Box, http: requests.Session) -> None:
        control(box, "PUT", "limits", {"rest": 1})
        assert [get(box, http, path).status_code for path in ("people", "events", "on-call?groups=a")] == [
            200,
            429,
            429,
        ]
        box.clear()
        assert get(box, http, "events").status_code == 200

    def test_limit_counts_a_sliding_minute(self) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0]) as box:
            box.xmatters.limits.set({"trigger": 1})
            trigger = box.declare(URL)
            statuses = []
            for seconds in (0, 59, 1, 1):
                now[0] += timedelta(seconds=seconds)
                statuses.append(requests.post(trigger.url, json=OPEN, timeout=60).status_code)
        assert statuses == [202, 429, 202, 429]


class TestEvents:
    def test_one_event_is_found_by_uuid_and_number_with_what_is_embedded(
        self, box: Box, http: requests.Session
    ) -> None:
        signal(box, "kim,dba")
        page = box.events.all()[0]
        for name in (page.id, page.id.upper(), page.number):
            assert get(box, http, f"events/{name}").json()["id"] == page.id
        embeds = "properties,recipients,responseOptions,messages,annotations"
        event = get(box, http, f"events/{page.id}?embed={embeds}&targeted=true").json()
        assert (event["name"], event["priority"]) == ("CRITICAL: Database is down", "HIGH")
        assert event["properties"]["incident_id#en"] == "i1"
        assert [each["targetName"] for each in event["recipients"]["data"]] == ["kim", "dba"]
        assert [(each["text"], each["action"]) for each in event["responseOptions"]["data"]] == [
            ("Acknowledge", "END"), ("Escalate", "ESCALATE"),
        ]  # fmt: skip
        assert get(box, http, "events/0").status_code == 404
        assert get(box, http, f"events/{page.id}?embed=all").status_code == 400

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("propertyName=incident_id%23en&propertyValue=I1", ["i1"]),
            ("propertyName=BigPanda%20%3E%20incident_id%23en,status&propertyValue=i1,critical", ["i1"]),
            ("propertyName=incident_id&propertyValue=i3", []),
            ("status=TERMINATED", ["i2"]),
            ("status=ACTIVE,SUSPENDED&priority=HIGH", ["i1"]),
            ("priority=LOW,MEDIUM", ["i2"]),
            ("sortBy=EVENT_ID&sortOrder=ASCENDING", ["i1", "i2"]),
            ("sortBy=START_TIME", ["i2", "i1"]),
            ("from=2000-01-01T00:00:00.000Z", ["i2", "i1"]),
            ("to=2000-01-01T00:00:00.000Z", []),
            ("plan=sandbox&form=Sandbox&eventType=USER", ["i2", "i1"]),
            ("plan=other", []),
            ("eventType=SYSTEM", []),
            ("search=DATABASE", ["i1"]),
        ],
    )
    def test_filters(self, box: Box, http: requests.Session, query: str, found: list[str]) -> None:
        signal(box)
        signal(box, body={"id": "i2", "status": "warning"})
        box.xmatters.notifier.end(box.events.all()[1].id)
        events = get(box, http, f"events?{query}&embed=properties").json()["data"]
        assert [each["properties"]["incident_id#en"] for each in events] == found

    @pytest.mark.parametrize(
        "query",
        [
            "priority=high",
            "sortBy=AGE",
            "sortOrder=UP",
            "from=soon",
            "embed=recipients",
            "propertyName=a,b",
            "folder=x",
        ],
    )
    def test_filter_that_is_none_is_400(self, box: Box, http: requests.Session, query: str) -> None:
        answer = get(box, http, f"events?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, 400)

    def test_event_ended_over_rest_stops_ringing_and_says_who_did_it(self, box: Box, http: requests.Session) -> None:
        signal(box)
        page = box.events.all()[0]
        url = f"{box.xmatters_url}/api/xm/1/events"
        assert http.post(url, json={"id": page.id, "status": "TERMINATED"}, timeout=60).json()["status"] == "TERMINATED"
        story = phones(box)
        assert story["pages"][0]["ended_because"] == "asker ended it"
        assert [each["state"] for each in story["notifications"]] == ["over"]

    def test_failed_flow_makes_no_event(self, box: Box, http: requests.Session) -> None:
        request_id = signal(box, body=b"not JSON")
        assert get(box, http, f"events?requestId={request_id}").json()["total"] == 0
        assert phones(box)["without_page"][0]["text"] == "The flow failed: the body is not JSON."


class TestRecords:
    def test_annotation_is_added_listed_and_audited(self, box: Box, http: requests.Session) -> None:
        signal(box)
        page = box.events.all()[0]
        url = f"{box.xmatters_url}/api/xm/1/events/{page.id}/annotations"
        added = http.post(url, json={"comment": "looking"}, timeout=60)
        assert (added.status_code, added.json()["comment"]) == (201, "looking")
        assert added.json()["author"]["targetName"] == "asker"
        listed = get(box, http, f"events/{page.number}/annotations").json()
        assert (listed["count"], listed["total"], listed["data"]) == (1, 1, [added.json()])
        assert get(box, http, f"events/{page.id}/annotations/{added.json()['id']}").json() == added.json()
        [audit] = get(box, http, f"audits?eventId={page.id}&auditType=EVENT_ANNOTATED").json()["data"]
        assert audit["annotation"] == added.json()
        assert audit["at"].endswith("Z")

    @pytest.mark.parametrize("body", ["", "[]", "{}", '{"comment": ""}', '{"comment": "a", "author": "b"}'])
    def test_annotation_that_is_none_is_400(self, box: Box, http: requests.Session, body: str) -> None:
        signal(box)
        url = f"{box.xmatters_url}/api/xm/1/events/{box.events.all()[0].id}/annotations"
        assert http.post(url, data=body, timeout=60).status_code == 400
        assert http.post(url.replace(box.events.all()[0].id, "0"), json={"comment": "a"}, timeout=60).status_code == 404

    def test_audits_tell_who_answered_what_a_page_at_a_time(self, box: Box, http: requests.Session) -> None:
        signal(box)
        page, [asked] = box.events.all()[0], phones(box)["notifications"]
        box.xmatters.notifier.answer(asked["id"], "Acknowledge", "on it")
        path, types = f"audits?eventId={page.id}&sortOrder=ASCENDING&limit=2", []
        while path:
            sheet = get(box, http, path).json()
            types += [each["type"] for each in sheet["data"]]
            path = sheet["links"].get("next", "").removeprefix("/api/xm/1/")
        assert types == ["EVENT_CREATED", "NOTIFICATION_DELIVERED", "RESPONSE_RECEIVED", "EVENT_TERMINATED"]
        [audit] = get(box, http, f"audits?eventId={page.number}&auditType=RESPONSE_RECEIVED").json()["data"]
        assert (audit["response"]["response"], audit["response"]["comment"]) == ("Acknowledge", "on it")

    @pytest.mark.parametrize(
        ("query", "status"),
        [("", 400), ("eventId=0", 404), ("eventId=0&auditType=X", 400), ("eventId=0&sortOrder=X", 400), ("a=1", 400)],
    )
    def test_audits_that_can_not_be_listed(self, box: Box, http: requests.Session, query: str, status: int) -> None:
        assert get(box, http, f"audits?{query}").status_code == status

    @pytest.mark.parametrize("path", ["events/1", "events/1/annotations", "audits?eventId=1", "people", "groups"])
    def test_wrong_credentials_are_401_and_faults_are_met(self, box: Box, http: requests.Session, path: str) -> None:
        routes = {"events/1": "one_event", "events/1/annotations": "annotations", "audits?eventId=1": "audits"}
        box.script([{"kind": "status", "status": 429, "on": routes.get(path, path)}])
        assert get(box, http, path).status_code == 429
        http.auth = ("asker", "wrong")
        assert get(box, http, path).status_code == 401


class TestDirectory:
    def test_devices_are_listed_in_order_with_delays_in_minutes(self, box: Box, http: requests.Session) -> None:
        sheet = get(box, http, "people/kim/devices").json()
        assert (sheet["count"], sheet["total"]) == (2, 2)
        first, second = sheet["data"]
        assert (first["deviceType"], first["emailAddress"], first["delay"]) == ("EMAIL", "kim@acme.example", 0)
        assert (second["targetName"], second["deviceType"], second["delay"], second["sequence"]) == (
            "kim|Mobile", "ANDROID_PUSH", 2, 2,
        )  # fmt: skip
        assert second["owner"]["targetName"] == "kim"
        assert get(box, http, "people/kim/devices?limit=1&offset=1").json()["data"] == [second]
        assert get(box, http, "people/dba/devices").status_code == 404
        assert get(box, http, "people/kim/devices?x=1").status_code == 400

    def test_on_call_summary_is_a_bare_array_in_the_order_of_escalation(self, box: Box, http: requests.Session) -> None:
        summary = get(box, http, "on-call-summary?groups=dba,nope").json()
        assert [(each["recipient"]["targetName"], each["delay"], each["escalationLevel"]) for each in summary] == [
            ("kim", 0, 1), ("jo", 7, 2),
        ]  # fmt: skip
        assert summary[0]["group"]["name"] == "dba"
        assert summary[0]["shift"].keys() == {"id", "name"}
        assert get(box, http, "on-call-summary").status_code == 400
        assert get(box, http, "on-call-summary?groups=dba&limit=1").status_code == 400

    def test_on_call_follows_the_order_of_the_members(self, box: Box, http: requests.Session) -> None:
        [entry] = get(box, http, "on-call?groups=dba&membersPerShift=9").json()["data"]
        assert [each["member"]["targetName"] for each in entry["members"]["data"]] == ["kim", "jo"]

    @pytest.mark.parametrize(
        ("path", "names"),
        [
            ("people", ["kim", "jo", "away"]),
            ("people?limit=1&offset=1", ["jo"]),
            ("people?webLogin=KIM", ["kim"]),
            ("people?search=roe", ["jo"]),
            ("groups", ["dba"]),
            ("groups?search=x", []),
        ],
    )
    def test_people_and_groups_are_listed(self, box: Box, http: requests.Session, path: str, names: list[str]) -> None:
        assert [each["targetName"] for each in get(box, http, path).json()["data"]] == names

    def test_people_have_first_and_last_names(self, box: Box, http: requests.Session) -> None:
        person = get(box, http, "people/kim").json()
        assert (person["firstName"], person["lastName"]) == ("Kim", "Lee")


class Relay(ThreadingHTTPServer):
    """Server that keeps the bodies and a header of callbacks, and answers the next of `statuses`, else 202."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taker)
        self.bodies: list[bytes] = []
        self.authorizations: list[str | None] = []
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/xmatters/demo"


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        relay = self.server
        assert isinstance(relay, Relay)
        relay.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        relay.authorizations.append(self.headers["Authorization"])
        self.send_response(relay.statuses.pop(0) if relay.statuses else 202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def relay() -> Iterator[Relay]:
    """A running server that takes callbacks in place of the relay."""
    server = Relay()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def escalate_and_acknowledge(box: Box) -> None:
    """Post a signal, let kim escalate and jo acknowledge, and wait until the callbacks are sent."""
    signal(box)
    first = phones(box)["notifications"][-1]["id"]
    box.xmatters.notifier.answer(first, "Escalate", "in a tunnel")
    box.xmatters.notifier.answer(phones(box)["notifications"][-1]["id"], "Acknowledge")
    box.xmatters.callbacks.settle()


class TestCallbacks:
    @pytest.mark.parametrize("shape", ["flow", "legacy"])
    def test_relay_reads_all_callbacks_of_a_page(
        self, box: Box, http: requests.Session, relay: Relay, shape: str
    ) -> None:
        header = {"name": "Authorization", "value": "Bearer canary-token"}
        declared = control(box, "PUT", "phones/callbacks", {"url": relay.url, "header": header, "shape": shape})
        assert declared.json()["header"] == {"name": "Authorization", "value": "****"}
        escalate_and_acknowledge(box)
        said = [parse_callback(body) for body in relay.bodies]
        assert [(each.kind, (each.text or "").lower(), each.target) for each in said] == [
            (Kind.STATUS, "active", None),
            (Kind.DELIVERY, "delivered", "kim"),
            (Kind.RESPONSE, "escalate", "kim"),
            (Kind.DELIVERY, "delivered", "jo"),
            (Kind.RESPONSE, "acknowledge", "jo"),
            (Kind.STATUS, "terminated", None),
        ]
        assert {(each.incident_id, each.environment_id) for each in said} == {("i1", "e1")}
        assert said[2].note == "in a tunnel"
        assert said[4].note is None
        assert ResponseMeanings().is_acknowledgement(said[4])
        assert set(relay.authorizations) == {"Bearer canary-token"}
        logged = phones(box)["callbacks"]
        assert {(each["status"], each["page"]) for each in logged} == {(202, said[0].page_number)}
        assert "canary" not in json.dumps(phones(box))

    def test_all_kinds_are_sent_when_asked_for(self, box: Box, http: requests.Session, relay: Relay) -> None:
        kinds = ["annotation", "escalation", "failure"]
        for shape in ("flow", "legacy"):
            box.xmatters.callbacks.declare({"url": relay.url, "kinds": kinds, "shape": shape})
            signal(box, "jo,dba")
            page = box.events.all()[-1]
            box.xmatters.notifier.annotate(page, "looking", "kim")
            box.xmatters.clock.turn(800)
            box.xmatters.callbacks.settle()
            said = [parse_callback(body) for body in relay.bodies]
            assert [(each.kind, each.target, each.group) for each in said] == [
                (Kind.ANNOTATION, "kim", None), (Kind.ESCALATION, "kim", "dba"), (Kind.FAILURE, said[2].target, "dba"),
            ]  # fmt: skip
            relay.bodies.clear()

    def test_user_who_ends_the_page_is_told_in_the_legacy_shape(
        self, box: Box, http: requests.Session, relay: Relay
    ) -> None:
        box.xmatters.callbacks.declare({"url": relay.url, "shape": "legacy", "kinds": ["status"]})
        signal(box)
        page = box.events.all()[0]
        url = f"{box.xmatters_url}/api/xm/1/events"
        http.post(url, json={"id": page.id, "status": "TERMINATED"}, timeout=60)
        box.xmatters.callbacks.settle()
        body = json.loads(relay.bodies[-1])
        assert (body["status"], body["username"]) == ("terminated_external", "asker")
        assert body["eventProperties"] == [{"incident_id": "i1"}, {"environment_id": "e1"}, {"status": "critical"}]

    def test_callback_that_may_pass_is_sent_once_more(self, box: Box, http: requests.Session, relay: Relay) -> None:
        box.xmatters.callbacks.declare({"url": relay.url, "kinds": ["status"]})
        relay.statuses = [503]
        signal(box)
        box.xmatters.callbacks.settle()
        assert len(relay.bodies) == 2
        assert phones(box)["callbacks"][0]["text"].endswith("was taken (status 202), at the second attempt.")
        relay.statuses = [401]
        signal(box)
        box.xmatters.callbacks.settle()
        assert (len(relay.bodies), phones(box)["callbacks"][1]["status"]) == (3, 401)

    def test_relay_that_does_not_listen_is_logged(self, box: Box, http: requests.Session, relay: Relay) -> None:
        relay.shutdown()
        relay.server_close()
        box.xmatters.callbacks.declare({"url": relay.url, "kinds": ["status"]})
        signal(box)
        box.xmatters.callbacks.settle()
        [logged] = phones(box)["callbacks"]
        assert (logged["kind"], logged["status"]) == ("status", None)
        assert "got no answer" in logged["text"]

    @pytest.mark.parametrize(("kind", "sent"), [("reset", 0), ("slow", 1), ("accept_then_reset", 2)])
    def test_scripted_fault_loses_delays_or_doubles_a_callback(
        self, box: Box, http: requests.Session, relay: Relay, kind: str, sent: int
    ) -> None:
        box.xmatters.callbacks.declare({"url": relay.url, "kinds": ["status"]})
        box.script([{"kind": kind, "on": "callback"} | ({"seconds": 0.05} if kind == "slow" else {})])
        signal(box)
        box.xmatters.callbacks.settle()
        assert len(relay.bodies) == sent
        assert len(phones(box)["callbacks"]) == 1

    def test_trigger_has_callbacks_of_its_own(self, box: Box, http: requests.Session, relay: Relay) -> None:
        trigger = box.declare(URL)
        declaration = {"url": relay.url, "kinds": ["status"], "function": trigger.function.upper()}
        box.xmatters.callbacks.declare(declaration)
        signal(box)
        requests.post(trigger.url, json=OPEN, timeout=60)
        box.xmatters.callbacks.settle()
        assert len(relay.bodies) == 1
        box.xmatters.callbacks.declare(declaration | {"url": None})

    def test_page_without_an_incident_is_not_told_in_the_flow_shape(
        self, box: Box, http: requests.Session, relay: Relay
    ) -> None:
        box.xmatters.callbacks.declare({"url": relay.url, "kinds": ["status"]})
        signal(box, body={"status": "critical"})
        box.xmatters.callbacks.settle()
        assert relay.bodies == []
        assert "the page has no incident's id" in phones(box)["callbacks"][0]["text"]


def test_the_stand_in_as_a_process_rings_phones(tmp_path: Path) -> None:
    vendors = background.start(tmp_path / "box", ROOT)
    try:
        vendors.have_phones(PEOPLE, GROUPS)
        vendors.send_callbacks("http://127.0.0.1:1/xmatters/demo", ("Authorization", basic("a", "b")), "legacy")
        trigger = vendors.add_function("0e3a3c8e-0000-4000-8000-000000000001", "k")
        requests.post(f"{trigger}&recipients=dba", json=OPEN, timeout=60)
        [asked] = vendors.phones()["notifications"]
        assert vendors.answer(asked["id"], "Escalate")["state"] == "answered"
        vendors.turn_clock(60)
        vendors.end_page(vendors.phones()["pages"][0]["number"])
        assert vendors.phones()["pages"][0]["status"] == "TERMINATED"
        vendors.set_flow(mode="no_page", floods=True)
        assert vendors.phones()["flow"] == {"mode": "no_page", "floods": True}
        with pytest.raises(SandboxError):
            vendors.answer(99, "Acknowledge")
    finally:
        background.stop(tmp_path / "box")


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
