"""Jobs: queue messages ("envelopes"), the SQS queues that hold them, backoff, and the dead-letter queue.

Imports `relay.channels` and `relay.incidents`.
"""
