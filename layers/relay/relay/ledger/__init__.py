"""The ledger in DynamoDB: entries of incidents, rows of debts (owed states), rate limits and circuit breakers."""
