"""Client of xMatters' pages over real sockets: search, proofs and termination, with each kind of credentials."""

import json

import pytest

from relay.channels.channel import Rest
from relay.channels.parsing import parse_channel
from relay.entrypoints.bootstrap import MOST_XMATTERS_BYTES
from relay.failures import BadAnswer, Reason
from relay.http.client import HttpClient
from relay.http.session import Session
from relay.xmatters.directory import MAX_PAGES, Page, Pages
from sandbox.server.in_process import Box
from tests import samples
from tests.integration.live import HOSTS, LOOPBACK, deadline, site
from tests.stand_in import API_KEY, BASIC, OAUTH, signal

KINDS = {"basic": BASIC, "api_key": API_KEY, "oauth": OAUTH}
PAGE_ID = "5c1f2a30-9d0e-4d53-8b0e-0c6b5d7c9e11"


def new_pages() -> Pages:
    return Pages(HttpClient(Session(LOOPBACK, most=MOST_XMATTERS_BYTES)))


def test_hundred_long_audits_are_read_whole() -> None:
    """A list that is cut off is no answer, and the fallback topic would be told of a critical that people heard."""
    audit = {"type": "NOTIFICATION_DELIVERED", "notification": {"deliveryStatus": "DELIVERED"}, "note": "x" * 2000}
    body = json.dumps({"count": 100, "total": 100, "data": [audit] * 100}).encode()
    with site(lambda _: (200, {}, body)) as server:
        heard = new_pages().heard_of(rest_at(server.url, BASIC), [PAGE_ID], deadline(20))
    assert heard.is_notified


def rest_at(url: str, auth: dict[str, str]) -> Rest:
    document = samples.secret()
    document["xmatters"]["rest"] = {"base_url": url, "auth": auth}
    found = parse_channel("noc", json.dumps(document), HOSTS).rest
    assert found
    return found


def rest_in(box: Box, auth: dict[str, str]) -> Rest:
    """Return the stand-in's REST API, which accepts these credentials."""
    box.events.declare(auth)
    return rest_at(box.xmatters_url, auth)


@pytest.fixture
def rest(box: Box) -> Rest:
    return rest_in(box, BASIC)


@pytest.mark.parametrize("auth", KINDS.values(), ids=KINDS)
def test_page_is_found_by_its_signals_request_id_only(box: Box, auth: dict[str, str]) -> None:
    rest = rest_in(box, auth)
    signal(box, recipients="")
    request_id = signal(box, recipients="")
    made = box.events.all()[-1]
    assert new_pages().of_request(rest, request_id, deadline(20)) == [Page(made.id, made.number, is_active=True)]
    [asked] = box.events.calls.all()
    assert (asked.route, asked.query) == ("events", {"requestId": request_id, "limit": str(MAX_PAGES)})


@pytest.mark.parametrize(
    ("mode", "away", "is_suppressed"), [("suppressed", 0, True), ("suppressed", 3600, False), ("no_page", 0, False)]
)
def test_suppression_is_found_by_its_time(box: Box, rest: Rest, mode: str, away: float, is_suppressed: bool) -> None:
    box.xmatters.workflow.set({"mode": mode})
    request_id = signal(box, recipients="")
    assert new_pages().of_request(rest, request_id, deadline(20)) == []
    now = box.xmatters.clock.now().timestamp()
    assert new_pages().were_suppressed(rest, now - away, deadline(20)) == is_suppressed


class TestEnd:
    def test_termination_of_a_missing_or_terminated_page_counts_as_done(self, box: Box, rest: Rest) -> None:
        signal(box, recipients="")
        for name in (PAGE_ID, box.events.all()[0].id, box.events.all()[0].id):
            new_pages().terminate(rest, name, deadline(20))
        assert [call.status for call in box.events.calls.all()] == [404, 200, 409]

    def test_refused_oauth_token_is_renewed_once_for_each_request(self, box: Box) -> None:
        rest, pages = rest_in(box, OAUTH), new_pages()
        before = len(box.token_requests())
        pages.of_request(rest, "r1", deadline(20))
        box.xmatters.tokens.revoke()
        pages.of_request(rest, "r1", deadline(20))
        assert [call.status for call in box.events.calls.all()] == [200, 401, 200]
        box.script([{"kind": "status", "status": 401, "on": "events", "times": None}])
        for _ in range(2):
            with pytest.raises(BadAnswer) as caught:
                pages.of_request(rest, "r1", deadline(20))
            assert caught.value.reason == Reason.CREDENTIALS
        assert (len(box.events.calls.all()) - 3, len(box.token_requests()) - before) == (4, 4)
