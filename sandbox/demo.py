"""The relay at work, told in three acts for somebody who watches; each claim is checked before it is made."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sandbox import local, standin, tables
from sandbox.cloud import REGION, SandboxError
from sandbox.samples import Sample, read_samples
from sandbox.steps import Steps
from sandbox.tables import Answered, Signals, body_of
from sandbox.verbs import relayctl

OVER = {"ok", "resolved", "closed"}


@dataclass(frozen=True)
class Stage:
    """What the acts play on."""

    up: local.Local
    xmatters: standin.StandIn
    steps: Steps
    console: Console

    def post(self, sample: Sample) -> Answered:
        """Post a share to the relay."""
        answer = sample.post(self.up.api_url)
        try:
            return Answered(sample, answer.status_code, dict(answer.json()))
        except ValueError:
            return Answered(sample, answer.status_code, {"error": answer.text[:40]})

    def rung(self) -> Signals:
        """The signals that xMatters accepted, by request id."""
        return {signal["request_id"]: signal for signal in self.xmatters.signals() if signal["accepted"]}

    def dead_letters(self) -> int:
        """How many messages lie in the dead-letter queue."""
        queue = boto3.client("sqs", region_name=REGION, endpoint_url=self.up.aws_endpoint_url)
        counts = queue.get_queue_attributes(
            QueueUrl=self.up.outputs["DeadLetterQueueUrl"],
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )
        return sum(map(int, counts["Attributes"].values()))

    def show(self, table: Table) -> None:
        """Show a table."""
        self.console.print(Padding(table, (1, 0)))

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

    def claim(self, text: str, *, holds: bool) -> None:
        """Say what should have happened, and end the demo if it did not."""
        if not holds:
            raise SandboxError(f"not as promised: {text}")
        self.console.print(Text("✓ ", style="bold green").append(text, style="default"))


def demo(places: local.Places, console: Console) -> None:
    """Play it all in a cloud of its own, and leave nothing running.

    Raises SandboxError when a claim does not hold; then the logs stay in `places.folder`.
    """
    began = time.monotonic()
    samples = read_samples(places.root / "events")
    console.print(Panel("From BigPanda to a ringing phone, on this machine", style="bold cyan", expand=False))
    with local.alone(places.folder):
        try:
            _play(places, console, samples)
        except SandboxError as error:
            raise SandboxError(f"{error}\nThe logs are in {places.folder}") from error
        except KeyboardInterrupt:
            local.clear(places)
            raise
        local.clear(places)
    console.print(f"\n[bold green]All as promised[/], in {time.monotonic() - began:.0f} s. Nothing is left running.")
    console.print("To look around: [bold]make local-up[/]")


def _play(places: local.Places, console: Console, samples: Sequence[Sample]) -> None:
    with _stage(places, console) as stage:
        try:
            delivered = _relay(stage, samples)
            waiting = _kept(stage, _two_of(delivered))
            _replayed(stage, waiting)
        except SandboxError:
            _save_function_logs(stage.up, places.folder / "functions.log")
            raise


@contextmanager
def _stage(places: local.Places, console: Console) -> Iterator[Stage]:
    steps = Steps("demo", console)
    up = local.afresh(places, steps)
    try:
        xmatters = standin.running(places.standin)
        if xmatters is None:
            raise SandboxError("the xMatters stand-in died at once")
        yield Stage(up, xmatters, steps, console)
    finally:
        console.print()
        with steps.step("stopping the cloud"):
            local.stop(places)


def _relay(stage: Stage, samples: Sequence[Sample]) -> list[Answered]:
    stage.title("1  BigPanda shares what happens")
    with stage.steps.step(f"posting {len(samples)} samples from events/ to the API"):
        answers = [stage.post(sample) for sample in samples]
    rung = stage.rung()
    stage.show(tables.of_answers(answers, rung))
    delivered = [each for each in answers if each.is_delivered]
    stage.claim(
        f"{len(delivered)} signals reached xMatters, each with the very bytes that BigPanda sent",
        holds=len(rung) == len(delivered)
        and all(body_of(rung.get(each.request_id, {})) == each.sample.body for each in delivered),
    )
    refused = [each for each in answers if each.status >= 400]
    if refused:
        stage.claim(
            "what is no share was turned away with a reason, and rang nobody",
            holds=all(each.status < 500 and each.outcome for each in refused),
        )
    return delivered


def _kept(stage: Stage, shares: Sequence[Sample]) -> list[Answered]:
    stage.title("2  xMatters goes down, and two more shares come")
    stage.xmatters.listen(is_open=False)
    with stage.steps.step("posting two more shares while xMatters refuses connections"):
        answers = [stage.post(share) for share in shares]
    stage.show(tables.of_queued(answers))
    stage.claim(
        "both were answered 202: not delivered, but safe",
        holds=all(
            (each.status, each.outcome, each.answer.get("queue")) == (202, "queued", "dead_letter") for each in answers
        ),
    )
    stage.claim("both lie in the dead-letter queue", holds=stage.dead_letters() == len(answers))
    return answers


def _replayed(stage: Stage, answers: Sequence[Answered]) -> None:
    stage.title("3  xMatters is back, and the dead letters are replayed")
    before = stage.rung()
    stage.xmatters.listen(is_open=True)
    stage.relayctl("dlq", "replay", "--yes")
    new = {request_id: signal for request_id, signal in stage.rung().items() if request_id not in before}
    stage.show(tables.of_arrived(answers, new))
    stage.claim(
        "both reached xMatters, once each",
        holds=sorted(map(body_of, new.values())) == sorted(each.sample.body for each in answers),
    )
    stage.claim("the dead-letter queue is empty", holds=stage.dead_letters() == 0)


def _two_of(delivered: Sequence[Answered]) -> list[Sample]:
    rings = [each.sample for each in delivered if each.sample.status.lower() not in OVER]
    if len(rings) < 2:
        raise SandboxError("events/ needs two shares of open incidents that can be delivered")
    chosen = (rings[0], rings[-1])
    return [share.of_another_incident(f"{share.incident_id[:-4]}d0{count:02}") for count, share in enumerate(chosen, 1)]


def _save_function_logs(up: local.Local, log: Path) -> None:
    logs = boto3.client("logs", region_name=REGION, endpoint_url=up.aws_endpoint_url)
    # A cloud that died has no logs to give, and must not hide why it was asked for them.
    with suppress(BotoCoreError, ClientError), log.open("w") as kept:
        for group in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
            for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]:
                kept.write(f"{group['logGroupName']}  {event['message'].rstrip()}\n")
