"""End of an incident, and its confirmation with BigPanda. Pure code."""

from copy import replace
from typing import NamedTuple


class End(NamedTuple):
    """End of an incident. Times are epoch seconds, 0 for never.

    Attributes:
        at: When the incident was resolved last. Pages of signals that were sent before have to be terminated.
        confirmed_at: The newest `at` that BigPanda confirmed, or about which BigPanda did not answer in time.
        refuted_since: When BigPanda first answered that the incident is open after all.
    """

    at: float = 0.0
    confirmed_at: float = 0.0
    refuted_since: float = 0.0

    @property
    def is_confirmed(self) -> bool:
        """True if the last resolve is confirmed with BigPanda, or if the incident was never resolved."""
        return self.at <= self.confirmed_at

    def resolved(self, at: float) -> "End":
        """Return the end after a resolve at `at` (epoch seconds). The newest resolve counts."""
        return replace(self, at=max(self.at, at))

    def confirmed(self) -> "End":
        """Return the end as confirmed, since BigPanda confirmed it or did not answer in time."""
        return replace(self, confirmed_at=self.at, refuted_since=0.0)

    def doubted(self, now: float) -> "End":
        """Return the end after BigPanda answered at `now` (epoch seconds) that the incident is open.

        The first answer counts.
        """
        return replace(self, refuted_since=self.refuted_since or now)

    def refuted(self) -> "End":
        """Return the end after BigPanda refuted the resolve twice: the incident counts as open, and its pages stay."""
        return replace(self, at=0.0, refuted_since=0.0)

    def without_doubt(self) -> "End":
        """Return the end without `refuted_since`.

        BigPanda's answer is void once a share says that the incident is open.
        """
        return replace(self, refuted_since=0.0)
