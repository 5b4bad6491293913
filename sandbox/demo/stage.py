"""Setting of the demo's acts: a running relay, the stand-ins, and a console to show results on."""

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

from sandbox import local
from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.cloud import relayctl
from sandbox.demo.samples import Sample
from sandbox.demo.tables import Answered, Signals
from sandbox.environment import REGION
from sandbox.errors import SandboxError
from sandbox.server.client import StandIn
from sandbox.steps import Steps

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Stage:
    """A running relay to show; its methods raise SandboxError on failure."""

    up: local.Local
    vendors: StandIn
    steps: Steps
    console: Console
    # BigPanda's incidents by id, as the last shares say.
    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def post(self, sample: Sample) -> Answered:
        """Put the share's incident into BigPanda, and post the share to the relay."""
        posted_at = time.time()
        if sample.incident_id:
            self.incidents[sample.incident_id] = _in_bigpanda(sample, int(posted_at))
            self.vendors.have_incidents(ENVIRONMENT, list(self.incidents.values()))
        answer = sample.post(self.up.api_url)
        try:
            said = dict(answer.json())
        except ValueError:
            said = {"error": answer.text[:40]}
        return Answered(sample, posted_at, answer.status_code, said)

    def accepted(self) -> Signals:
        """Return the signals that xMatters accepted, by request id, oldest first."""
        return {signal["request_id"]: signal for signal in self.vendors.signals() if signal["accepted"]}

    def wait(self, what: str, holds: Callable[[], bool], seconds: float) -> bool:
        """Show the step `what` until `holds` returns True, or `seconds` are over; return True if it holds."""
        deadline = time.monotonic() + seconds
        with self.steps.step(what):
            while not holds():
                if time.monotonic() > deadline:
                    return False
                time.sleep(POLL_SECONDS)
        return True

    def show(self, table: Table) -> None:
        """Print a table."""
        self.console.print()
        self.console.print(table)
        self.console.print()

    def relayctl(self, *arguments: str) -> None:
        """Run relayctl, and print the command and its output."""
        self.console.print(f"[dim]$[/] [bold]relayctl {' '.join(arguments)}[/]")
        with self.console.status("running"):
            said = relayctl.run(self.up.aws_endpoint_url, arguments, columns=self.console.width - 2)
        self.console.print(Padding(Text(said, style="dim"), (0, 0, 0, 2)))

    def title(self, text: str) -> None:
        """Print the title of an act."""
        self.console.print()
        self.console.rule(f"[bold]{escape(text)}", align="left", style="cyan")

    def say(self, text: str) -> None:
        """Print a sentence of the story."""
        self.console.print(Text(text))

    def claim(self, text: str, *, holds: bool) -> None:
        """Print a claim that holds; end the demo with SandboxError if the claim does not hold."""
        if not holds:
            raise SandboxError(f"this claim does not hold: {text}")
        self.console.print(Text("✓ ", style="bold green").append(text, style="default"))

    def save_function_logs(self, log: Path) -> None:
        """Write the logs of all functions to a file."""
        logs = boto3.client("logs", region_name=REGION, endpoint_url=self.up.aws_endpoint_url)
        # A cloud that died answers no request for logs; that error must not hide the one that ended the demo.
        with suppress(BotoCoreError, ClientError), log.open("w") as kept:
            for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
                for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]:
                    kept.write(f"{group['logGroupName']}  {event['message'].rstrip()}\n")


def _in_bigpanda(sample: Sample, changed_at: int) -> dict[str, Any]:
    """Return a share's incident as BigPanda's API has it, in no folder that a reconcile run reads."""
    is_over = sample.status.lower() == "ok" or sample.incident.get("active") is False
    status = "ok" if is_over else sample.status.lower() or "unknown"
    return {
        "id": sample.incident_id,
        "status": status,
        "active": not is_over,
        "changed_at": changed_at,
        "folders": ["active"],
    }
