"""The ledger in DynamoDB: entries of incidents, rows of debts, rate limits and circuit breakers.

A changed entry is written only if the item is still the one that was read. Imports `relay.channels` and
`relay.incidents`.
"""
