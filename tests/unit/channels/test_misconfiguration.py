import json
from typing import Any

import pytest

from relay.channels import misconfiguration
from relay.channels.channel import Channel
from relay.channels.parsing import parse_channel
from relay.http.session import VendorHosts
from tests import samples

UUID = "3e1c8c1e-0f0e-4d8c-9d3d-1f6a2b7c9d10"
HOST = "https://acme.xmatters.com"
TRIGGER = f"{HOST}/api/integration/1/functions/{UUID}/triggers"
CANARY = "canary-90ab"
TO_OPS = {"when": {"status": "warning"}, "recipients": ["Ops"]}


def made(*, url: str = TRIGGER, routes: list[dict[str, Any]] | None = None, **xmatters: Any) -> Channel:
    document = {
        "inbound": {"token": CANARY},
        "xmatters": {"trigger_url": url, "auth": {"type": "url"}, **xmatters},
        "policy": {"routes": routes or []},
    }
    return parse_channel("noc", json.dumps(document), VendorHosts.of(("*.xmatters.com",), ("*.bigpanda.io",)))


def keys(found: Channel) -> list[str]:
    return [problem.key for problem in misconfiguration.problems(found)]


@pytest.mark.parametrize(
    ("found", "key"),
    [
        (made(recipients=["Ops"], routes=[TO_OPS, {"when": {}, "recipients": ["Ops"]}]), "policy.routes.1.when"),
        (
            made(recipients=["Ops"], routes=[{"when": {"status": "critical"}, "recipients": []}]),
            "policy.routes.0.recipients",
        ),
        (made(), "xmatters.recipients"),
        (made(recipients=[]), "xmatters.recipients"),
        (made(url=f"{TRIGGER}?apiKey={CANARY}&recipients=%20,"), "xmatters.recipients"),
        (made(url=f"{HOST}/?apiKey={CANARY}", recipients=["Ops"]), "xmatters.trigger_url"),
        (made(url=f"{HOST}/api/xm/1/events", recipients=["Ops"]), "xmatters.trigger_url"),
        (made(url=f"{HOST}/api/integration/1/functions//triggers", recipients=["Ops"]), "xmatters.trigger_url"),
        (made(url=f"{TRIGGER}/more", recipients=["Ops"]), "xmatters.trigger_url"),
    ],
)
def test_channel_that_may_notify_nobody_has_a_problem_with_its_key(found: Channel, key: str) -> None:
    assert keys(found) == [key]
    assert CANARY not in repr(misconfiguration.problems(found))


@pytest.mark.parametrize(
    "path",
    [
        f"/api/integration/1/functions/{UUID}/triggers",
        f"/reapi/2015-04-01/forms/{UUID}/triggers",
        f"/api/xm/1/forms/{UUID}/triggers",
        f"/api/xm/1/plans/{UUID}/forms/My%20Form/triggers",
    ],
)
def test_each_documented_trigger_path_is_accepted(path: str) -> None:
    assert keys(made(url=f"{HOST}{path}?apiKey=k", recipients=["Ops"])) == []


@pytest.mark.parametrize(
    "found",
    [
        made(recipients=["Ops"]),
        made(routes=[TO_OPS]),
        made(url=f"{TRIGGER}?apiKey=k&recipients=Ops"),
        made(recipients_in="workflow"),
        made(recipients_in="url"),
        made(url=f"{HOST}/agent/7", any_trigger_path=True, recipients=["Ops"]),
        samples.parsed(),
    ],
)
def test_channel_that_notifies_somebody_has_no_problem(found: Channel) -> None:
    assert keys(found) == []


def test_misconfigured_channel_is_parsed() -> None:
    found = made(url=f"{HOST}/", routes=[{"when": {}, "recipients": []}])
    expected = ["policy.routes.0.when", "policy.routes.0.recipients", "xmatters.recipients", "xmatters.trigger_url"]
    assert keys(found) == expected


class TestCritical:
    @pytest.mark.parametrize(
        ("when", "is_reached"),
        [
            ({"status": "critical"}, True),
            ({"status": ["warning", "CRIT*"]}, True),
            ({"status": "*"}, True),
            ({"status": "warning"}, False),
            ({"status": "critical", "tag.team": "payments"}, False),
            ({"severity": "critical"}, False),
            ({"environment": "*"}, False),
        ],
    )
    def test_route_covers_every_critical_only_if_its_condition_is_the_status_alone(
        self, when: dict[str, Any], is_reached: bool
    ) -> None:
        found = made(routes=[TO_OPS, {"when": when, "recipients": ["Ops"]}])
        assert misconfiguration.critical_may_notify_nobody(found) is not is_reached

    @pytest.mark.parametrize(
        "found",
        [
            made(recipients=["Ops"], routes=[TO_OPS]),
            made(recipients_in="workflow", routes=[TO_OPS]),
            made(recipients_in="url", routes=[TO_OPS]),
            made(url=f"{TRIGGER}?recipients=Ops", routes=[TO_OPS]),
        ],
    )
    def test_critical_is_notified_by_recipients_outside_the_routes(self, found: Channel) -> None:
        assert not misconfiguration.critical_may_notify_nobody(found)

    def test_critical_that_a_route_without_recipients_takes_notifies_nobody(self) -> None:
        found = made(recipients=[], routes=[{"when": {"status": "critical"}, "recipients": []}])
        assert misconfiguration.critical_may_notify_nobody(found)
