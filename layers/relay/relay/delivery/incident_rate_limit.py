"""Rate limit of one incident: xMatters' flood control, and the policy's time between two signals. Pure code.

The limit of a channel is `ledger.channel_rate_limiter`.
"""

from relay.incidents.transition import Transition
from relay.ledger.entry import Entry

# xMatters' flood control silently drops signals above 4 in a minute (docs/vendors.md, "Flood control"). One second more
# covers the difference of two functions' clocks.
FLOOD_CONTROL_SIGNALS = 4
FLOOD_CONTROL_SECONDS = 61.0
# Transitions that ignore `min_seconds_between_signals`: more urgent, or the on-call person can stop working.
_UNSPACED = frozenset({Transition.WORSENED, Transition.RESOLVED})


def earliest_send_time(entry: Entry, transition: Transition, min_seconds: float) -> float:
    """Return the earliest time of the incident's next signal (epoch seconds), by the policy and by flood control.

    `min_seconds` is the policy's shortest time between two signals. `worsened` and `resolved` need not keep it. Flood
    control is xMatters' limit on alike signals.
    """
    since_last = entry.signal_times[-1] + min_seconds if entry.signal_times and transition not in _UNSPACED else 0.0
    if len(entry.signal_times) < FLOOD_CONTROL_SIGNALS:
        return since_last
    return max(since_last, entry.signal_times[-FLOOD_CONTROL_SIGNALS] + FLOOD_CONTROL_SECONDS)


def room_for_signals(entry: Entry, now: float) -> int:
    """Return the number of signals for this incident that xMatters' flood control lets pass now; it can be negative.

    Flood control is xMatters' limit on alike signals.
    """
    return FLOOD_CONTROL_SIGNALS - sum(now - time < FLOOD_CONTROL_SECONDS for time in entry.signal_times)
