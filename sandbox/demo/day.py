"""Scripts that `make sandbox` plays: a whole day in three minutes, and one incident."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.demo.script import Step


def _warning(title: str, **tags: str) -> Mapping[str, Any]:
    """Return the options of a script's step that opens a warning incident; its one alert has these tags."""
    alert = {"description": title, "tags": [{"name": name, "value": value} for name, value in tags.items()]}
    return {"title": title, "status": "warning", "alerts": [alert]}


INCIDENT: Sequence[Step] = (
    Step(0, "BigPanda opens a warning: replica lag. Jane, the group's first, is rung.", "open", "lag",
         _warning("Replica lag is 340 s", host="pay-db-1", check="replication")),
    Step(6, "Jane escalates to Ed.", "escalate", "lag"),
    Step(10, "Ed acknowledges: the page ends, and BigPanda gets a comment.", "acknowledge", "lag",
         {"comment": "I restart the replica"}),
    Step(18, "The incident resolves. Only Ed, who acknowledged it, is told.", "resolve", "lag"),
)  # fmt: skip

DAY: Sequence[Step] = (
    *INCIDENT,
    Step(28, "A link of the network team loses packets: Li is rung, who is in no group.", "open", "link",
         _warning("Packet loss is 4 %", host="fra-ams", check="link", team="network")),
    Step(36, "It worsens to critical: Li is rung again.", "worsen", "link"),
    Step(44, "Nobody answers; xMatters' clock is turned two minutes ahead.", "turn_clock", options={"seconds": 120}),
    Step(50, "Li acknowledges.", "acknowledge", "link", {"comment": "Traffic moved to the other link"}),
    Step(58, "It gains an alert: this channel does not signal that.", "gain_alert", "link"),
    Step(64, "It eases to a warning: only Li, who acknowledged it, is told.", "ease", "link"),
    Step(70, "xMatters goes down.", "xmatters_down"),
    Step(73, "Checkout gets slow while xMatters is down: the relay owes a signal.", "open", "checkout",
         _warning("Checkout takes 2.4 s", host="shop-web-3", check="latency")),
    Step(76, "A disk fills up: the next signal is owed.", "open", "disk",
         _warning("Disk is 91 % full", host="log-3", check="disk")),
    Step(79, "Checkout worsens to critical: the newest state is owed, not the warning.", "worsen", "checkout"),
    Step(84, "The disk is cleaned, unannounced: its signal is owed no more.", "resolve", "disk"),
    Step(90, "xMatters is back. The relay tries again by itself, within a minute.", "xmatters_back"),
    Step(135, "Jane acknowledges the checkout incident.", "acknowledge", "checkout"),
    Step(142, "The link is repaired: the incident resolves.", "resolve", "link"),
    Step(150, "Somebody removes the trigger: xMatters refuses the next signal.", "refuse_signal"),
    Step(152, "A certificate ends soon: its signal is refused, and dead-lettered.", "open", "certificate",
         _warning("Certificate ends in 7 days", host="shop-web-1", check="certificate")),
    Step(165, "Checkout is well again. Replay the dead-lettered signal on the page.", "resolve", "checkout"),
)  # fmt: skip

SCRIPTS: Mapping[str, Sequence[Step]] = {"day": DAY, "incident": INCIDENT}
