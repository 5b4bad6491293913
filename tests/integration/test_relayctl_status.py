"""relayctl status: traffic from logs, debts from the ledger, circuit and rate from the gate."""

from typing import Any

import pytest

from relay.ledger.rate_limit_and_circuit import count_name, gate_of
from relay.sweeper.canary import Canary
from relay.sweeper.credential_probe import Probe, Probes, store_probes
from relay.sweeper.run import SweeperRun
from relayctl import moments
from tests import samples
from tests.integration.relayctl_cloud import Logs, Operator

pytestmark = pytest.mark.usefixtures("narrow")

WITH_REST = {"rest": {"base_url": "https://acme.xmatters.com", "auth": samples.BASIC}}


def channels(document: Any) -> dict[str, Any]:
    return {each["channel"]: each for each in document["channels"]}


class TestFacts:
    def test_traffic_of_the_last_hour_is_counted_by_channel(self, operator: Operator, logs: Logs) -> None:
        operator.keep("noc", "payments")
        logs.share("noc", 30)
        logs.share("noc", 1900, "queued")
        logs.share("noc", 4000)
        logs.share("noc", 5, "unchanged", incident_id="relayctl-test-1")
        job = {"channel": "noc", "kind": "signal", "outcome": "delivered", "delivery_id": "d1", "incident_id": "i2"}
        logs.write("job-worker", 1800, "job", **job)
        for other in ({"kind": "writeback", "delivery_id": "d2"}, {"channel": ""}):
            logs.write("job-worker", 1700, "job", **job | other)
        found = channels(operator.run_json("status"))
        assert (found["noc"]["shares_last_hour"], found["noc"]["signals_last_hour"]) == (3, 2)
        assert found["noc"]["last_share_at"] == found["noc"]["last_signal_at"], (
            "a test incident is no share of BigPanda"
        )
        assert (found["payments"]["shares_last_hour"], found["payments"]["last_share_at"]) == (0, None)

    def test_debts_are_counted_and_the_sickest_channel_is_first(self, operator: Operator, logs: Logs) -> None:
        operator.keep("healthy", "owing", "sick")
        operator.owe("sick", "i1", 600)
        operator.owe("sick", "i2", 30, is_critical=False)
        operator.owe("owing", "i3", 20, is_critical=False, reason="paced")
        document = operator.run_json("status")
        assert [(each["channel"], each["health"]) for each in document["channels"]] == [
            *(("sick", "sick"), ("owing", "owes"), ("healthy", "ok")),
        ]
        sick = channels(document)["sick"]
        assert (sick["owed_critical"], sick["owed_other"]) == (1, 1)
        assert sick["oldest_debt_at"] == moments.iso(operator.clock.now - 600)
        assert sick["why"] == ["a critical is owed for 10m (upstream 2)"]
        assert channels(document)["owing"]["why"] == ["owed for 20s (paced 1)"]

    def test_channel_that_a_pause_holds_is_not_sick_before_a_worker_recorded_the_pause(
        self, operator: Operator, logs: Logs
    ) -> None:
        pause = {"since": moments.iso(operator.clock.now - 10), "until": moments.iso(operator.clock.now + 60)}
        operator.keep("noc", policy={"pauses": [pause | {"then": "keep"}]})
        operator.owe("noc", "i1", 600)
        found = channels(operator.run_json("status"))["noc"]
        assert found["health"] == "owes", found["why"]

    def test_circuit_and_rate_are_those_of_the_gate(self, operator: Operator, logs: Logs) -> None:
        operator.keep("noc", policy={"max_per_minute": 7})
        now = operator.clock.now
        gate = {count_name(int(now) - 5): 3, "failures": 5, "open_until": now + 20}
        operator.ledger.table.update(gate_of("noc"), put=gate)
        found = channels(operator.run_json("status"))["noc"]
        assert (found["circuit"], found["rate_used"], found["rate_limit"]) == ("open", 3, 7)
        assert found["health"] == "sick"
        operator.clock.now += 25
        found = channels(operator.run_json("status"))["noc"]
        assert (found["circuit"], found["circuit_open_until"]) == ("probing", None)

    def test_credential_that_the_last_probe_found_refused_makes_the_channel_sick(
        self, operator: Operator, logs: Logs
    ) -> None:
        operator.keep("noc", "rotated", "unprobed", xmatters=WITH_REST)
        refused = samples.parsed(operator.secret("noc")).api_fingerprints()
        at = operator.clock.now - 120
        probes = {"noc": Probe(at, refused), "rotated": Probe(at, {"rest": "other"}), "unprobed": Probe()}
        store_probes(operator.ledger.table, Probes(at, probes))
        found = channels(operator.run_json("status"))
        assert found["noc"]["why"] == ["xMatters refuses xmatters.rest (type: relayctl channel rotate noc rest)"]
        assert (found["rotated"]["health"], found["unprobed"]["health"]) == ("ok", "ok")

    @pytest.mark.parametrize(("failure", "health"), [("", "ok"), ("nobody notified", "sick")])
    def test_last_canary_is_shown_and_a_failed_one_makes_the_channel_sick(
        self, operator: Operator, logs: Logs, failure: str, health: str
    ) -> None:
        operator.keep("noc", xmatters=WITH_REST, policy={"canary": True})
        last = Canary(failure=failure, judged_at=operator.clock.now - 120)
        SweeperRun(0.0, canaries={"noc": last}).end(operator.ledger.table)
        found = channels(operator.run_json("status"))["noc"]
        assert (found["health"], found["canary_failure"]) == (health, failure or None)
        assert found["why"] == ([f"its canary failed: {failure}"] if failure else [])


