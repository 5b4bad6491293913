"""The BigPanda stand-in: the Incidents API, users, and the service that ends a callback lock.

`api.BigPanda` holds the state, and lists all routes. Imports `sandbox.http` only, and nothing of the
relay, which it is there to test.
"""
