"""The demo: four acts on a console, in a local cloud of its own; each claim is checked before it is printed."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel

from relay.delivery.debts import KEEP_SECONDS
from sandbox import local
from sandbox.cloud import queues
from sandbox.demo import tables
from sandbox.demo.samples import Sample, read_samples
from sandbox.demo.stage import Stage
from sandbox.demo.tables import Answered, body_of
from sandbox.errors import SandboxError
from sandbox.server import background
from sandbox.steps import Steps

CRITICAL, MORE_ALERTS, RESOLVED = "bigpanda_1_critical", "bigpanda_2_more_alerts", "bigpanda_3_resolved"
GROUP, WEBHOOK_V2 = "bigpanda_4_snake_case_and_group", "bigpanda_5_webhook_v2"
# The samples that become signals when all are posted in the order of their names, with their transitions.
SIGNALLED = {CRITICAL: "opened", RESOLVED: "resolved", GROUP: "opened", WEBHOOK_V2: "opened"}
# By then the last queued job wakes, with some time for the queue to deliver it.
DRAIN_SECONDS = KEEP_SECONDS + 30


def play(places: local.Places, console: Console) -> None:
    """Play all acts in a cloud of their own, and leave nothing running.

    Raises
    ------
    SandboxError
        If a claim does not hold; the logs then stay in `places.folder`.
    """
    began = time.monotonic()
    samples = read_samples(places.root / "events")
    console.print(Panel("From BigPanda to xMatters, on this machine", style="bold cyan", expand=False))
    with local.alone(places.folder):
        try:
            _play(places, console, samples)
        except SandboxError as error:
            raise SandboxError(f"{error}\nThe logs are in {places.folder}") from error
        except KeyboardInterrupt:
            local.clear(places)
            raise
        local.clear(places)
    console.print(f"\n[bold green]Every claim holds[/], in {time.monotonic() - began:.0f} s. Nothing is left running.")
    console.print("To try more on your own: [bold]make local-up[/]")


def _play(places: local.Places, console: Console, samples: Sequence[Sample]) -> None:
    with _stage(places, console) as stage:
        try:
            _relay(stage, samples)
            named = {sample.name: sample for sample in samples}
            waiting = _outage(stage, named)
            _refusal(stage, named)
            _recovery(stage, waiting)
        except SandboxError:
            stage.save_function_logs(places.folder / "functions.log")
            raise


@contextmanager
def _stage(places: local.Places, console: Console) -> Iterator[Stage]:
    steps = Steps("demo", console)
    up = local.afresh(places, steps)
    try:
        vendors = background.running(places.standin)
        if vendors is None:
            raise SandboxError("the stand-ins for xMatters and BigPanda ended right after their start")
        yield Stage(up, vendors, steps, console)
    finally:
        console.print()
        with steps.step("stopping the cloud"):
            local.stop(places)


def _relay(stage: Stage, samples: Sequence[Sample]) -> None:
    stage.title("1  BigPanda shares incidents")
    with stage.steps.step(f"posting {len(samples)} samples from events/ to the API"):
        answers = [stage.post(sample) for sample in samples]
    signals = stage.accepted()
    stage.show(tables.of_answers(answers, signals))
    delivered = [each for each in answers if each.is_delivered]
    stage.claim(
        f"{len(SIGNALLED)} signals reached xMatters, each with exactly the bytes that BigPanda sent",
        holds={each.sample.name: each.change[1] for each in delivered} == SIGNALLED
        and [body_of(signal) for signal in signals.values()] == [each.sample.body for each in delivered]
        and list(signals) == [each.request_id for each in delivered],
    )
    stage.claim(
        "more alerts made no signal: this channel signals changes of status only",
        holds=[each.change for each in answers if each.sample.name == MORE_ALERTS] == [("unchanged", "grew")],
    )
    refused = [each for each in answers if each.status >= 400]
    stage.claim(
        "requests that are no share were refused with a reason, and made no signal",
        holds=all(each.status < 500 and each.outcome for each in refused)
        and len(refused) == len(answers) - len(SIGNALLED) - 1,
    )


def _outage(stage: Stage, samples: Mapping[str, Sample]) -> list[Answered]:
    stage.title("2  xMatters is down while shares arrive")
    shares = [
        *(_of_incident("d001", samples[name]) for name in (CRITICAL, MORE_ALERTS)),
        *(_of_incident("d002", samples[WEBHOOK_V2]) for _ in ("first", "copy")),
        *(_of_incident("d003", samples[name]) for name in (CRITICAL, RESOLVED)),
    ]
    before = stage.accepted()
    stage.vendors.listen(is_open=False)
    with stage.steps.step(f"posting {len(shares)} shares of 3 incidents while xMatters refuses connections"):
        answers = [stage.post(share) for share in shares]
    stage.vendors.listen(is_open=True)
    stage.show(tables.of_queued(answers))
    kept, newer, other, copy, opened, resolved = answers
    stage.claim(
        "no signal was accepted; owed states were answered 202 and are on the retry queue",
        holds=stage.accepted() == before
        and all(each.status == 202 and each.place == ("queued", "retry") for each in (kept, newer, other, opened)),
    )
    stage.claim("a copy of a queued share was answered duplicate", holds=copy.outcome == "duplicate")
    stage.claim(
        "no signal is owed for an incident that resolved before it was announced",
        holds=resolved.change == ("unchanged", "touched"),
    )
    stage.say(f"xMatters is back. Each queued job wakes by itself, {KEEP_SECONDS:.0f} s after its share: see act 4.")
    return answers


def _refusal(stage: Stage, samples: Mapping[str, Sample]) -> None:
    stage.title("3  Meanwhile, xMatters refuses a signal: the trigger was removed")
    share = _of_incident("d004", samples[GROUP])
    stage.vendors.script({"kind": "status", "status": 404})
    answer = stage.post(share)
    stage.show(tables.of_queued([answer]))
    stage.claim(
        "a retry would be refused again, so the job is dead-lettered at once",
        holds=answer.place == ("queued", "dead_letter") and queues.dead_letters(stage.up) == 1,
    )
    stage.relayctl("dlq", "list")
    stage.say("An operator restores the trigger, and replays the dead-lettered job.")
    before = stage.accepted()
    stage.relayctl("dlq", "replay", "--yes")
    new = [body_of(signal) for request_id, signal in stage.accepted().items() if request_id not in before]
    stage.claim("the signal reached xMatters once", holds=new == [share.body])
    stage.claim("the dead-letter queue is empty", holds=queues.dead_letters(stage.up) == 0)


def _recovery(stage: Stage, waiting: Sequence[Answered]) -> None:
    stage.title("4  The retry queue drains by itself")
    is_empty = stage.wait(
        f"waiting for the queued jobs, each woken {KEEP_SECONDS:.0f} s after its share",
        lambda: queues.waiting(stage.up) == 0,
        seconds=DRAIN_SECONDS,
    )
    stage.show(tables.of_endings([(each, _ending(stage, each)) for each in waiting]))
    kept, newer, other, copy, opened, resolved = waiting
    stage.claim(
        "the newest state of each open incident reached xMatters once",
        holds=[_signals(stage, each) for each in (kept, newer, other)] == [0, 1, 1],
    )
    stage.claim(
        "the incident that opened and resolved during the outage made no signal",
        holds=_signals(stage, opened) == _signals(stage, resolved) == 0,
    )
    stage.claim("the retry queue and the chore queue are empty", holds=is_empty)
    again = stage.post(copy.sample)
    stage.claim(
        "another copy of the announced share was answered duplicate, and made no signal",
        holds=again.outcome == "duplicate" and _signals(stage, again) == 1,
    )


def _signals(stage: Stage, each: Answered) -> int:
    return sum(body_of(signal) == each.sample.body for signal in stage.accepted().values())


def _ending(stage: Stage, each: Answered) -> str:
    if each.outcome != "queued":
        return "no signal: " + ("a copy" if each.outcome == "duplicate" else "never announced")
    signals = [signal for signal in stage.accepted().values() if body_of(signal) == each.sample.body]
    if not signals:
        return "no signal: superseded"
    return f"signal after {tables.received_at(signals[0]) - each.posted_at:.0f} s"


def _of_incident(ending: str, share: Sample) -> Sample:
    return share.of_another_incident(share.incident_id[: -len(ending)] + ending)
