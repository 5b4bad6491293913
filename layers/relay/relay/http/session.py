"""The way out: which hosts may be called, and one session that keeps connections alive."""

import contextlib
import contextvars
import ipaddress
import logging
import math
import re
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from relay.version import VERSION

# It warns of odd answers with the whole URL, and the URL may be a credential.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

USER_AGENT = f"bigpanda-xmatters-relay/{VERSION}"
CONNECT_SECONDS = 3.0
MAX_ANSWER_BYTES = 64 * 1024
# Until when a request of this thread may be sent, in epoch seconds: a clock that never goes back may stop when frozen.
_latest = contextvars.ContextVar("latest", default=math.inf)
# Lambda freezes a function between two calls, and balancers close idle connections without a word
# (docs/decisions.md, D-idle-connections).
MAX_IDLE_SECONDS = 30.0


class ForbiddenUrl(ValueError):
    """A URL that the relay must not call. The message says why, without the URL."""


class AllowList(NamedTuple):
    """The hosts of one vendor that may be called.

    Attributes:
        parameter: The stack's parameter that names the hosts; a refusal names it.
        patterns: Host names, or `*.` and a name for anything below it.
        loopback: True if plain http to this very machine is allowed too, for the embedded cloud.
    """

    parameter: str
    patterns: tuple[str, ...]
    loopback: bool = False

    def check(self, url: str) -> None:
        """Raise ForbiddenUrl unless the URL is https, on the usual port, without user-info, on an allowed host."""
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise ForbiddenUrl("it is not a URL") from None
        if parts.username is not None or parts.password is not None:
            raise ForbiddenUrl("it has a user name or password in front of the host")
        if "#" in url:
            raise ForbiddenUrl("it has a fragment, which would never be sent")
        if self.loopback and parts.scheme in {"http", "https"} and _is_loopback(host):
            return
        if parts.scheme != "https":
            raise ForbiddenUrl("it is not https")
        if port not in {None, 443}:
            raise ForbiddenUrl("it has a port other than 443")
        if not any(_matches(host, pattern) for pattern in self.patterns):
            raise ForbiddenUrl(f"its host is not among the stack's {self.parameter}")


class VendorHosts(NamedTuple):
    """The allow-lists of both vendors. A vendor's credential never goes to a host that only the other's list has."""

    xmatters: AllowList
    bigpanda: AllowList

    @classmethod
    def of(cls, xmatters: Iterable[str], bigpanda: Iterable[str], *, loopback: bool = False) -> "VendorHosts":
        """Return both lists, named as the stack's parameters are."""
        return cls(
            AllowList("XMattersHosts", tuple(xmatters), loopback), AllowList("BigPandaHosts", tuple(bigpanda), loopback)
        )


def _matches(host: str, pattern: str) -> bool:
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", host):
        return False
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and host != pattern[2:]
    return host == pattern


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


class Answer(NamedTuple):
    """An answer: status, headers with names in lower case, and as much of the body as could be read, up to a bound."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Session:
    """One keep-alive session. No redirect is followed, no proxy, netrc or retry of a library comes in between.

    Of an answer's body no more than `most` bytes are read.
    """

    def __init__(
        self, hosts: AllowList, *, clock: Callable[[], float] = time.time, most: int = MAX_ANSWER_BYTES
    ) -> None:
        self._hosts = hosts
        self._most = most
        self._clock = clock
        self._last_used = clock()
        self._session = _Requests()
        self._session.trust_env = False
        self._session.headers.clear()
        # A cookie given to one channel's user must not speak for another's.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _Adapter(ssl.create_default_context(cafile=certifi.where()))
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)

    def call(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
        heard: Callable[[Answer], object] = lambda _: None,
    ) -> Answer:
        """Ask, and return the answer, whatever its status.

        `seconds` bounds the connection (3 at most) and each read; when they are over, nothing is sent any more. `heard`
        is called with the answer before its body is read, which may never end. Raises ForbiddenUrl, or what requests
        raises when no answer came: see `never_sent`.
        """
        self._hosts.check(url)
        self._drop_idle_connections()
        _latest.set(time.time() + seconds)
        with self._session.request(
            method,
            url,
            data=body,
            headers={"User-Agent": USER_AGENT, "Accept": "application/json", **headers},
            timeout=(min(CONNECT_SECONDS, seconds), seconds),
            stream=True,
        ) as response:
            names = {name.lower(): value for name, value in response.headers.items()}
            heard(Answer(response.status_code, names, b""))
            return Answer(response.status_code, names, _read(response, self._most))

    def _drop_idle_connections(self) -> None:
        now = self._clock()
        if now - self._last_used > MAX_IDLE_SECONDS:
            self._session.close()
        self._last_used = now


def _read(response: requests.Response, most: int) -> bytes:
    content = bytearray()
    # The status has been read, and it is what counts: an answer that breaks off after it is still that answer.
    with contextlib.suppress(requests.RequestException):
        for chunk in response.iter_content(8192):
            content += chunk
            if len(content) >= most:
                break
    return bytes(content[:most])


class _Requests(requests.Session):
    """Follows no redirect, nor looks at one: requests takes `Location` apart even where it must not be followed."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - requests' signature
        return None


class _Timely(HTTPConnection):
    """Sends nothing once its time is up.

    A call that takes too long is left behind in its thread, and Lambda freezes threads between two requests: what was
    looking a name up, or connecting, might otherwise be sent when the function wakes again, hours later.
    """

    def connect(self) -> None:
        """As urllib3 does, or NewConnectionError."""
        super().connect()
        self._refuse_late()

    def request(self, *args: Any, **kwargs: Any) -> None:
        """As urllib3 does, or NewConnectionError: nothing was sent."""
        self._refuse_late()
        super().request(*args, **kwargs)

    def _refuse_late(self) -> None:
        if time.time() > _latest.get():
            raise NewConnectionError(self, "its time is up")


class _TimelyTls(_Timely, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Timely


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimelyTls


class _Adapter(HTTPAdapter):
    """Uses one TLS context for all connections; requests itself would read the certificates again for each."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:  # noqa: ARG002 - requests' signature
        conn.cert_reqs = "CERT_REQUIRED"


def cause(error: requests.RequestException) -> str:
    """The name of what went wrong below requests; its words are left out, for the URL is in them."""
    return type(_inner(error) or error).__name__


def never_sent(error: requests.RequestException) -> bool:
    """Return True if the request surely did not reach the host: no name, no connection, no valid certificate."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.InvalidURL):
        return True
    inner = _inner(error)
    if isinstance(inner, urllib3.exceptions.SSLError):
        return bool(inner.args) and isinstance(inner.args[0], ssl.SSLCertVerificationError)
    return isinstance(inner, urllib3.exceptions.NewConnectionError)


def _inner(error: requests.RequestException) -> object:
    wrapped = error.args[0] if error.args else None
    inner = getattr(wrapped, "reason", wrapped)
    return inner if isinstance(inner, Exception) else None
