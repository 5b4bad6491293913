"""What the demo's acts play on: the local cloud with the relay in it, xMatters' stand-in, and a console."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sandbox import local, standin
from sandbox.cloud import REGION, SandboxError
from sandbox.incidents import ENVIRONMENT
from sandbox.samples import Sample
from sandbox.steps import Steps
from sandbox.tables import Answered, Signals
from sandbox.verbs import relayctl

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Stage:
    """A running relay to show; its methods raise SandboxError when something can't be done."""

    up: local.Local
    xmatters: standin.StandIn
    steps: Steps
    console: Console
    # What BigPanda has, by id.
    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def post(self, sample: Sample) -> Answered:
        """Post a share to the relay; its incident is in BigPanda as the share says."""
        posted_at = time.time()
        if sample.incident_id:
            self.incidents[sample.incident_id] = _in_bigpanda(sample, int(posted_at))
            self.xmatters.have_incidents(ENVIRONMENT, list(self.incidents.values()))
        answer = sample.post(self.up.api_url)
        try:
            said = dict(answer.json())
        except ValueError:
            said = {"error": answer.text[:40]}
        return Answered(sample, posted_at, answer.status_code, said)

    def rung(self) -> Signals:
        """The signals that xMatters accepted, by request id, oldest first."""
        return {signal["request_id"]: signal for signal in self.xmatters.signals() if signal["accepted"]}

    def wait(self, what: str, holds: Callable[[], bool], seconds: float) -> bool:
        """Say what is waited for, and wait until it holds, but not longer; whether it holds."""
        deadline = time.monotonic() + seconds
        with self.steps.step(what):
            while not holds():
                if time.monotonic() > deadline:
                    return False
                time.sleep(LOOK_SECONDS)
        return True

    def show(self, table: Table) -> None:
        """Show a table."""
        self.console.print()
        self.console.print(table)
        self.console.print()

    def relayctl(self, *arguments: str) -> None:
        """Run the operator's command line, and show what it says."""
        self.console.print(f"[dim]$[/] [bold]relayctl {' '.join(arguments)}[/]")
        with self.console.status("at work"):
            said = relayctl(self.up.aws_endpoint_url, arguments, columns=self.console.width - 2)
        self.console.print(Padding(Text(said, style="dim"), (0, 0, 0, 2)))

    def title(self, text: str) -> None:
        """Announce an act."""
        self.console.print()
        self.console.rule(f"[bold]{escape(text)}", align="left", style="cyan")

    def say(self, text: str) -> None:
        """Tell the watcher something."""
        self.console.print(Text(text))

    def claim(self, text: str, *, holds: bool) -> None:
        """Say what should have happened, and end the demo if it did not."""
        if not holds:
            raise SandboxError(f"not as promised: {text}")
        self.console.print(Text("✓ ", style="bold green").append(text, style="default"))

    def save_function_logs(self, log: Path) -> None:
        """Write what the functions logged to a file."""
        logs = boto3.client("logs", region_name=REGION, endpoint_url=self.up.aws_endpoint_url)
        # A cloud that died has no logs to give, and must not hide why it was asked for them.
        with suppress(BotoCoreError, ClientError), log.open("w") as kept:
            for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
                for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]:
                    kept.write(f"{group['logGroupName']}  {event['message'].rstrip()}\n")


def _in_bigpanda(sample: Sample, changed_at: int) -> dict[str, Any]:
    """A share's incident as BigPanda's API has it; in no folder that a reconcile run looks through."""
    is_over = sample.status.lower() == "ok" or sample.incident.get("active") is False
    status = "ok" if is_over else sample.status.lower() or "unknown"
    return {
        "id": sample.incident_id,
        "status": status,
        "active": not is_over,
        "changed_at": changed_at,
        "folders": ["active"],
    }
