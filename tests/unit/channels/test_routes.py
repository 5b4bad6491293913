"""Routes: the first whose conditions hold names who is rung."""

import json
from typing import Any

import pytest

from relay.channels.routes import Route, chosen
from relay.incidents.share import parse_share

SHARE = {
    "incident": {
        "id": "i1",
        "status": "critical",
        "severity": "critical",
        "alerts": [
            {"id": "a1", "source_system": "nagios.east", "tags": [{"name": "team", "value": "Payments"}]},
            {"id": "a2", "source_system": "zabbix.prod", "tags": [{"name": "team", "value": "Storage"}]},
        ],
    },
    "metadata": {"environment_id": "e1", "environment": "Production"},
}


def route(recipient: str = "r", **when: Any) -> Route:
    conditions = {fact.replace("tag_", "tag."): pattern for fact, pattern in when.items()}
    return Route.of({"when": conditions, "recipients": [recipient]})


def first(*routes: Route, document: dict[str, Any] | None = None, is_open: bool = True) -> str | None:
    share = parse_share(json.dumps(document or SHARE).encode())
    found = chosen(routes, share, is_open=is_open)
    return found.recipients[0] if found else None


@pytest.mark.parametrize(
    "when",
    [
        {"status": "critical"},
        {"status": ["warning", "CRIT*"]},
        {"severity": "critical"},
        {"environment": "e1"},
        {"environment": "prod*"},
        {"source_system": "zabbix.*"},
        {"tag_team": "storage"},
        {"tag_TEAM": "pay?ents"},
        {"status": "critical", "tag_team": "payments"},
        {},
    ],
    ids=str,
)
def test_it_holds(when: dict[str, Any]) -> None:
    assert first(route(**when)) == "r"


@pytest.mark.parametrize(
    "when",
    [
        {"status": "warning"},
        {"status": "critica"},
        {"source_system": "zabbix"},
        {"tag_team": "network"},
        {"tag_site": "*"},
        {"status": "critical", "tag_team": "network"},
        {"environment": []},
    ],
    ids=str,
)
def test_it_does_not_hold(when: dict[str, Any]) -> None:
    assert first(route(**when)) is None


def test_the_first_that_holds_is_taken() -> None:
    assert first(route("a", status="warning"), route("b", tag_team="*"), route("c")) == "b"


def test_a_resolve_goes_to_those_who_were_rung_for_the_worst_of_it() -> None:
    over = {"incident": {"id": "i1", "status": "ok", "severity": "critical"}}
    assert first(route("a", status="critical"), route("b", status="ok"), document=over, is_open=False) == "a"
    unknown = {"incident": {"id": "i1", "status": "ok"}}
    assert first(route("a", status="critical"), route("b", status="ok"), document=unknown, is_open=False) == "b"


def test_without_routes_the_body_is_not_looked_at() -> None:
    assert chosen((), parse_share(b'{"id": "i1"}'), is_open=True) is None


def test_names_are_trimmed_and_none_stands_twice() -> None:
    found = Route.of({"when": {}, "recipients": [" a ", "b", "a"], "priority": "HIGH"})
    assert (found.recipients, found.priority) == (("a", "b"), "HIGH")
