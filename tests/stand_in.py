"""The tenant of tests of xMatters' stand-in: people, groups, credentials, and signals that make events."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from sandbox.server.in_process import Box

URL = {"type": "url", "api_key": "canary-url-key"}
BASIC = {"type": "basic", "username": "asker", "password": "canary-password"}
OAUTH = {"type": "oauth", "client_id": "client-1", "username": "asker", "password": "canary-password"}
API_KEY = {"type": "api_key", "key": "x-api-key-canary", "secret": "canary-secret"}
TENANT: dict[str, Any] = {
    "people": [
        {
            "name": "kim",
            "full_name": "Kim Lee",
            "email": "kim@acme.example",
            "devices": [
                {"name": "Work Email", "kind": "EMAIL"},
                {"name": "Mobile", "kind": "ANDROID_PUSH", "delay_seconds": 90},
                {"name": "Cell", "kind": "TEXT_PHONE"},
                {"name": "Home", "kind": "VOICE"},
            ],
        },
        {"name": "jo", "full_name": "Jo Roe"},
        {"name": "asker", "full_name": "Ann Asker"},
        {"name": "away", "status": "INACTIVE"},
    ],
    "groups": [
        {"name": "dba", "members": [{"name": "away"}, {"name": "kim"}, {"name": "jo", "after_seconds": 400}]},
        {"name": "Network, Ops", "members": [{"name": "jo"}]},
        {"name": "empty"},
    ],
}


@contextmanager
def session(**headers: str) -> Iterator[requests.Session]:
    """Open an HTTP session that ignores the environment's proxies, and shows these headers."""
    with requests.Session() as opened:
        opened.trust_env = False
        opened.headers.update(headers)
        yield opened


def signal(box: Box, incident: str = "i1", recipients: str = "dba") -> str:
    """Post a signal for an incident, and return its request id."""
    body = {
        "incident": {"id": incident, "status": "critical", "title": "Database is down"},
        "metadata": {"environment_id": "e1"},
    }
    with session() as http:
        url = f"{box.declare(URL).url}&recipients={recipients}"
        answer = http.post(url, json=body, verify=str(box.xmatters_authority or ""), timeout=60)
    return str(answer.json()["requestId"])


def acknowledge(box: Box, comment: str | None = None) -> None:
    """Answer the newest notification with Acknowledge."""
    newest = box.xmatters.notifier.notifications.newest(1)[0]
    box.xmatters.notifier.answer(newest.id, "Acknowledge", comment)
