"""Counts of a stack's undelivered jobs."""

from typing import Any, NamedTuple, Self

from relayctl.stack import Stack

# Visible, delayed and in work: SQS counts a message in one of them.
_COUNTS: tuple[Any, ...] = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class Owed(NamedTuple):
    """Undelivered jobs of all channels of a stack: SQS cannot count by channel.

    Attributes:
        waiting: Jobs on the retry queue and the chore queue. A delivered share's job is among them for 36 seconds.
        dead_lettered: Jobs on the dead-letter queue.
    """

    waiting: int
    dead_lettered: int

    @classmethod
    def of(cls, stack: Stack) -> Self:
        """Ask SQS for the counts."""
        waiting = _count(stack, "RetryQueueUrl") + _count(stack, "ChoreQueueUrl")
        return cls(waiting, _count(stack, "DeadLetterQueueUrl"))

    def __str__(self) -> str:
        """Return both counts in words."""
        one, other = self.waiting == 1, self.dead_lettered == 1
        return (
            f"{self.waiting} {'job waits' if one else 'jobs wait'} on the retry and chore queues and "
            f"{self.dead_lettered} {'is' if other else 'are'} dead-lettered, of all channels of the stack"
        )


def _count(stack: Stack, output: str) -> int:
    url = stack.output(output)
    found: dict[Any, str] = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)["Attributes"]
    return sum(int(found[name]) for name in _COUNTS)
