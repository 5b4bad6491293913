"""A year of a channel in the local cloud, as an operator lives it: from shadow mode to its removal, share by share."""

import json
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relayctl.stack.draining import STILL_COME_SECONDS
from sandbox import local
from sandbox.server import background
from sandbox.steps import Steps
from tests.e2e import channels
from tests.e2e.channels import UNPACED, Channel
from tests.e2e.relayctl_operator import Operator, finished
from tests.waiting import until

# Functions learn of a changed mode or pause within ten seconds.
IN_FORCE_SECONDS = 11.0
# A drain takes minutes.
PATIENCE_SECONDS = 1800.0


@dataclass
class Year:
    """A channel's year, and the account of its shares.

    Attributes:
        channel: the channel.
        operator: the operator, who runs relayctl.
        tag: prefix of the ids of the year's incidents.
        answers: the outcome of each share, by incident, in order.
    """

    channel: Channel
    operator: Operator
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    answers: dict[str, list[str]] = field(default_factory=dict)
    _second: int = 1_795_600_000

    def share(self, name: str, status: str = "critical") -> dict[str, Any]:
        """Share a state of an incident as BigPanda does; return the answer."""
        self._second += 1
        incident = {
            "id": f"{self.tag}-{name}",
            "status": status,
            "active": status != "ok",
            "changedOn": self._second,
            "tags": {"n": str(self._second)},
        }
        answer = self.channel.post(json.dumps({"incident": incident}).encode())
        document: dict[str, Any] = answer.json() | {"status": answer.status_code}
        self.answers.setdefault(name, []).append(document.get("outcome", str(answer.status_code)))
        return document

    def rang(self) -> Counter[str]:
        ids = [each["body"]["incident"]["id"] for each in self.channel.signals()]
        return Counter(each.removeprefix(f"{self.tag}-") for each in ids)

    def relayctl(self, *arguments: str, code: int = 0) -> Any:
        return self.operator.run_json(*arguments, code=code)

    def sweep(self) -> None:
        cloud = self.channel.cloud
        cloud.client("lambda").invoke(FunctionName=cloud.outputs["SweeperFunction"])


@pytest.mark.whole_year
def test_whole_year_ends_with_a_drained_and_uninstalled_relay(
    own_places: local.Places, quiet: Steps, relayctl: Path
) -> None:
    cloud = local.up(own_places, quiet)
    xmatters = background.running(own_places.standin)
    assert xmatters
    channel = channels.made(cloud, xmatters, (*UNPACED, "policy.mode=shadow"))
    year = Year(channel, Operator(channel, relayctl))
    for chapter in (_tries_in_shadow, _goes_live, _pauses, _survives_an_outage):
        chapter(year)
    until(lambda: year.rang()["outage"] == 1)
    # A share of the last minute would show that shares still come.
    time.sleep(STILL_COME_SECONDS)
    drained = year.operator.start("channel", "remove", channel.name, "--drain", "--quiet", "1m", "--yes")
    finished(drained, seconds=PATIENCE_SECONDS)
    last = finished(year.operator.start("uninstall", "--yes", "--quiet", "1m", "--json"), seconds=PATIENCE_SECONDS)
    document = json.loads(last.stdout)
    assert (document["can_be_deleted"], document["waiting"], document["dead_lettered"]) == (True, 0, 0)
    assert any("delete-stack" in line for line in document["commands"])
    assert year.answers == {
        "shadow": ["shadowed", "duplicate", "shadowed"],
        "open": ["shadowed", "delivered", "delivered"],
        "maintenance": ["queued"],
        "brief": ["queued", "unchanged"],
        "outage": ["queued"],
        "refused": ["queued"],
    }
    assert year.rang() == Counter(open=2, maintenance=1, outage=1, refused=1)


def _tries_in_shadow(year: Year) -> None:
    """Post shares in shadow mode: nothing is signalled, and the shadow report counts the signals that were left out."""
    year.share("shadow")
    year._second -= 1
    year.share("shadow")
    year.share("shadow", "ok")
    year.share("open", "warning")
    assert year.rang() == Counter()
    report = year.relayctl("shadow", "report", year.channel.name)
    assert (report["shares"], report["by_transition"]) == (4, {"opened": 2, "resolved": 1}), report


def _goes_live(year: Year) -> None:
    """End shadow mode. The open incident is signalled at its next share, and so is its resolve."""
    year.relayctl("channel", "set", year.channel.name, "--set", "policy.mode=live")
    time.sleep(IN_FORCE_SECONDS)
    assert year.share("open", "critical")["transition"] == "opened"
    assert year.share("open", "ok")["transition"] == "resolved"


def _pauses(year: Year) -> None:
    """Pause the channel for maintenance.

    An incident that ends during the pause is never signalled. An incident that is still open is signalled after it.
    """
    name = year.channel.name
    year.relayctl("channel", "pause", name, "--until", "1h", "--keep")
    time.sleep(IN_FORCE_SECONDS)
    assert year.share("maintenance")["reason"] == "paused"
    assert year.share("brief")["reason"] == "paused"
    year.share("brief", "ok")
    [mine] = [each for each in year.relayctl("channel", "list")["channels"] if each["channel"] == name]
    assert mine["pauses"], mine
    year.relayctl("channel", "resume", name)

    def rings() -> bool:
        year.sweep()
        return year.rang()["maintenance"] == 1

    until(rings)
    time.sleep(IN_FORCE_SECONDS)


def _survives_an_outage(year: Year) -> None:
    """Let xMatters fail, and later refuse a signal.

    The failed signal is retried. The refused signal is dead-lettered, shown by `relayctl incident show`, and replayed.
    """
    year.operator.script({"kind": "status", "status": 503, "times": 3})
    assert year.share("outage")["queue"] == "retry"
    year.operator.script({"kind": "status", "status": 400})
    assert year.share("refused")["queue"] == "dead_letter"
    year.operator.script()
    story = year.operator.run("incident", "show", f"{year.tag}-refused").stdout
    assert "dead" in story, story
    assert year.relayctl("dlq", "replay", "--channel", year.channel.name, "--yes")["delivered"] == 1
