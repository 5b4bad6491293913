"""Words for a channel's mode and pauses."""

import time
from typing import Any

import pytest

from relay.channels.policy import Mode, Policy
from relay.channels.routes import Pause
from relayctl import moments
from relayctl.channel import pauses

NOW = 1_800_000_000.0
HOUR = 3600.0
STAGING = (("environment", ("staging", "test*")), ("tag.team", ("web",)))
ACTIVE = Pause(NOW - HOUR, NOW + HOUR, keeps_states=True)
PARTIAL = Pause(NOW - HOUR, NOW + 2 * HOUR, keeps_states=False, when=STAGING)
LATER = Pause(NOW + 3 * HOUR, NOW + 4 * HOUR, keeps_states=True)
OVER = Pause(NOW - 2 * HOUR, NOW - HOUR, keeps_states=True)


def policy(*pauses: Pause, **members: Any) -> Policy:
    return Policy(pauses=pauses, **members)


@pytest.mark.parametrize(
    ("found", "mode", "brief"),
    [
        (policy(), "live", "live"),
        (policy(mode=Mode.SHADOW), "shadow", "shadow"),
        (policy(ACTIVE, mode=Mode.SHADOW), "shadow", "shadow"),
        (policy(ACTIVE), "paused", f"paused until {moments.moment(NOW + HOUR)}"),
        (policy(ACTIVE, PARTIAL), "paused", f"paused until {moments.moment(NOW + HOUR)}"),
        (policy(PARTIAL), "live", f"live, partly paused until {moments.moment(NOW + 2 * HOUR)}"),
        (policy(LATER, OVER), "live", f"live, paused from {moments.moment(NOW + 3 * HOUR)}"),
        (policy(LATER._replace(when=STAGING)), "live", f"live, partly paused from {moments.moment(NOW + 3 * HOUR)}"),
    ],
)
def test_mode_is_paused_only_by_an_active_pause_of_all_incidents(found: Policy, mode: str, brief: str) -> None:
    assert (pauses.current(found, NOW), pauses.brief(found, NOW)) == (mode, brief)


def test_utc_stands_beside_a_local_time_of_another_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert moments.moment(NOW) == "2027-01-15 09:00 (CET, 08:00 UTC)"
        assert moments.clock_in_zones(NOW) == "09:00:00 (CET, 08:00:00 UTC)"
    finally:
        monkeypatch.undo()
        time.tzset()
