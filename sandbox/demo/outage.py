"""Acts 2, 3 and 4: xMatters is down while incidents change, comes back, and refuses a signal."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from sandbox.demo.stage import Json, Stage

SHORT, DISK, CERTIFICATE, ERRORS, REFUSED = (
    "Checkout latency is 2.4 s",
    "Disk on log-3 is 91 % full",
    "Certificate of shop.acme ends in 7 days",
    "Payments fail",
    "DNS resolvers in eu-west time out",
)
TITLE_WIDTH = 26
# Failed signals in a row that open the relay's circuit: the changes of the incident SHORT.
CHANGES = ("worsen", "gain_alert", "gain_alert", "ease")
# The circuit is open for 30 s. One signal probes it then, or in the next run of the sweeper, and wakes the others.
BACK_SECONDS = 120.0


@dataclass(frozen=True)
class Outage:
    """The incidents that changed during the outage, by their ids.

    Attributes:
        short: Id of the incident that opened, changed and resolved.
        warnings: Ids of the incidents that opened as warnings and stayed warnings.
        critical: Id of the incident that opened last, as a warning, and worsened to critical.
        signals: Number of signals that xMatters had accepted before the outage.
    """

    short: str
    warnings: tuple[str, ...]
    critical: str
    signals: int

    @property
    def incident_ids(self) -> tuple[str, ...]:
        """Ids of all incidents that changed during the outage, in the order in which they opened."""
        return (self.short, *self.warnings, self.critical)


def down(stage: Stage) -> Outage:
    """Play act 2: shares come while xMatters refuses connections."""
    stage.title("2  xMatters is down while incidents change")
    before = _accepted(stage)
    stage.vendors.listen(is_open=False)
    short = _short_lived(stage)
    warnings = tuple(_shared(stage, stage.open(title), 1) for title in (DISK, CERTIFICATE))
    critical = _worst_of_all(stage)
    outage = Outage(short, warnings, critical, before)
    answers = [answer for each in outage.incident_ids for answer in stage.webhooks(each)]
    stage.show(_of_shares([(stage.incident(each["incident_id"]), each) for each in answers]))
    owed = [each for each in answers if each["document"]["reason"] != "claimed"]
    stage.claim(
        "each owed state was answered 202, and is on the retry queue or in the ledger",
        holds=all(each["status"] == 202 and _is_kept(each) for each in owed) and len(owed) == len(answers) - 1,
    )
    stage.claim(
        "the end of an incident that nobody heard of waits for BigPanda's answer",
        holds=[each["document"]["reason"] for each in stage.webhooks(short)][-1] == "claimed",
    )
    stage.claim(
        "after 5 failures in a row the relay leaves xMatters alone for 30 s",
        holds={each["document"]["reason"] for each in stage.webhooks(critical)} == {"circuit_open"},
    )
    stage.claim("xMatters accepted no signal", holds=_accepted(stage) == before)
    stage.vendors.listen(is_open=True)
    return outage


def back(stage: Stage, outage: Outage) -> None:
    """Play act 3: xMatters is back, and the retry queue becomes empty by itself."""
    stage.title("3  xMatters is back, and nobody has to do anything")
    stage.soon("the critical incident rings", lambda: stage.pages(outage.critical), BACK_SECONDS)
    stage.soon("the warnings ring", lambda: all(map(stage.pages, outage.warnings)), BACK_SECONDS)
    stage.soon("the retry queue is empty", lambda: stage.up.retrying() == 0, BACK_SECONDS)
    pages = {each: stage.pages(each) for each in outage.incident_ids}
    stage.show(_of_pages([(stage.incident(each), pages[each]) for each in outage.incident_ids]))
    stage.claim(
        "nothing is lost: each incident that is still open rang once",
        holds=all(len(pages[each]) == 1 for each in (outage.critical, *outage.warnings)),
    )
    stage.claim(
        "nothing is stale: a state that has passed rang nobody",
        holds=pages[outage.short] == [] and pages[outage.critical][0]["priority"] == "HIGH",
    )
    stage.claim(
        "critical first: the incident that came last did not ring last",
        holds=pages[outage.critical][0]["number"] < max(pages[each][0]["number"] for each in outage.warnings),
    )
    stage.claim("xMatters accepted one signal for each", holds=_accepted(stage) == outage.signals + len(pages) - 1)


def refused(stage: Stage) -> None:
    """Play act 4: xMatters refuses a signal; its job is dead-lettered; after a replay of the job, a phone rings."""
    stage.title("4  xMatters refuses a signal: the trigger was changed")
    stage.vendors.script({"kind": "status", "status": 400})
    stage.say(f"BigPanda opens “{REFUSED}”, a warning, and shares it.")
    # If the sweeper ran now, it would notify the fallback topic of a critical, and of that of act 5 five minutes later.
    incident_id = stage.open(REFUSED)
    share = stage.until("the relay answers the share", lambda: stage.webhooks(incident_id))[0]
    stage.claim(
        "a retry would be refused again, so the job is dead-lettered at once",
        holds=share["document"]["queue"] == "dead_letter" and stage.up.dead_letters() == 1,
    )
    stage.relayctl("dlq", "list")
    stage.say("An operator corrects the trigger, and replays the dead-lettered job.")
    stage.relayctl("dlq", "replay", "--yes")
    stage.soon("Jane is rung", lambda: stage.ringing(incident_id, "jdoe"))
    stage.claim("the signal reached xMatters once", holds=len(stage.pages(incident_id)) == 1)
    stage.claim("the dead-letter queue is empty", holds=stage.up.dead_letters() == 0)


def _short_lived(stage: Stage) -> str:
    incident_id = _shared(stage, stage.open(SHORT), 1)
    for number, action in enumerate(CHANGES, start=2):
        stage.act(incident_id, action)
        _shared(stage, incident_id, number)
    stage.act(incident_id, "resolve")
    return _shared(stage, incident_id, len(CHANGES) + 2)


def _worst_of_all(stage: Stage) -> str:
    """Open an incident, worsen it, and return its id."""
    incident_id = _shared(stage, stage.open(ERRORS), 1)
    stage.act(incident_id, "worsen")
    return _shared(stage, incident_id, 2)


def _shared(stage: Stage, incident_id: str, number: int) -> str:
    """Wait until the relay has answered `number` shares of an incident, and return the incident's id."""
    stage.until("the relay answers each share", lambda: len(stage.webhooks(incident_id)) >= number)
    return incident_id


def _is_kept(share: Json) -> bool:
    document = share["document"] or {}
    return (share["outcome"], document.get("queue")) in {("queued", "retry"), ("queued", "ledger")}


def _accepted(stage: Stage) -> int:
    return sum(signal["accepted"] for signal in stage.vendors.signals())


def _of_shares(shares: Sequence[tuple[Json, Json]]) -> Table:
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


def _of_pages(incidents: Sequence[tuple[Json, Sequence[Json]]]) -> Table:
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
