"""BigPanda's API in the sandbox over real sockets: its answers, its log of calls, and scripted faults."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from sandbox.server.in_process import Box, running

KEY = "BPU-canary-key"
BEARER = {"Authorization": f"Bearer {KEY}"}
INCIDENT = {"id": "i1", "status": "Critical", "active": True, "changed_at": 1_800_000_000, "folders": ["shared"]}


@pytest.fixture
def http(box: Box) -> Iterator[requests.Session]:
    """An HTTP session with a valid API key of the BigPanda stand-in. The stand-in has one incident."""
    box.bigpanda.let_in(KEY)
    box.bigpanda.declare_incidents("e1", [INCIDENT])
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(BEARER)
        yield session


def incident(box: Box, what: str, name: str = "i1") -> str:
    return f"{box.bigpanda.url}/resources/v2.0/environments/e1/incidents/{name}/{what}"


def details(box: Box, http: requests.Session) -> requests.Response:
    return http.get(incident(box, "").rstrip("/"), timeout=60)


def comment(box: Box, http: requests.Session, text: Any = "words", name: str = "i1") -> requests.Response:
    return http.post(incident(box, "comments", name), json={"comment": text}, timeout=60)


def activities(box: Box, http: requests.Session) -> requests.Response:
    return http.get(f"{box.bigpanda.url}/resources/v2.0/incidents/i1/activities", timeout=60)


def users(box: Box, http: requests.Session) -> requests.Response:
    return http.get(f"{box.bigpanda.url}/scim/v2/Users", timeout=60)


@pytest.mark.parametrize(("ask", "limit"), [(comment, 5), (details, 5), (users, 2)])
def test_paced_endpoint_takes_so_many_requests_a_second(ask: Any, limit: int) -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    with running(now=lambda: now[0], is_paced=True) as box, requests.Session() as session:
        session.headers.update(BEARER)
        box.bigpanda.let_in(KEY)
        box.bigpanda.declare_incidents("e1", [INCIDENT])
        statuses = [ask(box, session).status_code for _ in range(limit + 2)]
        assert [status == 429 for status in statuses] == [False] * limit + [True] * 2
        assert activities(box, session).status_code == 200
        now[0] += timedelta(seconds=1)
        assert ask(box, session).status_code < 300
