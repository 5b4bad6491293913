"""Jobs: queue messages (an "envelope" is a job as message text), SQS queues, backoff, and the dead-letter queue.

Imports `relay.channels` and `relay.incidents`.
"""
