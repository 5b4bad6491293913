"""What the demo shows of shares, answers and signals; each table fits into 80 columns."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from sandbox.samples import Sample

Signals = Mapping[str, Mapping[str, Any]]
"""Accepted signals by request id, as the stand-in tells of them."""


@dataclass(frozen=True)
class Answered:
    """A share and what the relay answered to it."""

    sample: Sample
    status: int
    answer: dict[str, Any]

    @property
    def outcome(self) -> str:
        """What became of it, in a word; for a refusal, why."""
        return str(self.answer.get("outcome") or self.answer.get("error") or "")

    @property
    def request_id(self) -> str:
        """What xMatters calls the signal, or ""."""
        return str(self.answer.get("request_id") or "")

    @property
    def is_delivered(self) -> bool:
        """Whether the relay says that xMatters took it."""
        return self.status == 200 and self.outcome == "delivered"


def of_answers(answers: Sequence[Answered], signals: Signals) -> Table:
    """What the relay answered to each share, and whom the signal named."""
    table = _columns("Sample", "Incident", "Status", "Answer", "Request", "Named")
    for each in answers:
        named = signals.get(each.request_id, {}).get("recipients", [])
        table.add_row(*_share(each.sample), _answer(each), _short(each.request_id), ", ".join(named))
    return table


def of_queued(answers: Sequence[Answered]) -> Table:
    """Why each share waits, and on which queue."""
    table = _columns("Sample", "Incident", "Status", "Answer", "Reason", "Queue")
    for each in answers:
        details = (str(each.answer.get(key, "")) for key in ("reason", "queue"))
        table.add_row(*_share(each.sample), _answer(each), *details)
    return table


def of_arrived(answers: Sequence[Answered], signals: Signals) -> Table:
    """Which of the shares have arrived after all."""
    table = _columns("Sample", "Incident", "Status", "Request", "Named")
    for each in answers:
        for request_id, signal in signals.items():
            if body_of(signal) == each.sample.body:
                table.add_row(*_share(each.sample), _short(request_id), ", ".join(signal["recipients"]))
    return table


def body_of(signal: Mapping[str, Any]) -> bytes:
    """The very bytes that came with a signal."""
    return base64.b64decode(signal.get("body_base64", ""))


def _columns(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=name not in {"Sample", "Named"}, max_width=13 if name == "Sample" else None)
    return table


def _share(sample: Sample) -> tuple[str, str, str]:
    name = sample.name.removeprefix("bigpanda_").replace("_", " ")
    incident = f"…{sample.incident_id[-6:]}" if sample.incident_id else "none"
    return name, incident, sample.status


def _short(request_id: str) -> str:
    return request_id[:7]


def _answer(answered: Answered) -> Text:
    colour = "green" if answered.status == 200 else "yellow" if answered.status < 500 else "bold red"
    return Text(f"{answered.status} {answered.outcome}", style=colour)
