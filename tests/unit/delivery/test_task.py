"""Task of a share: its job, its recipients by the channel's routes, and the id of its delivery."""

from copy import replace
from typing import Any

from relay.incidents.share import Share
from relay.jobs.job import new_job
from tests import samples

CAME = 1_800_000_000.0


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
