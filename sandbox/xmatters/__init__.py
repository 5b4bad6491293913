"""The xMatters stand-in: triggers, OAuth tokens, and the REST API for events, people, groups and on-call.

`api.XMatters` puts the parts together, and lists all routes. Imports `sandbox.http` only, and nothing
of the relay, which it is there to test.
"""
