"""An operator of the local cloud: the installed relayctl, the queues, and the signals at the stand-in."""

import json
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from relay.jobs.job import Job, timestamp
from relay.jobs.queue import Queue, read_envelope
from tests import installed, samples
from tests.e2e.channels import Channel

SECONDS = 120


class Operator:
    """An operator who runs relayctl in a cloud with empty queues.

    `relayctl` is the installed program, which is run in its own folder: nothing of the clone is there.
    """

    def __init__(self, channel: Channel, relayctl: Path) -> None:
        self.channel = channel
        self._relayctl = relayctl
        self.cloud = channel.cloud
        self._url = self.cloud.outputs["DeadLetterQueueUrl"]
        self.sqs = self.cloud.client("sqs")
        self._children: list[subprocess.Popen[str]] = []
        # Distinguishes the incidents of this test from those of others.
        self.tag = uuid.uuid4().hex[:8]
        self.reset()

    def reset(self) -> None:
        """Empty the queues, held messages included; open xMatters' port and clear its faults."""
        self.cloud.purge()
        self.script()
        self.channel.xmatters.listen(is_open=True)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start relayctl."""
        child = subprocess.Popen(
            [self._relayctl, *arguments],
            cwd=self._relayctl.parent,
            env=installed.environment(self.cloud.aws_endpoint_url),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._children.append(child)
        return child

    def close(self) -> None:
        """Stop all processes and empty the queues."""
        for child in self._children:
            with child:
                child.kill()
        self.reset()

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run relayctl and assert its exit code."""
        return finished(self.start(*arguments), code)

    def run_json(self, *arguments: str, code: int = 0) -> Any:
        """Run relayctl with --json; return the one document on stdout."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def jobs(self, count: int) -> list[str]:
        """Dead-letter `count` jobs of different incidents, each one second newer than the one before.

        Return the incidents' ids.
        """
        queue = Queue(self.sqs, self._url)
        start = time.time() - 3600
        jobs = [self._job(f"{self.tag}-{n}", start + n) for n in range(count)]
        for job in jobs:
            queue.send(job)
        return [job.incident_id for job in jobs]

    def script(self, *faults: dict[str, Any]) -> None:
        """Set the faults of xMatters from now on."""
        self.channel.xmatters.script(*faults)

    def signals(self) -> list[dict[str, Any]]:
        """Return the signals of this test's incidents that xMatters accepted."""
        return [each for each in self.channel.signals() if each["body"]["incident"]["id"].startswith(self.tag)]

    def visible(self) -> list[Job]:
        """Return the visible dead-lettered jobs; they stay visible."""
        found = list[Any]()
        asked: dict[str, Any] = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 60, "MessageAttributeNames": ["All"]}
        while messages := self.sqs.receive_message(QueueUrl=self._url, **asked).get("Messages"):
            found += messages
        for message in found:
            self.sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        return [read_envelope(message["Body"]) for message in found]

    def _job(self, incident_id: str, received_at: float) -> Job:
        body = json.dumps({"incident": {"id": incident_id, "status": "critical"}}).encode()
        return samples.job(
            digest=uuid.uuid4().hex,
            channel=self.channel.name,
            incident_id=incident_id,
            body=body,
            received_at=timestamp(received_at),
            dead_lettered_at=timestamp(received_at + 60),
        )


def finished(child: subprocess.Popen[str], code: int = 0, seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
    """Wait for the end of a relayctl process and assert its exit code."""
    with child:
        out, err = child.communicate(timeout=seconds)
    assert child.returncode == code, f"exit code {child.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)
