"""Shadow mode and pauses of channels, as channel list, channel show, status, channel test and explain show them."""

from typing import Any

import pytest

from relay.jobs.job import timestamp
from relayctl import moments
from tests.integration.relayctl_cloud import Operator

HOUR = 3600.0


@pytest.fixture
def operator(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setenv("COLUMNS", "80")
    return operator


def pause(operator: Operator, since: float, until: float, then: str = "keep", **when: list[str]) -> dict[str, Any]:
    """Return a pause from `since` to `until`, in seconds from the operator's time."""
    now = operator.clock.now
    times = {"since": timestamp(now + since), "until": timestamp(now + until), "then": then}
    return {**times, **({"when": when} if when else {})}


def keep(operator: Operator, name: str, *pauses: dict[str, Any], **policy: Any) -> None:
    """Store a channel's secret directly."""
    operator.keep(name, policy=policy | ({"pauses": list(pauses)} if pauses else {}))


def held(operator: Operator, channel: str, until: float) -> None:
    """Write the entry of a critical that came 15 minutes ago, and waits for the end of a pause."""
    operator.owe(channel, "i1", 900, next_in=until, reason="paused", paused_until=operator.clock.now + until)


class TestChannelList:
    def test_mode_health_and_last_share_of_each_channel_are_listed(self, operator: Operator) -> None:
        keep(operator, "live")
        keep(operator, "paused", pause(operator, -60, 2 * HOUR))
        keep(operator, "shadow", mode="shadow")
        held(operator, "paused", 2 * HOUR)
        operator.used("live", 120)
        listed = {each["channel"]: each for each in operator.run_json("channel", "list")["channels"]}
        assert {name: (each["mode"], each["health"]) for name, each in listed.items()} == {
            "live": ("live", "ok"),
            "paused": ("paused", "owes"),
            "shadow": ("shadow", "ok"),
        }
        assert listed["live"]["last_share_at"] == moments.iso(operator.clock.now - 120)
        assert listed["shadow"]["last_share_at"] is None
        shown = operator.run("channel", "list").stdout
        assert f"paused until {moments.moment(operator.clock.now + 2 * HOUR)}" in shown
        assert "within 2m" in shown
