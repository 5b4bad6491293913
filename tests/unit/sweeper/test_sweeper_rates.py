"""Flood reports: the sweeper logs a channel that gets more than its rate limit for minutes in a row."""

from typing import Any

from tests import samples
from tests.fakes import HookedDynamoDb, Relay, new_relay, table_down

LIMIT = 5
DOWN = samples.refused(503, b"down")
OVERLOADED = "channel overloaded: more arrives than its limit lets through"


def flood(relay: Relay, minutes: int, *, each: int, channel: str = "noc", prefix: str = "f", **said: Any) -> None:
    """Share `each` new criticals in every minute. At a minute's end workers have all jobs, and the sweeper runs."""
    start = int(relay.clock.now)
    for _ in range(minutes):
        for number in range(each):
            content = samples.body(id=f"{prefix}-{int(relay.clock.now) - start}-{number}", **said)
            relay.webhook.serve(samples.request(content, channel=channel))
        relay.wake(30)
        relay.wake(0)
        relay.sweep(29)
        relay.clock.now += 1


def lines(relay: Relay) -> list[dict[str, Any]]:
    return [line for line in relay.recorder.lines() if line["message"] == OVERLOADED]


def overloaded(relay: Relay) -> int:
    """Count the flood reports in the log, of all sweeper runs and all channels."""
    return len(lines(relay))


class TestFlood:
    def test_overloaded_channel_is_reported_in_the_third_run(self) -> None:
        relay = new_relay(policy={"max_per_minute": LIMIT})
        flood(relay, 2, each=20)
        assert lines(relay) == []
        flood(relay, 1, each=20, prefix="g")
        assert overloaded(relay) == 1
        [line] = lines(relay)
        assert (line["channel"], line["arrived_per_minute"], line["max_per_minute"]) == ("noc", 20, LIMIT)
        assert 20 < line["owed"] <= 60
        assert line["critical_wait_seconds"] > 60
        assert line["above_seconds"] == 120

    def test_flood_of_warnings_is_reported(self) -> None:
        relay = new_relay(policy={"max_per_minute": LIMIT})
        flood(relay, 3, each=20, status="warning")
        assert lines(relay)[0]["critical_wait_seconds"] == 0


class TestNoFlood:
    def test_channel_within_its_rate_limit_is_not_reported_as_overloaded(self) -> None:
        relay = new_relay(policy={"max_per_minute": LIMIT})
        flood(relay, 10, each=LIMIT)
        assert lines(relay) == []

    def test_storm_of_a_minute_is_not_reported_as_flood(self) -> None:
        relay = new_relay(policy={"max_per_minute": LIMIT})
        flood(relay, 1, each=4 * LIMIT)
        flood(relay, 6, each=0)
        assert overloaded(relay) == 0

    def test_debts_of_an_outage_are_not_reported_as_flood(self) -> None:
        relay = new_relay(DOWN, policy={"max_per_minute": LIMIT})
        flood(relay, 12, each=LIMIT)
        assert relay.sweep(0)["owed"] == 12 * LIMIT
        assert overloaded(relay) == 0

    def test_overloaded_minutes_that_are_not_in_a_row_do_not_add_up(self) -> None:
        relay = new_relay(policy={"max_per_minute": LIMIT})
        flood(relay, 2, each=20)
        relay.clock.now += 180
        flood(relay, 2, each=20, prefix="g")
        assert overloaded(relay) == 0


class TestGateUnreadable:
    def test_flood_is_judged_by_arrivals_if_the_gate_cannot_be_read(self) -> None:
        table = HookedDynamoDb()
        relay = new_relay(policy={"max_per_minute": LIMIT}, dynamodb=table)
        flood(relay, 2, each=20)
        for number in range(20):
            relay.webhook.serve(samples.request(samples.body(id=f"last-{number}")))
        # The first read of a run is its lease.
        table.before["get_item", table.calls.count("get_item") + 1] = table_down
        assert relay.sweep(58)["owed"] > 0
        [line] = lines(relay)
        assert "critical_wait_seconds" not in line

    def test_old_debts_are_not_reported_as_flood_if_the_gate_cannot_be_read(self) -> None:
        table = HookedDynamoDb()
        relay = new_relay(policy={"max_per_minute": LIMIT}, dynamodb=table)
        flood(relay, 1, each=60)
        for _ in range(5):
            table.before["get_item", table.calls.count("get_item") + 1] = table_down
            assert relay.sweep()["owed"] > LIMIT * 300 / 60
        assert lines(relay) == []
