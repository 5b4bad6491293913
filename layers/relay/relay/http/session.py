"""Allow-list of hosts, and the keep-alive HTTP session that enforces it."""

import contextlib
import http.client
import io
import ipaddress
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import certifi
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from relay.deadline import Clock, seconds_left, time_limit
from relay.version import VERSION

# urllib3's warnings quote the whole URL, and a trigger URL can be a credential.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)

USER_AGENT = f"bigpanda-xmatters-relay/{VERSION}"
CONNECT_SECONDS = 3.0
MAX_ANSWER_BYTES = 64 * 1024
# Connections that were idle for longer are closed first: Lambda freezes a function between two calls, and load
# balancers close idle connections unnoticed.
MAX_IDLE_SECONDS = 30.0


class ForbiddenUrl(ValueError):
    """A URL that the relay must not call. The message gives the reason, without the URL."""


class AllowList(NamedTuple):
    """The hosts of one vendor that may be called.

    Attributes:
        parameter: The stack's parameter that lists the hosts, for error messages.
        patterns: Host names; `*.` before a name stands for any host below it.
        loopback: True to allow also http and https URLs of loopback addresses, on any port.
    """

    parameter: str
    patterns: tuple[str, ...]
    loopback: bool = False

    def check(self, url: str) -> None:
        """Raise ForbiddenUrl for a URL that must not be called.

        A URL may be called if it is https, on port 443 of an allowed host, without user-info and fragment. `loopback`
        allows further ones.
        """
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise ForbiddenUrl("it is not a URL") from None
        if parts.username is not None or parts.password is not None:
            raise ForbiddenUrl("it has a user name or password in front of the host")
        if "#" in url:
            raise ForbiddenUrl("it has a fragment, which would never be sent")
        if self.loopback and parts.scheme in {"http", "https"} and is_loopback(host):
            return
        if parts.scheme != "https":
            raise ForbiddenUrl("it is not https")
        if port not in {None, 443}:
            raise ForbiddenUrl("it has a port other than 443")
        if not any(_matches(host, pattern) for pattern in self.patterns):
            raise ForbiddenUrl(f"its host is not among the stack's {self.parameter}")


class VendorHosts(NamedTuple):
    """The allow-lists of both vendors, kept apart so that a vendor's credentials go to its own hosts only."""

    xmatters: AllowList
    bigpanda: AllowList

    @classmethod
    def of(cls, xmatters: Iterable[str], bigpanda: Iterable[str], *, loopback: bool = False) -> "VendorHosts":
        """Return allow-lists of these host patterns. With `loopback`, both allow loopback addresses, too."""
        return cls(
            AllowList("XMattersHosts", tuple(xmatters), loopback), AllowList("BigPandaHosts", tuple(bigpanda), loopback)
        )


def _matches(host: str, pattern: str) -> bool:
    if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", host):
        return False
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and host != pattern[2:]
    return host == pattern


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


