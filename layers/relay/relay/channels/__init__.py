"""Channels: parse, validate and cache their settings and credentials; authenticate inbound requests."""
