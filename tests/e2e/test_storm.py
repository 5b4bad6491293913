"""A storm of shares with an outage and a recovery, through the deployed stack: each share is accounted for."""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import pytest

from relay.ledger.channel_rate_limiter import count_name
from relay.ledger.entry_key import key
from relay.ledger.ledger import Ledger
from relay.ledger.wait import WINDOW_SECONDS, Slot
from sandbox import local
from sandbox.cloud import queues
from sandbox.server.client import StandIn
from tests.e2e import channels
from tests.e2e.channels import Channel
from tests.e2e.storm import LIVES, Storm, planned
from tests.e2e.verify import IN_FLIGHT_SECONDS, Accounts

SEED = 4
# Above the 40 signals before the outage, and below the 80 that are owed after it.
PER_MINUTE = 65
MINUTE = 60.0
# Signals before the storm, so that their slots become free one after the other.
SHARES_A_SECOND = 10
# Upper bound, for a storm that leaves something waiting.
DRAIN_SECONDS = 600.0
# Statuses that are signalled for each kind of incident in LIVES. Those that open and resolve in the outage have none.
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
    """Results of the storm.

    Attributes:
        accounts: posts and signals.
        before: number of shares posted before the outage.
        rang_while_down: number of signals accepted during the outage.
        retries: messages left on the retry queue.
        dead_letters: messages on the dead-letter queue.
    """

    accounts: Accounts
    before: int
    rang_while_down: int
    retries: int
    dead_letters: int


@pytest.fixture(scope="module")
def aftermath(cloud: local.Local, xmatters: StandIn) -> Aftermath:
    """Run the storm until nothing waits on a queue or in the ledger, or until a time limit."""
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
    while (queues.waiting(cloud) or storm.channel.owing()) and time.monotonic() < deadline:
        time.sleep(0.5)
    accounts = Accounts(storm.posts, storm.channel.signals())
    return Aftermath(accounts, len(plan.before), rang_while_down, queues.waiting(cloud), queues.dead_letters(cloud))


def test_every_share_of_a_storm_is_accounted_for(aftermath: Aftermath) -> None:
    accounts = aftermath.accounts
    assert accounts.problems() == []
    sums = accounts.sums()
    assert sums.total() == len(accounts.posts)
    assert (sums["rang at once"], aftermath.rang_while_down) == (aftermath.before, 0)
    assert min(sums[end] for end in ("rang later", "overtaken while it waited", "overtaken on its way", "a copy")) > 0


def test_storm_leaves_empty_queues_and_no_dead_letters(aftermath: Aftermath) -> None:
    assert (aftermath.retries, aftermath.dead_letters) == (0, 0)


def test_storm_signals_exactly_the_states_that_each_incident_owed(aftermath: Aftermath) -> None:
    lives = aftermath.accounts.lives()
    told = {name: TOLD[name.partition(",")[0]] for name in lives}
    assert lives == told
    assert set(TOLD) == set(LIVES)
    assert len(aftermath.accounts.rings) == sum(map(len, told.values()))


def test_storm_keeps_to_the_channels_limit_in_every_minute(aftermath: Aftermath) -> None:
    times = [ring.at for ring in aftermath.accounts.rings]
    # The relay counts a signal when it is admitted; the signal may arrive up to IN_FLIGHT_SECONDS later.
    shortest = MINUTE - IN_FLIGHT_SECONDS
    assert all(last - first >= shortest for first, last in zip(times, times[PER_MINUTE:], strict=False))
    assert len(times) > PER_MINUTE, "too few signals to reach the limit"


class Crowd:
    """Incidents of a channel whose rate limit is exhausted for longer than the test takes."""

    LIMIT = 4

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._ledger = Ledger(channel.ledger())
        # Counted signals in future seconds: no slot is free until a minute after the first of them.
        counts = {count_name(int(time.time()) + 40 + 2 * place): 1 for place in range(self.LIMIT)}
        channel.ledger().update(f"gate/{channel.name}", add=counts)

    def wait(self, status: str, count: int) -> list[Slot]:
        """Post so many incidents; return the slots that the relay reserved for them."""
        return [self._slot(f"{status}-{uuid.uuid4().hex[:8]}", status) for _ in range(count)]

    def _slot(self, incident_id: str, status: str) -> Slot:
        answer = self._channel.post(json.dumps({"incident": {"id": incident_id, "status": status}}).encode())
        assert (answer.status_code, answer.json()["reason"]) == (202, "paced"), answer.text
        slot = self._ledger.read(key(self._channel.name, (), incident_id)).debt.slot
        assert slot
        return slot


@pytest.fixture
def crowd(cloud: local.Local, xmatters: StandIn) -> Iterator[Crowd]:
    paced = (f"policy.max_per_minute={Crowd.LIMIT}", "policy.min_seconds_between_signals=0")
    yield Crowd(channels.made(cloud, xmatters, paced))
    # Delayed jobs of this test must not reach the next test.
    queues.purge(cloud)


def test_criticals_get_the_first_free_slots_although_they_come_after_warnings(crowd: Crowd) -> None:
    early = crowd.wait("warning", Crowd.LIMIT)
    criticals = crowd.wait("critical", Crowd.LIMIT)
    late = crowd.wait("warning", 2)
    first_room_ends = min(early).at + WINDOW_SECONDS
    assert max(criticals).at < first_room_ends <= min(late).at
    assert {slot.is_critical for slot in criticals} == {True}
