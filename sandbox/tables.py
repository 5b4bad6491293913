"""What the demo shows of shares, answers and signals; each table fits into 80 columns."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from sandbox.samples import Sample

Signals = Mapping[str, Mapping[str, Any]]
"""Accepted signals by request id, as the stand-in tells of them."""


@dataclass(frozen=True)
class Answered:
    """A share and what the relay answered to it. `posted_at` is in epoch seconds."""

    sample: Sample
    posted_at: float
    status: int
    answer: dict[str, Any]

    @property
    def outcome(self) -> str:
        """What became of it, in a word; for a refusal, why."""
        return str(self.answer.get("outcome") or self.answer.get("error") or "")

    @property
    def change(self) -> tuple[str, str]:
        """What became of it, and what it changes against what people were told."""
        return self.outcome, str(self.answer.get("transition") or "")

    @property
    def place(self) -> tuple[str, str]:
        """What became of it, and on which queue it is."""
        return self.outcome, str(self.answer.get("queue") or "")

    @property
    def is_delivered(self) -> bool:
        """Whether the relay says that xMatters took it."""
        return self.status == 200 and self.outcome == "delivered"

    @property
    def request_id(self) -> str:
        """What xMatters calls the signal, or ""."""
        return str(self.answer.get("request_id") or "")


def of_answers(answers: Sequence[Answered], signals: Signals) -> Table:
    """What the relay answered to each share, what the share changes, and whom the signal named."""
    table = _columns("Sample", "Incident", "Status", "Answer", "Transition", "Named")
    for each in answers:
        named = signals.get(each.request_id, {}).get("recipients", [])
        table.add_row(*_share(each.sample), _answer(each), each.change[1], ", ".join(named))
    return table


def of_queued(answers: Sequence[Answered]) -> Table:
    """What the relay answered to each share; why it waits, and on which queue."""
    table = _columns("Sample", "Incident", "Status", "Answer", "Reason", "Queue")
    for each in answers:
        table.add_row(*_share(each.sample), _answer(each), str(each.answer.get("reason") or ""), each.place[1])
    return table


def of_endings(endings: Sequence[tuple[Answered, str]]) -> Table:
    """What became of each share in the end."""
    table = _columns("Sample", "Incident", "Status", "Was answered", "In the end")
    for each, ending in endings:
        table.add_row(*_share(each.sample), _answer(each), ending)
    return table


def body_of(signal: Mapping[str, Any]) -> bytes:
    """The very bytes that came with a signal."""
    return base64.b64decode(signal.get("body_base64", ""))


def came(signal: Mapping[str, Any]) -> float:
    """When a signal came to xMatters, in epoch seconds."""
    return datetime.fromisoformat(signal["received_at"]).timestamp()


def _columns(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name not in {"Sample", "Named"}, max_width=11 if name == "Sample" else None)
    return table


def _share(sample: Sample) -> tuple[str, str, str]:
    # The file's name without whose it is, and its number.
    name = " ".join(sample.name.split("_")[2:])
    incident = f"…{sample.incident_id[-6:]}" if sample.incident_id else "none"
    return name, incident, sample.status


def _answer(answered: Answered) -> Text:
    colour = "green" if answered.status == 200 else "yellow" if answered.status < 500 else "bold red"
    return Text(f"{answered.status} {answered.outcome}", style=colour)
