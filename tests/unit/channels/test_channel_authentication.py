import base64
import hmac

import pytest

from tests import samples

NOW = 1_800_000_000.0


def basic(text: bytes) -> str:
    return "Basic " + base64.b64encode(text).decode()


class TestAccepts:
    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": "Bearer new-token"},
            {"authorization": "bearer   new-token "},
            {"x-api-key": "new-token"},
            {"x-api-key": " new-token "},
            {"authorization": basic("bigpanda:pä:ss".encode())},
            {"authorization": basic("bigpanda:pä:ss".encode()).replace("Basic", "BASIC")},
            {"authorization": "Bearer wrong", "x-api-key": "new-token"},
        ],
    )
    def test_valid_credentials_are_admitted_in_every_accepted_header(self, headers: dict[str, str]) -> None:
        assert samples.ROTATED.accepts(headers, NOW)

    # `Channel.accepts` takes `any` over the offered credentials, which is false for an empty list.
    def test_missing_header_is_never_admitted(self) -> None:
        for document in (samples.secret(), samples.secret(inbound={"basic": {"username": "u", "password": "p"}})):
            assert not samples.parsed(document).accepts({}, NOW)
            assert not samples.parsed(document).accepts({"content-type": "application/json"}, NOW)

    @pytest.mark.parametrize(
        "headers",
        [
            {"authorization": ""},
            {"authorization": "Bearer "},
            {"authorization": "new-token"},
            {"authorization": "Bearer new-toke"},
            {"authorization": "Bearer NEW-TOKEN"},
            {"authorization": "Bearer \ud800"},
            {"authorization": "Basic !!!"},
            {"authorization": "Basic é"},
            {"authorization": basic(b"")},
            {"authorization": basic(b"new-token")},
            {"authorization": basic(b"bigpanda:")},
            {"authorization": basic(b"bigpanda:new-token")},
            {"authorization": basic("bigpanda:pä:ss".encode("latin-1"))},
            {"x-api-key": ""},
            {"x-api-key": "bigpanda:pä:ss"},
            {"x-api-key": "Bearer new-token"},
        ],
        ids=str,
    )
    def test_invalid_credentials_are_not_admitted(self, headers: dict[str, str]) -> None:
        assert not samples.ROTATED.accepts(headers, NOW)

    @pytest.mark.parametrize("headers", [{"x-api-key": "old-token"}, {"authorization": basic(b"bigpanda:old")}])
    def test_previous_credentials_are_admitted_until_they_expire(self, headers: dict[str, str]) -> None:
        assert samples.ROTATED.accepts(headers, NOW - 0.001)
        assert not samples.ROTATED.accepts(headers, NOW)

    def test_login_is_not_admitted_as_token_nor_token_as_login(self) -> None:
        only_login = samples.parsed(samples.secret(inbound={"basic": {"username": "u", "password": "p"}}))
        assert not only_login.accepts({"x-api-key": "u:p"}, NOW)
        only_token = samples.parsed(samples.secret(inbound={"token": "u:p"}))
        assert not only_token.accepts({"authorization": basic(b"u:p")}, NOW)

    def test_every_credential_is_compared_in_constant_time_even_after_one_fits(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compared, real = [], hmac.compare_digest

        def spy(secret: bytes, offer: bytes) -> bool:
            compared.append((secret, offer))
            return real(secret, offer)

        monkeypatch.setattr(hmac, "compare_digest", spy)
        assert samples.ROTATED.accepts({"authorization": "Bearer new-token", "x-api-key": "new-token"}, NOW - 1)
        assert len(compared) == 2 * 4
