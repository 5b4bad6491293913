"""Version of the relay. User agent, `relayctl` and SBOMs take it from here; the template's output repeats it."""

# PEP 440.
VERSION = "1.0.0rc1"
