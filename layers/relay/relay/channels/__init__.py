"""Channels: settings and credentials from Secrets Manager, checked, cached, and used to admit requests.

Imports `relay.http` and `relay.incidents`.
"""
