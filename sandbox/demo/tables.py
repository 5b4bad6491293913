"""Tables of shares, answers and signals for the demo; each fits into 80 columns."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from sandbox.demo.samples import Sample

Signals = Mapping[str, Mapping[str, Any]]
"""Accepted signals by request id, in the form of the control API."""


@dataclass(frozen=True)
class Answered:
    """A share, and the relay's answer to it.

    Attributes
    ----------
    sample
        The share.
    posted_at
        Time of the POST, in epoch seconds.
    status
        HTTP status of the answer.
    answer
        The answer's JSON object.
    """

    sample: Sample
    posted_at: float
    status: int
    answer: dict[str, Any]

    @property
    def outcome(self) -> str:
        """The outcome; for a refused share, the error."""
        return str(self.answer.get("outcome") or self.answer.get("error") or "")

    @property
    def change(self) -> tuple[str, str]:
        """The outcome and the transition; the transition is "" if the answer has none."""
        return self.outcome, str(self.answer.get("transition") or "")

    @property
    def place(self) -> tuple[str, str]:
        """The outcome and the queue that holds the job; the queue is "" if the answer has none."""
        return self.outcome, str(self.answer.get("queue") or "")

    @property
    def is_delivered(self) -> bool:
        """True if the relay answered `delivered`."""
        return self.status == 200 and self.outcome == "delivered"

    @property
    def request_id(self) -> str:
        """xMatters' request id of the signal; "" without one."""
        return str(self.answer.get("request_id") or "")


def of_answers(answers: Sequence[Answered], signals: Signals) -> Table:
    """Return a table of shares with the relay's answer, the transition, and the signal's recipients."""
    table = _columns("Sample", "Incident", "Status", "Answer", "Transition", "Recipients")
    for each in answers:
        recipients = signals.get(each.request_id, {}).get("recipients", [])
        table.add_row(*_share(each.sample), _answer(each), each.change[1], ", ".join(recipients))
    return table


def of_queued(answers: Sequence[Answered]) -> Table:
    """Return a table of shares with the relay's answer, the reason of a wait, and the queue."""
    table = _columns("Sample", "Incident", "Status", "Answer", "Reason", "Queue")
    for each in answers:
        table.add_row(*_share(each.sample), _answer(each), str(each.answer.get("reason") or ""), each.place[1])
    return table


def of_endings(endings: Sequence[tuple[Answered, str]]) -> Table:
    """Return a table of shares with the relay's answer, and the final result of each."""
    table = _columns("Sample", "Incident", "Status", "Answer", "Result")
    for each, ending in endings:
        table.add_row(*_share(each.sample), _answer(each), ending)
    return table


def body_of(signal: Mapping[str, Any]) -> bytes:
    """Return the body bytes of a signal."""
    return base64.b64decode(signal.get("body_base64", ""))


def received_at(signal: Mapping[str, Any]) -> float:
    """Return the time at which xMatters received a signal, in epoch seconds."""
    return datetime.fromisoformat(signal["received_at"]).timestamp()


def _columns(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name not in {"Sample", "Recipients"}, max_width=11 if name == "Sample" else None)
    return table


def _share(sample: Sample) -> tuple[str, str, str]:
    # The name of the file without its first two parts, the vendor and a number.
    name = " ".join(sample.name.split("_")[2:])
    incident = f"…{sample.incident_id[-6:]}" if sample.incident_id else "none"
    return name, incident, sample.status


def _answer(answered: Answered) -> Text:
    colour = "green" if answered.status == 200 else "yellow" if answered.status < 500 else "bold red"
    return Text(f"{answered.status} {answered.outcome}", style=colour)
