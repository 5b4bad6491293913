"""Look-ups of recipients over real sockets, against the sandbox, under each fault."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from relay.channels.channel import Rest
from relay.channels.parsing import parse_channel
from relay.deadline import Deadline
from relay.http.client import HttpClient
from relay.http.session import Session, VendorHosts
from relay.xmatters.directory import Directory, Kind, RecipientCheck
from sandbox.server.in_process import Box
from tests import samples

HOSTS = VendorHosts.of((), (), loopback=True)
BASIC = {"type": "basic", "username": "asker", "password": "canary-password"}
KEY = {"type": "api_key", "key": "x-api-key-canary", "secret": "canary-secret"}
OAUTH = {"type": "oauth", "client_id": "client-7", "username": "asker", "password": "canary-password"}
KINDS = {"basic": BASIC, "api_key": KEY, "oauth": OAUTH}
NAMES = ["jdoe|Work Phone", "gone", "Network/Ops 50%", "Asleep", "Closed", "nope"]
FOUND = [
    (Kind.USER, True, None),
    (Kind.USER, False, None),
    (Kind.GROUP, True, 2),
    (Kind.GROUP, True, 0),
    (Kind.GROUP, False, None),
    (Kind.NOTHING, None, None),
]


def rest_at(url: str, auth: dict[str, str]) -> Rest:
    document = samples.secret(url=f"{url}/trigger")
    document["xmatters"]["rest"] = {"base_url": url, "auth": auth}
    found = parse_channel("noc", json.dumps(document), HOSTS).rest
    assert found
    return found


@pytest.fixture
def rest(box: Box) -> Iterator[Rest]:
    """The stand-in's REST API, with some people and groups."""
    box.events.declare(BASIC)
    people = [{"name": "jdoe"}, {"name": "kim"}, {"name": "gone", "status": "INACTIVE"}]
    groups: list[dict[str, Any]] = [
        {"name": "Network/Ops 50%", "members": [{"name": "jdoe"}, {"name": "gone"}, {"name": "kim"}]},
        {"name": "Asleep"},
        {"name": "Closed", "status": "INACTIVE", "members": [{"name": "jdoe"}]},
    ]
    box.xmatters.people.declare({"people": people, "groups": groups})
    yield rest_at(box.xmatters_url, BASIC)
    box.xmatters.people.declare({})


def new_directory() -> Directory:
    return Directory(HttpClient(Session(HOSTS.xmatters)))


def check(rest: Rest, names: list[str], seconds: float = 20) -> list[RecipientCheck]:
    return new_directory().check(rest, names, Deadline(seconds, time.monotonic))


def shapes(found: list[RecipientCheck]) -> list[tuple[Kind, bool | None, int | None]]:
    return [(each.kind, each.is_active, each.on_call) for each in found]


def test_absent_people_without_a_replacement_are_named(box: Box, rest: Rest) -> None:
    def hindrances() -> dict[str, str]:
        now = box.xmatters.clock.now().timestamp()
        return new_directory().hindrances(rest, ["jdoe", "Network/Ops 50%"], now, Deadline(20, time.monotonic))

    assert hindrances() == {}
    box.xmatters.workflow.set({"mode": "all_absent"})
    assert hindrances() == {"jdoe": "absent, without a replacement", "Network/Ops 50%": "group, nobody is on call"}
    box.xmatters.workflow.set({"mode": "page"})


@pytest.mark.parametrize("auth", KINDS.values(), ids=KINDS)
def test_each_kind_of_recipient_is_found_with_each_kind_of_credentials(
    box: Box, rest: Rest, auth: dict[str, str]
) -> None:
    box.events.declare(auth)
    assert shapes(check(rest_at(box.xmatters_url, auth), NAMES)) == FOUND
    asked = [each.route for each in box.directory.calls.all()]
    assert [asked.count(route) for route in ("person", "group", "on_call")] == [6, 4, 1]
    assert len(box.token_requests()) == (auth is OAUTH)
