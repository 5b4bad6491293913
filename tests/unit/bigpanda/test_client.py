"""Client of BigPanda's API: its requests, and the meaning of the answers."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from relay.bigpanda.client import BigPanda, Incident
from relay.channels.channel import BigPandaAccess
from relay.deadline import Deadline
from relay.failures import NoAnswer, Reason, SendError
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Clock, FakeSession, Step

INCIDENT = Incident("63bd", "i/1")
PATH = "https://api.bigpanda.io/resources/v2.0/environments/63bd/incidents/i%2F1"
KEY = "BPU-canary-key"
DONE = HttpAnswer(204, {}, b"")
OURS = 'Jane said "ü" [relay 1a2b3c4d]'
IS_OURS = OURS.__eq__


def access(**members: Any) -> BigPandaAccess:
    found = samples.parsed(samples.secret(bigpanda={"api_key": KEY} | members)).bigpanda
    assert found
    return found


class Api:
    """A client over scripted answers."""

    def __init__(self, *steps: Step) -> None:
        self.session = FakeSession(*steps)
        self.clock = Clock()
        self.client = BigPanda(HttpClient(self.session, clock=self.clock))

    @property
    def deadline(self) -> Deadline:
        return Deadline(8, self.clock)

    def asked(self) -> list[tuple[str, str, Any]]:
        return [(call.method, call.url, json.loads(call.body) if call.body else None) for call in self.session.calls]


def page(*items: Any, member: str | None = None) -> HttpAnswer:
    return HttpAnswer(200, {}, json.dumps({member: items} if member else items).encode())


class TestComment:
    def test_comment_is_posted_to_the_incident_with_the_api_key(self) -> None:
        api = Api(DONE)
        api.client.comment(access(), INCIDENT, "words", api.deadline)
        assert api.asked() == [("POST", f"{PATH}/comments", {"comment": "words"})]
        assert api.session.calls[0].headers["Authorization"] == f"Bearer {KEY}"

    @pytest.mark.parametrize(
        ("step", "reason", "may_be_done"),
        [
            (samples.refused(401), Reason.CREDENTIALS, False),
            (samples.refused(403), Reason.CREDENTIALS, False),
            (samples.refused(404), Reason.REFUSED, False),
            (samples.refused(429), Reason.RATE_LIMITED, False),
            (samples.refused(500), Reason.UPSTREAM, True),
            (samples.refused(302), Reason.REFUSED, False),
            (requests.ReadTimeout(), Reason.TIMEOUT, True),
            (requests.ConnectTimeout(), Reason.UNREACHABLE, False),
            (requests.ConnectionError(), Reason.UNREACHABLE, True),
        ],
    )
    def test_failed_comment_has_its_reason_and_says_if_it_may_be_written(
        self, step: Step, reason: Reason, may_be_done: bool
    ) -> None:
        api = Api(step)
        with pytest.raises(SendError) as caught:
            api.client.comment(access(), INCIDENT, "w", api.deadline)
        assert (caught.value.reason, caught.value.may_have_acted) == (reason, may_be_done)

    def test_api_key_is_not_in_the_error_of_a_failed_comment(self) -> None:
        api = Api(samples.refused(400, f'{{"errors": ["Bearer {KEY} {KEY}"]}}'.encode()))
        with pytest.raises(SendError) as caught:
            api.client.comment(access(), INCIDENT, "w", api.deadline)
        assert "errors" in caught.value.excerpt
        assert KEY not in caught.value.excerpt + str(caught.value)

    def test_comment_is_not_posted_after_the_deadline(self) -> None:
        api = Api(DONE)
        with pytest.raises(NoAnswer) as caught:
            api.client.comment(access(), INCIDENT, "w", Deadline(0, api.clock))
        assert (caught.value.was_sent, api.session.calls) == (False, [])


class TestHasComment:
    @pytest.mark.parametrize("member", [None, "items", "activities"])
    def test_has_comment_reads_the_latest_comments_of_the_incident(self, member: str | None) -> None:
        api = Api(page({"type": "incident_commented", "params": {"comment": OURS}}, member=member))
        assert api.client.has_comment(access(), INCIDENT, IS_OURS, api.deadline)
        [(method, url, _)] = api.asked()
        assert (method, urlsplit(url).path) == ("GET", "/resources/v2.0/incidents/i%2F1/activities")
        assert parse_qs(urlsplit(url).query)["types"] == ["incident_commented"]

    def test_has_comment_reads_on_after_a_truncated_page(self) -> None:
        cut = json.dumps([{"comment": "x" * 4000}] * 20).encode()[:65_536]
        api = Api(HttpAnswer(200, {}, cut), page({"comment": OURS}))
        assert api.client.has_comment(access(), INCIDENT, IS_OURS, api.deadline)

    def test_has_comment_reads_a_limited_number_of_full_pages(self) -> None:
        api = Api(page(*[{"comment": str(number)} for number in range(20)]))
        assert not api.client.has_comment(access(), INCIDENT, IS_OURS, api.deadline)
        pages = [parse_qs(urlsplit(url).query)["page"] for _, url, _ in api.asked()]
        assert pages == [[str(number)] for number in range(1, 3 + 1)]

    def test_has_comment_finds_a_comment_on_a_truncated_page(self) -> None:
        cut = json.dumps([{"comment": OURS}, {"comment": "x" * 65_536}]).encode()[:65_536]
        api = Api(HttpAnswer(200, {}, cut))
        assert api.client.has_comment(access(), INCIDENT, IS_OURS, api.deadline)

    @pytest.mark.parametrize("ending", [b'"', b"\\", b'\\"', b"\\\\"], ids=repr)
    def test_has_comment_reads_an_unterminated_string_in_linear_time(self, ending: bytes) -> None:
        api = Api(HttpAnswer(200, {}, (b'"' + ending * 65_536)[:65_536]))
        assert not api.client.has_comment(access(), INCIDENT, IS_OURS, api.deadline)

    @pytest.mark.parametrize("body", [b"", b"<html>", b"7", b'{"items": 7}'])
    def test_has_comment_is_false_for_an_unreadable_page(self, body: bytes) -> None:
        api = Api(HttpAnswer(200, {}, body))
        assert not api.client.has_comment(access(), INCIDENT, IS_OURS, api.deadline)


USER = {"id": "u1", "userName": "Jane@Acme.example", "emails": [{"value": "jd@acme.example"}, "odd"]}


class TestUserId:
    @pytest.mark.parametrize("name", ["jane@acme.example", "JD@ACME.EXAMPLE"])
    def test_user_id_is_found_by_user_name_and_email(self, name: str) -> None:
        api = Api(page(USER, member="Resources"))
        assert api.client.user_id(access(), [name], api.deadline) == "u1"
        [(method, url, _)] = api.asked()
        assert (method, urlsplit(url).path) == ("GET", "/scim/v2/Users")
        assert parse_qs(urlsplit(url).query)["filter"] == [f'userName eq "{name}" or emails.value eq "{name}"']

    def test_user_id_asks_for_all_names_at_once_and_the_first_one_wins(self) -> None:
        api = Api(page(USER, {"id": "u2", "userName": "jdoe"}, member="Resources"))
        assert api.client.user_id(access(), ["nobody", "jdoe", "jd@acme.example"], api.deadline) == "u2"
        [query] = [parse_qs(urlsplit(url).query)["filter"][0] for _, url, _ in api.asked()]
        assert query.split(" or ")[::2] == [
            'userName eq "nobody"',
            'userName eq "jdoe"',
            'userName eq "jd@acme.example"',
        ]

    def test_user_id_escapes_a_quote_in_a_name(self) -> None:
        api = Api(page(member="Resources"))
        api.client.user_id(access(), ['a" or id pr'], api.deadline)
        [query] = parse_qs(urlsplit(api.asked()[0][1]).query)["filter"]
        assert query.startswith('userName eq "a\\" or id pr" or ')

    def test_user_id_without_names_makes_no_call(self) -> None:
        api = Api(DONE)
        assert api.client.user_id(access(), [], api.deadline) is None
        assert api.session.calls == []
