"""`relayctl channel test --ring` through the deployed relay: a page is made, and its end is reported."""

import json

from sandbox import local, team
from sandbox.server.client import StandIn
from tests.e2e import channels
from tests.e2e.relayctl_operator import Operator


def test_channel_test_ring_reaches_the_recipients_and_its_page_ends(
    cloud: local.Local, xmatters: StandIn, operator: Operator
) -> None:
    channel = channels.made(cloud, xmatters)
    rest = json.dumps({"base_url": xmatters.xmatters_url, "auth": team.REST_AUTH})
    operator.run("channel", "set", channel.name, "--set", f"xmatters.rest={rest}", "--recipient", "jdoe")
    document = operator.run_json("channel", "test", channel.name, "--ring", "--yes")
    states = {each["check"]: each["state"] for each in document["checks"]}
    assert (states["xMatters REST API"], states["recipient jdoe"], states["its end"]) == ("ok", "ok", "ok")
    opened, ended = (signal["body"]["incident"] for signal in channel.signals())
    assert (opened["status"], ended["status"]) == ("warning", "ok")
    assert states[f"test incident {opened['id']}"] == "ok"
