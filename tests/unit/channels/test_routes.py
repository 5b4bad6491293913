"""Routes: the first route whose conditions match a share decides the recipients of its signal."""

import json
from typing import Any

import pytest

from relay.channels.routes import Route, Work, chosen
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
def test_conditions_of_a_route_match_the_share(when: dict[str, Any]) -> None:
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
def test_conditions_of_a_route_do_not_match_the_share(when: dict[str, Any]) -> None:
    assert first(route(**when)) is None


def test_first_matching_route_is_chosen() -> None:
    assert first(route("a", status="warning"), route("b", tag_team="*"), route("c")) == "b"


def test_resolve_is_routed_by_the_worst_status_of_the_incident() -> None:
    over = {"incident": {"id": "i1", "status": "ok", "severity": "critical"}}
    assert first(route("a", status="critical"), route("b", status="ok"), document=over, is_open=False) == "a"
    unknown = {"incident": {"id": "i1", "status": "ok"}}
    assert first(route("a", status="critical"), route("b", status="ok"), document=unknown, is_open=False) == "b"


def test_recipients_of_a_route_are_trimmed_and_deduplicated() -> None:
    found = Route.of({"when": {}, "recipients": [" a ", "b", "a"], "priority": "HIGH"})
    assert (found.recipients, found.priority) == (("a", "b"), "HIGH")


def many_values(count: int, length: int = 100) -> dict[str, Any]:
    return {"incident": {"id": "i1", "status": "critical", "tags": {f"t{n}": f"{n:0{length}}" for n in range(count)}}}


class TestBoundedWork:
    """Bounded work: the comparisons of characters for a share's routes have a limit.

    Beyond the limit the recipients of all routes that may match get the signal.
    """

    def test_work_of_matching_is_the_length_of_patterns_times_that_of_values(self) -> None:
        work, share = Work(10_000), parse_share(json.dumps(SHARE).encode())
        assert chosen([route(tag_team=["x*", "payments"])], share, is_open=True, work=work) is not None
        assert 10_000 - work.left == 2 * len("paymentsstorage") + 2 * 250 + len("payments") + 250

    def test_share_beyond_the_bound_of_work_goes_to_every_route_that_was_not_ruled_out(self) -> None:
        share = parse_share(json.dumps(SHARE).encode())
        routes = [
            route("no", status="warning"),
            route("a", tag_team="*x"),
            route("b", status="critical"),
            route("a"),
            route("c"),
        ]
        found = chosen(routes, share, is_open=True, work=Work(2 * 250))
        assert found == Route((), ("a", "b", "c"), is_undecided=True)

    def test_exact_pattern_costs_the_same_for_any_number_of_values(self) -> None:
        share = parse_share(json.dumps(many_values(200, 2000)).encode())
        work = Work(10_000)
        assert chosen([route(tag_t0="x"), route(tag_t1="y")], share, is_open=True, work=work) is None
        assert work.left == 10_000 - 2 * (250 + 1)

    def test_ordinary_routes_and_the_largest_real_incident_stay_far_below_the_bound_of_work(self) -> None:
        alerts = [{"id": n, "tags": {"host": f"db-{n}.prod.example", "team": "payments"}} for n in range(300)]
        share = parse_share(json.dumps({"incident": {"id": "i1", "status": "critical", "alerts": alerts}}).encode())
        work = Work()
        routes = [route(f"r{n}", tag_host=[f"web-{n}*.prod.*", f"*.team-{n}.example"]) for n in range(100)]
        assert chosen([*routes, route("last", tag_team="pay*")], share, is_open=True, work=work) == route(
            "last", tag_team="pay*"
        )
        assert work.left > 300_000_000 / 2
