"""Channels: parse, validate and cache their settings and credentials; authenticate inbound requests.

Imports `relay.http` and `relay.incidents`.
"""
