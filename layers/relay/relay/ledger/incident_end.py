"""End of an incident: open, claimed or over. Pure code.

| phase | what is known |
| --- | --- |
| open | no resolve came, or BigPanda answered that the incident is open |
| claimed | the webhook brought a resolve, and BigPanda is asked if it is true |
| over | the entry's newest state is closed |
"""

from copy import replace
from typing import NamedTuple

from relay.incidents.share import Version

# BigPanda's API may lag behind its webhook. By how much is not documented, so an answer "open" counts only after this
# time. An owed signal waits at most as long for the answer (docs/decisions.md, D-ask-first).
CLAIM_SECONDS = 60.0
# A resolve that comes later than this after the claim is asked about anew: the first question may be lost, or wait.
CLAIM_AGAIN_SECONDS = 120.0


class End(NamedTuple):
    """End of an incident. Times are epoch seconds, 0 for never.

    Attributes:
        at: When the incident ended last. Pages of signals that were sent before have to be terminated.
        claimed_at: When the resolve came that BigPanda is asked about; 0 if there is none.
        version: Timestamps of the last resolve that BigPanda was asked about; None if it had none.
        silent_since: When BigPanda first left the question about the claim without an answer; 0 if it answered.
    """

    at: float = 0.0
    claimed_at: float = 0.0
    version: Version | None = None
    silent_since: float = 0.0

    @property
    def is_claimed(self) -> bool:
        """True if a resolve came, and BigPanda is asked if it is true."""
        return self.claimed_at > 0

    def has_refuted(self, version: Version | None) -> bool:
        """True if BigPanda answered that a resolve with these timestamps, or a later one, is not true."""
        if version is None or self.version is None or self.is_claimed:
            return False
        return version <= self.version

    def begins_claim(self, came: float) -> bool:
        """Return True if a resolve that `came` (epoch seconds) begins a claim: BigPanda is asked about it.

        A resolve that comes soon after a claimed one is part of that claim.
        """
        return not self.is_claimed or came - self.claimed_at >= CLAIM_AGAIN_SECONDS

    def claimed(self, came: float, version: Version | None) -> "End":
        """Return the end after a resolve that `came` (epoch seconds), with these timestamps; None for none.

        A resolve without timestamps gets those of its arrival.
        """
        known, version = self.version if self.is_claimed else None, version or (came, came)
        return replace(
            self,
            claimed_at=came if self.begins_claim(came) else self.claimed_at,
            version=max(known, version) if known else version,
            silent_since=self.silent_since if self.is_claimed else 0.0,
        )

    def answered_open(self, asked_at: float) -> "End":
        """Return the end after BigPanda answered a question of `asked_at` (epoch seconds): the incident is open.

        All resolves are refuted if the last one came CLAIM_SECONDS before the question.
        """
        last = max(self.claimed_at, self.version[0] if self.version else 0.0)
        is_refuted = self.is_claimed and asked_at - last >= CLAIM_SECONDS
        return replace(self, claimed_at=0.0 if is_refuted else self.claimed_at, silent_since=0.0)

    def paced(self) -> "End":
        """Return the end after a rate limit delayed a question: what BigPanda left unanswered before counts no more."""
        return replace(self, silent_since=0.0)

    def unanswered(self, asked_at: float) -> "End":
        """Return the end after BigPanda left a question of `asked_at` (epoch seconds) without an answer."""
        return replace(self, silent_since=self.silent_since or asked_at) if self.is_claimed else self

    def closed_by(self, came: float, version: Version | None) -> "End":
        """Return the end after a closed state was recorded that `came` (epoch seconds), with these timestamps.

        A claimed resolve that is newer than this state stays: BigPanda is still asked about it.
        """
        is_newer = self.claimed_at > came
        if self.version is not None and version is not None:
            is_newer = self.version > version
        return self if self.is_claimed and is_newer else End(self.at)


# The end of an incident of which no resolve came.
NEVER_ENDED = End()
