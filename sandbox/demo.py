"""The relay at work, told in four acts for somebody who watches; each claim is checked before it is made."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel

from relay.delivery.debts import KEEP_SECONDS
from sandbox import local, queues, standin, tables
from sandbox.cloud import SandboxError
from sandbox.samples import Sample, read_samples
from sandbox.stage import Stage
from sandbox.steps import Steps
from sandbox.tables import Answered, body_of

CRITICAL, MORE_ALERTS, RESOLVED = "bigpanda_1_critical", "bigpanda_2_more_alerts", "bigpanda_3_resolved"
GROUP, WEBHOOK_V2 = "bigpanda_4_snake_case_and_group", "bigpanda_5_webhook_v2"
# What is signalled of the samples, posted in the order of their names.
SIGNALLED = {CRITICAL: "opened", RESOLVED: "resolved", GROUP: "opened", WEBHOOK_V2: "opened"}
# The last share that was kept wakes by then, and the queue has time to hand it out.
DRAIN_SECONDS = KEEP_SECONDS + 30


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
        xmatters = standin.running(places.standin)
        if xmatters is None:
            raise SandboxError("the xMatters stand-in died at once")
        yield Stage(up, xmatters, steps, console)
    finally:
        console.print()
        with steps.step("stopping the cloud"):
            local.stop(places)


def _relay(stage: Stage, samples: Sequence[Sample]) -> None:
    stage.title("1  BigPanda shares what happens")
    with stage.steps.step(f"posting {len(samples)} samples from events/ to the API"):
        answers = [stage.post(sample) for sample in samples]
    rung = stage.rung()
    stage.show(tables.of_answers(answers, rung))
    delivered = [each for each in answers if each.is_delivered]
    stage.claim(
        f"{len(SIGNALLED)} signals reached xMatters, each with the very bytes that BigPanda sent",
        holds={each.sample.name: each.change[1] for each in delivered} == SIGNALLED
        and [body_of(signal) for signal in rung.values()] == [each.sample.body for each in delivered]
        and list(rung) == [each.request_id for each in delivered],
    )
    stage.claim(
        "more alerts rang nobody: this channel rings for a change of status",
        holds=[each.change for each in answers if each.sample.name == MORE_ALERTS] == [("unchanged", "grew")],
    )
    refused = [each for each in answers if each.status >= 400]
    stage.claim(
        "what is no share was turned away with a reason, and rang nobody",
        holds=all(each.status < 500 and each.outcome for each in refused)
        and len(refused) == len(answers) - len(SIGNALLED) - 1,
    )


def _outage(stage: Stage, samples: Mapping[str, Sample]) -> list[Answered]:
    stage.title("2  xMatters goes down, and shares come")
    shares = [
        *(_of_incident("d001", samples[name]) for name in (CRITICAL, MORE_ALERTS)),
        *(_of_incident("d002", samples[WEBHOOK_V2]) for _ in ("once", "and once more")),
        *(_of_incident("d003", samples[name]) for name in (CRITICAL, RESOLVED)),
    ]
    before = stage.rung()
    stage.xmatters.listen(is_open=False)
    with stage.steps.step(f"posting {len(shares)} shares of 3 incidents while xMatters refuses connections"):
        answers = [stage.post(share) for share in shares]
    stage.xmatters.listen(is_open=True)
    stage.show(tables.of_queued(answers))
    kept, newer, other, copy, opened, resolved = answers
    stage.claim(
        "nothing rang; what is owed was answered 202: it is safe on the retry queue",
        holds=stage.rung() == before
        and all(each.status == 202 and each.place == ("queued", "retry") for each in (kept, newer, other, opened)),
    )
    stage.claim("a copy of what is on the queue was known as one", holds=copy.outcome == "duplicate")
    stage.claim(
        "an incident that ended before anybody was rung for it is nothing to ring for",
        holds=resolved.change == ("unchanged", "touched"),
    )
    stage.say(f"xMatters is back. What was kept wakes by itself, {KEEP_SECONDS:.0f} s after it came: act 4.")
    return answers


def _refusal(stage: Stage, samples: Mapping[str, Sample]) -> None:
    stage.title("3  Meanwhile, xMatters refuses a share: somebody removed the trigger")
    share = _of_incident("d004", samples[GROUP])
    stage.xmatters.script({"kind": "status", "status": 404})
    answer = stage.post(share)
    stage.show(tables.of_queued([answer]))
    stage.claim(
        "to try it again would be no use: it is dead-lettered",
        holds=answer.place == ("queued", "dead_letter") and queues.dead_letters(stage.up) == 1,
    )
    stage.relayctl("dlq", "list")
    stage.say("Somebody mends the trigger, and replays what is dead-lettered.")
    before = stage.rung()
    stage.relayctl("dlq", "replay", "--yes")
    new = [body_of(signal) for request_id, signal in stage.rung().items() if request_id not in before]
    stage.claim("it reached xMatters, once", holds=new == [share.body])
    stage.claim("the dead-letter queue is empty", holds=queues.dead_letters(stage.up) == 0)


def _recovery(stage: Stage, waiting: Sequence[Answered]) -> None:
    stage.title("4  The retry queue drains by itself")
    is_empty = stage.wait(
        f"waiting, hands off: what was kept wakes {KEEP_SECONDS:.0f} s after it came",
        lambda: queues.waiting(stage.up) == 0,
        seconds=DRAIN_SECONDS,
    )
    stage.show(tables.of_endings([(each, _ending(stage, each)) for each in waiting]))
    kept, newer, other, copy, opened, resolved = waiting
    stage.claim(
        "the newest state of each incident that goes on rang, once",
        holds=[_rings(stage, each) for each in (kept, newer, other)] == [0, 1, 1],
    )
    stage.claim(
        "for the incident that came and went, nobody was rung",
        holds=_rings(stage, opened) == _rings(stage, resolved) == 0,
    )
    stage.claim("the retry queue and the chore queue are empty", holds=is_empty)
    again = stage.post(copy.sample)
    stage.claim(
        "one more copy, now that it rang: answered duplicate, and rang nobody",
        holds=again.outcome == "duplicate" and _rings(stage, again) == 1,
    )


def _rings(stage: Stage, each: Answered) -> int:
    return sum(body_of(signal) == each.sample.body for signal in stage.rung().values())


def _ending(stage: Stage, each: Answered) -> str:
    if each.outcome != "queued":
        return "rang nobody: " + ("a copy" if each.outcome == "duplicate" else "nobody knew of it")
    rings = [signal for signal in stage.rung().values() if body_of(signal) == each.sample.body]
    return f"rang after {tables.came(rings[0]) - each.posted_at:.0f} s" if rings else "rang nobody: overtaken"


def _of_incident(ending: str, share: Sample) -> Sample:
    return share.of_another_incident(share.incident_id[: -len(ending)] + ending)
