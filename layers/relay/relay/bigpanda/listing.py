"""BigPanda's shared incidents, page by page, within its rate limit; and the details of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from relay.bigpanda.client import BigPanda, Incident, as_webhook
from relay.bigpanda.rate_limit import Turns
from relay.channels.channel import Access
from relay.deadline import Deadline
from relay.errors import BadRequest, NoAnswer, Reason, SendError
from relay.incidents.share import Share, parse_share

# Snoozed ones first: an incident may lie in two folders, and must not be taken for one that is awake.
FOLDERS = ("snoozed", "shared", "resolved")
# BigPanda's search shows no more than the 10,000th result (docs/vendors.md, "BigPanda's API").
MAX_PAGES = 100
# One call to BigPanda must not take the time of a whole piece of a run.
CALL_SECONDS = 10.0
# After an answer that came too late, or not at all, the function leaves the same host alone for so long: chores of
# other kinds need the workers.
SLOW_SECONDS, SILENT_SECONDS = 3.0, 30.0
# BigPanda's seconds need not be ours.
SLOWER_SECONDS = 1.0


class Position(NamedTuple):
    """A page of the listing.

    Attributes:
        folder: The index of its folder in FOLDERS.
        page: Its number, from 1.
        listed: The number of incidents on the pages before it.
    """

    folder: int = 0
    page: int = 1
    listed: int = 0


class Page(NamedTuple):
    """One page of shared incidents.

    Attributes:
        folder: Its folder.
        shares: Its incidents that are shared, without those that an earlier page had.
        unreadable: The number of its items that are no incident.
        after: The next page; None if this is the last of all folders.
        is_cut: BigPanda has more of the folder than may be listed.
    """

    folder: str
    shares: list[Share]
    unreadable: int
    after: Position | None
    is_cut: bool


@dataclass(frozen=True)
class Lister:
    """Asks BigPanda for incidents. `clock` gives epoch seconds, `deadlines` a deadline of so many seconds.

    Every method raises SendError if BigPanda does not answer, and LedgerError if the rate limit can't be counted.
    """

    bigpanda: BigPanda
    turns: Turns
    clock: Callable[[], float]
    deadlines: Callable[[float], Deadline]
    # By base URL, the time until which this function leaves the host alone.
    silent: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def page(
        self, access: Access, environment_id: str, at: Position, since: float, ids: set[str], deadline: Deadline
    ) -> Page:
        """Return a page of a folder; of resolved incidents, those that were active after `since` (epoch seconds).

        `ids` are the incidents on the folder's earlier pages; those of this page are added.
        """
        folder = FOLDERS[at.folder]
        # What is over is listed for ever, so a run asks for what ended lately.
        start = since if folder == "resolved" else None
        ask = partial(self.bigpanda.incidents, access, environment_id, folder, at.page, start)
        listing = self._asked(access, "incidents", ask, deadline)
        shares = [share for item in listing.items if (share := _share(item, environment_id))]
        fresh = [share for share in shares if share.incident_id not in ids]
        ids |= {share.incident_id for share in fresh}
        listed = at.listed + len(fresh)
        is_old = all(share.version is not None and share.version[0] < (start or 0.0) for share in shares)
        # A service that knows no pages answers with the first one again.
        is_last = not fresh or is_old or (listing.total is not None and listed >= listing.total)
        is_cut = not is_last and at.page == MAX_PAGES
        after: Position | None = Position(at.folder, at.page + 1, listed)
        if is_last or is_cut:
            after = Position(at.folder + 1) if at.folder + 1 < len(FOLDERS) else None
        shared = [share for share in fresh if share.document["incident"].get("shared") is not False]
        return Page(folder, shared, len(listing.items) - len(shares), after, is_cut)

    def details(self, access: Access, environment_id: str, share: Share, deadline: Deadline) -> Share:
        """Return a share with the details of its alerts; as it is, if BigPanda's answer is poorer or older."""
        found = self.incident(access, environment_id, share.incident_id, deadline)
        is_better = found is not None and found.status is not None
        is_newer = found is not None and (found.version or (0, 0)) >= (share.version or (0, 0))
        return found if found and is_better and is_newer else share

    def incident(self, access: Access, environment_id: str, incident_id: str, deadline: Deadline) -> Share | None:
        """Return an incident as it is now; None if the answer is not of it."""
        ask = partial(self.bigpanda.incident, access, Incident(environment_id, incident_id))
        found = _share(self._asked(access, "incident", ask, deadline), environment_id)
        is_its = found is not None and found.incident_id == incident_id and (found.active, found.status) != (None, None)
        return found if is_its else None

    def _asked[T](self, access: Access, endpoint: str, ask: Callable[[Deadline], T], deadline: Deadline) -> T:
        """Call BigPanda within its rate limit, and once more if that was too early."""
        try:
            return self._asked_once(access, endpoint, ask, deadline)
        except SendError as error:
            if error.reason != Reason.RATE_LIMITED:
                raise
        self.turns.sleep(SLOWER_SECONDS)
        return self._asked_once(access, endpoint, ask, deadline)

    def _asked_once[T](self, access: Access, endpoint: str, ask: Callable[[Deadline], T], deadline: Deadline) -> T:
        if self.silent.get(access.base_url, 0.0) > self.clock():
            raise NoAnswer(Reason.CIRCUIT_OPEN, "BigPanda did not answer in time just now", asked=False)
        self.turns.wait(access, endpoint)
        began, spent, brief = self.clock(), deadline.spent, self.deadlines(min(CALL_SECONDS, deadline.remaining()))
        try:
            return ask(brief)
        except SendError:
            if self.clock() - began > SLOW_SECONDS:
                self.silent[access.base_url] = self.clock() + SILENT_SECONDS
            raise
        finally:
            spent.update({part: spent.get(part, 0.0) + milliseconds for part, milliseconds in brief.spent.items()})


def _share(item: Mapping[str, Any], environment_id: str) -> Share | None:
    try:
        return parse_share(as_webhook(item, environment_id))
    except BadRequest:
        return None
