"""Approximate numbers of messages on the queues of a stack."""

from typing import Any, NamedTuple, Self

from relayctl.stack.deployed import Stack

_COUNTS: tuple[Any, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class QueueDepth(NamedTuple):
    """Messages on one queue; SQS counts each message in one of the three.

    Attributes:
        visible: Messages that a worker can receive now.
        delayed: Messages that become visible later.
        in_flight: Messages that a worker has received.
    """

    visible: int
    delayed: int
    in_flight: int

    @classmethod
    def of(cls, stack: Stack, output: str) -> Self:
        """Read the approximate numbers of messages on a queue from SQS.

        `output` is the name of the stack output that has the queue's URL.
        """
        url = stack.output(output)
        found: dict[Any, str] = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
        return cls(*(int(found[name]) for name in _COUNTS))


class UndeliveredJobs(NamedTuple):
    """Approximate numbers of undelivered jobs of all channels of a stack: SQS cannot count by channel.

    Attributes:
        waiting: Jobs on the retry queue and the chore queue. The job of a share that was delivered at once stays on
            the retry queue for 36 seconds.
        dead_lettered: Jobs on the dead-letter queue.
    """

    waiting: int
    dead_lettered: int

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """Read the approximate numbers of waiting and of dead-lettered jobs of a stack from SQS."""
        retry, chore, dead = (
            sum(QueueDepth.of(stack, output)) for output in ("RetryQueueUrl", "ChoreQueueUrl", "DeadLetterQueueUrl")
        )
        return cls(retry + chore, dead)

    def __str__(self) -> str:
        """Return the numbers of waiting and of dead-lettered jobs in words."""
        one, other = self.waiting == 1, self.dead_lettered == 1
        return (
            f"{self.waiting} {'job waits' if one else 'jobs wait'} on the retry and chore queues and "
            f"{self.dead_lettered} {'is' if other else 'are'} dead-lettered, of all channels of the stack"
        )
