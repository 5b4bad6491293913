"""Incidents: the verbs of `relayctl incident`, and the sources of a timeline."""
