"""xMatters' people and groups in the sandbox over real sockets: lists, on-call, and authorization."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.http.schema import InvalidError
from sandbox.server import background
from sandbox.server.in_process import Box

ROOT = Path(__file__).parents[2]
BASIC = {"type": "basic", "username": "asker", "password": "canary-password"}
PEOPLE = [{"targetName": "jdoe"}, {"targetName": "Zoë K/1"}, {"targetName": "gone", "status": "INACTIVE"}]
GROUPS: list[dict[str, Any]] = [
    {"targetName": "Network, Ops", "onCall": ["jdoe", "gone", "Zoë K/1"]},
    {"targetName": "Asleep"},
    {"targetName": "Closed", "status": "INACTIVE"},
]


@pytest.fixture
def http(box: Box) -> Iterator[requests.Session]:
    """An HTTP session with credentials that xMatters' REST API accepts."""
    box.events.declare(BASIC)
    box.directory.declare(PEOPLE, GROUPS)
    with requests.Session() as session:
        session.trust_env = False
        session.auth = (BASIC["username"], BASIC["password"])
        yield session
    box.directory.declare()


def get(box: Box, http: requests.Session, path: str) -> requests.Response:
    return http.get(f"{box.xmatters_url}/api/xm/1/{path}", timeout=60)


class TestOne:
    def test_a_person_is_found_by_name_and_by_uuid(self, box: Box, http: requests.Session) -> None:
        found = get(box, http, "people/Zo%C3%AB%20K%2F1").json()
        assert (found["targetName"], found["recipientType"], found["status"]) == ("Zoë K/1", "PERSON", "ACTIVE")
        assert get(box, http, f"people/{found['id']}").json() == found
        assert found["links"] == {"self": f"/api/xm/1/people/{found['id']}"}

    def test_a_group_is_no_person_and_the_other_way_round(self, box: Box, http: requests.Session) -> None:
        assert get(box, http, "groups/Closed").json()["status"] == "INACTIVE"
        for path in ("people/Closed", "groups/jdoe", "people/nope"):
            answer = get(box, http, path)
            assert (answer.status_code, answer.json()["code"]) == (404, 404)


class TestOnCall:
    def test_active_members_of_the_groups_that_were_asked_for(self, box: Box, http: requests.Session) -> None:
        page = get(box, http, "on-call?groups=Network%2C%20Ops,Asleep,nope&membersPerShift=10").json()
        [entry] = page["data"]
        assert (page["count"], page["total"]) == (1, 1)
        assert entry["group"]["targetName"] == "Network, Ops"
        assert [each["member"]["targetName"] for each in entry["members"]["data"]] == ["jdoe", "Zoë K/1"]
        assert {"shift", "start", "end"} < entry.keys()

    def test_shift_lists_one_member_by_default_and_counts_those_that_it_lists(
        self, box: Box, http: requests.Session
    ) -> None:
        [entry] = get(box, http, "on-call?groups=Network%2C+Ops").json()["data"]
        assert (entry["members"]["count"], entry["members"]["total"]) == (1, 1)

    def test_links_of_on_call_keep_commas_between_names_and_inside_of_names_apart(
        self, box: Box, http: requests.Session
    ) -> None:
        path = "on-call?groups=Network%2C%20Ops,Network%2C%20Ops&limit=1&from=2026-03-04T14:00:00.000Z"
        page = get(box, http, path).json()
        assert "groups=Network%2C%20Ops,Network%2C%20Ops&" in page["links"]["self"]
        assert get(box, http, page["links"]["self"].removeprefix("/api/xm/1/")).json()["total"] == 1

    @pytest.mark.parametrize(
        "query",
        [
            "",
            "groups=",
            "groups=a&membersPerShift=0",
            "groups=a&membersPerShift=101",
            "groups=a&x=1",
            "groups=a&at=now",
        ],
    )
    def test_what_can_not_be_asked_is_400(self, box: Box, http: requests.Session, query: str) -> None:
        assert get(box, http, f"on-call?{query}").status_code == 400


class TestWhoAndHow:
    @pytest.mark.parametrize("path", ["people/jdoe", "groups/Asleep", "on-call?groups=Asleep"])
    def test_nobody_without_credentials_is_told(self, box: Box, http: requests.Session, path: str) -> None:
        http.auth = ("asker", "wrong")
        assert get(box, http, path).status_code == 401

    def test_every_question_is_written_down_with_its_fault(self, box: Box, http: requests.Session) -> None:
        box.script([{"kind": "status", "status": 429, "on": "group"}])
        for path in ("people/jdoe", "groups/a", "on-call?groups=a,b"):
            get(box, http, path)
        asked = [(each.route, list(each.names), each.status, each.fault) for each in box.directory.calls.all()]
        assert asked == [
            ("person", ["jdoe"], 200, None),
            ("group", ["a"], 429, "status"),
            ("on_call", ["a", "b"], 200, None),
        ]

    @pytest.mark.parametrize(
        ("people", "groups", "names"),
        [
            ({}, [], "people must be a list"),
            ([{"status": "ACTIVE"}], [], "people\\[0\\]"),
            ([{"targetName": "a", "status": "AWAY"}], [], "people\\[0\\].status"),
            ([], [{"targetName": "a", "onCall": [1]}], "groups\\[0\\].onCall"),
        ],
    )
    def test_what_can_not_be_declared_changes_nothing(
        self, box: Box, http: requests.Session, people: Any, groups: Any, names: str
    ) -> None:
        with pytest.raises(InvalidError, match=names):
            box.directory.declare(people, groups)
        assert get(box, http, "people/jdoe").status_code == 200

    def test_it_is_declared_and_read_from_outside_too(self, box: Box, http: requests.Session) -> None:
        with requests.Session() as outside:
            outside.trust_env = False
            wrong = outside.put(f"{box.control_url}/directory", json={"people": 1}, timeout=60)
            assert (wrong.status_code, wrong.json()) == (400, {"error": "people must be a list"})
            declared = {"people": [{"targetName": "new"}]}
            answer = outside.put(f"{box.control_url}/directory", json=declared, timeout=60).json()
            assert answer == {"people": [{"targetName": "new", "status": "ACTIVE"}], "groups": []}
            assert get(box, http, "people/new").status_code == 200
            calls = outside.get(f"{box.control_url}/directory/calls", timeout=60).json()["calls"]
            assert [(each["route"], each["names"]) for each in calls] == [("person", ["new"])]


def test_the_stand_in_as_a_process_has_whom_it_is_told_to(tmp_path: Path) -> None:
    started = background.start(tmp_path / "box", ROOT)
    try:
        started.let_into_rest(BASIC)
        started.have([{"targetName": "jdoe"}], [{"targetName": "Ops", "onCall": ["jdoe"]}])
        with requests.Session() as session:
            session.trust_env = False
            session.auth = (BASIC["username"], BASIC["password"])
            url = f"{started.xmatters_url}/api/xm/1/on-call?groups=Ops"
            assert session.get(url, timeout=60).json()["data"][0]["members"]["total"] == 1
    finally:
        background.stop(tmp_path / "box")
