"""A run of `make sandbox`, until Ctrl-C, and the scripts that it plays: timed steps in place of a person's clicks."""

import sys
import time
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from sandbox import interrupts, local, processes
from sandbox.errors import SandboxError
from sandbox.server.client import StandIn
from sandbox.steps import Steps

type Act = Literal[
    "open", "worsen", "ease", "gain_alert", "snooze", "unsnooze", "flap", "calm", "resolve", "reopen",
    "acknowledge", "escalate", "turn_clock", "xmatters_down", "xmatters_back", "refuse_signal",
]  # fmt: skip

POLL_SECONDS, WATCH_SECONDS = 0.2, 0.5
# Time for an incident's phones to ring before its answer is skipped.
RING_SECONDS = 15.0
_ANSWERS: Mapping[Act, str] = {"acknowledge": "Acknowledge", "escalate": "Escalate"}


@dataclass(frozen=True)
class Step:
    """One step of a script.

    Attributes:
        at: Seconds after the start.
        says: One sentence for the terminal.
        act: Name of the action.
        incident: The script's own name of an incident; "" for acts without one.
        options: For "open", the members of `StandIn.open_incident`; for an answer, its `comment`; for "turn_clock", the
            `seconds`.
    """

    at: float
    says: str
    act: Act
    incident: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class Player:
    """Plays scripts on running stand-ins.

    `vendors` is a client of both stand-ins; `say` writes a line to the terminal; `clock` is a monotonic clock, and
    `sleep` a wait, both in seconds.
    """

    def __init__(
        self,
        vendors: StandIn,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._vendors = vendors
        self._say = say
        self._clock = clock
        self._sleep = sleep
        self._incidents: dict[str, str] = {}

    def play(self, steps: Sequence[Step]) -> None:
        """Do all steps, each at its time; a step that is no longer possible is skipped, and the reason is said."""
        began = self._clock()
        for step in steps:
            self._sleep(max(0.0, began + step.at - self._clock()))
            self._say(f"{_minutes(self._clock() - began)}  {step.says}")
            try:
                self._do(step)
            except SandboxError as error:
                # A person may have answered, or resolved the incident, by a click.
                self._vendors.check_health()
                self._say(f"       skipped: {error}")

    def _do(self, step: Step) -> None:
        match step.act:
            case "open":
                self._incidents[step.incident] = self._vendors.open_incident(**step.options)["id"]
            case "acknowledge" | "escalate":
                self._answer(self._id(step), _ANSWERS[step.act], step.options.get("comment"))
            case "turn_clock":
                self._vendors.turn_clock(step.options["seconds"])
            case "xmatters_down" | "xmatters_back":
                self._vendors.listen(is_open=step.act == "xmatters_back")
            case "refuse_signal":
                self._vendors.script({"kind": "status", "status": 400})
            case _:
                self._vendors.act_on_incident(self._id(step), step.act)

    def _id(self, step: Step) -> str:
        if step.incident not in self._incidents:
            raise SandboxError("the incident was not opened")
        return self._incidents[step.incident]

    def _answer(self, incident_id: str, response: str, comment: str | None) -> None:
        """Wait until a phone rings for the incident, and answer as the person who was notified last."""
        deadline = self._clock() + RING_SECONDS
        while not (ringing := self._ringing(incident_id, response)):
            if self._clock() >= deadline:
                raise SandboxError(f"no phone rings that takes {response}")
            self._sleep(POLL_SECONDS)
        newest = ringing[-1]
        # All devices of the person ring; the first one is answered.
        first = next(each for each in ringing if (each["page"], each["person"]) == (newest["page"], newest["person"]))
        self._vendors.answer(first["id"], response, comment)

    def _ringing(self, incident_id: str, response: str) -> list[Mapping[str, Any]]:
        said = self._vendors.phones()["notifications"]
        return [each for each in said if each["incident_id"] == incident_id and response in each["responses"]]


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def _warning(title: str, **tags: str) -> Mapping[str, Any]:
    """Return the options of a script's step that opens a warning incident; its one alert has these tags."""
    alert = {"description": title, "tags": [{"name": name, "value": value} for name, value in tags.items()]}
    return {"title": title, "status": "warning", "alerts": [alert]}


INCIDENT: Sequence[Step] = (
    Step(0, "BigPanda opens a warning: replica lag. Jane, the group's first, is rung.", "open", "lag",
         _warning("Replica lag is 340 s", host="pay-db-1", check="replication")),
    Step(6, "Jane escalates to Ed.", "escalate", "lag"),
    Step(10, "Ed acknowledges: the page ends, and BigPanda gets a comment.", "acknowledge", "lag",
         {"comment": "I restart the replica"}),
    Step(18, "The incident resolves. Only Ed, who acknowledged it, is told.", "resolve", "lag"),
)  # fmt: skip

DAY: Sequence[Step] = (
    *INCIDENT,
    Step(28, "A link of the network team loses packets: Li is rung, who is in no group.", "open", "link",
         _warning("Packet loss is 4 %", host="fra-ams", check="link", team="network")),
    Step(36, "It worsens to critical: Li is rung again.", "worsen", "link"),
    Step(44, "Nobody answers; xMatters' clock is turned two minutes ahead.", "turn_clock", options={"seconds": 120}),
    Step(50, "Li acknowledges.", "acknowledge", "link", {"comment": "Traffic moved to the other link"}),
    Step(58, "It gains an alert: this channel does not signal that.", "gain_alert", "link"),
    Step(64, "It eases to a warning: only Li, who acknowledged it, is told.", "ease", "link"),
    Step(70, "xMatters goes down.", "xmatters_down"),
    Step(73, "Checkout gets slow while xMatters is down: the relay owes a signal.", "open", "checkout",
         _warning("Checkout takes 2.4 s", host="shop-web-3", check="latency")),
    Step(76, "A disk fills up: the next signal is owed.", "open", "disk",
         _warning("Disk is 91 % full", host="log-3", check="disk")),
    Step(79, "Checkout worsens to critical: the newest state is owed, not the warning.", "worsen", "checkout"),
    Step(84, "The disk is cleaned, unannounced: its signal is owed no more.", "resolve", "disk"),
    Step(90, "xMatters is back. The relay tries again by itself, within a minute.", "xmatters_back"),
    Step(135, "Jane acknowledges the checkout incident.", "acknowledge", "checkout"),
    Step(142, "The link is repaired: the incident resolves.", "resolve", "link"),
    Step(150, "Somebody removes the trigger: xMatters refuses the next signal.", "refuse_signal"),
    Step(152, "A certificate ends soon: its signal is refused, and dead-lettered.", "open", "certificate",
         _warning("Certificate ends in 7 days", host="shop-web-1", check="certificate")),
    Step(165, "Checkout is well again. Replay the dead-lettered signal on the page.", "resolve", "checkout"),
)  # fmt: skip

SCRIPTS: Mapping[str, Sequence[Step]] = {"day": DAY, "incident": INCIDENT}


def run(places: local.Places, console: Console, *, name: str = "", opens_browser: bool = False) -> None:
    """Start the local cloud, print the URL of the sandbox's web page, play a script, and wait until Ctrl-C.

    Raises SandboxError if there is no such script, or if the local cloud does not start or ends by itself. Raises
    KeyboardInterrupt on Ctrl-C while the cloud is being started.
    """
    if name and name not in SCRIPTS:
        raise SandboxError(f"there is no script {name!r}; SCRIPT= takes {' or '.join(SCRIPTS)}")
    with local.joined(places, Steps("sandbox", console)) as joined:
        try:
            _show(console, joined)
            if opens_browser:
                webbrowser.open(f"{joined.vendors.control_url}/")
            if name:
                Player(joined.vendors, lambda line: console.print(Text(line))).play(SCRIPTS[name])
                console.print("The script is over. Go on by clicks, or press Ctrl-C to stop.")
            while processes.is_running(joined.vendors.process):
                time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:
            interrupts.settle()
            end = "The local cloud stays up; make local-down stops it." if joined.stays else ""
            console.print(Text(f"\nStopped by Ctrl-C. {end}".rstrip()))
            return
        raise SandboxError("the local cloud was stopped by another command, or its stand-ins failed")


def _show(console: Console, joined: local.Joined) -> None:
    lines = [
        f"The page:  {joined.vendors.control_url}/",
        "Open an incident on it, answer the phones, switch faults on.",
        "Ctrl-C stops this command; the local cloud was up before, and stays up."
        if joined.stays
        else "Ctrl-C stops everything.",
        "For relayctl and aws in another terminal:",
        f'export PATH="{Path(sys.executable).parent}:$PATH"',
        *(f"export {name}={value}" for name, value in local.credentials(joined.up).items()),
    ]
    console.print()
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    console.print()
