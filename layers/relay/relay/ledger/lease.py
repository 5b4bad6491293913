"""Lease of an incident: a sender's exclusive right to send, until a time."""

from typing import NamedTuple

from relay.incidents.transition import State

# Longer than any sender works, so that a lease expires only if its sender died.
LEASE_SECONDS = 15.0


class Lease(NamedTuple):
    """A sender's exclusive right to send for an incident.

    Attributes:
        owner: Unique name of the sender.
        until: The end of the lease (epoch seconds).
        began: The start of the lease (epoch seconds).
        state: The state that the sender announces.
    """

    owner: str
    until: float
    began: float
    state: State
