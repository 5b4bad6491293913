"""BigPanda's API: listings of incidents, comments and assignments, within its rate limit.

Imports `relay.ledger`, `relay.jobs` and what they import.
"""