class HttpAnswer(NamedTuple):
    """An HTTP answer. Names of headers are in lower case. The body may be cut off (see `Session.call`)."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_web_page(self) -> bool:
        """True for a web page, such as a proxy's log-in page, in place of an API's answer."""
        return self.body.lstrip()[:1] == b"<"

    @property
    def is_success(self) -> bool:
        """True for a status 2xx, unless the body is a web page."""
        return 200 <= self.status < 300 and not self.is_web_page


class Session:
    """Keep-alive session to allowed hosts, without redirects, proxies, netrc or library retries.

    At most `most` bytes of an answer's body are read. `clock` gives epoch seconds.
    """

    def __init__(self, hosts: AllowList, *, clock: Clock = time.time, most: int = MAX_ANSWER_BYTES) -> None:
        self._hosts = hosts
        self._most = most
        self._clock = clock
        self._last_used = clock()
        self._session = _Requests()
        self._session.trust_env = False
        self._session.headers.clear()
        # No cookies: a cookie from one channel's login must not authenticate another channel.
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
    ) -> HttpAnswer:
        """Send a request, and return the answer with any status.

        `seconds` limits request and answer. The DNS look-up may last longer; then nothing is sent. A body that does not
        end in time is cut off. Raises ForbiddenUrl, and `requests.RequestException` if no answer came: `never_sent`
        tells if the request certainly did not reach the host.
        """
        self._hosts.check(url)
        self._drop_idle_connections()
        with (
            time_limit(seconds),
            self._session.request(
                method,
                url,
                data=body,
                headers={"User-Agent": USER_AGENT, "Accept": "application/json", **headers},
                timeout=(min(CONNECT_SECONDS, seconds), seconds),
                stream=True,
            ) as response,
        ):
            names = {name.lower(): value for name, value in response.headers.items()}
            return HttpAnswer(response.status_code, names, _read(response, self._most))

    def _drop_idle_connections(self) -> None:
        now = self._clock()
        if now - self._last_used > MAX_IDLE_SECONDS:
            self._session.close()
        self._last_used = now


def _read(response: requests.Response, most: int) -> bytes:
    content = bytearray()
    # The status decides the outcome, so a body that breaks off is no error.
    with contextlib.suppress(requests.RequestException):
        for chunk in response.iter_content(8192):
            content += chunk
            if len(content) >= most:
                break
    return bytes(content[:most])


class _Requests(requests.Session):
    """`requests.Session` that ignores redirects. The library parses a `Location` header even with redirects off."""

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002 - requests' signature
        return None


_LATE = "the time limit of the request has passed"


class _TimedReads(io.RawIOBase):
    """Bytes that a socket receives: each read has the time that is left. Raises TimeoutError if none is left."""

    # A socket's own time-out would begin anew with each byte that trickles in.

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._received = connected.makefile("rb", buffering=0)

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - http.client's call of a socket
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds = seconds_left()
        if seconds <= 0:
            raise TimeoutError("the answer did not end in time")
        self._socket.settimeout(seconds)
        return self._received.readinto(buffer)

    def close(self) -> None:
        self._received.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        reads: Any = _TimedReads(sock)
        super().__init__(reads, *args, **kwargs)


class _Connection(HTTPConnection):
    """Connection that keeps to the time limit of `Session.call`, after which it sends nothing."""

    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """Connect to the first of the host's addresses that answers, within the time limit of all together."""
        try:
            found = socket.getaddrinfo(self._dns_host.strip("[]"), self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise NameResolutionError(self.host, self, socket.gaierror(type(error).__name__)) from error
        failure: Exception = NewConnectionError(self, _LATE)
        for family, kind, protocol, _, address in found:
            seconds = min(CONNECT_SECONDS, seconds_left())
            if seconds <= 0:
                break
            try:
                connected = _connected(socket.socket(family, kind, protocol), address, seconds)
            except TimeoutError:
                failure = ConnectTimeoutError(self, "no connection in time")
            except OSError as error:
                failure = NewConnectionError(self, type(error).__name__)
            else:
                # For the TLS handshake. `connect` refuses to go on if no time is left.
                connected.settimeout(max(0.01, min(CONNECT_SECONDS, seconds_left())))
                return connected
        raise failure

    def connect(self) -> None:
        """Open the connection. Raises NewConnectionError if the time limit has passed meanwhile."""
        super().connect()
        self._refuse_late()

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send the request. Raises NewConnectionError, and sends nothing, if the time limit has passed."""
        self._refuse_late()
        super().request(*args, **kwargs)

    def _refuse_late(self) -> None:
        if seconds_left() <= 0:
            raise NewConnectionError(self, _LATE)


def _connected(made: socket.socket, address: Any, seconds: float) -> socket.socket:
    try:
        made.settimeout(seconds)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.connect(address)
    except BaseException:
        made.close()
        raise
    return made


class _TlsConnection(_Connection, HTTPSConnection):
    """TLS connection that keeps to the time limit of `Session.call`."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """Adapter with one TLS context for all connections. The library would load the certificates for each."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:  # noqa: ARG002 - requests' signature
        conn.cert_reqs = "CERT_REQUIRED"


def cause(error: requests.RequestException) -> str:
    """Return the class name of the underlying error. The error's text is left out, since it quotes the URL."""
    return type(_inner(error) or error).__name__


def never_sent(error: requests.RequestException) -> bool:
    """True if the request certainly did not reach the host: no address, no connection, no valid certificate."""
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
