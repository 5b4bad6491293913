"""Scripts of `make sandbox`, played on the stand-ins without a relay."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.bigpanda.life import ACTIONS
from sandbox.demo.script import SCRIPTS, Player, Step
from sandbox.server import background
from sandbox.server.client import StandIn

ROOT = Path(__file__).parents[2]


class Time:
    """A clock that only `sleep` moves ahead."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        """Move the clock ahead, and let the stand-ins work for a moment."""
        time.sleep(0.01)
        self.now += seconds

    def read(self) -> float:
        """Return the clock's time in seconds since its start."""
        return self.now


class Listener:
    """A terminal that keeps the lines that a script prints."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        """Keep a line."""
        self.lines.append(line)

    @property
    def skipped(self) -> list[str]:
        """The reasons of skipped steps."""
        return [line.partition("skipped: ")[2] for line in self.lines if "skipped: " in line]


@pytest.fixture
def vendors(tmp_path: Path) -> Iterator[StandIn]:
    folder = tmp_path / "standin"
    try:
        yield background.start(folder, ROOT)
    finally:
        background.stop(folder)


@pytest.fixture
def heard() -> Listener:
    return Listener()


@pytest.fixture
def player(vendors: StandIn, heard: Listener) -> Player:
    clock = Time()
    return Player(vendors, heard.say, clock.read, clock.sleep)


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


def test_each_step_is_done_at_its_time(vendors: StandIn, player: Player, heard: Listener) -> None:
    player.play(
        [
            Step(0, "It opens.", "open", "lag", {"title": "Replica lag", "status": "warning"}),
            Step(5, "It worsens.", "worsen", "lag"),
            Step(65, "xMatters' clock is turned.", "turn_clock", options={"seconds": 90}),
            Step(70, "xMatters is down.", "xmatters_down"),
        ]
    )
    assert heard.lines == [
        "00:00  It opens.",
        "00:05  It worsens.",
        "01:05  xMatters' clock is turned.",
        "01:10  xMatters is down.",
    ]
    assert [(each["title"], each["status"]) for each in vendors.live()["incidents"]] == [("Replica lag", "critical")]
    assert vendors.phones()["clock"]["ahead_seconds"] == 90


def test_step_that_is_no_longer_possible_is_skipped_with_its_reason(
    vendors: StandIn, player: Player, heard: Listener
) -> None:
    player.play(
        [
            Step(0, "It opens.", "open", "lag", {"title": "Replica lag"}),
            Step(1, "It resolves.", "resolve", "lag"),
            Step(2, "It resolves again.", "resolve", "lag"),
            Step(3, "It eases.", "ease", "another"),
            Step(4, "Somebody acknowledges.", "acknowledge", "lag"),
        ]
    )
    assert heard.skipped == [
        "The incident is resolved already.",
        "the incident was not opened",
        "no phone rings that takes Acknowledge",
    ]
