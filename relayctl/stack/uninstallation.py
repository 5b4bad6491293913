"""Deletion of a stack: whether it is ready, the commands, and the resources that remain. Pure code."""

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple


class ChannelRemainder(NamedTuple):
    """Parts of a channel that still exist, and may block the deletion of the stack.

    Attributes:
        name: Name of the channel; "" for dead-lettered messages that are no jobs of the relay.
        exists: True if the channel's secret exists; False for a removed channel with debts or dead-lettered jobs.
        owed: Number of owed states in the ledger; None if unknown.
        dead_lettered: Number of its dead-lettered jobs.
        last_share_at: Time of its last share in the last hour (ISO 8601); None if there was none, or it is unknown.
    """

    name: str
    exists: bool
    owed: int | None
    dead_lettered: int
    last_share_at: str | None

    def document(self) -> dict[str, Any]:
        """Return the channel as a JSON object for programs; `channel` is null if the name is empty."""
        members = self._asdict()
        return {"channel": members.pop("name") or None, **members}


class Readiness(NamedTuple):
    """Facts that decide if a stack can be deleted without a loss.

    Attributes:
        channels: Each channel that exists, has owed states, or has dead-lettered jobs.
        waiting: Number of jobs on the retry queue and the chore queue.
        dead_lettered: Number of messages on the dead-letter queue.
        exported: Number of these messages that do not block the deletion: those that this run exported into a file, and
            those that are no jobs of the relay.
        problems: Sources that could not be read, in words.
    """

    channels: Sequence[ChannelRemainder]
    waiting: int
    dead_lettered: int
    exported: int
    problems: Sequence[str]

    def reasons(self) -> list[str]:
        """Return the reasons why the stack must not be deleted yet; an empty list if it can be deleted."""
        existing = sum(each.exists for each in self.channels)
        owed = sum(each.owed or 0 for each in self.channels)
        left = max(self.dead_lettered - self.exported, 0)
        found = [f"not known: {each}" for each in self.problems]
        found += [f"{existing} {'channel takes' if existing == 1 else 'channels take'} shares"] if existing else []
        found += [f"{owed} {'state is' if owed == 1 else 'states are'} owed"] if owed else []
        jobs = "job waits" if self.waiting == 1 else "jobs wait"
        found += [f"{self.waiting} {jobs} on the retry and chore queues"] if self.waiting else []
        return found + ([f"{left} dead-lettered, and not exported by this call"] if left else [])


class StackNames(NamedTuple):
    """Names of a stack and its parts.

    Attributes:
        stack: Name of the stack.
        region: Its region.
        profile: AWS profile of the operator; None for the default.
        prefix: Prefix of the channels' secrets.
        table: Name of the ledger's table.
        queues: URLs of the queues.
        topic: ARN of the stack's own fallback topic; None if it has a given one.
    """

    stack: str
    region: str
    profile: str | None
    prefix: str
    table: str
    queues: Sequence[str]
    topic: str | None

    def commands(self) -> dict[str, list[str]]:
        """Return the shell commands that delete the stack, in groups and in order.

        The key of a group describes the resources that its commands delete or list.
        """
        profile = ["--profile", self.profile] if self.profile else []
        options = ["--region", self.region, *profile]
        table = ["--table-name", self.table, *options]
        return {
            "the stack": [_line("sam", "delete", "--stack-name", self.stack, *options)],
            "what the stack leaves behind": [
                _line("aws", "dynamodb", "update-table", "--no-deletion-protection-enabled", *table),
                _line("aws", "dynamodb", "delete-table", *table),
                *(_line("aws", "sqs", "delete-queue", "--queue-url", url, *options) for url in self.queues),
                *([_line("aws", "sns", "delete-topic", "--topic-arn", self.topic, *options)] if self.topic else []),
            ],
            "a look at the removed secrets, which AWS deletes after their recovery window": [
                _line(
                    *("aws", "secretsmanager", "list-secrets", "--include-planned-deletion"),
                    *("--filters", f"Key=name,Values={self.prefix}/", *options),
                )
            ],
        }

    def stays(self) -> list[str]:
        """Return sentences about the resources that remain after the stack's deletion, and about those that do not."""
        window = f"aws secretsmanager restore-secret --secret-id {self.prefix}/NAME"
        return [
            f"The table {self.table}, protected against deletion: what was announced of each incident.",
            "The retry, chore and dead-letter queue: their messages are gone after 14 days.",
            *(["The fallback topic, with its subscriptions."] if self.topic else []),
            f"The secrets of removed channels, until their recovery window ends; until then: {window}",
            "SAM's bucket, of the stack aws-sam-cli-managed-default: other applications may use it.",
            "The role with which API Gateway writes logs, if this stack made it: other APIs may use it.",
            f"Not the logs: the log groups below /aws/lambda/{self.stack} and /aws/apigateway/{self.stack} go with the "
            "stack. Export what you need first.",
            "BigPanda's webhook integration and API key, and the workflow and the user in xMatters: delete them there.",
        ]


def _line(*words: str) -> str:
    return shlex.join(words)
