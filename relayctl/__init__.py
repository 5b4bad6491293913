"""relayctl: the operator's command line, a thin face over the relay's library."""
