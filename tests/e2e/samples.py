"""The sample shares in `events/`, which are written as API Gateway's events, turned into POST requests."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests

from sandbox.errors import SandboxError

# The relay answers within 8 seconds, and the local cloud may have to start its function first.
ANSWER_SECONDS = 60.0


@dataclass(frozen=True)
class Sample:
    """One POST of a share: path, query, headers and body; `name` is that of its file."""

    name: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def incident_id(self) -> str:
        """The incident's id; "" if the body has none."""
        found = self.incident.get("id") or self.incident.get("incident_id")
        return str(found or "")

    @property
    def status(self) -> str:
        """The incident's status as spelled in the body; "" if the body has none."""
        return str(self.incident.get("status") or "")

    @property
    def incident(self) -> Mapping[str, Any]:
        """The incident in the body, under the key `incident` or as the whole body; empty if there is none."""
        try:
            body = json.loads(self.body)
        except ValueError:
            return {}
        incident = body.get("incident", body) if isinstance(body, dict) else {}
        return incident if isinstance(incident, dict) else {}

    def of_another_incident(self, incident_id: str) -> "Sample":
        """Return the same share for the incident `incident_id`."""
        return replace(self, body=self.body.replace(self.incident_id.encode(), incident_id.encode()))

    def post(self, api_url: str) -> requests.Response:
        """Post the share to the API at `api_url`; raise SandboxError if no answer comes."""
        try:
            with requests.Session() as session:
                session.trust_env = False
                return session.post(
                    f"{api_url}{self.path}",
                    params=self.query,
                    headers=self.headers,
                    data=self.body,
                    timeout=ANSWER_SECONDS,
                )
        except requests.RequestException as error:
            raise SandboxError(f"{self.name}: the API gave no answer: {error}") from error


def read_samples(folder: Path) -> list[Sample]:
    """Return the shares from BigPanda in `folder`, by file name; raise SandboxError if there is none."""
    events = [(path, json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]
    samples = [_sample(path.stem, event) for path, event in events if _is_share(event)]
    if not samples:
        raise SandboxError(f"there is no share from BigPanda among the files in {folder}")
    return samples


def _is_share(event: Mapping[str, Any]) -> bool:
    return event.get("httpMethod") == "POST" and str(event.get("path", "")).startswith("/bigpanda/")


def _sample(name: str, event: Mapping[str, Any]) -> Sample:
    body = event.get("body") or ""
    return Sample(
        name=name,
        path=event["path"],
        query=event.get("queryStringParameters") or {},
        headers=event.get("headers") or {},
        body=base64.b64decode(body) if event.get("isBase64Encoded") else body.encode(),
    )
