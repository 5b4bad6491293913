"""A storm of shares: 100 incidents, posted in parallel before and during an outage."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random

import requests

from tests.e2e.channels import HEADERS, Channel
from tests.e2e.samples import ANSWER_SECONDS
from tests.e2e.verify import Posted
from tests.simulation.story import SharedState

INCIDENTS = 100
# The local cloud starts a process for each concurrent share.
SENDERS = 4
COPIES = 20
FIRST_SECOND = 1_795_600_000
# States shared before the outage, and during it, for each kind of incident. A repeated state is a comment.
LIVES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ends": (("warning",), ("ok",)),
    "worsens": (("warning",), ("critical", "critical")),
    "is commented on": (("critical",), ("critical",)),
    "opens as warning": ((), ("warning",)),
    "opens as critical": ((), ("critical",)),
    "opens and worsens": ((), ("warning", "critical")),
    "comes and goes": ((), ("critical", "ok")),
    "comes and comes back": ((), ("warning", "ok", "warning")),
    "opens and eases": ((), ("critical", "warning")),
    "goes and comes back": (("critical",), ("ok", "critical")),
}


@dataclass(frozen=True)
class Plan:
    """Shares of a storm.

    Attributes:
        before: states that are posted before the outage, in any order.
        during: waves of states that are posted during the outage; each wave in any order.
    """

    before: list[SharedState]
    during: list[list[SharedState]]


@dataclass
class Storm:
    """Sender of a storm: posts shares to one channel, and keeps their answers.

    Attributes:
        channel: the channel.
        posts: shares and their answers, in the order of the answers.
    """

    channel: Channel
    posts: list[Posted] = field(default_factory=list)

    def post(self, states: Sequence[SharedState]) -> None:
        """Post the shares of these states in parallel, and wait for all answers."""
        local = threading.local()

        def one(state: SharedState) -> Posted:
            if not hasattr(local, "session"):
                local.session = requests.Session()
                local.session.trust_env = False
            url = f"{self.channel.cloud.api_url}/bigpanda/{self.channel.name}"
            posted_at = time.time()
            answer = local.session.post(url, data=state.body(), headers=HEADERS, timeout=ANSWER_SECONDS)
            return Posted(state, posted_at, time.time(), answer.status_code, answer.json())

        with ThreadPoolExecutor(SENDERS) as senders:
            self.posts += sorted(senders.map(one, states), key=lambda posted: posted.answered_at)


def planned(random: Random) -> Plan:
    """Return the plan of a storm; `random` chooses the copies and the order of the shares in each wave."""
    names = [f"{life}, {number}" for life in LIVES for number in range(INCIDENTS // len(LIVES))]
    lives = {name: _states(name, LIVES[name.partition(",")[0]]) for name in names}
    counts = {name: len(LIVES[name.partition(",")[0]][0]) for name in names}
    before = [state for name, states in lives.items() for state in states[: counts[name]]]
    later = [states[counts[name] :] for name, states in lives.items()]
    for number, states in enumerate(later):
        if number % 7 == 0:
            # Some shares overtake each other on their way.
            states.reverse()
    waves = [[states[place] for states in later if place < len(states)] for place in range(max(map(len, later)))]
    # Copies of earlier posts.
    waves[1] += random.sample(before + waves[0], COPIES)
    for wave in (before, *waves):
        random.shuffle(wave)
    return Plan(before, waves)


def _states(incident: str, life: tuple[tuple[str, ...], tuple[str, ...]]) -> list[SharedState]:
    return [
        SharedState(
            incident=incident,
            number=number,
            at=0.0,
            is_open=status != "ok",
            status=status,
            alerts=frozenset({"a1"}),
            changed_on=FIRST_SECOND,
            updated_on=FIRST_SECOND + 10 * number,
        )
        for number, status in enumerate([*life[0], *life[1]])
    ]
