"""Pauses of a channel: which one applies, to which incidents, and the time from which a state's age counts."""

import json
from typing import Any

import pytest

from relay.channels.channel import Channel
from relay.channels.kept_facts import facts_to_keep, with_facts
from relay.channels.parsing import parse_channel
from relay.channels.policy import Policy
from relay.channels.routes import Pause, Route, active_pause, age_start, chosen, pauses_for, values_of
from relay.incidents.share import PRESETS, Share, Transition, parse_share
from tests import samples
from tests.fakes import HOSTS


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        ({"preset": "parity"}, PRESETS["parity"]),
        ({"preset": "oncall"}, PRESETS["oncall"]),
        ({"notify_on": ["grew", "opened"]}, {Transition.GREW, Transition.OPENED}),
        ({"preset": "oncall", "notify_on": ["eased"]}, {Transition.EASED}),
        ({"notify_on": []}, set()),
    ],
    ids=lambda value: ", ".join(sorted(value)) or "nothing",
)
def test_notify_on_is_a_preset_or_a_list_that_overrides_it(members: dict[str, Any], chosen: set[Transition]) -> None:
    assert Policy.of(members).notify_on == chosen


NOON, ONE, TWO = "2027-01-15T12:00:00Z", "2027-01-15T13:00:00Z", "2027-01-15T14:00:00Z"
AT_NOON = 1_800_014_400.0
HOUR = 3600.0


def pause(since: str = NOON, until: str = ONE, then: str = "keep", **members: Any) -> Pause:
    return Pause.of({"since": since, "until": until, "then": then, **members})


def test_pause_is_active_from_its_start_until_its_end() -> None:
    assert pause().since == AT_NOON
    moments = (AT_NOON - 1, AT_NOON, AT_NOON + HOUR - 1, AT_NOON + HOUR)
    assert [active_pause([pause()], moment) is not None for moment in moments] == [False, True, True, False]


def test_of_two_active_pauses_the_one_that_keeps_applies_and_then_the_longer_one() -> None:
    kept, dropped, longer = pause(), pause(until=TWO, then="drop"), pause(until=TWO)
    assert active_pause([dropped, kept], AT_NOON) == kept
    assert active_pause([kept, longer], AT_NOON) == longer


def test_pause_with_conditions_applies_to_the_incidents_that_meet_them_all() -> None:
    share = parse_share(samples.body(status="critical", severity="critical"))
    both = pause(when={"status": "crit*", "severity": ["warning", "critical"]})
    assert pauses_for(share, [both, pause(), pause(when={"status": "warning"})], is_open=True) == (both, pause())


@pytest.mark.parametrize(
    ("pauses", "start"),
    [
        ([], AT_NOON),
        ([pause()], AT_NOON + HOUR),
        ([pause(), pause(ONE, TWO)], AT_NOON + 2 * HOUR),
        # Only the end of the first pause brings the second one within the state's age.
        (
            [pause("2027-01-15T18:30:00Z", "2027-01-15T22:00:00Z"), pause(until="2027-01-15T18:00:00Z")],
            AT_NOON + 10 * HOUR,
        ),
        # It had expired before the second pause began.
        ([pause("2027-01-15T20:00:00Z", "2027-01-15T21:00:00Z")], AT_NOON),
        ([pause("2027-01-15T10:00:00Z", "2027-01-15T11:00:00Z")], AT_NOON),
    ],
    ids=["no pause", "one", "two in a row", "two, stored in another order", "after its age", "before it came"],
)
def test_age_counts_from_the_end_of_a_pause(pauses: list[Pause], start: float) -> None:
    assert age_start(pauses, AT_NOON, 6 * HOUR) == start


SHARE = {
    "incident": {
        "id": "i1",
        "status": "critical",
        "severity": "critical",
        "alerts": [
            {"id": "a1", "source_system": "nagios.east", "tags": [{"name": "team", "value": "Payments"}]},
            {"id": "a3", "tags": {"place": " Caf\u00e9 Nord "}},
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
    ("when", "matches"),
    [
        ({"status": "critical"}, True),
        ({"status": ["warning", "CRIT*"]}, True),
        ({"environment": "prod*"}, True),
        ({"source_system": "zabbix.*"}, True),
        ({"tag_team": "storage"}, True),
        ({"tag_TEAM": "pay?ents"}, True),
        ({"tag_place": "cafe\u0301 *"}, True),
        ({"status": "critical", "tag_team": "payments"}, True),
        ({}, True),
        ({"status": "warning"}, False),
        ({"source_system": "zabbix"}, False),
        ({"tag_site": "*"}, False),
        ({"status": "critical", "tag_team": "network"}, False),
    ],
    ids=str,
)
def test_route_matches_a_share_by_all_of_its_conditions(when: dict[str, Any], matches: bool) -> None:
    assert first(route(**when)) == ("r" if matches else None)


def test_resolve_is_routed_by_the_worst_status_of_the_incident() -> None:
    over = {"incident": {"id": "i1", "status": "ok", "severity": "critical"}}
    assert first(route("a", status="critical"), route("b", status="ok"), document=over, is_open=False) == "a"
    unknown = {"incident": {"id": "i1", "status": "ok"}}
    assert first(route("a", status="critical"), route("b", status="ok"), document=unknown, is_open=False) == "b"


class TestBoundedWork:
    """Bounded work: the comparisons of characters for a share's routes have a limit.

    Beyond the limit the recipients of all routes that may match get the signal.
    """

    def test_share_beyond_the_bound_of_work_goes_to_every_route_that_was_not_ruled_out(self) -> None:
        # 1000 * 299,950 comparisons, and 200 calls that cost 250 each, are 300 million. The status was compared before.
        values = [*(f"{n:01507}" for n in range(199)), 57 * "y"]
        tags = [{"name": "team", "value": each} for each in values]
        share = parse_share(json.dumps({"incident": {"id": "i1", "status": "critical", "tags": tags}}).encode())
        routes = [
            route("no", status="warning"),
            route("a", tag_team="*" + 999 * "x"),
            route("b", status="critical"),
            route("a"),
            route("c"),
        ]
        found = chosen(routes, share, is_open=True)
        assert found == Route((), ("a", "b", "c"), is_undecided=True)

    def test_ordinary_routes_and_the_largest_real_incident_stay_far_below_the_bound_of_work(self) -> None:
        # Twice the alerts of the largest real incident.
        alerts = [{"id": n, "tags": {"host": f"db-{n}.prod.example", "team": "payments"}} for n in range(2 * 300)]
        share = parse_share(json.dumps({"incident": {"id": "i1", "status": "critical", "alerts": alerts}}).encode())
        routes = [route(f"r{n}", tag_host=[f"web-{n}*.prod.*", f"*.team-{n}.example"]) for n in range(100)]
        last = route("last", tag_team="pay*")
        assert chosen([*routes, last], share, is_open=True) == last


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


def test_kept_values_of_a_fact_have_a_thousand_characters_at_most() -> None:
    found = facts_to_keep(channel(routes=[ROUTE]), share(team=[f"{number}" * 150 for number in range(9)]))
    assert 850 < sum(map(len, found["tag.team"])) <= 1000


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
