"""Memory of a flapping incident: when it changed, and when it counts as calm. Pure code.

`Entry.quiet_until` says until when a state of a flapping incident waits, and `delivery.step` lets it wait. The
rules are explained in docs/decisions.md, D-flap.
"""

from copy import replace
from typing import NamedTuple

from relay.channels.policy import FlapRule
from relay.incidents.transition import State


class Flap(NamedTuple):
    """Memory of an incident's changes, bounded by the policy's number of changes. Times are epoch seconds.

    Attributes:
        changes: Times of the last changes of openness or status, oldest first, announced or not.
        calm_at: When the flapping incident counts as calm, unless it changes again; 0 if it does not flap.
        is_signalled: True if a signal said that the incident flaps. Until it is calm, only a worse state is announced.
    """

    changes: tuple[float, ...] = ()
    calm_at: float = 0.0
    is_signalled: bool = False

    def after_state(self, before: State | None, state: State, rule: FlapRule, *, is_flagged: bool) -> "Flap":
        """Return the memory after a newer state than `before` came.

        `before` is None for the first state. `rule` says how many changes within which time make an incident flap.
        `is_flagged` is True if BigPanda says that the incident flaps. If the incident was calm when the state came, an
        earlier flap is forgotten: `calm_at` and `is_signalled` start anew.
        """
        known = self if state.came < self.calm_at else Flap(self.changes)
        changes = tuple(at for at in known.changes if at > state.came - rule.seconds)
        is_change = before is not None and _differ(before, state)
        if is_change:
            changes = tuple(sorted((*changes, round(state.came, 3))))[-rule.transitions :]
        is_flapping = is_change and (known.calm_at > 0 or len(changes) >= rule.transitions)
        is_flapping = is_flapping or (is_flagged and state.is_open)
        calm_at = max(known.calm_at, round(state.came + rule.seconds, 3)) if is_flapping else known.calm_at
        return Flap(changes, calm_at, known.is_signalled)

    def announcing(self) -> "Flap":
        """Return the memory after xMatters accepted a signal. If the incident flaps, that signal said so."""
        return replace(self, is_signalled=True) if self.calm_at else self


def _differ(before: State, state: State) -> bool:
    """True if the incident opened, ended, or has another status. An unknown status of an open incident is no change."""
    if before.is_open != state.is_open:
        return True
    return state.is_open and None not in {before.rank, state.rank} and before.rank != state.rank
