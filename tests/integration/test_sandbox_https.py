"""https for the xMatters stand-in: a certificate for 127.0.0.1 that is made at start, and removed at the end."""

import pytest
import requests

from sandbox.server.in_process import running

PATH = "/api/xm/1/people"


def status(url: str, authority: str | bool) -> int:
    """Ask xMatters without credentials; return the answer's status."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{url}{PATH}", verify=authority, timeout=60).status_code


def test_certificate_is_for_the_address_only_and_its_key_for_this_user_until_the_end() -> None:
    with running(is_https=True) as box:
        assert box.xmatters_authority
        authority, url = str(box.xmatters_authority), box.xmatters_url
        assert status(url, authority) == 401
        for other in ((url, True), (url.replace("127.0.0.1", "localhost"), authority)):
            with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
                status(*other)
        folder = box.xmatters_authority.parent
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
