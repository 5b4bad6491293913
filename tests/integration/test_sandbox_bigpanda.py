"""The BigPanda stand-in over real sockets: its answers, its records of calls, and scripted faults."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.bigpanda.api import LIMITS
from sandbox.bigpanda.users import USERS
from sandbox.server.in_process import Box, running

KEY = "BPU-canary-key"
APP = "app-canary-key"
BEARER = {"Authorization": f"Bearer {KEY}"}
JANE, EMMA = (user["id"] for user in USERS)
NOW = 1_800_000_000


@pytest.fixture
def http(box: Box) -> Iterator[requests.Session]:
    """An HTTP session with a valid API key of the BigPanda stand-in. The stand-in has one incident."""
    box.bigpanda.let_in(KEY)
    box.bigpanda.let_app_in(APP)
    box.bigpanda.declare_incidents("e1", [declared()])
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(BEARER)
        yield session


def incident(box: Box, what: str, name: str = "i1", environment: str = "e1") -> str:
    return f"{box.bigpanda.url}/resources/v2.0/environments/{environment}/incidents/{name}/{what}"


def declared(
    name: str = "i1", changed_at: int = NOW, folders: Sequence[str] = ("shared",), **more: Any
) -> dict[str, Any]:
    """Return an incident in the form in which a test gives it to the stand-in; `more` replaces members."""
    plain = {"id": name, "status": "Critical", "active": True, "changed_at": changed_at, "folders": list(folders)}
    return plain | more


def search(box: Box, http: requests.Session, environment: str = "e1", **query: Any) -> requests.Response:
    url = f"{box.bigpanda.url}/resources/v2.0/environments/{environment}/incidents"
    return http.get(url, params=query, timeout=60)


def details(
    box: Box, http: requests.Session, name: str = "i1", environment: str = "e1", **query: Any
) -> requests.Response:
    return http.get(incident(box, "", name, environment).rstrip("/"), params=query, timeout=60)


def comment(box: Box, http: requests.Session, text: Any = "words", name: str = "i1") -> requests.Response:
    return http.post(incident(box, "comments", name), json={"comment": text}, timeout=60)


def assign(box: Box, http: requests.Session, user: Any = JANE) -> requests.Response:
    return http.put(incident(box, "assignment"), json={"assignee": user}, timeout=60)


def activities(box: Box, http: requests.Session, name: str = "i1", **query: Any) -> requests.Response:
    url = f"{box.bigpanda.url}/resources/v2.0/incidents/{name}/activities"
    return http.get(url, params=query, timeout=60)


def users(box: Box, http: requests.Session, filter_: str | None = None) -> requests.Response:
    return http.get(f"{box.bigpanda.url}/scim/v2/Users", params={"filter": filter_}, timeout=60)


def release(box: Box, http: requests.Session, name: str = "i1", **members: Any) -> requests.Response:
    told = {"event_type": "incident#new", "incident_id": name, "app_key": APP} | members
    return http.post(f"{box.bigpanda.url}/resources/v2.1/outbound/callback", json=told, timeout=60)


ROUTES: dict[str, Callable[[Box, requests.Session], requests.Response]] = {
    "incidents": search,
    "incident": details,
    "comment": comment,
    "assignment": assign,
    "activities": activities,
    "users": users,
    "release": release,
}


def ids(answer: requests.Response) -> list[str]:
    assert answer.status_code == 200
    return [each["id"] for each in answer.json()["items"]]


class TestSearch:
    def test_an_incident_is_an_object_of_api_v2(self, box: Box, http: requests.Session) -> None:
        box.bigpanda.declare_incidents("e1", [declared(updated_at=NOW + 5, end=None)])
        assert search(box, http).json() == {
            "total": 1,
            "items": [
                {
                    "id": "i1", "status": "Critical", "active": True, "severity": "Critical", "flapping": False,
                    "shared": True, "snooze": {"snoozed": False}, "maintenance": None, "start": NOW, "changed_at": NOW,
                    "updated_at": NOW + 5, "end": None, "alerts": [], "environments": ["e1"], "folders": ["shared"],
                    "incident_tags": [], "assignee": None, "assigner": None, "correlation_matchers_log": [],
                }
            ],
        }  # fmt: skip

    def test_what_changed_last_comes_first_a_page_at_a_time(self, box: Box, http: requests.Session) -> None:
        changes = [3, 1, 5, 2, 4]
        box.bigpanda.declare_incidents("e1", [declared(f"i{each}", NOW + each) for each in changes])
        pages = [search(box, http, page=page, page_size=2) for page in (1, 2, 3, 4)]
        assert [ids(page) for page in pages] == [["i5", "i4"], ["i3", "i2"], ["i1"], []]
        assert {page.json()["total"] for page in pages} == {5}

    def test_a_page_has_ten_unless_asked(self, box: Box, http: requests.Session) -> None:
        box.bigpanda.declare_incidents("e1", [declared(f"i{number}") for number in range(150)])
        assert len(ids(search(box, http))) == 10
        assert len(ids(search(box, http, page_size=100))) == 100

    def test_a_folder_holds_what_says_so(self, box: Box, http: requests.Session) -> None:
        box.bigpanda.declare_incidents(
            "e1",
            [
                declared("open", NOW + 3, ["active", "shared"]),
                declared("over", NOW + 2, ["resolved", "shared"], active=False),
                declared("asleep", NOW + 1, ["snoozed"]),
                declared("nowhere", NOW, []),
            ],
        )
        wanted = {
            "shared": ["open", "over"],
            "active": ["open"],
            "resolved": ["over"],
            "snoozed": ["asleep"],
            "maintenance": [],
            "unhandled": [],
            "assigned": [],
        }
        assert {folder: ids(search(box, http, folder=folder)) for folder in wanted} == wanted
        assert ids(search(box, http)) == ["open", "over", "asleep", "nowhere"]

    def test_alerts_are_told_whole_when_asked(self, box: Box, http: requests.Session) -> None:
        alerts = [{"alert_id": "a1", "status": "Critical", "tags": [{"name": "host", "value": "db1"}]}]
        box.bigpanda.declare_incidents("e1", [declared(alerts=alerts)])
        for query, told in (({}, [{"alert_id": "a1"}]), ({"expand": "alerts"}, alerts)):
            assert search(box, http, **query).json()["items"][0]["alerts"] == told
            assert details(box, http, **query).json()["alerts"] == told

    def test_with_alerts_a_page_has_ten_at_most(self, box: Box, http: requests.Session) -> None:
        assert search(box, http, expand="alerts", page_size=10).status_code == 200
        refused = search(box, http, expand="alerts", page_size=11)
        assert (refused.status_code, refused.json()["status"]) == (400, 400)
        assert "page_size" in refused.json()["errors"][0]

    @pytest.mark.parametrize(
        "query", [{"folder": "shred"}, {"folder": ""}, {"page": 0}, {"page_size": "x"}, {"expand": "tags"}]
    )
    def test_what_it_does_not_know_is_400(self, box: Box, http: requests.Session, query: dict[str, Any]) -> None:
        answer = search(box, http, **query)
        assert answer.status_code == 400
        assert next(iter(query)) in answer.json()["errors"][0]

    def test_a_query_is_written_down_and_not_interpreted(self, box: Box, http: requests.Session) -> None:
        assert ids(search(box, http, query='host = "db1"')) == ["i1"]
        [call] = box.bigpanda.calls.all()
        assert (call.route, call.environment_id, call.incident_id) == ("incidents", "e1", None)
        assert call.query == {"query": 'host = "db1"'}

    def test_environments_are_told_apart_and_an_unknown_one_is_404(self, box: Box, http: requests.Session) -> None:
        box.bigpanda.declare_incidents("e/2", [declared("other")])
        box.bigpanda.declare_incidents("empty", [])
        assert ids(search(box, http, "e%2F2")) == ["other"]
        assert ids(search(box, http)) == ["i1"]
        assert ids(search(box, http, "empty")) == []
        unknown = search(box, http, "e9")
        assert (unknown.status_code, unknown.json()["status"]) == (404, 404)

    def test_one_incident_is_shown_by_its_id(self, box: Box, http: requests.Session) -> None:
        box.bigpanda.declare_incidents("e1", [declared("a/b"), declared("i1")])
        assert details(box, http, "a%2Fb").json()["id"] == "a/b"
        assert [each.incident_id for each in box.bigpanda.calls.all()] == ["a/b"]

    @pytest.mark.parametrize(("name", "environment"), [("i2", "e1"), ("i1", "e9")])
    def test_one_that_is_not_there_is_404(self, box: Box, http: requests.Session, name: str, environment: str) -> None:
        answer = details(box, http, name, environment)
        assert (answer.status_code, answer.json()["status"]) == (404, 404)
        assert details(box, http, expand="tags").status_code == 400

    def test_what_was_declared_outlives_what_was_asked(self, box: Box, http: requests.Session) -> None:
        search(box, http)
        box.clear()
        assert box.bigpanda.calls.all() == []
        assert ids(search(box, http)) == ["i1"]


class TestIncidents:
    def test_a_comment_is_204_without_a_body_and_stands_there(self, box: Box, http: requests.Session) -> None:
        before = datetime.now(UTC)
        answer = comment(box, http, "Jane acknowledged", "a%2Fb")
        assert (answer.status_code, answer.content) == (204, b"")
        [kept] = box.bigpanda.comments()
        assert (kept.environment_id, kept.incident_id) == ("e1", "a/b")
        assert (kept.document, kept.status, kept.fault) == ({"comment": "Jane acknowledged"}, 204, None)
        assert before <= kept.received_at <= datetime.now(UTC)

    def test_a_comment_that_is_written_twice_is_two(self, box: Box, http: requests.Session) -> None:
        for _ in range(2):
            comment(box, http)
        assert len(box.bigpanda.comments()) == 2
        assert len(activities(box, http).json()) == 2

    def test_an_assignment_is_204_and_kept(self, box: Box, http: requests.Session) -> None:
        answer = assign(box, http, EMMA)
        assert (answer.status_code, answer.content) == (204, b"")
        assert [each.document for each in box.bigpanda.assignments()] == [{"assignee": EMMA}]

    @pytest.mark.parametrize("document", [{}, {"comment": ""}, {"comment": 5}, [], "words"])
    def test_a_comment_without_text_is_400(self, box: Box, http: requests.Session, document: Any) -> None:
        answer = http.post(incident(box, "comments"), json=document, timeout=60)
        assert (answer.status_code, answer.json()["status"]) == (400, 400)
        assert box.bigpanda.comments() == []

    @pytest.mark.parametrize("user", ["nobody", None, 5])
    def test_an_assignee_whom_nobody_knows_is_400(self, box: Box, http: requests.Session, user: Any) -> None:
        assert assign(box, http, user).status_code == 400
        assert box.bigpanda.assignments() == []

    def test_other_methods_and_paths_are_refused(self, box: Box, http: requests.Session) -> None:
        assert http.get(incident(box, "comments"), timeout=60).status_code == 405
        assert http.post(incident(box, "merge"), timeout=60).status_code == 404
        assert box.bigpanda.calls.all() == []


class TestReleases:
    def test_a_release_is_200_and_kept_without_the_app_key(self, box: Box, http: requests.Session) -> None:
        answer = release(box, http, "a/b")
        assert (answer.status_code, answer.json()) == (200, {"status": 200})
        [kept] = box.bigpanda.releases()
        assert (kept.route, kept.environment_id, kept.incident_id) == ("release", None, "a/b")
        assert kept.document == {"event_type": "incident#new", "incident_id": "a/b", "app_key": "****"}

    @pytest.mark.parametrize("name", ["event_type", "incident_id", "app_key"])
    @pytest.mark.parametrize("value", [None, "", 5])
    def test_without_one_of_its_texts_it_is_400(self, box: Box, http: requests.Session, name: str, value: Any) -> None:
        answer = release(box, http, **{name: value})
        assert (answer.status_code, answer.json()["status"]) == (400, 400)
        assert name in answer.json()["errors"][0]
        assert box.bigpanda.releases() == []

    def test_an_app_that_nobody_knows_is_403(self, box: Box, http: requests.Session) -> None:
        for app in ("another", KEY):
            answer = release(box, http, app_key=app)
            assert (answer.status_code, answer.json()["status"]) == (403, 403)
        assert box.bigpanda.releases() == []
        box.bigpanda.let_app_in("another")
        assert release(box, http, app_key="another").status_code == 200

    def test_it_is_no_activity(self, box: Box, http: requests.Session) -> None:
        release(box, http)
        assert activities(box, http).json() == []


class TestActivities:
    def test_the_newest_come_first_a_page_at_a_time(self, box: Box, http: requests.Session) -> None:
        for number in range(5):
            comment(box, http, f"c{number}")
        comment(box, http, "of another", "i2")
        pages = [activities(box, http, page=page, per_page=2).json() for page in (1, 2, 3, 4)]
        texts = [[each["params"]["comment"] for each in page] for page in pages]
        assert texts == [["c4", "c3"], ["c2", "c1"], ["c0"], []]

    def test_a_page_has_twenty_unless_asked(self, box: Box, http: requests.Session) -> None:
        for number in range(21):
            comment(box, http, f"c{number}")
        assert len(activities(box, http).json()) == 20

    @pytest.mark.parametrize(
        ("types", "found"),
        [
            (None, ["incident_assigned", "incident_commented"]),
            ("incident_commented", ["incident_commented"]),
            ("incident_assigned,incident_commented", ["incident_assigned", "incident_commented"]),
            ("incident_snoozed", []),
        ],
    )
    def test_they_are_of_the_types_that_are_wanted(
        self, box: Box, http: requests.Session, types: str | None, found: list[str]
    ) -> None:
        comment(box, http)
        assign(box, http)
        assert [each["type"] for each in activities(box, http, types=types).json()] == found

    @pytest.mark.parametrize("query", [{"page": 0}, {"page": "x"}, {"per_page": -1}])
    def test_a_page_that_is_none_is_400(self, box: Box, http: requests.Session, query: dict[str, Any]) -> None:
        answer = activities(box, http, **query)
        assert answer.status_code == 400
        assert next(iter(query)) in answer.json()["errors"][0]


class TestUsers:
    @pytest.mark.parametrize(
        ("filter_", "ids"),
        [
            (None, [JANE, EMMA]),
            ('userName eq "jdoe@acme.example"', [JANE]),
            ('USERNAME eq "JDOE@ACME.EXAMPLE"', [JANE]),
            ('emails.value eq "jane.doe@acme.example"', [JANE]),
            ('userName eq "x" or emails.value eq "epearson@acme.example"', [EMMA]),
            ('userName eq "jdoe"', []),
            ('userName eq "a\\" or id pr"', []),
        ],
    )
    def test_a_filter_finds_by_user_name_and_address(
        self, box: Box, http: requests.Session, filter_: str | None, ids: list[str]
    ) -> None:
        answer = users(box, http, filter_)
        assert answer.status_code == 200
        assert [user["id"] for user in answer.json()["Resources"]] == ids
        assert answer.json()["totalResults"] == len(ids)

    @pytest.mark.parametrize(
        "filter_", ["", "jdoe", 'userName eq "x" or ', 'userName co "x"', 'userName eq "\\x"', 'id eq "x"']
    )
    def test_any_other_filter_is_400(self, box: Box, http: requests.Session, filter_: str) -> None:
        assert users(box, http, filter_).status_code == 400


class TestKeys:
    @pytest.mark.parametrize("shown", [None, "Bearer wrong", f"Basic {KEY}", KEY, "Bearer "])
    def test_whoever_has_none_is_401_and_changes_nothing(
        self, box: Box, http: requests.Session, shown: str | None
    ) -> None:
        http.headers["Authorization"] = shown or ""
        answers = [ask(box, http) for ask in ROUTES.values()]
        assert [(each.status_code, each.json()["status"]) for each in answers] == [(401, 401)] * len(ROUTES)
        assert [each.accepted for each in box.bigpanda.calls.all()] == [False] * len(ROUTES)

    def test_several_keys_are_let_in(self, box: Box, http: requests.Session) -> None:
        box.bigpanda.let_in("another")
        assert comment(box, http).status_code == 204
        http.headers["Authorization"] = "bearer another"
        assert comment(box, http).status_code == 204

    def test_no_key_is_kept_or_shown(self, box: Box, http: requests.Session) -> None:
        comment(box, http)
        assign(box, http)
        release(box, http)
        shown = [
            http.get(f"{box.control_url}/bigpanda{path}", timeout=60).text
            for path in ("", "/calls", "/comments", "/assignments", "/releases")
        ]
        assert "words" in shown[1]
        assert "incident#new" in shown[4]
        assert "canary" not in "".join(shown)


class TestPace:
    @pytest.mark.parametrize(("route", "ask"), ROUTES.items())
    def test_each_endpoint_takes_so_many_a_second(self, route: str, ask: Any) -> None:
        now = [datetime(2030, 1, 1, tzinfo=UTC)]
        with running(now=lambda: now[0], is_paced=True) as box, requests.Session() as session:
            session.headers.update(BEARER)
            box.bigpanda.let_in(KEY)
            box.bigpanda.let_app_in(APP)
            box.bigpanda.declare_incidents("e1", [declared()])
            statuses = [ask(box, session).status_code for _ in range(LIMITS[route] + 2)]
            assert [status == 429 for status in statuses] == [False] * LIMITS[route] + [True] * 2
            now[0] += timedelta(seconds=1)
            assert ask(box, session).status_code < 300
            other = users if route != "users" else activities
            assert other(box, session).status_code == 200

    def test_nobody_is_refused_unless_that_is_asked_for(self, box: Box, http: requests.Session) -> None:
        assert {comment(box, http).status_code for _ in range(20)} == {204}


class TestFaults:
    @pytest.mark.parametrize(("route", "ask"), ROUTES.items())
    def test_each_route_meets_its_own(self, box: Box, http: requests.Session, route: str, ask: Any) -> None:
        box.script([{"kind": "status", "status": 409, "on": route}, {"kind": "html", "status": 502, "on": route}])
        others = [each for each in ROUTES.values() if each is not ask]
        assert all(other(box, http).status_code < 300 for other in others)
        first, second, third = (ask(box, http) for _ in range(3))
        assert (first.status_code, first.json()) == (409, {"status": 409, "errors": [first.json()["errors"][0]]})
        assert (second.status_code, second.headers["Content-Type"]) == (502, "text/html;charset=utf-8")
        assert third.status_code < 300
        tries = [(each.accepted, each.fault) for each in box.bigpanda.calls.all() if each.route == route]
        assert tries == [(False, "status"), (False, "html"), (True, None)]

    @pytest.mark.parametrize(("kind", "written"), [("reset", 0), ("accept_then_reset", 1)])
    def test_a_reset_comes_before_any_answer(self, box: Box, http: requests.Session, kind: str, written: int) -> None:
        box.script([{"kind": kind, "on": "comment"}])
        with pytest.raises(requests.ConnectionError, match="reset by peer"):
            comment(box, http)
        assert len(box.bigpanda.comments()) == written
        assert len(activities(box, http).json()) == written
        assert box.bigpanda.calls.all()[0].status is None

    def test_a_slow_answer_does_not_come_before_its_time(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "slow", "seconds": 600, "on": "comment"}])
        with pytest.raises(requests.ReadTimeout):
            http.post(incident(box, "comments"), json={"comment": "late"}, timeout=(60, 0.2))

    @pytest.mark.parametrize(("accept", "status", "written"), [(True, 204, 1), (False, 504, 0)])
    def test_a_slow_answer_comes_in_the_end(
        self, box: Box, http: requests.Session, accept: bool, status: int, written: int
    ) -> None:
        box.script([{"kind": "slow", "seconds": 0.05, "accept": accept, "on": "comment"}])
        answer = comment(box, http)
        assert (answer.status_code, len(box.bigpanda.comments())) == (status, written)

    def test_a_fault_does_not_let_a_wrong_key_in(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "truncated_json", "on": "comment"}])
        http.headers["Authorization"] = "Bearer wrong"
        assert comment(box, http).status_code == 401
        assert box.bigpanda.comments() == []

    def test_xmatters_goes_on_as_before(self, box: Box, http: requests.Session) -> None:
        trigger = box.declare({"type": "url", "api_key": "k"})
        box.script([{"kind": "reset", "on": "comment"}])
        assert requests.post(trigger.url, timeout=60).status_code == 202


class TestControl:
    def test_it_says_where_bigpanda_is(self, box: Box, http: requests.Session) -> None:
        assert http.get(f"{box.control_url}/bigpanda", timeout=60).json() == {"bigpanda_url": box.bigpanda.url}

    def test_what_was_written_is_listed_filtered_and_forgotten(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "status", "status": 404, "on": "comment"}])
        comment(box, http, "refused")
        comment(box, http, "one")
        comment(box, http, "other", "i2")
        assign(box, http)
        release(box, http)
        release(box, http, "i2")

        def listed(what: str, **query: str) -> list[dict[str, Any]]:
            url = f"{box.control_url}/bigpanda/{what}"
            found: list[dict[str, Any]] = http.get(url, params=query, timeout=60).json()[what]
            return found

        assert [each["document"]["comment"] for each in listed("comments")] == ["one", "other"]
        assert [each["document"]["comment"] for each in listed("comments", incident_id="i2")] == ["other"]
        assert [each["document"] for each in listed("assignments", incident_id="i1")] == [{"assignee": JANE}]
        assert listed("assignments", incident_id="i2") == []
        assert [each["document"]["incident_id"] for each in listed("releases")] == ["i1", "i2"]
        assert [each["index"] for each in listed("releases", incident_id="i2")] == [listed("calls")[-1]["index"]]
        calls = listed("calls")
        assert [each["index"] - calls[0]["index"] for each in calls] == [0, 1, 2, 3, 4, 5]
        assert calls[0] | {"index": 0, "received_at": ""} == {
            "index": 0, "received_at": "", "route": "comment", "environment_id": "e1", "incident_id": "i1", "query": {},
            "document": {"comment": "refused"}, "status": 404, "accepted": False, "fault": "status",
        }  # fmt: skip

        assert http.delete(f"{box.control_url}/bigpanda/calls", timeout=60).json() == {"calls": []}
        assert (listed("comments"), activities(box, http).json()) == ([], [])

    def test_keys_and_users_are_declared(self) -> None:
        user = {"id": "u9", "userName": "new@acme.example"}
        with running() as box, requests.Session() as session:
            session.headers.update(BEARER)
            assert comment(box, session).status_code == 401
            session.put(f"{box.control_url}/bigpanda/keys", json={"api_key": KEY}, timeout=60)
            assert comment(box, session).status_code == 204
            assert release(box, session).status_code == 403
            session.put(f"{box.control_url}/bigpanda/apps", json={"app_key": APP}, timeout=60)
            assert release(box, session).status_code == 200
            url = f"{box.control_url}/bigpanda/users"
            assert len(session.get(url, timeout=60).json()["users"]) == len(USERS)
            assert session.put(url, json={"users": [user]}, timeout=60).json() == {"users": [user | {"emails": []}]}
            assert assign(box, session, "u9").status_code == 204
            assert assign(box, session, JANE).status_code == 400

    def test_incidents_are_declared(self, box: Box, http: requests.Session) -> None:
        url, wanted = f"{box.control_url}/bigpanda/incidents", {"environment_id": "e5", "incidents": [declared("i5")]}
        shown = http.put(url, json=wanted, timeout=60).json()["incidents"]
        assert shown == http.get(url, timeout=60).json()["incidents"]
        assert [each["id"] for each in shown["e5"]] == ids(search(box, http, "e5")) == ["i5"]
        http.put(url, json=wanted | {"incidents": []}, timeout=60)
        assert ids(search(box, http, "e5")) == []

    @pytest.mark.parametrize(
        ("path", "content", "message"),
        [
            ("incidents", {"incidents": []}, "document must contain"),
            ("incidents", {"environment_id": "e1", "incidents": {}}, "document.incidents must be array"),
            ("incidents", {"environment_id": "e1", "incidents": [{"id": "i1"}]}, "incidents[0] must contain"),
            ("incidents", {"environment_id": "e1", "incidents": [declared(folders=["x"])]}, "incidents[0].folders[0]"),
            ("incidents", {"environment_id": "e1", "incidents": [declared(status="bad")]}, "incidents[0].status"),
            ("incidents", {"environment_id": "e1", "incidents": [declared(changed_on=5)]}, "incidents[0] must not"),
            ("incidents", {"environment_id": "e1", "incidents": [declared(alerts=["a"])]}, "incidents[0].alerts[0]"),
            ("incidents", {"environment_id": "e1", "incidents": [declared(snooze={})]}, "incidents[0].snooze"),
            ("keys", {}, "key must contain ['api_key']"),
            ("keys", {"api_key": ""}, "key.api_key must be longer"),
            ("apps", {"api_key": "a"}, "app must contain ['app_key']"),
            ("users", {"users": {}}, "document.users must be array"),
            ("users", {"users": [{"id": "u1"}]}, "users[0] must contain"),
            ("users", {"users": [{"id": "u1", "userName": "x", "emails": ["x"]}]}, "users[0].emails[0] must be object"),
        ],
    )
    def test_what_can_not_be_used_names_the_key_and_changes_nothing(
        self, box: Box, http: requests.Session, path: str, content: Any, message: str
    ) -> None:
        answer = http.put(f"{box.control_url}/bigpanda/{path}", json=content, timeout=60)
        assert answer.status_code == 400
        assert message in answer.json()["error"]
        assert len(box.bigpanda.users()) == len(USERS)
        assert [each["id"] for each in box.bigpanda.incidents()["e1"]] == ["i1"]
