"""Rules for the early end of an endpoint's previous credential. No side effects."""

from collections.abc import Sequence
from typing import NamedTuple

from relay.jobs.job import seconds_of
from relay.ledger.credentials import USE_SECONDS
from relayctl import moments
from relayctl.credential_uses import Use
from relayctl.endpoints import ENDPOINTS

# A credential that was used within this time is in use.
IN_USE_SECONDS = 3600.0


class LastUses(NamedTuple):
    """Last recorded uses of an endpoint's credentials. A true last use may be up to USE_SECONDS later.

    Attributes:
        current: Last use of the current credential (epoch seconds); None if none is known.
        previous: Last use of the previous credential (epoch seconds); None if none is known.
    """

    current: float | None
    previous: float | None

    @classmethod
    def of(cls, uses: Sequence[Use], key: str) -> "LastUses":
        """Return the last uses of an endpoint's current and previous credential.

        `uses` has the uses of all credentials of the channel. `key` is the endpoint's key in the secret.
        """
        return cls(*(_newest(uses, key, age) for age in ("current", "previous")))


def _newest(uses: Sequence[Use], key: str, age: str) -> float | None:
    endpoint = ENDPOINTS[key].name
    found = [seconds_of(use.used_at) for use in uses if (use.endpoint, use.age) == (endpoint, age) and use.used_at]
    return max(found, default=None)


def obstacle(uses: LastUses, key: str, now: float) -> str | None:
    """Return the reason why the previous credential must not end yet; None if it may end.

    The vendor may still use it if it was used within the last hour, or if the current one was never used.
    """
    vendor = ENDPOINTS[key].vendor
    if uses.previous is not None and (free_at := uses.previous + USE_SECONDS + IN_USE_SECONDS) > now:
        return (
            f"{vendor} used the old credential at {moments.iso(uses.previous)}, or up to an hour later: paste the new "
            f"one there, and try again after {moments.iso(free_at)}"
        )
    if uses.current is None:
        return f"{vendor} has not used the new credential yet, as far as is known: paste it there first"
    return None


def described(used_at: float | None) -> str:
    """Return the time of a last use in words."""
    return "none known" if used_at is None else f"{moments.iso(used_at)}, or up to an hour later"
