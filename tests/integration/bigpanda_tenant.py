"""A tenant of the BigPanda stand-in with live incidents, and a small server that receives its webhooks."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.processes import Process
from sandbox.server.client import StandIn
from sandbox.server.in_process import Box
from tests.integration.live import Received, Site, site
from tests.stand_in import session
from tests.waiting import until

KEY = "BPU-canary-key"
APP = "app-canary-key"
HEADER = ("x-api-key", "inbound-canary")


def delivered(_: Received) -> tuple[int, Mapping[str, str], bytes]:
    """Answer a webhook with 200, as a relay does that delivered the share."""
    return 200, {"Content-Type": "application/json"}, b'{"outcome": "delivered"}'


@dataclass
class Tenant:
    """Client of the BigPanda stand-in, for the actions of a person and for calls of BigPanda's API.

    Attributes:
        box: The stand-ins.
        people: Client of the stand-ins' control API, which does what a person does.
        api: HTTP session with a valid API key of BigPanda.
    """

    box: Box
    people: StandIn
    api: requests.Session

    def shared(self, count: int) -> list[str]:
        """Wait until `count` webhooks are answered, and return their events."""
        until(lambda: len(self.people.live()["webhooks"]) >= count)
        return [each["event"] for each in self.people.live()["webhooks"]]

    def call(
        self, method: str, incident_id: str, path: str = "", body: object = None, environment: str = ENVIRONMENT
    ) -> requests.Response:
        """Call BigPanda's API for an incident, or for the list of incidents if the id is empty."""
        place = f"incidents/{incident_id}" if incident_id else "incidents"
        url = f"{self.box.bigpanda.url}/resources/v2.0/environments/{environment}/{place}{path}"
        return self.api.request(method, url, json=body, timeout=60)

    def share_with(self, receiver: Site) -> None:
        """Let BigPanda share with this receiver."""
        self.people.share_with(f"{receiver.url}/bigpanda/noc", HEADER)


@contextmanager
def tenant_of(box: Box) -> Iterator[Tenant]:
    """Yield a tenant with an API key and an app key."""
    box.bigpanda.declare_incidents(ENVIRONMENT, [])
    box.bigpanda.let_in(KEY)
    box.bigpanda.let_app_in(APP)
    process = Process(os.getpid(), "")
    with session(Authorization=f"Bearer {KEY}") as api:
        yield Tenant(box, StandIn(box.control_url, box.xmatters_url, box.bigpanda.url, process), api)


@contextmanager
def receiving() -> Iterator[Site]:
    with site(delivered) as receiver:
        yield receiver


def documents(receiver: Site) -> list[dict[str, Any]]:
    """Return the bodies that a receiver got, oldest first."""
    return [json.loads(each.body) for each in receiver.received]
