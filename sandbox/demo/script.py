"""Scripts for the sandbox's page: timed steps that a player does in place of a person's clicks."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.errors import SandboxError
from sandbox.server.client import StandIn

type Act = Literal[
    "open", "worsen", "ease", "gain_alert", "snooze", "unsnooze", "flap", "calm", "resolve", "reopen",
    "acknowledge", "escalate", "turn_clock", "xmatters_down", "xmatters_back", "refuse_signal",
]  # fmt: skip

POLL_SECONDS = 0.2
# Time for an incident's phones to ring before its answer is skipped.
RING_SECONDS = 15.0
_ANSWERS: Mapping[Act, str] = {"acknowledge": "Acknowledge", "escalate": "Escalate"}


@dataclass(frozen=True)
class Step:
    """One step of a script.

    Attributes
    ----------
    at
        Seconds after the start.
    says
        One sentence for the terminal.
    act
        Name of the action.
    incident
        The script's own name of an incident; "" for acts without one.
    options
        For "open", the members of `StandIn.open_incident`; for an answer, its `comment`; for "turn_clock", the
        `seconds`.
    """

    at: float
    says: str
    act: Act
    incident: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class Player:
    """Plays scripts on running stand-ins.

    Parameters
    ----------
    vendors
        Client of both stand-ins.
    say
        Writes a line to the terminal.
    clock, sleep
        A monotonic clock, and a wait; both in seconds.
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
                self._vendors.script({"kind": "status", "status": 404})
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
