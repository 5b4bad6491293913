import socket

import pytest
import requests

from relay.deadline import time_limit
from relay.http.session import AllowList, ForbiddenUrl, Session, _TimedReads

HOSTS = AllowList("XMattersHosts", ("*.xmatters.com", "api.bigpanda.io"))
LOCAL = AllowList("XMattersHosts", ("*.xmatters.com",), loopback=True)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        (HOSTS, "https://acme.xmatters.com/api?apiKey=k"),
        (HOSTS, "https://ACME.XMatters.COM/"),
        (HOSTS, "https://acme.xmatters.com:443/"),
        (HOSTS, "https://api.bigpanda.io"),
        # The local profile allows plain http to loopback.
        (LOCAL, "http://127.0.0.1:9/"),
        (LOCAL, "http://[::1]:8080/"),
        (LOCAL, "https://127.9.9.9:1/"),
    ],
)
def test_hosts_of_the_allow_list_may_be_called(allowed: AllowList, url: str) -> None:
    allowed.check(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://xmatters.com/", "host"),
        ("https://evilxmatters.com/", "host"),
        ("https://acme.xmatters.com./", "host"),
        ("https://evil.com/.xmatters.com", "host"),
        ("https://evil.com#.xmatters.com", "fragment"),
        ("https://evil.com\\.xmatters.com/", "host"),
        ("https://acme.xmatters.com%00.evil.com/", "host"),
        ("https://sub.api.bigpanda.io/", "host"),
        ("https://\u0430cme.xmatters.com/", "host"),  # a Cyrillic letter
        ("https://acme.xmatters。com/", "host"),  # an ideographic full stop, which IDNA takes for a dot
        ("https:///path", "host"),
        ("https://user:password@acme.xmatters.com/", "user name"),
        ("https://evil.com\\@acme.xmatters.com/", "user name"),
        ("https://acme.xmatters.com:8443/", "port"),
        ("https://acme.xmatters.com:99999/", "not a URL"),
        ("http://acme.xmatters.com/", "https"),
        ("acme.xmatters.com", "https"),
        ("http://localhost:8080/", "https"),
        ("", "https"),
    ],
)
def test_look_alike_hosts_and_other_forbidden_urls_are_refused(url: str, why: str) -> None:
    with pytest.raises(ForbiddenUrl, match=why) as caught:
        HOSTS.check(url)
    assert not url or url not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://acme.xmatters.com/",
        "http://localhost.evil.com/",
        "http://127.0.0.1.evil.com/",
        "http://10.0.0.1/",
        "http://me@127.0.0.1/",
        "file://localhost/etc/passwd",
    ],
)
def test_local_profile_allows_no_other_plain_http(url: str) -> None:
    with pytest.raises(ForbiddenUrl):
        LOCAL.check(url)


def test_address_that_does_not_answer_leaves_time_for_the_next_one_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    def hang(connecting: socket.socket, _: object) -> None:
        limits.append(connecting.gettimeout())
        raise TimeoutError

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"192.0.2.{number}", 443)) for number in (1, 2)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket.socket, "connect", hang)
    with pytest.raises(requests.ConnectTimeout):
        Session(HOSTS).call("GET", "https://acme.xmatters.com/", body=None, headers={}, seconds=8)
    assert limits == [3, 3]


def test_each_read_of_an_answer_has_no_more_than_the_time_that_is_left() -> None:
    here, there = socket.socketpair()
    with here, there, time_limit(5):
        there.send(b"x")
        assert _TimedReads(here).readinto(bytearray(1)) == 1
        assert 0 < (here.gettimeout() or 0) <= 5
