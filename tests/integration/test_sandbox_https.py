"""https for the xMatters stand-in: a certificate for 127.0.0.1 that is made at start, and removed at the end."""

from collections.abc import Iterator

import pytest
import requests

from sandbox.server.in_process import Box, running

PATH = "/api/xm/1/people"


@pytest.fixture(scope="module")
def https_box() -> Iterator[Box]:
    """A stand-in whose xMatters speaks https."""
    with running(is_https=True) as box:
        yield box


def status(url: str, authority: str | bool) -> int:
    """Ask xMatters without credentials; return the answer's status."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{url}{PATH}", verify=authority, timeout=60).status_code


def test_client_that_trusts_the_authority_is_answered(https_box: Box) -> None:
    assert https_box.xmatters_url.startswith("https://127.0.0.1:")
    assert status(https_box.xmatters_url, str(https_box.xmatters_authority)) == 401


def test_client_that_does_not_trust_the_authority_refuses_the_certificate(https_box: Box) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        status(https_box.xmatters_url, authority=True)


def test_certificate_is_for_the_address_only(https_box: Box) -> None:
    named = https_box.xmatters_url.replace("127.0.0.1", "localhost")
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        status(named, str(https_box.xmatters_authority))


def test_without_the_option_xmatters_speaks_http() -> None:
    with running() as box:
        assert box.xmatters_url.startswith("http://127.0.0.1:")
        assert box.xmatters_authority is None


def test_private_key_is_for_this_user_only_and_removed_at_the_end() -> None:
    with running(is_https=True) as box:
        assert box.xmatters_authority
        folder = box.xmatters_authority.parent
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
