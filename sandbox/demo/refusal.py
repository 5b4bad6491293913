"""Act 4: xMatters refuses a signal; an operator replays the dead-lettered job."""

from sandbox.cloud import queues
from sandbox.demo.stage import Stage

TITLE = "DNS resolvers in eu-west time out"


def play(stage: Stage) -> None:
    """Play act 4: xMatters refuses a signal; its job is dead-lettered; after a replay of the job, a phone rings."""
    stage.title("4  xMatters refuses a signal: the trigger was removed")
    stage.vendors.script({"kind": "status", "status": 404})
    stage.say(f"BigPanda opens “{TITLE}”, critical, and shares it.")
    incident_id = stage.open(TITLE, "critical")
    share = stage.until("the relay answers the share", lambda: stage.webhooks(incident_id))[0]
    stage.claim(
        "a retry would be refused again, so the job is dead-lettered at once",
        holds=share["document"]["queue"] == "dead_letter" and queues.dead_letters(stage.up) == 1,
    )
    stage.relayctl("dlq", "list")
    stage.say("An operator restores the trigger, and replays the dead-lettered job.")
    stage.relayctl("dlq", "replay", "--yes")
    stage.soon("Jane is rung", lambda: stage.ringing(incident_id, "jdoe"))
    stage.claim("the signal reached xMatters once", holds=len(stage.pages(incident_id)) == 1)
    stage.claim("the dead-letter queue is empty", holds=queues.dead_letters(stage.up) == 0)
