"""The BigPanda stand-in: the Incidents API, users, the callback service, and live incidents.

Live incidents are those that people and callers of the API open and change here; declared incidents are set by tests.

`api.BigPanda` holds the state, and lists all routes. `live.Live` changes incidents as people and callers of the API
request, and shares them by webhooks. Imports `sandbox.http` and `sandbox.clock`, and nothing of the relay, which it is
there to test.
"""
