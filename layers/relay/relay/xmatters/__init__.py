"""xMatters: the trigger that takes signals, and the REST API that knows pages, people and groups.

Imports `relay.channels`, `relay.http` and `relay.incidents`.
"""
