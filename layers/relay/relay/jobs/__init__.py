"""Jobs: queue messages (an "envelope" is a job as message text), SQS queues, and outcomes."""
