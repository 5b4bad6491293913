"""The BigPanda stand-in: the Incidents API, users, the service that ends a callback lock, and incidents that live.

`api.BigPanda` holds the state, and lists all routes. `live.Live` changes incidents as people and callers of the API
ask, and shares them by webhooks. Imports `sandbox.http` only, and nothing of the relay, which it is there to test.
"""
