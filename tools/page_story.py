"""A short story for pictures of the sandbox's page: an answered page, a dead letter, an owed state in an outage."""

from dataclasses import dataclass

from playwright.sync_api import Page

from sandbox.demo.stage import Stage

ANSWERED = "Replica lag on pay-db-1 is 340 s"
REFUSED = "Certificate ends in 7 days"
RINGING = "Replication has stopped"
OWED = "Checkout latency is 2.4 s"


@dataclass(frozen=True)
class Story:
    """Titles of the incidents that the page shows at the end of the story.

    Attributes
    ----------
    answered
        Incident that a person acknowledged.
    refused
        Incident whose signal xMatters refused, so that it is dead-lettered.
    ringing
        Incident for which a phone rings.
    owed
        Incident that is owed during the outage.
    """

    answered: str = ANSWERED
    refused: str = REFUSED
    ringing: str = RINGING
    owed: str = OWED


def play(stage: Stage) -> Story:
    """Play the story; xMatters is down at its end. Raises SandboxError if a phone does not ring."""
    _answer(stage)
    _refuse(stage)
    _ring(stage)
    _owe(stage)
    return Story()


def show(page: Page, story: Story) -> None:
    """Wait until the page shows the story's end, and choose the incident that was answered."""
    page.locator("#owed").get_by_text(story.owed).first.wait_for()
    page.locator("#dead").get_by_text(story.refused).first.wait_for()
    page.locator(".notice[data-state=ringing]").filter(has_text=story.ringing).first.wait_for()
    page.locator("#incidents").get_by_role("button", name=story.answered, exact=True).click()
    page.locator("#timeline").get_by_text("acknowledged xMatters page").first.wait_for()
    # The mouse stays on no control, and no control has the focus.
    page.mouse.move(0, 0)
    page.evaluate("() => { document.activeElement?.blur(); scrollTo(0, 0); }")


def _answer(stage: Stage) -> None:
    incident_id = stage.open(ANSWERED)
    rung = stage.until("Jane is rung", lambda: stage.ringing(incident_id, "jdoe"))
    stage.vendors.answer(rung[0]["id"], "Escalate")
    rung = stage.until("Ed is rung", lambda: stage.ringing(incident_id, "epearson"))
    stage.vendors.answer(rung[0]["id"], "Acknowledge", "I restart the replica")
    stage.until("BigPanda has Ed's comment", lambda: stage.vendors.comments(incident_id))
    stage.until("the incident is assigned to Ed", lambda: stage.incident(incident_id)["assignee"])


def _refuse(stage: Stage) -> None:
    stage.vendors.script({"kind": "status", "status": 404})
    incident_id = stage.open(REFUSED)
    stage.until("the relay answers the share", lambda: _answered(stage, incident_id))


def _ring(stage: Stage) -> None:
    incident_id = stage.open(RINGING, "critical")
    stage.until("Jane is rung", lambda: stage.ringing(incident_id, "jdoe"))


def _owe(stage: Stage) -> None:
    stage.vendors.listen(is_open=False)
    incident_id = stage.open(OWED, "critical")
    stage.until("the relay answers the share", lambda: _answered(stage, incident_id))


def _answered(stage: Stage, incident_id: str) -> bool:
    return any(each["status"] for each in stage.webhooks(incident_id))
