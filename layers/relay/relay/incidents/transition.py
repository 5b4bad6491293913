"""Transition of a share against the announced state. Pure code. The docstring of `compare` lists every case.

A share is compared with the announced state, never with one that was merely seen. A state that xMatters did not accept
does not count as announced, so a comment that arrives while a page is owed does not cancel the page. Which transitions
are signalled is the policy's `notify_on`; `delivery.step.judge_change` applies it.
"""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, Self

from relay.incidents.share import Share, Version

# Statuses that BigPanda documents, and its own order of "worst" (docs/vendors.md, "What BigPanda sends").
RANKS: Mapping[str, int] = {"ok": 0, "unknown": 1, "warning": 2, "critical": 3}
_CRITICAL = RANKS["critical"]
ALERT_NAME_LENGTH = 8
# Several times what BigPanda puts into one incident; what is beyond is not compared, so that an entry stays small.
MAX_ALERTS = 1000


class Transition(StrEnum):
    """Change of an incident against its announced state. The table of `compare` has each case.

    `touched` is a change that needs no page, such as a comment, a tag or a snooze.
    """

    OPENED = "opened"
    WORSENED = "worsened"
    EASED = "eased"
    GREW = "grew"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    TOUCHED = "touched"


PRESETS: Mapping[str, frozenset[Transition]] = {
    # What the vendors document for their own integration: one page for each change of status.
    "parity": frozenset(Transition) - {Transition.GREW, Transition.TOUCHED},
    "oncall": frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED, Transition.RESOLVED}),
}


class State(NamedTuple):
    """An incident's state in one share: the members that decide its order and its transition.

    Attributes:
        version: BigPanda's timestamps, by which states are ordered; None if the share has none.
        digest: Hash of the share's state (`Share.digest`).
        came: The time at which the share came (epoch seconds).
        is_open: True if the incident is open.
        rank: Severity of the status, higher for worse; None if the share has no known status.
        alerts: Short hashes of the alerts' ids, by which additional alerts are recognised.
        has_borrowed_version: True if the share has no timestamps, and `version` is that of a state that came before.
    """

    version: Version | None
    digest: str
    came: float
    is_open: bool
    rank: int | None
    alerts: frozenset[str]
    has_borrowed_version: bool = False

    @classmethod
    def of(cls, share: Share, came: float) -> Self:
        """Return the state in a share that arrived at `came` (epoch seconds)."""
        names = sorted({_name(alert.id) for alert in share.alerts})
        rank, opened = RANKS.get(share.status or ""), is_open(share)
        return cls(share.trusted_version(came), share.digest, came, opened, rank, frozenset(names[:MAX_ALERTS]))

    def with_version_of(self, other: "State") -> "State":
        """Return the state with the timestamps of another state that came before it.

        It is used for a state that has no timestamps of its own.
        """
        return self._replace(version=other.version, has_borrowed_version=True)

    @property
    def is_stamped(self) -> bool:
        """True if the state has timestamps of its own, by which BigPanda orders states."""
        return self.version is not None and not self.has_borrowed_version

    @property
    def marked_digest(self) -> str:
        """Digest of the state, with a marker if the state's version is borrowed from another state.

        Version and marked digest together identify a state (see `is_same`).

        The ledger's `Entry.seen_digests` has the marked digests of the states with the newest version, to recognise
        late copies of a share.
        """
        return f"{self.digest}, borrowed version" if self.has_borrowed_version else self.digest

    @property
    def status(self) -> str:
        """BigPanda's word for the status of the state, such as `critical`; empty if the share has no known status."""
        return next((word for word, rank in RANKS.items() if rank == self.rank), "")

    @property
    def is_critical(self) -> bool:
        """True if the incident is open and critical."""
        return self.is_open and self.rank == _CRITICAL

    def precedes(self, other: "State | None") -> bool:
        """True if this state is older: by BigPanda's timestamps, or by arrival if the timestamps are equal or missing.

        False if `other` is None. A state without timestamps of its own (`has_borrowed_version`) is newer than every
        state that came before it. It is older than a state that came later and has later timestamps.
        """
        if other is None:
            return False
        came_before = self.came < other.came
        if self.version is None or other.version is None or self.version == other.version:
            return came_before
        if self.version < other.version:
            return came_before or not self.has_borrowed_version
        return came_before and other.has_borrowed_version

    def without_alerts(self) -> Self:
        """Return the state without its alerts, to save space: only an announced state needs them."""
        return self._replace(alerts=frozenset())

    def is_worse_than(self, other: "State") -> bool:
        """True if this state is open and the other is over, or if this status is worse."""
        return (self.is_open, self.rank or 0) > (other.is_open, other.rank or 0)

    def is_same(self, other: "State | None") -> bool:
        """True if both states have the same version and hash, whenever they came. False if `other` is None."""
        return other is not None and (self.version, self.marked_digest) == (other.version, other.marked_digest)

    def is_of_same_share(self, other: "State | None") -> bool:
        """True if both states come from one share: they are the same, and came at the same time.

        An incident may return to an earlier state in a later share. False if `other` is None.
        """
        return other is not None and self.is_same(other) and self.came == other.came


