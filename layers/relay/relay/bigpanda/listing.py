"""Reads of incidents in BigPanda within its rate limit: listings, details, and people's answers.

Facts and open questions: docs/vendors.md, "BigPanda's API".
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from relay.bigpanda.client import BigPanda, Incident, RateLimit, as_webhook
from relay.bigpanda.comment import has_mark
from relay.channels.channel import BigPandaAccess
from relay.deadline import Clock, Deadline, Deadlines
from relay.failures import BadRequest, Reason, SendError
from relay.incidents.share import Fields, Share, nested, parse_share, scalar
from relay.ledger.receipt import Answer

# Snoozed incidents first: an incident may be in two folders, and its snooze must be known before it is compared.
FOLDERS = ("snoozed", "shared", "resolved")
# Type of the activity that names with whom an incident was shared, and the longest name that is kept.
SHARED, MAX_TARGET = "incident_shared", 100
# BigPanda's search returns at most 10,000 results (docs/vendors.md, "BigPanda's API").
MAX_LISTING_PAGES = 100
# Time limit of one call, so that a call that hangs does not use up the time of a reconcile run.
CALL_SECONDS = 10.0
# After a failed call that took at least SLOW_SECONDS, the function does not call the host for SILENT_SECONDS. Its time
# is needed for other hosts' listings, or for other chores.
SLOW_SECONDS, SILENT_SECONDS = 3.0, 30.0
# Wait after a 429. The seconds in which BigPanda counts calls may begin at other times than the relay's.
SLOWER_SECONDS = 1.0
# Types of the activities by which a person answers.
ANSWERS = ("incident_assigned", "incident_commented")
# Time limit of one question for answers. A follow-up that waited for xMatters has this much left.
QUESTION_SECONDS = 5.0
# BigPanda's clock and AWS's differ by less than this. A time further ahead is none in epoch seconds.
CLOCKS_DIFFER_SECONDS = 60.0
# Longer than any known id of a user. Bounded, since the ledger stores it.
MAX_USER_ID = 100


class Position(NamedTuple):
    """Position of a page in the listing of BigPanda's incidents.

    Attributes:
        folder: Index in FOLDERS.
        page: Counts from 1.
        ids: Ids of the folder's incidents on earlier pages.
    """

    folder: int = 0
    page: int = 1
    ids: tuple[str, ...] = ()


class ListingPage(NamedTuple):
    """One page of the listing of BigPanda's shared incidents.

    Attributes:
        folder: BigPanda's name of the folder, such as `snoozed`.
        shares: Shared incidents on the page, without those on earlier pages.
        unreadable: Number of items that can't be read as incidents.
        after: Position of the next page; None if this is the last page of the last folder.
        is_cut: True if the folder has more incidents than BigPanda lists.
    """

    folder: str
    shares: list[Share]
    unreadable: int
    after: Position | None
    is_cut: bool


@dataclass(frozen=True)
class Lister:
    """Reads incidents from BigPanda, within its rate limit.

    Methods raise SendError, and LedgerError if the rate limit's counts can't be read or written.

    Attributes:
        silent: Time until which an API that hung is not called (epoch seconds), by base URL.
    """

    bigpanda: BigPanda
    rate_limit: RateLimit
    clock: Clock
    deadlines: Deadlines
    silent: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def listing_page(
        self, access: BigPandaAccess, environment_id: str, at: Position, since: float, deadline: Deadline
    ) -> ListingPage:
        """Return the page at position `at` of an environment's listing.

        Resolved incidents are listed if they were active after `since` (epoch seconds).
        """
        folder = FOLDERS[at.folder]
        # BigPanda lists all resolved incidents of the past. Only recent ones are compared.
        start = since if folder == "resolved" else None
        ask = partial(self.bigpanda.incidents, access, environment_id, folder, at.page, start)
        items, total = self._asked(access, "incidents", ask, deadline)
        shares = [share for item in items if (share := _share(item, environment_id))]
        known = set(at.ids)
        fresh = [share for share in shares if share.incident_id not in known]
        ids = (*at.ids, *(share.incident_id for share in fresh))
        is_old = all(share.version is not None and share.version[0] < (start or 0.0) for share in shares)
        # A page without new incidents also ends the folder, in case the service repeats its first page for ever.
        is_last = not fresh or is_old or (total is not None and len(ids) >= total)
        is_cut = not is_last and at.page == MAX_LISTING_PAGES
        after: Position | None = Position(at.folder, at.page + 1, ids)
        if is_last or is_cut:
            after = Position(at.folder + 1) if at.folder + 1 < len(FOLDERS) else None
        shared = [share for share in fresh if share.document["incident"].get("shared") is not False]
        return ListingPage(folder, shared, len(items) - len(shares), after, is_cut)

    def details(self, access: BigPandaAccess, environment_id: str, share: Share, deadline: Deadline) -> Share:
        """Return the incident of a share as BigPanda has it now, with the details of its alerts.

        The share itself is returned if BigPanda's answer has no status, is older, or is about another incident.
        """
        found = self.incident(access, environment_id, share.incident_id, deadline)
        is_better = found is not None and found.status is not None
        is_newer = found is not None and (found.version or (0, 0)) >= (share.version or (0, 0))
        return found if found and is_better and is_newer else share

    def incident(
        self, access: BigPandaAccess, environment_id: str, incident_id: str, deadline: Deadline
    ) -> Share | None:
        """Return an incident as BigPanda has it now.

        None if the answer is about another incident, or has neither a status nor `active`.
        """
        ask = partial(self.bigpanda.incident, access, Incident(environment_id, incident_id))
        found = _share(self._asked(access, "incident", ask, deadline), environment_id)
        is_its = found is not None and found.incident_id == incident_id and (found.active, found.status) != (None, None)
        return found if is_its else None

    def share_targets(self, access: BigPandaAccess, incident_id: str, deadline: Deadline) -> frozenset[str]:
        """Return BigPanda's names of the targets (such as webhooks) with which an incident was shared; empty if none.

        Only the first page of the incident's shares is read.
        """
        ask = partial(self.bigpanda.activities, access, incident_id, kinds=(SHARED,), pages=1)
        shared = map(Fields, self._asked(access, "activities", ask, deadline))
        names = (scalar(nested(each.first("params"), "sharetarget")) for each in shared if each.get("type") == SHARED)
        return frozenset(name for name in names if name and len(name) <= MAX_TARGET)

    def first_answer(self, access: BigPandaAccess, incident_id: str, since: float) -> Answer | None:
        """Return a person's first assignment or comment in BigPanda since `since` (epoch seconds); None without one."""
        pace, deadline = partial(self.rate_limit.wait, access, "activities"), self.deadlines(QUESTION_SECONDS)
        activities = self.bigpanda.activities(access, incident_id, deadline, kinds=ANSWERS, pace=pace)
        return first_answer(activities, access.automations, since, self.clock())

    def _asked[T](self, access: BigPandaAccess, endpoint: str, ask: Callable[[Deadline], T], deadline: Deadline) -> T:
        """Call `ask` within BigPanda's rate limit for `endpoint`, and once more after a 429.

        If a call fails after more than SLOW_SECONDS, later calls to the base URL raise SendError at once for
        SILENT_SECONDS.
        """
        try:
            return self._asked_once(access, endpoint, ask, deadline)
        except SendError as error:
            if error.reason != Reason.RATE_LIMITED:
                raise
        self.rate_limit.sleep(SLOWER_SECONDS)
        return self._asked_once(access, endpoint, ask, deadline)

    def _asked_once[T](
        self, access: BigPandaAccess, endpoint: str, ask: Callable[[Deadline], T], deadline: Deadline
    ) -> T:
        if self.silent.get(access.base_url, 0.0) > self.clock():
            raise SendError(Reason.CIRCUIT_OPEN, "BigPanda did not answer in time just now", was_sent=False)
        self.rate_limit.wait(access, endpoint)
        began, brief = self.clock(), self.deadlines(min(CALL_SECONDS, deadline.remaining()))
        try:
            return ask(brief)
        except SendError:
            if self.clock() - began > SLOW_SECONDS:
                self.silent[access.base_url] = self.clock() + SILENT_SECONDS
            raise


def first_answer(
    activities: Iterable[Mapping[str, Any]], automations: Collection[str], since: float, now: float
) -> Answer | None:
    """Return the first answer (assignment or comment) of a person among activities since `since`; None without one.

    Three kinds of activities do not count: those of the relay's own user (known by the tag in its comments), those of
    the users whose ids are `automations`, and those after `now`. Times are in epoch seconds.
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


def _share(item: Mapping[str, Any], environment_id: str) -> Share | None:
    try:
        return parse_share(as_webhook(item, environment_id))
    except BadRequest:
        return None
