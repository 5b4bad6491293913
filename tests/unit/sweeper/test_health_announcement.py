"""When people are told that a channel is sick or well again, and when they are not."""

import json
from itertools import pairwise

import pytest

from relay.sweeper.health_announcement import (
    ChannelState,
    SickReasons,
    Told,
)

NOW = 1_800_000_000.0
SICK = SickReasons(("its circuit is open",))
URGENT = SICK._replace(is_urgent=True)
WELL = SickReasons()


class Watch:
    """A channel that is judged each minute, and whose messages are all accepted."""

    def __init__(self) -> None:
        self.state, self.now = ChannelState(), NOW
        self.messages: list[tuple[int, str]] = []
        self.runs = 0

    def run(self, *findings: SickReasons, seconds: float = 60.0) -> None:
        for found in findings:
            self.now += seconds
            self.runs += 1
            self.state = self.state.judged(found, self.now)
            if self.state.is_to_tell_sick(self.now):
                told = Told.ALARM if self.state.is_urgent else Told.NOTICE
                self.state = self.state.told_sick(told, self.now)
                self.messages.append((self.runs, told))
            elif self.state.is_to_tell_well(self.now):
                self.state = self.state.told_well(self.now)
                self.messages.append((self.runs, "well"))


@pytest.fixture
def watch() -> Watch:
    return Watch()


def test_sickness_is_told_in_the_second_run_that_finds_it(watch: Watch) -> None:
    watch.run(SICK)
    assert watch.messages == []
    watch.run(SICK, SICK, SICK)
    assert watch.messages == [(2, "notice")]
    assert (watch.state.since, watch.state.times_told, watch.state.why) == (NOW + 60, 1, "its circuit is open")


def test_single_runs_that_find_a_channel_sick_are_never_told(watch: Watch) -> None:
    watch.run(*[SICK, WELL] * 60)
    assert watch.messages == []
    assert watch.state.since == 0


def test_well_is_told_after_five_runs_and_not_before_fifteen_minutes(watch: Watch) -> None:
    watch.run(SICK, SICK, *[WELL] * 60)
    assert watch.messages == [(2, "notice"), (17, "well")]
    assert watch.state.is_over(watch.now)


def test_channel_that_recovers_for_four_runs_stays_sick_since_its_start(watch: Watch) -> None:
    watch.run(SICK, SICK, *[*[WELL] * (5 - 1), SICK] * 30)
    assert watch.messages == [(2, "notice")]
    assert watch.state.since == NOW + 60


def test_flapping_channel_has_at_most_one_message_in_fifteen_minutes(watch: Watch) -> None:
    watch.run(*[*[SICK] * 2, *[WELL] * 5] * 100)
    runs = [run for run, _ in watch.messages]
    assert len(runs) > 10
    assert min(later - earlier for earlier, later in pairwise(runs)) >= 900 / 60
    assert watch.runs / len(runs) >= 900 / 60


def test_sickness_that_becomes_urgent_is_told_once_more_after_fifteen_minutes(watch: Watch) -> None:
    watch.run(SICK, SICK, *[URGENT] * 60)
    assert watch.messages == [(2, "notice"), (17, "alarm")]
    assert watch.state.times_told == 2


def test_runs_far_apart_do_not_agree(watch: Watch) -> None:
    watch.run(SICK, SICK, SICK, seconds=180 + 1)
    assert watch.messages == []
    watch.run(SICK)
    assert watch.messages == [(4, "notice")]


def test_momentary_reason_of_one_run_holds_for_some_minutes_and_is_urgent(watch: Watch) -> None:
    watch.run(SickReasons(momentary=("1 critical signals made no page",)), *[WELL] * 30)
    assert watch.messages[0] == (2, "alarm")
    assert watch.state.why in {"", "1 critical signals made no page"}
    assert [kind for _, kind in watch.messages] == ["alarm", "well"]


def test_momentary_reason_ends_after_five_minutes(watch: Watch) -> None:
    watch.run(SickReasons(momentary=("x",)), *[WELL] * 5)
    assert watch.state.sick_runs == 0


def test_state_survives_its_json_and_unknown_members(watch: Watch) -> None:
    watch.run(URGENT, URGENT)
    assert ChannelState.of(watch.state.members() | {"newer": 1}) == watch.state
    assert ChannelState.of(ChannelState().members()) == ChannelState()


def test_state_of_a_channel_has_a_bounded_size(watch: Watch) -> None:
    watch.run(*[SickReasons(("é" * 5000,), ("ü" * 5000,))] * 3)
    assert len(json.dumps(watch.state.members())) < 4096