def _name(alert_id: str) -> str:
    return hashlib.sha256(alert_id.encode("utf-8", "surrogatepass")).hexdigest()[:ALERT_NAME_LENGTH]


def is_open(share: Share) -> bool:
    """True if a share's incident is open.

    The incident is over if the body says that it is not active, or that its status is `ok`. If the body does not say
    if it is active, `resolved` decides. A body with both active and resolved counts as open: a needless page does less
    harm than a lost page.
    """
    if share.active is False or share.status == "ok":
        return False
    return share.active is True or share.resolved is not True


class Change(NamedTuple):
    """A transition, and its explanation in words for a log.

    Attributes:
        transition: The transition.
        why: The explanation.
    """

    transition: Transition
    why: str


def compare(announced: State | None, state: State) -> Change:
    """Return the change from the announced state to `state`. `announced` is None if nothing was announced.

    | announced | open: worse, better | open: same, more alerts | open: same | closed |
    | --- | --- | --- | --- | --- |
    | nothing | opened | opened | opened | touched |
    | open | worsened, eased | grew | touched | resolved |
    | closed | reopened | reopened | reopened | touched |

    Snooze, flapping and maintenance do not change the result. BigPanda itself uses them to decide if it sends a share.
    """
    if announced is None:
        if state.is_open:
            return Change(Transition.OPENED, "nothing of this open incident was announced")
        return Change(Transition.TOUCHED, "it is over, and nothing of it was announced")
    if announced.is_open and not state.is_open:
        return Change(Transition.RESOLVED, "it was announced as open, and is over")
    if state.is_open and not announced.is_open:
        return Change(Transition.REOPENED, "it was announced as over, and is open")
    if not state.is_open:
        return Change(Transition.TOUCHED, "it is over, as announced")
    return _compare_open(announced, state)


def _compare_open(announced: State, state: State) -> Change:
    """Return the change between two open states.

    A status that BigPanda does not document counts as none. A state without one is neither worse nor better than any
    other, and never critical.
    """
    # A status that was missing before may have hidden a worse one.
    if state.rank is not None and state.rank != announced.rank:
        if announced.rank is None:
            return Change(Transition.WORSENED, "it was announced without a status, and has one")
        if state.rank > announced.rank:
            return Change(Transition.WORSENED, "its status is worse than announced")
        return Change(Transition.EASED, "its status is better than announced")
    # Without known alerts, new ones can't be told from old ones.
    if announced.alerts and state.alerts - announced.alerts:
        return Change(Transition.GREW, "alerts joined since it was announced")
    return Change(Transition.TOUCHED, "it is as announced")
