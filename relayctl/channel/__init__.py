"""Channels: their secrets, credentials, pauses and checks, and the verbs of `relayctl channel` and `bigpanda`."""
