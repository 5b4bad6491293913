"""An outage, a storm of incidents, recovery: each share is accounted for, through the deployed stack and its queues."""

import time
from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest

from sandbox import local, queues
from sandbox.standin import StandIn
from tests.e2e import channels
from tests.e2e.storm import LIVES, Storm, planned
from tests.e2e.verify import Accounts, share_in_order

SEED = 4
# More than what rings before, which is 80; and when xMatters is back, room for 50 of 160 that are owed then, 80 of them
# critical: so some of either kind have to wait for more of it.
PER_MINUTE = 130
MINUTE = 60.0
# Before the storm; so the room that they take comes back little by little, too.
SHARES_A_SECOND = 10
DRAIN_SECONDS = 180.0
# What people are told of each life; see LIVES. What comes and goes while xMatters is down, nobody hears of.
TOLD = {
    "ends": ["warning", "ok"],
    "worsens": ["warning", "critical"],
    "is commented on": ["critical"],
    "opens as warning": ["warning"],
    "opens as critical": ["critical"],
    "opens and worsens": ["critical"],
    "comes and goes": [],
    "comes and comes back": ["warning"],
    "opens and eases": ["warning"],
    "goes and comes back": ["critical"],
}


@dataclass(frozen=True)
class Aftermath:
    """What is left when the storm is over."""

    accounts: Accounts
    before: int
    rang_while_down: int
    retries: int
    dead_letters: int


@pytest.fixture(scope="module")
def aftermath(cloud: local.Local, xmatters: StandIn) -> Aftermath:
    """The storm, from its first share until nothing is left on the retry queue, or for too long."""
    storm = Storm(channels.made(cloud, xmatters, [f"policy.max_per_minute={PER_MINUTE}"]))
    queues.purge(cloud)
    plan = planned(Random(SEED))
    for place in range(0, len(plan.before), SHARES_A_SECOND):
        storm.post(plan.before[place : place + SHARES_A_SECOND])
        time.sleep(1)
    xmatters.listen(is_open=False)
    try:
        for wave in plan.during:
            storm.post(wave)
        rang_while_down = len(storm.channel.signals()) - len(plan.before)
    finally:
        xmatters.listen(is_open=True)
    deadline = time.monotonic() + DRAIN_SECONDS
    while queues.waiting(cloud) and time.monotonic() < deadline:
        time.sleep(0.5)
    accounts = Accounts(storm.posts, storm.channel.signals())
    return Aftermath(accounts, len(plan.before), rang_while_down, queues.waiting(cloud), queues.dead_letters(cloud))


def test_every_share_is_accounted_for(aftermath: Aftermath) -> None:
    accounts = aftermath.accounts
    assert accounts.problems() == []
    sums = accounts.sums()
    assert sums.total() == len(accounts.posts)
    assert (sums["rang at once"], aftermath.rang_while_down) == (aftermath.before, 0)
    assert min(sums[end] for end in ("rang later", "overtaken while it waited", "overtaken on its way", "a copy")) > 0


def test_the_queues_are_empty_and_nothing_was_given_up(aftermath: Aftermath) -> None:
    assert (aftermath.retries, aftermath.dead_letters) == (0, 0)


def test_people_were_told_what_each_incident_came_to_and_no_more(aftermath: Aftermath) -> None:
    lives = aftermath.accounts.lives()
    told = {name: TOLD[name.partition(",")[0]] for name in lives}
    assert lives == told
    assert set(TOLD) == set(LIVES)
    assert len(aftermath.accounts.rings) == sum(map(len, told.values()))


def test_no_minute_held_more_signals_than_the_policy_allows(aftermath: Aftermath) -> None:
    times = [ring.at for ring in aftermath.accounts.rings]
    assert all(last - first >= MINUTE for first, last in zip(times, times[PER_MINUTE:], strict=False))
    assert len(times) > PER_MINUTE, "the limit had nothing to hold back"


def test_of_those_that_had_to_wait_for_room_critical_ones_rang_first(aftermath: Aftermath) -> None:
    rings = aftermath.accounts.rings
    # From then on there was only room that came back, a minute after it was taken.
    waited = [ring for ring in rings if ring.at > rings[0].at + MINUTE]
    kinds = Counter(ring.state.status == "critical" for ring in waited)
    assert min(kinds[True], kinds[False]) >= 10, kinds
    assert share_in_order(waited) > 0.8
