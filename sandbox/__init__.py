"""Both ends on this machine: the local cloud that the relay is deployed into, and xMatters as a stand-in."""
