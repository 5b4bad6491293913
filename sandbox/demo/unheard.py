"""Act 5: xMatters accepted a critical and made its page, and notified nobody. It begins before act 1."""

import time
from dataclasses import dataclass
from textwrap import fill

from sandbox import local
from sandbox.cloud.fallback import Subscriber, phone_messages, sweep
from sandbox.demo.stage import Json, Stage

TITLE = "Orders are not accepted"


@dataclass(frozen=True)
class Unheard:
    """A critical of which nobody was notified.

    Attributes:
        incident_id: Its id.
        late_at: Time by which the relay awaits a proof that a device was notified (monotonic seconds).
        subscriber: A subscriber of the fallback topic.
    """

    incident_id: str
    late_at: float
    subscriber: Subscriber

    def messages(self) -> list[Json]:
        """Return the fallback topic's messages about the incident."""
        return [each for each in self.subscriber.hears(local.CHANNEL) if self.incident_id in each["Message"]]


def begin(stage: Stage) -> Unheard:
    """Open a critical while xMatters notifies nobody, and let xMatters be well again."""
    stage.console.print()
    stage.say(f"Before all else, BigPanda opens “{TITLE}”, critical.")
    stage.say("At this moment xMatters accepts signals, and notifies nobody. See act 5.")
    subscriber = Subscriber(stage.up)
    stage.vendors.set_flow("notifies_nobody")
    incident_id = stage.open(TITLE, "critical")
    stage.soon("xMatters made a page of it, so all looks well", lambda: stage.pages(incident_id))
    stage.vendors.set_flow("page")
    return Unheard(incident_id, time.monotonic() + local.NOTIFIED_WITHIN_SECONDS, subscriber)


def end(stage: Stage, unheard: Unheard) -> None:
    """Play act 5: the fallback topic is notified of the critical, once."""
    stage.title("5  A critical of which xMatters notified nobody")
    stage.say(f"“{TITLE}” has a page since before act 1. The relay asked")
    stage.say(f"xMatters for a device that got it, and gives it {local.NOTIFIED_WITHIN_SECONDS} s.")
    stage.claim("no phone rang for it", holds=not stage.notifications(unheard.incident_id))
    stage.until("the time passes", lambda: time.monotonic() > unheard.late_at)
    if not unheard.messages():
        stage.say("Each minute the relay's sweeper runs; here it runs at once.")
        sweep(stage.up)
    message = stage.soon("people are notified by other means: the fallback topic", unheard.messages)[0]
    stage.quote(*list(filter(None, message["Message"].splitlines()))[:4])
    called = stage.soon("a phone is called another way, not by xMatters", lambda: phone_messages(stage.up, "call"))[0]
    stage.quote(f"☎ {called['to']}", *fill(called["text"], 70).splitlines())
    stage.claim("and it gets a text, if nobody takes the call", holds=len(phone_messages(stage.up, "text")) == 1)
    sweep(stage.up)
    stage.claim(
        "the next run of the sweeper does not repeat it",
        holds=len(unheard.messages()) == len(phone_messages(stage.up, "call")) == 1,
    )
    unheard.subscriber.close()
