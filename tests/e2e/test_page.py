"""The relay's part of the sandbox's web page, with data from the local cloud."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import local
from sandbox.cloud import queues
from sandbox.server.client import StandIn
from tests.e2e.samples import Sample, read_samples

ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 30.0


class Page:
    """HTTP client of the routes that the sandbox's web page calls."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def relay(self) -> dict[str, Any]:
        """Return the relay's view."""
        found: dict[str, Any] = self._session.get(f"{self._url}/page/state", timeout=60).json()["relay"]
        return found

    def until(self, condition: Callable[[dict[str, Any]], Any]) -> Any:
        """Poll the relay's view until `condition` returns a true value for the view; return that value."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            if found := condition(self.relay()):
                return found
            time.sleep(0.1)
        raise AssertionError(f"the page never showed it: {self.relay()}")

    def share(self, incident_id: str) -> dict[str, Any]:
        """Return the newest share of an incident."""
        found: dict[str, Any] = self.until(
            lambda relay: next((each for each in relay["shares"] if each["incident_id"] == incident_id), None)
        )
        return found

    def switch(self, **wanted: Any) -> None:
        """Set the fault switches of the sandbox's web page."""
        self._session.put(f"{self._url}/page/faults", json=wanted, timeout=60).raise_for_status()

    def replay(self, incident_id: str) -> str:
        """Replay an incident's dead letters, and return what relayctl said."""
        answer = self._session.post(f"{self._url}/page/replay", json={"incident_id": incident_id}, timeout=120)
        answer.raise_for_status()
        said: str = answer.json()["output"]
        return said


@pytest.fixture
def page(cloud: local.Local, xmatters: StandIn) -> Iterator[Page]:
    """The sandbox's web page without a fault: xMatters answers, no AWS service is denied, and the queues are empty."""
    queues.purge(cloud)
    page = Page(xmatters.control_url)
    yield page
    page.switch(xmatters="normal", denied=[])
    queues.purge(cloud)


@pytest.fixture
def sample() -> Sample:
    """Sample share that opens a critical incident; each test gets a new incident id."""
    found = next(each for each in read_samples(ROOT / "events") if each.name == "bigpanda_1_critical")
    return found.of_another_incident(uuid.uuid4().hex[:24])


def test_share_is_shown_with_outcome_and_reason(cloud: local.Local, page: Page, sample: Sample) -> None:
    sample.post(cloud.api_url)
    share = page.share(sample.incident_id)
    assert page.relay()["is_there"]
    assert (share["kind"], share["outcome"], share["transition"]) == ("share", "delivered", "opened")
    assert share["why"] == "Sent to xMatters: nothing of this open incident was announced."


def test_owed_state_is_shown_with_its_next_attempt(cloud: local.Local, page: Page, sample: Sample) -> None:
    page.switch(xmatters="down")
    sample.post(cloud.api_url)
    owed = page.until(lambda relay: [each for each in relay["owed"] if each["incident_id"] == sample.incident_id])
    assert [(each["transition"], each["is_critical"], each["reason"]) for each in owed] == [
        ("opened", True, "xMatters could not be reached")
    ]
    assert owed[0]["next_attempt"] > owed[0]["since"]


def test_dead_letter_is_shown_without_a_receive_and_is_replayed(cloud: local.Local, page: Page, sample: Sample) -> None:
    page.switch(xmatters="refuses")
    sample.post(cloud.api_url)
    letters = page.until(lambda relay: relay["dead_letters"])
    assert [(each["channel"], each["status"], each["incident_id"], each["reason"]) for each in letters] == [
        ("demo", "critical", sample.incident_id, "xMatters refused the signal (HTTP 404)")
    ]
    assert page.share(sample.incident_id)["outcome"] == "dead_lettered"
    counts = queues.client(cloud).get_queue_attributes(
        QueueUrl=cloud.outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessagesNotVisible"]
    )
    assert counts["Attributes"]["ApproximateNumberOfMessagesNotVisible"] == "0"
    page.switch(xmatters="normal")
    page.replay(sample.incident_id)
    page.until(lambda relay: not relay["dead_letters"])
    page.until(
        lambda relay: any(
            (each["incident_id"], each["kind"], each["outcome"]) == (sample.incident_id, "retry", "delivered")
            for each in relay["shares"]
        )
    )


def test_denied_ledger_makes_an_unguarded_signal(cloud: local.Local, page: Page, sample: Sample) -> None:
    page.switch(denied=["dynamodb"])
    sample.post(cloud.api_url)
    share = page.share(sample.incident_id)
    assert (share["outcome"], share["transition"]) == ("delivered", None)
    assert "the ledger did not answer" in share["why"]
