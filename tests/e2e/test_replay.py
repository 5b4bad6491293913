"""Replay of dead-lettered shares through the deployed stack, with relayctl as a process."""

import base64
import json
from collections import Counter

from tests.e2e.relayctl_operator import Operator


def share(incident_id: str, indent: int = 0) -> bytes:
    """Return a share with unusual white space, which a re-encoding would lose."""
    incident = {"id": incident_id, "status": "critical", "note": "ü", "changedOn": 1_700_000_000}
    return json.dumps({"incident": incident}, indent=indent).encode()


def test_refused_shares_are_dead_lettered_until_a_replay_rings_each_once(operator: Operator) -> None:
    ids = [f"{operator.tag}-first", f"{operator.tag}-second"]
    bodies = {incident_id: share(incident_id, indent=n) for n, incident_id in enumerate(ids)}
    operator.script({"kind": "status", "status": 404, "times": None})
    delivery_ids = {}
    for incident_id, body in bodies.items():
        answer = operator.channel.post(body)
        assert (answer.status_code, answer.json()["outcome"], answer.json()["queue"]) == (202, "queued", "dead_letter")
        assert answer.json()["reason"] == "refused"
        delivery_ids[incident_id] = answer.json()["delivery_id"]
        assert operator.channel.post(body).json()["outcome"] == "duplicate", "it is on a queue"

    first, second = operator.run_json("dlq", "list")["messages"]
    assert {first["delivery_id"], second["delivery_id"]} == set(delivery_ids.values())
    assert (first["incident_id"], first["reason"], first["http_status"], first["replays"]) == (
        ids[0],
        "refused",
        404,
        0,
    )
    assert first["attempts"] == 1, "to try again what is refused is no use"

    still_refused = operator.run_json("dlq", "replay", "--yes", code=1)
    assert (still_refused["delivered"], still_refused["dead_lettered"]) == (0, 2)
    assert [(each["became"], each["reason"]) for each in still_refused["results"]] == [("dead_lettered", "refused")] * 2

    operator.script()
    last = operator.run("dlq", "replay", "--reason", "refused", "--yes")
    assert last.stdout.splitlines()[-1] == "2 delivered, 0 left"
    assert operator.visible() == []
    assert operator.rang() == Counter(list(bodies))
    for each in operator.signals():
        incident_id = each["body"]["incident"]["id"]
        assert base64.b64decode(each["body_base64"]) == bodies[incident_id]
        assert each["headers"]["x-relay-delivery-id"] == delivery_ids[incident_id]
