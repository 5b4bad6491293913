"""xMatters' triggers and tokens in the sandbox over real sockets: answers, credentials, scripted faults, its port."""

import pytest
import requests

from sandbox.server.in_process import Box, running
from tests.stand_in import BASIC, OAUTH, URL, session

PASSWORD_GRANT = OAUTH | {"grant_type": "password"}


def token(box: Box, http: requests.Session, form: dict[str, str] = PASSWORD_GRANT) -> requests.Response:
    return http.post(f"{box.xmatters_url}/api/xm/1/oauth2/token", data=form, timeout=60)


def test_no_credential_is_logged(box: Box, http: requests.Session) -> None:
    cookies = {"Cookie": "session=canary-cookie", "Proxy-Authorization": "Basic canary-proxy"}
    http.post(box.declare(BASIC).url, auth=(BASIC["username"], BASIC["password"]), headers=cookies, timeout=60)
    http.post(box.declare(OAUTH).url, headers={"Authorization": "Bearer canary-token"}, timeout=60)
    assert [each.accepted for each in box.attempts()] == [True, False]
    assert "canary" not in http.get(f"{box.control_url}/signals", timeout=60).text


class TestFaults:
    def tried(self, box: Box) -> tuple[int | None, bool, str | None]:
        [attempt] = box.attempts()
        return attempt.status, attempt.accepted, attempt.fault

    @pytest.mark.parametrize(
        ("fault", "status", "rang", "header"),
        [
            ({"kind": "status", "status": 429, "retry_after": "2"}, 429, False, ("Retry-After", "2")),
            ({"kind": "status", "status": 429}, 429, False, ("Retry-After", None)),
            ({"kind": "html", "status": 503}, 503, False, ("Content-Type", "text/html;charset=utf-8")),
            ({"kind": "redirect", "location": "https://x.example/"}, 302, False, ("Location", "https://x.example/")),
            ({"kind": "accept_then_status", "status": 504}, 504, True, ("Location", None)),
            ({"kind": "slow", "seconds": 0.05}, 202, True, ("Location", None)),
            ({"kind": "slow", "seconds": 0.05, "accept": False}, 504, False, ("Location", None)),
            ({"kind": "drip", "seconds": 0.1}, 202, True, ("Location", None)),
        ],
    )  # fmt: skip
    def test_fault_changes_the_answer_and_says_whether_the_signal_counts(
        self,
        box: Box,
        http: requests.Session,
        fault: dict[str, object],
        status: int,
        rang: bool,
        header: tuple[str, str | None],
    ) -> None:
        box.script([fault])
        answer = http.post(box.declare(URL).url, timeout=60, allow_redirects=False)
        assert (answer.status_code, answer.headers.get(header[0])) == (status, header[1])
        assert self.tried(box) == (status, rang, fault["kind"])


def status(url: str, authority: str | bool) -> int:
    with session() as http:
        return http.get(f"{url}/api/xm/1/people", verify=authority, timeout=60).status_code


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
