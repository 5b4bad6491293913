"""Version of the relay: the one place. The user agent, `relayctl --version` and the SBOMs take it from here."""

# PEP 440; `.dev0` until it is released.
VERSION = "1.0.0.dev0"
