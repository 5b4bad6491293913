"""Tables of shares and pages for the demo; each fits into 80 columns."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from sandbox.demo.stage import Json

TITLE_WIDTH = 26


def of_shares(shares: Sequence[tuple[Json, Json]]) -> Table:
    """Return a table with a row for each share: the incident, the change in BigPanda, and the relay's answer.

    `shares` are pairs of an incident and a share. The answer's transition and reason have columns of their own.
    """
    table = _columns("Incident", "Change", "Answer", "Transition", "Reason")
    for incident, share in shares:
        document = share["document"] or {}
        change = str(share["event"]).removeprefix("incident#")
        reason = str(document.get("reason") or "")
        table.add_row(_title(incident), change, _answer(share), str(document.get("transition") or ""), reason)
    return table


def of_pages(incidents: Sequence[tuple[Json, Sequence[Json]]]) -> Table:
    """Return a table with a row for each page of each incident, and one row for an incident without pages.

    The columns are the incident's title, its status now, the page's number, and the page's priority with the
    first words of its subject.
    """
    table = _columns("Incident", "Now", "Page", "What rang")
    for incident, pages in incidents:
        now = incident["status"] if incident["is_open"] else "resolved"
        rows = [(page["number"], f"{page['priority']} {page['subject'].partition(':')[0]}") for page in pages]
        for number, text in rows or [("none", "nothing: it had passed")]:
            table.add_row(_title(incident), now, number, text)
    return table


def _columns(*names: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width=TITLE_WIDTH if name == "Incident" else None)
    return table


def _title(incident: Json) -> str:
    return str(incident["title"])


def _answer(share: Json) -> Text:
    status = share["status"] or 0
    colour = "green" if status == 200 else "yellow" if 0 < status < 500 else "bold red"
    return Text(f"{status or 'none'} {share['outcome'] or ''}".rstrip(), style=colour)
