"""xMatters: the trigger for signals, and the REST API for pages, people and groups.

Imports `relay.channels`, `relay.http` and `relay.incidents`.
"""
