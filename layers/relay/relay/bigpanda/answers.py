"""Answers in BigPanda: a person who assigned an incident, or commented on it, knows of it.

An activity of BigPanda has the id of the user who acted (`created_by`). The relay's own user is the one whose comments
have the relay's mark: what that user did is no answer, nor what other integrations did (`bigpanda.automations`).

Facts and open questions: docs/vendors.md, "BigPanda's API".
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from relay.bigpanda.client import BigPanda, RateLimit
from relay.bigpanda.comment import has_mark
from relay.channels.channel import BigPandaAccess
from relay.deadline import Deadline
from relay.incidents.share import Fields, scalar
from relay.ledger.receipt import Answer

# Types of the activities by which a person answers.
ANSWERS = ("incident_assigned", "incident_commented")
# Time limit of one question. A follow-up that waited for xMatters has this much left.
QUESTION_SECONDS = 5.0
# BigPanda's clock and AWS's differ by less than this. A time further ahead is none in epoch seconds.
CLOCKS_DIFFER_SECONDS = 60.0
# Longer than any known id of a user. Bounded, since the ledger stores it.
MAX_USER_ID = 100


@dataclass(frozen=True)
class Answers:
    """Asks BigPanda if a person assigned an incident or commented on it, within BigPanda's rate limit.

    Attributes:
        bigpanda: Client for BigPanda's API.
        rate_limit: BigPanda's rate limit.
        clock: The time in epoch seconds.
        deadlines: Returns a deadline of a number of seconds.
    """

    bigpanda: BigPanda
    rate_limit: RateLimit
    clock: Callable[[], float]
    deadlines: Callable[[float], Deadline]

    def first(self, access: BigPandaAccess, incident_id: str, since: float) -> Answer | None:
        """Return the first answer to an incident since a time (epoch seconds); None if BigPanda has none.

        Raises SendError and LedgerError.
        """
        pace, deadline = partial(self.rate_limit.wait, access, "activities"), self.deadlines(QUESTION_SECONDS)
        activities = self.bigpanda.activities(access, incident_id, deadline, kinds=ANSWERS, pace=pace)
        return first_answer(activities, access.automations, since, self.clock())


def first_answer(
    activities: Iterable[Mapping[str, Any]], automations: Collection[str], since: float, now: float
) -> Answer | None:
    """Return the first answer since a time, among an incident's activities; None if there is none.

    `automations` are the ids of users that are no people. `since` and `now` are in epoch seconds.
    """
    known = [(_user(each), _time(each), each) for each in map(Fields, activities)]
    # The relay assigns before it comments. Until its first comment is written, the assignment counts: the person who is
    # assigned has acknowledged a page of the incident.
    no_people = {user for user, _, each in known if has_mark(each)} | {*automations, ""}
    # BigPanda's times are whole seconds.
    answers = [
        Answer(f"BigPanda user {user}", max(at, since))
        for user, at, each in known
        if user not in no_people and each.get("type") in ANSWERS and int(since) <= at <= now + CLOCKS_DIFFER_SECONDS
    ]
    return min(answers, key=lambda each: each.at, default=None)


def _user(activity: Fields) -> str:
    user = scalar(activity.first("createdby")) or ""
    return user if len(user) <= MAX_USER_ID else ""


def _time(activity: Fields) -> float:
    at = activity.first("timestamp")
    return float(at) if isinstance(at, int | float) else 0.0
