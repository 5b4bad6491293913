"""Act 1: an incident opens, the on-call group is rung and answers, the incident worsens, and resolves."""

from sandbox import team
from sandbox.demo.stage import Stage

TITLE = "Replica lag on pay-db-1 is 340 s"
FIRST, SECOND = "jdoe", "epearson"
NOTE = "I restart the replica"
# The relay asks BigPanda 3 s after a resolve, and ends the page once the end is announced.
END_SECONDS = 60.0


def play(stage: Stage) -> None:
    """Play act 1."""
    stage.title("1  An incident opens, and the on-call group is rung")
    stage.say(f"BigPanda opens “{TITLE}”, a warning, and shares it.")
    incident_id = stage.open(TITLE)
    _is_rung(stage, incident_id)
    _is_answered(stage, incident_id)
    _worsens(stage, incident_id)
    _resolves(stage, incident_id)


def _is_rung(stage: Stage, incident_id: str) -> None:
    rung = stage.soon(
        f"the relay sends one signal; Jane, first of {team.GROUP}, is rung",
        lambda: stage.ringing(incident_id, FIRST),
    )
    stage.quote(*(f"{each['device']}: {each['text']}" for each in rung))
    stage.claim("Ed, the second, is left alone", holds=not stage.told(incident_id, SECOND))
    stage.say("Jane cannot help, and presses Escalate.")
    stage.vendors.answer(rung[0]["id"], "Escalate")


def _is_answered(stage: Stage, incident_id: str) -> None:
    rung = stage.soon("Ed is rung at once", lambda: stage.ringing(incident_id, SECOND))
    stage.claim("Jane's devices are quiet", holds=not stage.ringing(incident_id, FIRST))
    stage.say(f"Ed presses Acknowledge, and writes: {NOTE}.")
    seen = stage.vendors.answer(rung[0]["id"], "Acknowledge", NOTE)
    stage.quote(*seen["text"].splitlines()[:4])
    stage.claim("the page has ended", holds=stage.pages(incident_id)[0]["status"] == "TERMINATED")
    said = stage.soon("his answer is a comment in BigPanda", lambda: _comments(stage, incident_id, "acknowledged"))
    stage.quote(said[0])
    stage.soon(
        "and the incident is assigned to him",
        lambda: str(stage.incident(incident_id)["assignee"]).startswith(SECOND),
    )
    stage.soon(
        "BigPanda shared the incident again for the comment; that rang nobody",
        # A share with the times of the one before it is a duplicate: BigPanda's times are whole seconds.
        lambda: any(each["outcome"] in {"unchanged", "duplicate"} for each in stage.webhooks(incident_id)),
    )
    stage.claim("so far, xMatters made one page", holds=len(stage.pages(incident_id)) == 1)


def _worsens(stage: Stage, incident_id: str) -> None:
    stage.say("The incident worsens to critical.")
    stage.act(incident_id, "worsen")
    stage.soon("that concerns all again: Jane is rung first", lambda: stage.ringing(incident_id, FIRST))
    stage.say("Jane does not answer. xMatters' clock is turned 5 minutes ahead.")
    stage.vendors.turn_clock(team.ESCALATION_SECONDS)
    stage.soon("xMatters escalates by itself, and Ed is rung", lambda: stage.ringing(incident_id, SECOND))


def _resolves(stage: Stage, incident_id: str) -> None:
    stage.say("Before anybody answers, the incident resolves.")
    stage.act(incident_id, "resolve")
    stage.say("A forged resolve must not end a page, so the relay asks BigPanda first, 3 s later.")
    stage.soon("all are told that it is over", lambda: len(stage.pages(incident_id)) == 3)
    _ends(stage, incident_id)


def _ends(stage: Stage, incident_id: str) -> None:
    """Check that the relay ends the open page of the resolved incident."""
    page = stage.soon(
        f"BigPanda said that “{TITLE}” is over, and the relay ended its page",
        lambda: [each for each in stage.pages(incident_id) if each["priority"] == "HIGH" and each["terminated"]],
        END_SECONDS,
    )[0]
    stage.quote(f"Page {page['number']}: {page['log'][-1]['text']}")
    stage.claim("nobody is rung for it any more", holds=not any(stage.ringing(incident_id, each) for each in _team()))


def _comments(stage: Stage, incident_id: str, word: str) -> list[str]:
    texts = (str(each["document"]["comment"]) for each in stage.vendors.comments(incident_id))
    return [text for text in texts if word in text]


def _team() -> list[str]:
    return [str(each["name"]) for each in team.PEOPLE]
