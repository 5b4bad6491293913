"""End of an incident, and its confirmation with BigPanda. Pure code."""

from copy import replace
from typing import NamedTuple

from relay.incidents.share import Version

# After an answer of BigPanda's that contradicts a resolve, the webhook's next resolves are believed only once BigPanda
# confirms them (docs/decisions.md, D-distrusted-resolve).
DISTRUST_SECONDS = 900.0
# A resolve may be forged if the incident is shared as open again so soon: BigPanda was hardly asked about it by then.
CONTRADICTED_SOON_SECONDS = 60.0


class End(NamedTuple):
    """End of an incident. Times are epoch seconds, 0 for never.

    Attributes:
        at: When the incident was resolved last. Pages of signals that were sent before have to be terminated.
        confirmed_at: The newest end (`at`) that BigPanda confirmed, or about which BigPanda did not answer in time.
        refuted_since: When BigPanda first answered that the incident is open after all.
        contradicted_at: When BigPanda last answered that the incident is open, although a resolve of it came.
        suspected_since: When the first suspected resolve came; 0 if there is none. A suspected resolve is not believed
            unless BigPanda confirms it.
        suspected_at: When the last suspected resolve came; 0 if there is none.
        suspected_version: Latest timestamps (`State.version`) of the suspected resolves; None if there is none, or none
            has timestamps.
        asked_at: When a follow-up that asks BigPanda about suspected resolves was queued last; 0 if there is none.
        asker: Name (`Job.stored_name`) of the only follow-up job that asks BigPanda about suspected resolves; empty if
            there is none.
        ended_debt_since: Start of the debt that the last resolve ended; 0 if nothing was owed, or if the resolve is
            confirmed.
        was_notified: True if the fallback topic was notified of the debt that the last resolve ended.
        silent_since: When BigPanda was first asked without an answer. It counts only if it is later than the resolve
            that the question is about, and than BigPanda's last answer.
    """

    at: float = 0.0
    confirmed_at: float = 0.0
    refuted_since: float = 0.0
    contradicted_at: float = 0.0
    suspected_since: float = 0.0
    suspected_at: float = 0.0
    suspected_version: Version | None = None
    asked_at: float = 0.0
    asker: str = ""
    ended_debt_since: float = 0.0
    was_notified: bool = False
    silent_since: float = 0.0

    @property
    def is_suspected(self) -> bool:
        """True if a resolve came that is not believed unless BigPanda confirms it."""
        return self.suspected_since > 0

    def is_asked_by(self, follow_up: str) -> bool:
        """True if the follow-up job `follow_up` has to ask BigPanda about the suspected resolves.

        `follow_up` is the job's name (`Job.stored_name`).
        """
        return self.is_suspected and self.asker == follow_up

    def is_distrusted(self, now: float) -> bool:
        """True if BigPanda contradicted a resolve of the incident within DISTRUST_SECONDS before `now`."""
        return now - self.contradicted_at < DISTRUST_SECONDS

    @property
    def is_confirmed(self) -> bool:
        """True if the last resolve is confirmed with BigPanda, or if the incident was never resolved."""
        return self.at <= self.confirmed_at

    def resolved(self, at: float, *, was_over: bool = False) -> "End":
        """Return the end after a resolve at `at` (epoch seconds). The result's `at` is that of the latest resolve.

        `was_over` is True if the incident was over before: then a confirmed end stays confirmed.
        """
        after = replace(self, at=max(self.at, at))
        is_sure = was_over and self.at > 0 and self.is_confirmed
        return replace(after, confirmed_at=after.at) if is_sure else after

    def with_ended_debt(self, since: float = 0.0, *, is_notified: bool = False) -> "End":
        """Return the record of the incident's end with the debt that the last resolve ended.

        If the resolve is false, this debt is needed again. `since` is the time since which a state was owed (epoch
        seconds); 0 if none was. `is_notified` is True if the fallback topic was notified of the debt. Without
        arguments, the debt is removed from the record.
        """
        return replace(self, ended_debt_since=since, was_notified=is_notified)

    def may_be_false(self, came: float) -> bool:
        """True if the incident's last resolve may be forged. The incident is open at `came` (epoch seconds).

        The resolve may be forged if BigPanda answered that the incident is still open. It may also be forged if it came
        at most CONTRADICTED_SOON_SECONDS before `came`.
        """
        return self.refuted_since > 0 or came - self.at <= CONTRADICTED_SOON_SECONDS

    def confirmed(self) -> "End":
        """Return the end as confirmed, since BigPanda confirmed it or did not answer in time."""
        return replace(self._unsuspected().with_ended_debt(), confirmed_at=self.at, refuted_since=0.0)

    def suspected(self, at: float, version: Version | None = None) -> "End":
        """Return the end after a resolve at `at` (epoch seconds) that is not believed unless BigPanda confirms it.

        `version` has the resolve's timestamps; None without any.
        """
        return replace(
            self,
            suspected_since=self.suspected_since or at,
            suspected_at=max(self.suspected_at, at),
            suspected_version=max(filter(None, (self.suspected_version, version)), default=None),
        )

    def _unsuspected(self) -> "End":
        return replace(self, suspected_since=0.0, suspected_at=0.0, suspected_version=None, asked_at=0.0, asker="")

    def doubted(self, now: float) -> "End":
        """Return the end after BigPanda answered at `now` (epoch seconds) that the incident is open.

        `refuted_since` becomes the time of the first such answer after the last suspected resolve.
        """
        is_first = self.refuted_since <= self.suspected_at
        return replace(self, refuted_since=now if is_first else self.refuted_since, contradicted_at=now)

    def disputed(self, now: float) -> "End":
        """Return the end after a reconcile run found at `now` (epoch seconds) that BigPanda shows the incident as open.

        This counts as an answer of BigPanda that the incident is open, as in `doubted`. The end is no longer confirmed,
        even if it was before: a resolve that came after the confirmation may be forged.
        """
        return replace(self.doubted(now), confirmed_at=0.0)

    def refuted(self, now: float) -> "End":
        """Return the end after BigPanda refuted the resolve twice: the incident counts as open, and its pages stay.

        `now` is the time of the second answer (epoch seconds). A suspected resolve that came after the first answer
        stays suspected.
        """
        return replace(self.unfounded(now).with_ended_debt(), at=0.0)

    def unfounded(self, now: float) -> "End":
        """Return the record of the incident's end without suspected resolves, since BigPanda refuted them twice.

        `now` is the time of the second answer (epoch seconds). A suspected resolve that came after the first answer
        stays suspected. An earlier resolve that was not suspected stays in the record.
        """
        after = replace(self, refuted_since=0.0, contradicted_at=now)
        is_answered = self.suspected_at < self.refuted_since
        return after._unsuspected() if is_answered else after

    def reopened(self, came: float, version: Version | None) -> "End":
        """Return the end after an open state came. `came` is its arrival (epoch seconds), `version` its timestamps.

        The record of the debt that the last resolve ended is removed. So are BigPanda's answers and the suspected
        resolves, unless a suspected resolve is newer than the open state.
        """
        after = self.with_ended_debt() if self.ended_debt_since else self
        if not (self.refuted_since or self.is_suspected):
            return after
        is_older = version is not None and self.suspected_version is not None and version < self.suspected_version
        if self.is_suspected and (is_older or came <= self.suspected_at):
            return after
        return replace(after._unsuspected(), refuted_since=0.0)


# The end of an incident of which no resolve came.
NEVER_ENDED = End()
