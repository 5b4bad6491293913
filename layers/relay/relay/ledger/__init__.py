"""The ledger in DynamoDB: entries of incidents, rows of debts (owed states), rate limits and circuit breakers.

Functions that write an entry at the same time use optimistic locking.
"""
