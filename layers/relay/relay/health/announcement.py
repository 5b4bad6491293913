"""Decisions when people are told that a channel is sick or well again. Pure code.

People are told after RUNS_SICK consecutive runs of the sweeper found the channel sick, or RUNS_WELL found it well. Two
messages about a channel are at least TOLD_AGAIN_SECONDS apart.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Self

from relay.foreign_text import cut

RUNS_SICK = 2
RUNS_WELL = 5
TOLD_AGAIN_SECONDS = 900.0
# Characters of the reasons that a state keeps. All states are in one item of the table.
MAX_WHY = 300
# Runs that are further apart do not count as consecutive: at least two runs are missing between them.
IN_A_ROW_SECONDS = 180.0


class Told(StrEnum):
    """The last message that told people of a channel's present sickness."""

    NOTHING = ""
    # The channel is sick; on the topic for notices.
    NOTICE = "notice"
    # The channel is sick; on the topic that wakes people.
    ALARM = "alarm"


class ChannelState(NamedTuple):
    """A channel's sickness, and what people were told of it, between runs of the sweeper.

    Times are epoch seconds, 0 for never.

    Attributes:
        since: Time of the first run that found the sickness.
        why: Reasons of the last run that found the channel sick, in words.
        sick_runs: Consecutive runs that found the channel sick.
        urgent_runs: Consecutive runs that found it sick and urgent.
        well_runs: Consecutive runs that found it well.
        judged_at: Time of the last run.
    """

    since: float = 0.0
    why: str = ""
    sick_runs: int = 0
    urgent_runs: int = 0
    well_runs: int = 0
    judged_at: float = 0.0
    told: str = Told.NOTHING
    told_at: float = 0.0

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Read a state from the members of its JSON object. Unknown members are ignored."""
        return cls(**{name: members[name] for name in cls._fields if name in members})

    def members(self) -> dict[str, Any]:
        """Return the members for the state's JSON object: those that differ from a new state's."""
        plain = ChannelState()._asdict()
        return {name: value for name, value in self._asdict().items() if value != plain[name]}

    def judged(self, now: float, reasons: Sequence[str] = (), *, is_urgent: bool = False) -> "ChannelState":
        """Return the state after a run of the sweeper. Without reasons, the run found the channel well.

        `is_urgent` is True if the sickness has to wake a person.
        """
        state = self._replace(judged_at=now)
        if now - self.judged_at > IN_A_ROW_SECONDS:
            state = state._replace(sick_runs=0, urgent_runs=0, well_runs=0)
        if not reasons:
            since = state.since if state.told else 0.0
            return state._replace(since=since, sick_runs=0, urgent_runs=0, well_runs=state.well_runs + 1)
        return state._replace(
            since=state.since or now,
            why=cut("; ".join(reasons), MAX_WHY),
            sick_runs=state.sick_runs + 1,
            urgent_runs=state.urgent_runs + 1 if is_urgent else 0,
            well_runs=0,
        )

    def unjudged(self, now: float) -> "ChannelState":
        """Return the state after a run that did not judge the channel: the counts of consecutive runs begin anew."""
        return self._replace(judged_at=now, sick_runs=0, urgent_runs=0, well_runs=0)

    @property
    def is_urgent(self) -> bool:
        return self.urgent_runs > 0

    def is_to_tell_sick(self, now: float) -> bool:
        """True if people are to be told that the channel is sick, or that it became urgent."""
        is_worse = self.told == Told.NOTICE and self.urgent_runs >= RUNS_SICK
        return self.sick_runs >= RUNS_SICK and (not self.told or is_worse) and self._may_tell(now)

    def is_to_tell_well(self, now: float) -> bool:
        return bool(self.told) and self.well_runs >= RUNS_WELL and self._may_tell(now)

    def told_sick(self, told: Told, now: float) -> "ChannelState":
        return self._replace(told=told, told_at=now)

    def told_well(self, now: float) -> "ChannelState":
        return ChannelState(well_runs=self.well_runs, judged_at=self.judged_at, told_at=now)

    def is_over(self, now: float) -> bool:
        """True if the state need not be kept: people know that the channel is well, and the next message may come."""
        return not self.told and not self.sick_runs and self._may_tell(now)

    def _may_tell(self, now: float) -> bool:
        return now - self.told_at >= TOLD_AGAIN_SECONDS
