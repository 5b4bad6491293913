"""Scripts of `make sandbox`, played on the stand-ins without a relay."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.bigpanda.life import ACTIONS
from sandbox.demo.script import SCRIPTS, Player, Step
from sandbox.server import background
from sandbox.server.client import StandIn
from tests.fakes import Clock

ROOT = Path(__file__).parents[2]


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[StandIn]:
    folder = tmp_path / "standin"
    try:
        yield background.start(folder, ROOT)
    finally:
        background.stop(folder)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_is_in_the_order_of_its_times_and_opens_each_incident_before_it_is_changed(name: str) -> None:
    steps = SCRIPTS[name]
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    opened: set[str] = set()
    for step in steps:
        if step.act == "open":
            assert step.incident not in opened
            opened.add(step.incident)
        assert step.incident in {*opened, ""}
        assert bool(step.incident) == (step.act in {*ACTIONS, "open", "acknowledge", "escalate"})


def test_each_step_is_done_at_its_time_or_skipped_with_its_reason(vendors: StandIn) -> None:
    clock, heard = Clock(), list[str]()
    Player(vendors, heard.append, clock, clock.sleep).play(
        [
            Step(0, "It opens.", "open", "lag", {"title": "Replica lag", "status": "warning"}),
            Step(5, "It worsens.", "worsen", "lag"),
            Step(6, "It worsens again.", "worsen", "lag"),
            Step(7, "Another eases.", "ease", "another"),
            Step(8, "Somebody acknowledges.", "acknowledge", "lag"),
            Step(65, "xMatters' clock is turned.", "turn_clock", options={"seconds": 90}),
            Step(70, "xMatters is down.", "xmatters_down"),
        ]
    )
    times = [line.split()[0] for line in heard if "skipped: " not in line]
    assert times == ["00:00", "00:05", "00:06", "00:07", "00:08", "01:05", "01:10"]
    first, *others = [line.partition("skipped: ")[2] for line in heard if "skipped: " in line]
    assert "critical" in first
    assert others == ["the incident was not opened", "no phone rings that takes Acknowledge"]
    assert [(each["title"], each["status"]) for each in vendors.live()["incidents"]] == [("Replica lag", "critical")]
    assert vendors.phones()["clock"]["ahead_seconds"] == 90
