"""Task of a share: its job, its recipients by the channel's routes, and the id of its delivery."""

from copy import replace
from typing import Any

import pytest

from relay.deadline import Deadline
from relay.delivery.task import Task, decision_of
from relay.incidents.share import Share
from relay.jobs.job import new_job
from relay.jobs.queue import envelope_of, read_envelope
from tests import samples
from tests.fakes import Clock

CAME = 1_800_000_000.0


def test_new_job_has_its_share_and_no_failure_and_is_read_back_from_its_envelope() -> None:
    share = samples.share(status="warning", id="\ud800\x00")
    job = new_job(samples.parsed(), share, b"\x00\xff", ("ü", "a"), "c1", CAME + 0.25)
    came: dict[str, Any] = {
        "received_at": "2027-01-15T08:00:00.250Z",
        "incident_id": "\ud800\x00",
        "digest": share.digest,
    }
    came |= {"url_recipients": ("ü", "a"), "recipients": (), "status": "warning"}
    came |= {"digest": share.digest, "body": b"\x00\xff"}
    assert job == samples.unfailed_job(**came)
    assert read_envelope(envelope_of(job)) == job


def test_share_beyond_the_work_for_routes_goes_to_the_channel_and_every_possible_route() -> None:
    values = [f"{n:02000}" for n in range(100)]
    share = samples.share(alerts=[{"id": n, "tags": {"team": values}} for n in range(20)])
    routes = [{"when": {"tag.team": ["*x" + "y" * 190] * 40}, "recipients": [f"r{n}"]} for n in range(30)]
    channel = replace(samples.parsed(samples.secret(policy={"routes": routes})), recipients=("own",))
    job = new_job(channel, share, b"{}", ("url",), "c1", CAME)
    task = Task.of(channel, share, job, "owner", Deadline(8, Clock()))
    assert (task.routes_undecided, task.recipients[0], task.recipients[-2:]) == (True, "own", ("r29", "url"))
    assert task.job.stamps.recipients == task.recipients


def delivery_id(share: Share, channel: str = "noc", recipients: tuple[str, ...] = ("a",)) -> str:
    return new_job(replace(samples.parsed(), name=channel), share, b"{}", recipients, "c1", CAME).delivery_id


def test_delivery_id_differs_by_channel_recipients_incident_version_and_state() -> None:
    others: list[dict[str, Any]] = [{"id": "i2"}, {"changedOn": 5}, {"changedOn": None}, {"flapping": True}]
    ids = [
        *(delivery_id(samples.share(**members)) for members in [{}, *others]),
        delivery_id(samples.share(), channel="ops"),
        *(delivery_id(samples.share(), recipients=each) for each in [("b",), ("a", "b")]),
    ]
    assert len(set(ids)) == 8
    assert all(len(each) == 32 and set(each) <= set("0123456789abcdef") for each in ids)


@pytest.mark.parametrize(("is_found", "alerts"), [(True, 0), (False, 1)])
def test_state_that_bigpandas_api_showed_has_no_alerts_since_their_ids_may_differ(is_found: bool, alerts: int) -> None:
    share, job = samples.share(alerts=[{"id": "a1"}]), samples.job(found=is_found)
    assert len(Task.of(samples.parsed(), share, job, "owner", Deadline(8, Clock())).state.alerts) == alerts


@pytest.mark.parametrize(
    ("members", "priority"),
    [
        ({"status": "critical"}, "HIGH"),
        ({"status": "warning"}, "LOW"),
        ({"status": None}, "MEDIUM"),
        ({"status": "strange"}, "MEDIUM"),
        ({"status": "critical", "active": False}, "LOW"),
    ],
)
def test_priority_follows_the_status_as_the_policy_says(members: dict[str, Any], priority: str) -> None:
    channel, share = samples.parsed(samples.secret(policy={"priorities": {"warning": "LOW"}})), samples.share(**members)
    task = Task.of(channel, share, new_job(channel, share, b"{}", (), "c1", CAME), "owner", Deadline(8, Clock()))
    assert decision_of(task).priority == priority
