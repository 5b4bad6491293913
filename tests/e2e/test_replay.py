"""xMatters fails, shares are kept, an operator replays them: through the deployed stack, with relayctl as a process."""

import base64
import json
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
import requests

from sandbox import local
from sandbox.standin import StandIn
from tests.e2e.relayctl_operator import Operator, finished, until


@pytest.fixture
def operator(cloud: local.Local, xmatters: StandIn) -> Iterator[Operator]:
    its_operator = Operator(cloud, xmatters)
    yield its_operator
    its_operator.close()


def share(operator: Operator, incident_id: str, body: bytes) -> requests.Response:
    """Post a share as BigPanda does."""
    return requests.post(
        f"{operator.cloud.api_url}/bigpanda/{local.CHANNEL}",
        data=body,
        headers={"x-api-key": local.INBOUND_TOKEN, "content-type": "application/json"},
        timeout=30,
    )


def test_an_outage_ends_with_every_share_delivered_once(operator: Operator) -> None:
    bodies = {
        incident_id: json.dumps({"incident": {"id": incident_id, "status": "critical", "note": "ü"}}, indent=n).encode()
        for n, incident_id in enumerate((f"{operator.tag}-first", f"{operator.tag}-second"))
    }
    operator.listen(is_open=False)
    delivery_ids = {}
    for incident_id, body in bodies.items():
        answer = share(operator, incident_id, body)
        assert (answer.status_code, answer.json()["outcome"], answer.json()["queue"]) == (202, "queued", "dead_letter")
        delivery_ids[incident_id] = answer.json()["delivery_id"]

    first, second = operator.run_json("dlq", "list")["messages"]
    assert {first["delivery_id"], second["delivery_id"]} == set(delivery_ids.values())
    assert (first["incident_id"], first["reason"], first["replays"]) == (f"{operator.tag}-first", "unreachable", 0)

    dry = operator.run_json("dlq", "replay")
    assert (dry["dry_run"], dry["matched"], dry["by_reason"]) == (True, 2, {"unreachable": 2})
    assert [job.replays for job in operator.visible()] == [0, 0]

    still_down = operator.run_json("dlq", "replay", "--yes", "--rate", "50", code=1)
    assert (still_down["delivered"], still_down["failed"]) == (0, 2)

    operator.listen(is_open=True)
    operator.script({"kind": "status", "status": 400})
    partly = operator.run_json("dlq", "replay", "--yes", "--rate", "50", code=1)
    assert [(each["outcome"], each["reason"]) for each in partly["results"]] == [
        ("queued", "refused"),
        ("delivered", None),
    ]
    (left,) = operator.visible()
    assert (left.incident_id, left.reason, left.http_status, left.replays) == (first["incident_id"], "refused", 400, 2)
    assert left.attempts > first["attempts"]
    assert left.received_at == first["received_at"]

    last = operator.run("dlq", "replay", "--reason", "refused", "--yes")
    assert last.stdout.splitlines()[-1] == "1 delivered, 0 failed, 0 left"
    assert last.stderr == ""
    assert operator.visible() == []
    assert operator.rang() == Counter(list(bodies))
    for each in operator.signals():
        incident_id = each["body"]["incident"]["id"]
        assert base64.b64decode(each["body_base64"]) == bodies[incident_id]
        assert each["headers"]["x-relay-delivery-id"] == delivery_ids[incident_id]


def test_ctrl_c_stops_after_the_job_under_way_and_the_rest_is_there_at_once(operator: Operator) -> None:
    incidents = operator.jobs(12)
    operator.script({"kind": "slow", "seconds": 0.4, "times": None})
    running = operator.start("dlq", "replay", "--yes", "--rate", "50", "--json")
    until(lambda: len(operator.rang()) >= 2)
    running.send_signal(signal.SIGINT)
    done = finished(running, 1)
    visible = [job.incident_id for job in operator.visible()]

    document = json.loads(done.stdout)
    delivered = [each["incident_id"] for each in document["results"]]
    assert done.stderr == "stopping after what is under way; Ctrl-C again stops at once\n"
    assert 2 <= len(delivered) == document["delivered"] < 12
    assert document["left"] == 12 - len(delivered)
    assert sorted(delivered + visible) == sorted(incidents), "lost, or twice"
    assert operator.rang() == Counter(delivered)

    operator.script()
    operator.run("dlq", "replay", "--yes", "--rate", "50")
    assert operator.rang() == Counter(incidents)
    assert operator.visible() == []


def test_two_operators_at_once_share_the_work(operator: Operator) -> None:
    incidents = operator.jobs(20)
    one = operator.start("dlq", "replay", "--limit", "8", "--yes", "--rate", "8", "--json")
    until(lambda: len(operator.rang()) >= 1)
    two = operator.run_json("dlq", "replay", "--yes", "--rate", "50")
    sums = json.loads(finished(one, 0).stdout)
    assert (sums["delivered"], two["delivered"]) == (8, 12)
    assert operator.rang() == Counter(incidents)
    assert operator.visible() == []


def test_two_operators_who_start_together_send_nothing_twice(operator: Operator) -> None:
    incidents = operator.jobs(30)
    both = [operator.start("dlq", "replay", "--yes", "--rate", "50", "--json") for _ in range(2)]
    outs = []
    for child in both:
        with child:
            outs.append(json.loads(child.communicate(timeout=60)[0]))
        # Whoever came too late saw nothing that was free.
        assert child.returncode == (0 if outs[-1]["matched"] else 3)
    assert sum(each["delivered"] for each in outs) == 30
    assert operator.rang() == Counter(incidents)
    assert operator.visible() == []
