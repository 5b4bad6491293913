"""Facts that an incident's ledger entry keeps for states from BigPanda's API, which lacks them."""

import json
from typing import Any

import pytest

from relay.channels.channel import Channel
from relay.channels.kept_facts import facts_to_keep, with_facts
from relay.channels.parsing import parse_channel
from relay.channels.routes import values_of
from relay.incidents.share import Share, parse_share
from tests import samples
from tests.fakes import HOSTS

ROUTE = {"when": {"tag.team": "web", "status": "critical"}, "recipients": ["Web"]}
PAUSE = {"since": "2027-01-15T08:00:01Z", "until": "2027-01-15T20:00:00Z", "then": "keep", "when": {"tag.site": "a"}}


def channel(**policy: Any) -> Channel:
    access = {"api_key": "k", "environment_id": "e1"}
    return parse_channel("noc", json.dumps(samples.secret(policy=policy, bigpanda=access)), HOSTS)


def share(**tags: Any) -> Share:
    found = [{"name": name, "value": value} for name, value in tags.items()]
    incident = {"id": "i1", "status": "critical", "tags": found}
    metadata = {"environment_id": "e1", "environment": "Prod"}
    return parse_share(json.dumps({"incident": incident, "metadata": metadata}).encode())


def from_the_api(**members: Any) -> Share:
    metadata = {"environment_id": "e1"}
    return parse_share(json.dumps({"incident": {"id": "i1"} | members, "metadata": metadata}).encode())


def test_environments_and_what_routes_and_pauses_ask_about_are_kept() -> None:
    found = facts_to_keep(channel(routes=[ROUTE], pauses=[PAUSE]), share(team="Web", site="A", host="h1"))
    assert found == {"environment": ("e1", "prod"), "tag.team": ("web",), "tag.site": ("a",)}
    assert facts_to_keep(channel(), share(team="Web")) == {"environment": ("e1", "prod")}


def test_channel_without_bigpandas_api_keeps_nothing() -> None:
    plain = parse_channel("noc", json.dumps(samples.secret(policy={"routes": [ROUTE]})), HOSTS)
    assert facts_to_keep(plain, share(team="Web")) == {}


def test_values_that_exceed_the_limits_are_left_out() -> None:
    long = ["x" * (200 + 1), *(f"{number:0100}" for number in range(50))]
    found = facts_to_keep(channel(routes=[ROUTE]), share(team=long))
    assert found["environment"] == ("e1", "prod")
    assert found["tag.team"][0] == f"{0:0100}"
    assert 800 < sum(map(len, [*found, *(text for values in found.values() for text in values)])) <= 1000


@pytest.mark.parametrize(
    ("fact", "members", "values"),
    [
        ("environment", {}, ("e1", "prod")),
        ("tag.team", {}, ("web",)),
        ("tag.team", {"tags": [{"name": "team", "value": "db"}]}, ("db",)),
        ("status", {"status": "warning"}, ("warning",)),
        ("tag.other", {}, ()),
    ],
)
def test_state_from_the_api_has_its_own_values_and_else_the_kept_ones(
    fact: str, members: dict[str, Any], values: tuple[str, ...]
) -> None:
    found = with_facts(from_the_api(**members), {"environment": ("e1", "prod"), "tag.team": ("web",)})
    again = parse_share(json.dumps(found.document).encode())
    for each in (found, again):
        assert values_of(fact, each, is_open=True) == values
    assert found.digest == from_the_api(**members).digest


@pytest.mark.parametrize("kept", ["text", {"tag.team": "web"}, {"tag.team": [{"a": 1}, None]}, None])
def test_malformed_facts_in_a_body_are_ignored(kept: Any) -> None:
    body = {"incident": {"id": "i1"}, "metadata": {"environment_id": "e1", "facts_of_last_share": kept}}
    assert values_of("tag.team", parse_share(json.dumps(body).encode()), is_open=True) == ()
