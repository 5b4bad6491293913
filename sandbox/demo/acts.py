"""The demo: five acts on a console, in a local cloud of its own; each claim is checked before it is printed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.panel import Panel

from sandbox import local
from sandbox.demo import incident, outage, unheard
from sandbox.demo.stage import PATIENCE_SECONDS, Stage
from sandbox.errors import SandboxError
from sandbox.server import background
from sandbox.steps import Steps


def play(places: local.Places, console: Console, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Play all acts of the demo in a local cloud of their own, and stop the cloud at the end.

    Each act makes claims, such as "the retry queue is empty", and checks them. A claim that does not hold after
    `patience_seconds` ends the demo.

    Raises SandboxError if a claim does not hold, or the cloud fails; the logs then stay in `places.folder`.
    """
    began = time.monotonic()
    console.print(Panel("From BigPanda to xMatters, on this machine", style="bold cyan", expand=False))
    with local.alone(places.folder):
        try:
            seconds = _play(places, console, patience_seconds)
        except SandboxError as error:
            raise SandboxError(f"{error}\nThe logs are in {places.folder}") from error
        except KeyboardInterrupt:
            local.clear(places)
            raise
        local.clear(places)
    whole = time.monotonic() - began
    console.print(f"\n[bold green]Every claim holds[/], {seconds:.0f} s after the set-up, {whole:.0f} s in all.")
    console.print("Nothing is left running. To try it by hand, with a page: [bold]make sandbox[/]")


def _play(places: local.Places, console: Console, patience_seconds: float) -> float:
    """Play all acts, and return the seconds that they took."""
    with _stage(places, console, patience_seconds) as stage:
        began = time.monotonic()
        try:
            critical = unheard.begin(stage)
            incident.play(stage)
            outage.back(stage, outage.down(stage))
            outage.refused(stage)
            unheard.end(stage, critical)
        except SandboxError:
            stage.save_function_logs(places.folder / "functions.log")
            raise
        return time.monotonic() - began


@contextmanager
def _stage(places: local.Places, console: Console, patience_seconds: float) -> Iterator[Stage]:
    steps = Steps("demo", console)
    up = local.afresh(places, steps)
    try:
        vendors = background.running(places.standin)
        if vendors is None:
            raise SandboxError("the stand-ins for xMatters and BigPanda ended right after their start")
        yield Stage(up, vendors, steps, console, patience_seconds)
    finally:
        console.print()
        with steps.step("stopping the cloud"):
            local.stop(places)
