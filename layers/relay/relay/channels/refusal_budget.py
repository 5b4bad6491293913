"""Rate limits on refused requests, one budget for each source address.

A request with a valid credential spends nothing. A source over its budget is answered 503 without a look-up of its
channel.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

# Refusals of one source in one container: the burst, and the refill in refusals a second (docs/decisions.md,
# D-refusal-budget).
OPAQUE_AT_ONCE, OPAQUE_PER_SECOND = 20.0, 1.0
# The same for tokens with a checksum. Higher, since all requests of a vendor may come from one address.
CHECKED_AT_ONCE, CHECKED_PER_SECOND = 100.0, 10.0
# Bounds the memory that a sender with many addresses can take. The least recently used budget is dropped first.
MAX_BUDGETS = 2048


class RefusalBudget:
    """Token bucket for refused requests: holds at most `burst` permits and gains `per_second` permits a second."""

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._left = burst
        self._counted_at = clock()

    def take(self) -> bool:
        """Take one permit for a refused request. Return False if none is left."""
        now = self._clock()
        passed = max(0.0, now - self._counted_at)
        self._left = min(self._burst, self._left + passed * self._per_second)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Put a permit back that was taken in advance: the request was not refused after all."""
        self._left = min(self._burst, self._left + 1)


class RefusalBudgets:
    """Budgets of refused requests by source address, created at first use. `clock` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._budgets: OrderedDict[tuple[str, bool], RefusalBudget] = OrderedDict()

    def of(self, address: str, *, is_checked: bool) -> RefusalBudget:
        """Return the budget of a source address.

        Requests whose token has a right checksum (`is_checked`) have a separate, larger budget.
        """
        key = (source(address), is_checked)
        if key not in self._budgets:
            limits = (CHECKED_AT_ONCE, CHECKED_PER_SECOND) if is_checked else (OPAQUE_AT_ONCE, OPAQUE_PER_SECOND)
            self._budgets[key] = RefusalBudget(*limits, self._clock)
        self._budgets.move_to_end(key)
        while len(self._budgets) > MAX_BUDGETS:
            self._budgets.popitem(last=False)
        return self._budgets[key]


def source(address: str) -> str:
    """Return the key of an address's budget: the address itself, or the /64 network of an IPv6 address.

    One subscriber has a whole /64, so budgets of single IPv6 addresses would limit nothing. A text that is no address
    gives an empty key.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
