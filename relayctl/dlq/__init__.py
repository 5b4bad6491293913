"""The dead-letter queue: the verbs of `relayctl dlq`, and their work on messages."""