@pytest.mark.parametrize(
    ("used", "refusals", "health"),
    [
        (None, (180, 200), "sick"),
        (9 * 3600, (2 * 3600, 7 * 3600), "sick"),
        # A use is recorded up to an hour too early, so a share may have come after the refusal.
        (7200 + 1800, (7200, 7300), "ok"),
    ],
)
def test_refused_requests_make_the_channel_sick_unless_a_share_came_since(
    operator: Operator, logs: Logs, used: float | None, refusals: tuple[float, ...], health: str
) -> None:
    operator.keep("noc")
    if used:
        operator.used("noc", used)
    for ago in refusals:
        line = {"channel": "noc", "status": 401, "correlation_id": "c1", "may_be_share": True}
        logs.write("bigpanda-webhook", ago, "request refused", **line)
    found = channels(operator.run_json("status"))["noc"]
    assert (found["health"], found["refused_last_day"]) == (health, 2)
    last = f"{refusals[0] // 60}m" if refusals[0] < 3600 else f"{refusals[0] // 3600}h"
    words = f"2 requests with a wrong credential refused in a day, the last {last} ago"
    assert found["why"] == ([f"{words}, and no share came since"] if health == "sick" else [])
    assert words in " ".join(operator.run("status").stdout.split())


@pytest.mark.parametrize("verb", [["status"], ["channel", "list"]], ids=" ".join)
def test_mode_of_a_channel_whose_secret_is_not_readable_is_not_known(
    operator: Operator, logs: Logs, verb: list[str]
) -> None:
    operator.keep("noc", policy={"mode": "shadow"})
    operator.refused = {"GetSecretValue": "AccessDeniedException"}
    assert "ok       noc (mode not known): " in operator.run(*verb, code=0).stdout


def test_channel_has_a_line_and_a_named_one_has_all_members(operator: Operator, logs: Logs) -> None:
    operator.keep("healthy", "sick")
    operator.owe("sick", "i1", 600)
    logs.share("healthy", 30)
    done = operator.run("status", code=0)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("sick     sick: a critical is owed for 10m (upstream 1); 0 shares, 0 signals in")
    assert "ok       healthy: 1 share, 1 signal in the last hour; last share 30s ago" in done.stdout
    assert "jobs of all channels  waiting 0, dead lettered 0" in done.stdout
    assert "circuit               closed" in operator.run("status", "--channel", "healthy").stdout
