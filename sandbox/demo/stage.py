"""Setting of the demo's acts: a running relay, the stand-ins, and a console on which each claim is checked."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from sandbox import local
from sandbox.cloud import relayctl
from sandbox.errors import SandboxError
from sandbox.server.client import StandIn
from sandbox.steps import Steps

POLL_SECONDS = 0.1
# Longer than any single thing of the story takes, also on a busy machine.
PATIENCE_SECONDS = 60.0

type Json = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """A running relay to show; its methods raise SandboxError on failure.

    Attributes:
        up: Addresses of the local cloud.
        vendors: Client of both stand-ins.
        steps: Progress lines.
        console: The terminal.
        patience_seconds: Time within which a claim has to hold, unless the claim names a longer one.
    """

    up: local.Local
    vendors: StandIn
    steps: Steps
    console: Console
    patience_seconds: float = PATIENCE_SECONDS

    def open(self, title: str, status: str = "warning") -> str:
        """Open an incident in BigPanda, which shares it with the relay; return its id."""
        return str(self.vendors.open_incident(title=title, status=status)["id"])

    def act(self, incident_id: str, action: str) -> None:
        """Do an action of `sandbox.bigpanda.life.ACTIONS` on an incident in BigPanda."""
        self.vendors.act_on_incident(incident_id, action)

    def incident(self, incident_id: str) -> Json:
        """Return an incident as BigPanda shows it."""
        found = (each for each in self.vendors.live()["incidents"] if each["id"] == incident_id)
        return next(found, {})

    def webhooks(self, incident_id: str) -> list[Json]:
        """Return the shares of an incident with the relay's answers, oldest first."""
        return [each for each in self.vendors.live()["webhooks"] if each["incident_id"] == incident_id]

    def pages(self, incident_id: str) -> list[Json]:
        """Return xMatters' pages for an incident, oldest first."""
        return [each for each in self.vendors.phones()["pages"] if each["incident_id"] == incident_id]

    def notifications(self, incident_id: str) -> list[Json]:
        """Return all notifications about an incident, oldest first."""
        return [each for each in self.vendors.phones()["notifications"] if each["incident_id"] == incident_id]

    def told(self, incident_id: str, person: str) -> list[Json]:
        """Return all notifications about an incident on the devices of one person, oldest first."""
        return [each for each in self.notifications(incident_id) if each["person"] == person]

    def ringing(self, incident_id: str, person: str) -> list[Json]:
        """Return one person's notifications about an incident: only those that can still be answered, oldest first."""
        return [each for each in self.told(incident_id, person) if each["responses"]]

    def until[T](self, what: str, find: Callable[[], T], seconds: float | None = None) -> T:
        """Call `find` until it returns a true value, and return that value; raise SandboxError after `seconds`.

        `what` describes the expected state, for the error and the terminal. The default of `seconds` is
        `patience_seconds`.
        """
        seconds = self.patience_seconds if seconds is None else seconds
        deadline = time.monotonic() + seconds
        with self.console.status(Text(what)) if self.console.is_terminal else nullcontext():
            while not (found := find()):
                if time.monotonic() > deadline:
                    raise SandboxError(f"this claim does not hold, also not after {seconds:.0f} s: {what}")
                time.sleep(POLL_SECONDS)
        return found

    def soon[T](self, text: str, find: Callable[[], T], seconds: float | None = None) -> T:
        """Print a claim, with the time that it took, as soon as it holds; return the value that `find` returned.

        The claim holds when `find` returns a true value. SandboxError is raised if that takes more than `seconds`.
        The default of `seconds` is `patience_seconds`.
        """
        began = time.monotonic()
        found = self.until(text, find, seconds)
        self._print_claim(text, f" ({time.monotonic() - began:.1f} s)")
        return found

    def claim(self, text: str, *, holds: bool) -> None:
        """Print a claim that holds; end the demo with SandboxError if the claim does not hold."""
        if not holds:
            raise SandboxError(f"this claim does not hold: {text}")
        self._print_claim(text)

    def title(self, text: str) -> None:
        """Print the title of an act."""
        self.console.print()
        self.console.rule(f"[bold]{escape(text)}", align="left", style="cyan")

    def say(self, text: str) -> None:
        """Print a sentence of the story."""
        self.console.print(Text(text))

    def quote(self, *lines: str) -> None:
        """Print, indented, the text that a phone or a vendor shows."""
        for line in lines:
            self.console.print(Padding(Text(line, style="dim"), (0, 0, 0, 4)))

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

    def save_function_logs(self, log: Path) -> None:
        """Write the logs of all functions to a file."""
        logs = self.up.client("logs")
        # A cloud that died answers no request for logs; that error must not hide the one that ended the demo.
        with suppress(BotoCoreError, ClientError), log.open("w", encoding="utf-8") as kept:
            for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
                for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]:
                    kept.write(f"{group['logGroupName']}  {event['message'].rstrip()}\n")

    def _print_claim(self, text: str, seconds: str = "") -> None:
        self.console.print(Text("✓ ", style="bold green").append(text, style="default").append(seconds, style="dim"))
