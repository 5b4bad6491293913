"""Log lines of the relay's functions in the CloudWatch Logs of an account in memory."""

import json
import time
from typing import Any

from relay.jobs.job import timestamp
from tests.integration.relayctl_cloud import STACK, Operator, client


class Logs:
    """Writer of log lines.

    moto refuses log lines whose time is far from the real time. So the operator's clock is set to the real time.
    """

    def __init__(self, operator: Operator) -> None:
        operator.clock.now = float(int(time.time()))
        self.now = operator.clock.now
        self._client = client("logs")
        self._groups: set[str] = set()

    def write(self, function: str, ago: float, message: str, **fields: Any) -> None:
        """Write a line of a function, as if it was logged `ago` seconds before the operator's time."""
        at = self.now - ago
        line = {"level": "INFO", "message": message, "timestamp": timestamp(at), **fields}
        group = f"/aws/lambda/{STACK}-{function}"
        if group not in self._groups:
            self._client.create_log_group(logGroupName=group)
            self._client.create_log_stream(logGroupName=group, logStreamName="s")
            self._groups.add(group)
        event = {"timestamp": round(at * 1000), "message": json.dumps(line)}
        self._client.put_log_events(logGroupName=group, logStreamName="s", logEvents=[event])

    def share(self, channel: str, ago: float, outcome: str = "delivered", incident_id: str = "i1") -> None:
        """Write the webhook's line of a share."""
        fields = {"incident_id": incident_id, "outcome": outcome, "delivery_id": f"{channel}-{ago}"}
        self.write("bigpanda-webhook", ago, "share", channel=channel, **fields)
