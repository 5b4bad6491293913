"""The tenant of these tests: people, groups, credentials, and signals that make events."""

from typing import Any

import requests

from sandbox.server.in_process import Box

URL = {"type": "url", "api_key": "canary-url-key"}
BASIC = {"type": "basic", "username": "asker", "password": "canary-password"}
OAUTH = {"type": "oauth", "client_id": "client-1", "username": "asker", "password": "canary-password"}
API_KEY = {"type": "api_key", "key": "x-api-key-canary", "secret": "canary-secret"}
TENANT_OF_TESTS: dict[str, Any] = {
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
    ],
}


def signal(box: Box, incident: str = "i1", recipients: str = "dba") -> str:
    body = {
        "incident": {"id": incident, "status": "critical", "title": "Database is down"},
        "metadata": {"environment_id": "e1"},
    }
    with requests.Session() as session:
        session.trust_env = False
        url = f"{box.declare(URL).url}&recipients={recipients}"
        answer = session.post(url, json=body, verify=str(box.xmatters_authority), timeout=60)
    return str(answer.json()["requestId"])


def acknowledge(box: Box, comment: str | None = None) -> None:
    """Answer the newest notification with Acknowledge."""
    newest = box.xmatters.notifier.notifications.newest(1)[0]
    box.xmatters.notifier.answer(newest.id, "Acknowledge", comment)
