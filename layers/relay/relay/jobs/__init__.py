"""Jobs: pieces of work in envelopes, the SQS queues that keep them, and how long they wait.

Imports `relay.channels` and `relay.incidents`.
"""
