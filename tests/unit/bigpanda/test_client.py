"""Client of BigPanda's API: what it does with pages that are cut, full or late, and which user it takes."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from relay.bigpanda.client import BigPanda, Incident
from relay.channels.channel import BigPandaAccess
from relay.deadline import Deadline
from relay.http.client import HttpClient
from relay.http.session import HttpAnswer
from tests import samples
from tests.fakes import Clock, FakeSession, Step

INCIDENT = Incident("63bd", "i/1")
DONE = HttpAnswer(204, {}, b"")
OURS = 'Jane said "ü" [relay 1a2b3c4d]'
IS_OURS = OURS.__eq__


def access(**members: Any) -> BigPandaAccess:
    found = samples.parsed(samples.secret(bigpanda={"api_key": "BPU-1"} | members)).bigpanda
    assert found
    return found


class Api:
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


def test_comment_is_found_in_any_text_of_an_activity() -> None:
    api = Api(page({"type": "incident_commented", "params": [{"text": OURS}]}))
    assert api.client.has_comment(access(), INCIDENT, IS_OURS, api.deadline)


USER = {"id": "u1", "userName": "Jane@Acme.example", "emails": [{"value": "jd@acme.example"}, "odd"]}


class TestUserId:
    def test_user_id_asks_for_all_names_at_once_and_the_first_one_wins(self) -> None:
        api = Api(page(USER, {"id": "u2", "userName": "jdoe"}, member="Resources"))
        assert api.client.user_id(access(), ["nobody", "jdoe", "jd@acme.example"], api.deadline) == "u2"
        [query] = [parse_qs(urlsplit(url).query)["filter"][0] for _, url, _ in api.asked()]
        assert query.split(" or ")[::2] == [
            'userName eq "nobody"',
            'userName eq "jdoe"',
            'userName eq "jd@acme.example"',
        ]

    def test_user_id_without_names_makes_no_call(self) -> None:
        api = Api(DONE)
        assert api.client.user_id(access(), [], api.deadline) is None
        assert api.session.calls == []
