"""Vendors' APIs that take seconds for each answer: what is most urgent is done all the same, and load stays small."""

import json
from collections.abc import Callable

import pytest

from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Call, Relay, slow
from tests.unit.xmatters_tenant import Tenant, new_relay

# An incident that opens and ends again and again, and whose resolves make no page.
OUTAGE, END = "critical 35", "ok 35"


@pytest.fixture
def tenant() -> Tenant:
    made = Tenant()
    made.hidden = {f"r{number}" for number in range(2, 40, 2)}
    return made


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.6])
def test_page_ends_within_a_minute_of_its_resolve_although_the_incident_has_many_signals(
    seconds: float, tenant: Tenant
) -> None:
    relay = new_relay(tenant)
    relay.rest.steps = [slow(relay.clock, seconds, tenant.rest)]
    relay.play(f"{OUTAGE} {END} {OUTAGE} {END} {OUTAGE} ok 60")
    assert tenant.ended[-1] == "page-5"


def test_signals_of_one_incident_share_a_follow_up(tenant: Tenant) -> None:
    relay = new_relay(tenant)
    relay.play(f"{OUTAGE} {END} " * 8 + "1200")
    assert len(tenant.ended) == 8
    assert len(relay.rest.calls) < 600, "each signal has no chain of searches of its own"
    assert relay.chores.messages == []


def test_people_are_asked_about_before_pages_are_searched(tenant: Tenant) -> None:
    relay = new_relay(tenant, policy={"notified_within_seconds": 120}, xmatters={"recipients": ["Ops"]})
    relay.rest.steps = [slow(relay.clock, 1.6, tenant.rest)]
    tenant.audits = {f"page-{number}": ["DELIVERED", "Acknowledge"] for number in range(1, 9)}
    relay.play(f"{OUTAGE} {END} " * 3 + "critical")
    relay.sweep_for(360)
    assert (tenant.audited[-1], relay.sns.published) == ("page-7", [])


@pytest.mark.parametrize(
    ("events", "page"),
    [("critical 300 ok 300 critical 60", "page-3"), ("critical 300", "")],
    ids=["a page that the ledger knows", "no page, and the ledger knows none"],
)
def test_callback_costs_no_request_if_xmatters_need_not_be_asked_about_pages(
    events: str, page: str, tenant: Tenant
) -> None:
    callback = samples.CALLBACK | {"recipients": ["Ops"]}
    access = {"api_key": "BPU-1", "environment_id": "e1"}
    relay = new_relay(tenant, xmatters=callback, access=access, policy={"confirm_resolve": False})
    tenant.makes_pages = bool(page)
    relay.play(events)
    asked = len(relay.rest.calls)
    relay.call_back("response", text="Not me", page=page, person="Ops", at=None)
    relay.wake(0)
    assert len(relay.rest.calls) == asked


# ---- BigPanda --------------------------------------------------------------------------------------------------------


def question(tenant: Tenant, environments: int, seconds: float, answer: Callable[[Call], HttpAnswer]) -> Relay:
    """Return a relay after a true resolve, about which BigPanda takes so long for each answer."""
    ids = [f"e{number}" for number in range(1, environments + 1)]
    relay = new_relay(tenant, access={"api_key": "BPU-1", "environments": ids})
    relay.bigpanda.steps = [HttpAnswer(404, {}, b"{}")]
    relay.play("critical 120")
    relay.bigpanda.steps = [slow(relay.clock, seconds, answer)]
    relay.play("ok")
    return relay


@pytest.mark.parametrize(("environments", "seconds"), [(6, 1.0), (4, 1.5)])
def test_end_is_found_in_the_last_of_many_environments(environments: int, seconds: float, tenant: Tenant) -> None:
    over = json.dumps({"id": "i1", "status": "ok", "active": False, "changed_at": 1_800_000_120}).encode()

    def answer(call: Call) -> HttpAnswer:
        is_there = f"/environments/e{environments}/" in call.url
        return HttpAnswer(200, {}, over) if is_there else HttpAnswer(404, {}, b"{}")

    relay = question(tenant, environments, seconds, answer)
    relay.wake(180)
    assert (relay.statuses(), relay.recorder.metrics().get("doubtful_resolve")) == ("critical ok", None)


@pytest.mark.parametrize(("environments", "seconds"), [(3, 2.6), (12, 0.5)])
def test_time_that_a_failing_api_uses_up_counts_as_silence(environments: int, seconds: float, tenant: Tenant) -> None:
    relay = question(tenant, environments, seconds, lambda _: samples.refused(503))
    relay.wake(960)
    assert (relay.statuses(), relay.recorder.metrics()["doubtful_resolve"]) == ("critical ok", 1)
