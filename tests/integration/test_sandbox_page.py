"""The sandbox's page over sockets: files, state, events, switches, and what other sites may not do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.cloud.deployment import StackFile
from sandbox.page.site import FILES, joining
from sandbox.server import background
from sandbox.server.in_process import Box, running

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def running_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """The stand-ins with the page, whose stack.json does not exist yet."""
    missing = tmp_path_factory.mktemp("local") / "stack.json"
    with running(joining=joining(StackFile(missing).find)) as box:
        yield box


class TestPage:
    @pytest.mark.parametrize("path", FILES)
    def test_files_come_with_a_strict_policy(self, box: Box, http: requests.Session, path: str) -> None:
        answer = http.get(f"{box.control_url}{path}", timeout=60)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith(FILES[path][1])
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy

    def test_events_send_the_state_at_once_and_after_a_change(self, box: Box, http: requests.Session) -> None:
        with http.get(f"{box.control_url}/page/events", stream=True, timeout=60) as answer:
            assert answer.headers["Content-Type"].startswith("text/event-stream")
            events = _events(answer)
            assert next(events)["faults"]["xmatters"] == "normal"
            http.put(f"{box.control_url}/page/faults", json={"xmatters": "rate_limited"}, timeout=60).raise_for_status()
            assert any(event["faults"]["xmatters"] == "rate_limited" for event in events)

    def test_server_stops_cleanly_with_a_page_connected(self, http: requests.Session, tmp_path: Path) -> None:
        vendors = background.start(tmp_path / "box", ROOT)
        with http.get(f"{vendors.control_url}/page/events", stream=True, timeout=60) as answer:
            next(_events(answer))
            assert background.stop(tmp_path / "box")
        assert (tmp_path / "box.log").read_text() == ""


class TestOtherSites:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "rebound.example"},
            {"Origin": "https://elsewhere.example"},
            {"Origin": "null"},
            {"Sec-Fetch-Site": "cross-site"},
        ],
    )
    def test_requests_of_other_sites_change_nothing_and_another_name_shows_nothing(
        self, box: Box, http: requests.Session, headers: dict[str, str]
    ) -> None:
        for method, path in (("PUT", "/faults"), ("POST", "/clock"), ("POST", "/page/replay")):
            answer = http.request(method, f"{box.control_url}{path}", data="[]", headers=headers, timeout=60)
            assert answer.status_code == 403
        seen = http.get(f"{box.control_url}/page/state", headers=headers, timeout=60)
        assert seen.status_code == (403 if "Host" in headers else 200)

    def test_own_page_and_programs_are_served(self, box: Box, http: requests.Session) -> None:
        own = {"Origin": box.control_url, "Sec-Fetch-Site": "same-origin"}
        for headers in ({}, own):
            answer = http.put(f"{box.control_url}/faults", json=[], headers=headers, timeout=60)
            assert answer.status_code == 200


def _events(answer: requests.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))
