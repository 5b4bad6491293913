"""Channels: parse, validate and cache their settings and credentials; admit or refuse inbound requests.

Imports `relay.http` and `relay.incidents`.
"""
