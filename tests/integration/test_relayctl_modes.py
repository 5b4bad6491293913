"""Shadow mode and pauses of channels, as channel list, channel show, status, channel test and explain show them."""

from pathlib import Path
from typing import Any

import pytest

from relay.incidents.share import State
from relay.jobs.job import timestamp
from relay.ledger.entry import Entry
from relay.ledger.entry_key import key, shadow_of
from relayctl import moments
from tests import samples
from tests.integration.relayctl_cloud import Operator
from tests.integration.relayctl_logs import Logs

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

    def test_ledger_that_cannot_be_read_leaves_health_unknown(self, operator: Operator) -> None:
        keep(operator, "live")
        operator.refused = {"Query": "AccessDeniedException"}
        done = operator.run("channel", "list")
        assert done.exit_code == 0
        assert "unknown" in done.stdout
        assert "not known: ledger" in done.stderr


class TestStatus:
    def test_paused_channel_is_not_sick_for_what_waits(self, operator: Operator) -> None:
        Logs(operator)
        keep(operator, "noc", pause(operator, -60, 2 * HOUR))
        held(operator, "noc", 2 * HOUR)
        [found] = operator.run_json("status")["channels"]
        assert (found["health"], found["mode"], found["reasons"]) == ("owes", "paused", {"paused": 1})
        assert len(found["pauses"]) == 1
        done = operator.run("status")
        text = " ".join(done.stdout.split())
        assert f"paused until {moments.moment(operator.clock.now + 2 * HOUR)}, then the newest states ring" in text
        assert "none is late, since all wait for a pause" in text
        assert max(map(len, done.stdout.splitlines())) <= 80


def test_explain_compares_with_the_entry_of_shadow_mode(operator: Operator, tmp_path: Path) -> None:
    keep(operator, "noc", mode="shadow")
    file = tmp_path / "share.json"
    file.write_bytes(samples.body())
    found = operator.run_json("explain", str(file), "--channel", "noc")
    assert (found["verdict"]["action"], found["transition"]["is_known"]) == ("shadow", False)
    assert "the channel is in shadow mode" in " ".join(
        operator.run("explain", str(file), "--channel", "noc").stdout.split()
    )
    state = State.of(samples.share(), operator.clock.now)
    name = shadow_of(key("noc", (), "i1"))
    assert operator.ledger.write(name, Entry(), Entry().announcing(state, None, operator.clock.now))
    found = operator.run_json("explain", str(file), "--channel", "noc")
    assert (found["verdict"]["outcome"], found["transition"]["is_known"]) == ("duplicate", True)
