"""Budgets of refused requests: each source address may have so many, and a sender with a good credential none spent.

A source over its budget is answered 503 without a look-up, whatever channel it names.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

# Of one source, in one container: at once, and a second after that (docs/decisions.md, D-refusal-budget).
OPAQUE_AT_ONCE, OPAQUE_PER_SECOND = 20.0, 1.0
# For tokens that check themselves. All channels of a vendor may come from one address.
CHECKED_AT_ONCE, CHECKED_PER_SECOND = 100.0, 10.0
# Beyond so many budgets the one that was used longest ago is forgotten.
MAX_BUDGETS = 2048


class Budget:
    """Rate limit: `burst` at once, and `per_second` after that."""

    def __init__(self, burst: float, per_second: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._left = burst
        self._counted_at = clock()

    def take(self) -> bool:
        """Take one; return False if none is left."""
        now = self._clock()
        passed = max(0.0, now - self._counted_at)
        self._left = min(self._burst, self._left + passed * self._per_second)
        self._counted_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Give one back that was taken."""
        self._left = min(self._burst, self._left + 1)


class Budgets:
    """The budgets of source addresses. `clock` gives epoch seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._budgets: OrderedDict[tuple[str, bool], Budget] = OrderedDict()

    def of(self, address: str, *, is_checked: bool) -> Budget:
        """Return the budget of an address, for tokens that check themselves or for all other credentials."""
        key = (source(address), is_checked)
        if key not in self._budgets:
            limits = (CHECKED_AT_ONCE, CHECKED_PER_SECOND) if is_checked else (OPAQUE_AT_ONCE, OPAQUE_PER_SECOND)
            self._budgets[key] = Budget(*limits, self._clock)
        self._budgets.move_to_end(key)
        while len(self._budgets) > MAX_BUDGETS:
            self._budgets.popitem(last=False)
        return self._budgets[key]


def source(address: str) -> str:
    """Return the address, or the /64 of an IPv6 address, of which a household has as many as it likes."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
